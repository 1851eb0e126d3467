import { expect, test } from "vitest"
import type { Case } from "../../../bench/cases/cases.ts"
import type { Child, Outcome } from "../../../bench/race/child.ts"
import type { Command } from "../../../bench/race/contender.ts"
import { type Contender, type Rates, race, type Settings } from "../../../bench/race/turns.ts"

const c: Case = { kind: "product", name: "small", M: 10, N: 10, K: 10 }

interface Way {
  readonly milliseconds: number
  readonly result: number
}

/** A peer whose calls take what they are told to, and that keeps a diary. */
const peer = (name: string, ways: { readonly [variant: string]: Way }, fails?: Outcome<never>) => {
  const diary: Array<string> = []
  const answer = (command: Command): unknown => {
    if (command.do === "variants") return Object.keys(ways)
    if (!("variant" in command)) return name
    const { milliseconds = 0, result = 0 } = ways[command.variant] ?? {}
    switch (command.do) {
      case "prepare":
        return { prepare: 5, first: milliseconds + 100 }
      case "time":
        return [milliseconds, milliseconds]
      case "read":
        return Float32Array.of(result)
      default:
        return null
    }
  }
  const child: Child = {
    ask: async (command) => {
      diary.push("variant" in command ? `${command.do} ${command.variant}` : command.do)
      return (
        fails !== undefined && command.do === "prepare" ? fails : { tag: "done", value: answer(command) }
      ) as never
    },
    close: () => {}
  }
  const contender: Contender = {
    label: name,
    peer: name,
    threads: undefined,
    child,
    skips: name === "effuse"
  }
  return { contender, diary }
}

const settings: Settings = {
  ...{
    rounds: 2,
    turn: 10,
    callLimit: 1000,
    skipLimit: 2000,
    coldLimit: 9000,
    until: Infinity,
    tryAll: true
  },
  judge: (_, actual) => ({ ok: actual[0] === 1, message: "far off" })
}

const run = (contenders: ReadonlyArray<Contender>, rates: Rates = new Map(), more: Partial<Settings> = {}) =>
  race(c, contenders, rates, { ...settings, ...more })

test("the fastest correct way counts, and what loses is released", async () => {
  const own = peer("a", {
    slow: { milliseconds: 9, result: 1 },
    wrong: { milliseconds: 1, result: 2 },
    fast: { milliseconds: 4, result: 1 }
  })
  const [entry] = await run([own.contender])
  expect(entry).toMatchObject({
    state: "right",
    variant: "fast",
    time: { median: 4, count: 4 },
    cold: { prepare: 5, first: 104 }
  })
  expect(own.diary.filter((line) => line.startsWith("release"))).toEqual([
    "release wrong",
    "release slow",
    "release fast"
  ])
})

test("where the first correct way is taken no other is tried", async () => {
  const own = peer("a", { fused: { milliseconds: 9, result: 1 }, plain: { milliseconds: 4, result: 1 } })
  const [entry] = await run([own.contender], new Map(), { tryAll: false })
  expect(entry).toMatchObject({ state: "right", variant: "fused" })
  expect(own.diary).not.toContain("prepare plain")
})

test("a peer with no correct way is wrong, and says how far", async () => {
  const [entry] = await run([peer("a", { "": { milliseconds: 1, result: 3 } }).contender])
  expect(entry).toMatchObject({ state: "wrong", note: "far off", time: { median: 1 } })
})

test("contenders take turns, and slow ones none", async () => {
  const order: Array<string> = []
  const spied = (name: string, milliseconds: number): Contender => {
    const { contender } = peer(name, { "": { milliseconds, result: 1 } })
    const ask: Child["ask"] = (command, limit) => {
      if (command.do === "time" && command.milliseconds === settings.turn) order.push(name)
      return contender.child.ask(command, limit)
    }
    return { ...contender, child: { ...contender.child, ask } }
  }
  const entries = await run([spied("a", 1), spied("slow", 1500), spied("b", 2)])
  expect(order).toEqual(["a", "b", "a", "b"])
  // The first call compiles; the second is the time.
  expect(entries[1]).toMatchObject({ contender: "slow", state: "right", time: { median: 1500 } })
})

test("a late run has two turns, and one for slower calls", async () => {
  const calls = (milliseconds: number): Contender => peer("a", { "": { milliseconds, result: 1 } }).contender
  const late = { rounds: 5, until: -1 }
  expect(await run([calls(100)], new Map(), late)).toMatchObject([{ time: { count: 4 } }])
  expect(await run([calls(500)], new Map(), late)).toMatchObject([{ time: { count: 2 } }])
})

test("what a peer was too slow for is not asked of it, but of those who skip what is masked", async () => {
  const rates: Rates = new Map([
    ["a", 10],
    ["effuse", 10]
  ])
  const [a, effuse] = [
    peer("a", { "": { milliseconds: 1, result: 1 } }),
    peer("effuse", { "": { milliseconds: 1, result: 1 } })
  ]
  const entries = await run([a.contender, effuse.contender], rates)
  expect(entries[0]).toMatchObject({ state: "slow", note: "a call would take about 20 s" })
  expect(a.diary).toEqual([])
  expect(entries[1]).toMatchObject({ state: "right" })
})

test("failures and refusals have their reason", async () => {
  for (const tag of ["failed", "cannot", "slow"] as const) {
    const [entry] = await run([
      peer("a", { "": { milliseconds: 1, result: 1 } }, { tag, reason: "because" }).contender
    ])
    expect(entry).toMatchObject({ state: tag, note: "because" })
    expect(entry?.time).toBeUndefined()
  }
})
