import { expect, test } from "vitest"
import type { Case } from "../../../bench/cases/cases.ts"
import { closest } from "../../../bench/peers/Peer.ts"
import type { Child, Outcome } from "../../../bench/race/child.ts"
import type { Command } from "../../../bench/race/contender.ts"
import { type Contender, type Known, nothingKnown, race, type Settings } from "../../../bench/race/turns.ts"

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
    slow: 300,
    callLimit: 1000,
    coldAllowance: 500,
    skipLimit: 2000,
    until: Infinity,
    deadline: () => Infinity,
    tryAll: true
  },
  judge: (_, actual) => ({ ok: actual[0] === 1, message: "far off" })
}

const run = (
  contenders: ReadonlyArray<Contender>,
  more: Partial<Settings> = {},
  known: Known = nothingKnown(),
  own: Case = c
) => race(own, contenders, known, { ...settings, ...more })

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
  const [entry] = await run([own.contender], { tryAll: false })
  expect(entry).toMatchObject({ state: "right", variant: "fused" })
  expect(own.diary).not.toContain("prepare plain")
})

test("a peer with no correct way is wrong, and says how far", async () => {
  const [entry] = await run([peer("a", { "": { milliseconds: 1, result: 3 } }).contender])
  expect(entry).toMatchObject({ state: "wrong", note: "far off", time: { median: 1 } })
})

test("contenders take turns, and slow ones one", async () => {
  const order: Array<string> = []
  const spied = (name: string, milliseconds: number): Contender => {
    const { contender } = peer(name, { "": { milliseconds, result: 1 } })
    const ask: Child["ask"] = (command, limit) => {
      if (command.do === "time") order.push(name)
      return contender.child.ask(command, limit)
    }
    return { ...contender, child: { ...contender.child, ask } }
  }
  const entries = await run([spied("a", 1), spied("slow", 400), spied("effuse", 400)])
  // The second calls, then turns.
  expect(order).toEqual(["a", "slow", "effuse", "a", "slow", "effuse", "a", "effuse"])
  // The first call compiles; the second counts with the turn.
  expect(entries[1]).toMatchObject({ contender: "slow", state: "right", time: { median: 400, count: 4 } })
})

test("a late run has two turns, and none of long calls", async () => {
  const calls = (milliseconds: number): Contender => peer("a", { "": { milliseconds, result: 1 } }).contender
  const late = { rounds: 5, until: -1 }
  expect(await run([calls(100)], late)).toMatchObject([{ time: { count: 4 } }])
  expect(await run([calls(400)], late)).toMatchObject([{ time: { count: 2 } }])
  expect(await run([calls(400)], { ...late, callLimit: 1700 })).toMatchObject([{ time: { count: 4 } }])
})

test("a run that ends keeps what it has, and asks nobody for more", async () => {
  let asked = 0
  const [a, b] = ["a", "b"].map((name) => peer(name, { "": { milliseconds: 1, result: 1 } }))
  // a is made ready, read and called again; then time is over.
  const deadline = (): number => (asked++ < 4 ? Infinity : 0)
  const entries = await run(
    [a, b].map((x) => x?.contender as Contender),
    { deadline }
  )
  expect(entries).toMatchObject([
    { contender: "a", state: "right", time: { median: 1 } },
    { contender: "b", state: "left", note: "the run had ended" }
  ])
  expect(b?.diary).toEqual([])
})

test("what a peer was too slow for is not asked of it, but of those who skip what is masked", async () => {
  const known: Known = { rates: new Map([["a product", 10]]), wrong: new Set() }
  const [a, effuse] = [
    peer("a", { "": { milliseconds: 1, result: 1 } }),
    peer("effuse", { "": { milliseconds: 1, result: 1 } })
  ]
  known.rates.set("effuse product", 10)
  const entries = await run([a.contender, effuse.contender], {}, known)
  expect(entries[0]).toMatchObject({ state: "slow", note: "not run: a call would take about 20 s" })
  expect(entries[0]?.above).toBeUndefined()
  expect(a.diary).toEqual([])
  expect(entries[1]).toMatchObject({ state: "right" })
})

test("who is stopped in a call takes more than what a call may take", async () => {
  const stopped = { tag: "slow", reason: "more than 1.5 s" } as const
  const [entry] = await run([peer("a", { "": { milliseconds: 1, result: 1 } }, stopped).contender])
  expect(entry).toMatchObject({ state: "slow", note: "stopped in a call of more than 1 s", above: 1000 })
})

test("a way that was wrong is tried last, and named beside the one that is right", async () => {
  const ways = { fused: { milliseconds: 1, result: 2 }, plain: { milliseconds: 4, result: 1 } }
  const known = nothingKnown()
  const [before, after] = [peer("a", ways), peer("a", ways)]
  const [entry] = await run([before.contender], { tryAll: false }, known)
  expect(entry).toMatchObject({ state: "right", variant: "plain", wrong: ["fused"] })
  // Nobody times what is wrong where something is right.
  expect(before.diary).not.toContain("time fused")
  await run([after.contender], { tryAll: false }, known)
  expect(after.diary[1]).toBe("prepare plain")
  expect(after.diary).not.toContain("prepare fused")
})

test("what stands in for a window is compared with its own result, and is not right", async () => {
  const window: Case = {
    ...{ kind: "attention", name: "window", T: 4, S: 4, heads: [1, 1], D: 2, causal: true, dtype: "f32" },
    window: 2
  }
  const judged: Array<Case> = []
  const judge: Settings["judge"] = (own) => {
    judged.push(own)
    return { ok: true, message: "" }
  }
  const own = peer("a", { [closest]: { milliseconds: 1, result: 1 } })
  const [entry] = await run([own.contender], { judge }, nothingKnown(), window)
  expect(entry).toMatchObject({ state: "closest", time: { median: 1 } })
  expect(judged).toMatchObject([{ name: "window" }])
  expect(judged[0]).not.toHaveProperty("window")
})

test("failures and refusals have their reason", async () => {
  for (const tag of ["failed", "cannot"] as const) {
    const [entry] = await run([
      peer("a", { "": { milliseconds: 1, result: 1 } }, { tag, reason: "because" }).contender
    ])
    expect(entry).toMatchObject({ state: tag, note: "because" })
    expect(entry?.time).toBeUndefined()
  }
})
