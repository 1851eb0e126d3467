/** One peer in a process or page of its own: takes commands, one at a time, as plain data. */
import { type Case, causalOnly } from "../cases/cases.ts"
import { inputsOf } from "../cases/inputs.ts"
import { Cannot, closest, type Engine, type Host, type Open, type Prepared } from "../peers/Peer.ts"

export type Command =
  | { readonly do: "open" }
  /** Makes a case ready and runs it once. */
  | { readonly do: "prepare"; readonly case: Case; readonly variant: string }
  /** Calls for about so many milliseconds, at least once. */
  | { readonly do: "time"; readonly variant: string; readonly milliseconds: number }
  | { readonly do: "read"; readonly variant: string }
  | { readonly do: "release"; readonly variant: string }
  | { readonly do: "variants"; readonly case: Case }
  | { readonly do: "generate" }

/** What commands give: see `Contender`. */
export type Answer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly cannot: boolean; readonly message: string }

export interface Cold {
  /** Until the case is ready, and the first call after that. */
  readonly prepare: number
  readonly first: number
}

const clock = async (run: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await run()
  return performance.now() - start
}

export const contender = (host: Host, open: Open): ((command: Command) => Promise<Answer>) => {
  let engine: Engine | undefined
  const prepared = new Map<string, Prepared>()

  const known = (variant: string): Prepared => {
    const found = prepared.get(variant)
    if (found === undefined) throw new Error(`nothing is prepared as ${JSON.stringify(variant)}`)
    return found
  }

  const handle = async (command: Command): Promise<unknown> => {
    engine ??= await open(host)
    switch (command.do) {
      case "open":
        return engine.description
      case "generate":
        if (engine.generate === undefined) throw new Cannot("is not written for this peer")
        return engine.generate()
      case "variants":
        return engine.variants?.(command.case) ?? [""]
      case "prepare": {
        const { variant } = command
        const asked = (variant === closest ? causalOnly(command.case) : undefined) ?? command.case
        inputsOf(asked)
        const start = performance.now()
        const made = await engine.prepare(asked, variant)
        const prepare = performance.now() - start
        prepared.set(variant, made)
        return { prepare, first: await clock(made.run) } satisfies Cold
      }
      case "time": {
        const { run } = known(command.variant)
        const times: Array<number> = []
        const until = performance.now() + command.milliseconds
        do times.push(await clock(run))
        while (performance.now() < until && times.length < 200)
        return times
      }
      case "read":
        return await known(command.variant).read()
      case "release": {
        await known(command.variant).release?.()
        prepared.delete(command.variant)
        return null
      }
    }
  }

  return async (command) => {
    try {
      return { ok: true, value: await handle(command) }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      return { ok: false, cannot: error instanceof Cannot, message }
    }
  }
}
