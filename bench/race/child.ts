import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Answer, Command } from "./contender.ts"

/** What became of a command. */
export type Outcome<A> =
  | { readonly tag: "done"; readonly value: A }
  | { readonly tag: "cannot" | "failed" | "slow"; readonly reason: string }

/**
 * A process that is stopped unless it is its turn: engines leave threads behind that spin, and those would take time from others.
 * One that hangs or crashes is replaced when it is asked next.
 */
export interface Child {
  readonly ask: <A>(command: Command, limit: number) => Promise<Outcome<A>>
  readonly close: () => void
}

const built = new URL("built.mjs", import.meta.url).href

const pausable = process.platform !== "win32"

export const child = (script: string, args: ReadonlyArray<string>): Child => {
  const file = fileURLToPath(new URL(script, import.meta.url))
  let running: ChildProcess | undefined
  let errors = ""

  const start = (): ChildProcess => {
    errors = ""
    const started = fork(file, [...args], {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      execArgv: ["--no-warnings", "--import", built]
    })
    started.stderr?.on("data", (text) => {
      errors = (errors + text).slice(-2000)
    })
    running = started
    return started
  }

  const stop = (): void => {
    running?.kill("SIGKILL")
    running = undefined
  }

  const ask = <A>(command: Command, limit: number): Promise<Outcome<A>> =>
    new Promise((resolve) => {
      const own = running ?? start()
      if (pausable) own.kill("SIGCONT")
      const finish = (outcome: Outcome<A>): void => {
        clearTimeout(timer)
        own.off("message", answered)
        own.off("exit", ended)
        if (pausable && running === own) own.kill("SIGSTOP")
        resolve(outcome)
      }
      const answered = (answer: Answer): void => {
        if (answer.ok) finish({ tag: "done", value: answer.value as A })
        else finish({ tag: answer.cannot ? "cannot" : "failed", reason: firstLine(answer.message) })
      }
      const ended = (code: number | null, signal: string | null): void => {
        running = undefined
        finish({ tag: "failed", reason: `ended with ${signal ?? code} ${firstLine(errors)}`.trim() })
      }
      const timer = setTimeout(() => {
        own.off("exit", ended)
        stop()
        finish({ tag: "slow", reason: `more than ${Math.round(limit / 1000)} s` })
      }, limit)
      own.on("message", answered)
      own.on("exit", ended)
      own.send(command, (error) => {
        if (error !== null && error !== undefined) ended(null, error.message)
      })
    })

  return { ask, close: stop }
}

const firstLine = (text: string): string => {
  const line = text.split("\n").find((l) => l.trim() !== "") ?? ""
  return line.length > 160 ? `${line.slice(0, 160)}…` : line
}
