import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import { choose } from "../../../ir/chooseFlash.ts"
import { alternatives } from "../../../ir/flashAlternatives.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import * as Limits from "../../../ir/Limits.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import { agree } from "../../support/agree.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  anyKey,
  causal,
  flashText,
  schedulesOf,
  small,
  smallQuads,
  smallStaged,
  window
} from "../../support/flashText.ts"
import { plainAttention } from "../../support/irText.ts"
import { planOf } from "../../support/plans.ts"
import { validate } from "../../support/runProgram.ts"

/** Every prefill schedule of small numbers, legal or not. */
const prefills: ReadonlyArray<Flash> = [
  ["workgroup", false] as const,
  ["registers", false] as const,
  ["registers", true] as const
].flatMap(([tiles, quads]) =>
  [4, 12, 16].flatMap((rows) =>
    [1, 3, 6].flatMap((keys) =>
      [1, 2, 4, 6, 8].map((threads) => ({ ...small, prefill: { rows, keys, threads, tiles, quads } }))
    )
  )
)

const decodes: ReadonlyArray<Flash> = (["workgroup", "registers"] as const).flatMap((tiles) =>
  [1, 4, 16].flatMap((threads) =>
    [1, 5].flatMap((keysPerSplit) =>
      [1, 4].map((maxSplits) => ({
        ...small,
        decode: { threads, tiles, keysPerSplit, maxSplits },
        decodeRows: 8
      }))
    )
  )
)

/** Short queries on the tiles of prefill. */
const shorts: ReadonlyArray<Flash> = prefills
  .filter((s) => s.prefill.threads > 1)
  .map(({ prefill }) => ({ ...small, short: prefill, decode: { ...small.decode, keysPerSplit: 3 } }))

/** Those that may multiply in f16, over operands that are stored so. */
const inHalf = (variant: "prefill" | "short") => (schedule: Flash) => {
  const cut = schedule[variant]
  return cut?.tiles === "workgroup"
    ? [{ ...schedule, [variant]: { ...cut, arithmetic: "f16" } } as Flash]
    : []
}

const kinds = {
  prefill: prefills,
  decode: decodes,
  short: shorts,
  "decode by a subgroup": decodes
    .filter(({ decode }) => decode.tiles === "workgroup" && decode.threads <= 4)
    .map((schedule) => ({ ...schedule, decode: { ...schedule.decode, subgroup: true } }) as const),
  "prefill in f16": prefills.flatMap(inHalf("prefill")),
  "short in f16": shorts.flatMap(inHalf("short"))
}

const [D, E] = [6, 9]
const limits: Limits.Limits = { ...Limits.portable, subgroups: { min: 4, max: 4 } }

/** Attention of many kinds, each with what a kernel may treat in a way of its own. */
const attentions: ReadonlyArray<readonly [name: string, attention: Attention]> = [
  ["a window with a finite fill", { ...window(5), fill: "-3" }],
  ["causal, with the log-sum-exp", { ...causal, outputs: ["result", "lse"] }],
  ["no mask, 16 bits", { dtype: "f16" }],
  ["causal, bf16, a range that knows nothing", { mask: causal.mask, range: anyKey, dtype: "bf16" }],
  [
    "a bias that is data, a sink and a factor",
    {
      ...causal,
      captures: { bias: "f32[T, S]", sinks: "f32[H]", factor: "f32[S]" },
      score: ["%term: f32[] = load %bias, %i, %j", "%biased: f32[] = add %logit, %term"],
      sink: ["%z: f32[] = load %sinks, %h"],
      probability: ["%f: f32[] = load %factor, %j"]
    }
  ],
  ["no softmax", { ...window(4), normaliser: "none", score: ["%soft: f32[] = tanh %logit"] }],
  [
    "two logits of a pair",
    { ...causal, more: [[1, 1, 7]], score: ["%sum: f32[] = add %logit, %logit1"], outputs: ["result", "max"] }
  ],
  ["no row sees a key", { mask: ["%never: bool[] = lt %j, %b"], range: anyKey }]
]

const heads = [
  [2, 1],
  [3, 3],
  [6, 2]
] as const

const headSizes = [
  [D, E],
  [1, 4],
  [8, 3],
  [17, 16]
] as const

/** Lengths of a call: none, one, around `tile` rows or keys. */
const lengths = (tile: number): ReadonlyArray<number> => [0, 1, Math.max(1, tile - 1), tile, tile + 1]

/** Each schedule runs attention of one kind and shape, and each schedule another: together they meet all of them. */
test.each(["prefill", "decode", "short", "decode by a subgroup", "prefill in f16", "short in f16"] as const)(
  "every legal schedule agrees with the reference: %s",
  async (family) => {
    const which = family.split(" ")[0] as "prefill" | "decode" | "short"
    const half = family.endsWith("f16") ? ({ dtype: "f16", arithmetic: "f16" } as const) : undefined
    const from = arrays.random(11)
    let count = 0
    for (const schedule of kinds[family]) {
      const head = headSizes[count % headSizes.length] as (typeof headSizes)[number]
      const [hq, hkv] = from.pick(heads)
      const [name, attention] = attentions[count % attentions.length] as (typeof attentions)[number]
      const sizesOfHeads = [head[0], ...(attention.more ?? []).map((m) => Number(m[2]))]
      if (!Budget.legal(schedule, limits, sizesOfHeads, head[1], "f32", hq / hkv)) continue
      count++
      const captures = Object.fromEntries(
        Object.entries(attention.captures ?? {}).map(([n, type]) => [n, type.replace("H", String(hq))])
      )
      const graph = graphOf(
        flashText({
          ...attention,
          ...(half && { dtype: half.dtype }),
          heads: [hq, hkv],
          head,
          sizes: [2, "T", "S"],
          captures
        })
      )
      const rows = which === "prefill" ? Math.ceil((schedule.prefill.rows * hkv) / hq) : 2
      const keys = which === "prefill" ? schedule.prefill.keys : 5 * schedule.decode.keysPerSplit
      for (let n = 0; n < 3; n++) {
        const sizes = { T: from.pick(lengths(rows)), S: n === 0 ? 2 * keys + 1 : from.pick(lengths(keys)) }
        const what = `${name}, ${hq}:${hkv} heads of ${head}, ${JSON.stringify({ ...sizes, ...schedule[which] })}`
        await expect(
          agree(graph, sizes, {
            kind: "cpu",
            schedules: schedulesOf(schedule),
            arithmetic: half?.arithmetic ?? "f32"
          }),
          what
        ).resolves.toBeUndefined()
      }
    }
    expect(count).toBeGreaterThan(
      {
        prefill: 60,
        decode: 15,
        short: 12,
        "decode by a subgroup": 7,
        "prefill in f16": 10,
        "short in f16": 8
      }[family]
    )
  }
)

test("a schedule that does not fit is refused before anything is compiled", () => {
  const graph = graphOf(flashText({ head: [D, E] }))
  const lowered = (schedule: Flash, limits = Limits.portable) =>
    lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
  const refused = /UnsupportedByDevice|does not fit/
  expect(() => lowered({ ...small, prefill: { ...small.prefill, rows: 5 } })).toThrow(refused)
  expect(() => lowered({ ...small, prefill: { ...small.prefill, keys: 17 } })).toThrow(refused)
  expect(() => lowered({ ...smallStaged, prefill: { ...smallStaged.prefill, keys: 3 } })).toThrow(refused)
  expect(() => lowered(smallQuads)).toThrow(refused)
  expect(() => lowered(smallStaged, { ...Limits.portable, maxComputeWorkgroupStorageSize: 64 })).toThrow(
    refused
  )
  expect(() => lowered(small, { ...Limits.portable, maxComputeInvocationsPerWorkgroup: 1 })).toThrow(refused)
})

test("the budget is what the kernels declare", () => {
  const legal = Object.values(kinds)
    .flat()
    .filter((s) => Budget.legal(s, limits, D, E, "f32", 1))
  const graph = graphOf(flashText({ head: [D, E], dtype: "f16" }))
  for (const schedule of legal) {
    const { kernels } = lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
    const most = Math.max(...kernels.map((k) => k.workgroupBytes))
    expect(Budget.workgroupBytes(schedule, D, E, 1)).toBeGreaterThanOrEqual(most)
    expect(Budget.workgroupBytes(schedule, D, E, 1)).toBeLessThan(most + 64)
  }
})

test("several logits cost registers and share workgroup memory", () => {
  const one = Budget.decodeTile(small.decode, 4, 8, 8) as Budget.Tile
  const two = Budget.decodeTile(small.decode, 4, [8, 4], 8) as Budget.Tile
  expect([one.terms, two.terms]).toEqual([1, 2])
  const shared = { ...small.decode, tiles: "workgroup" } as const
  expect(Budget.decodeTile({ ...shared, keysPerSplit: 16 }, 16, [8, 8, 8, 8], 256)).toBeUndefined()
  expect(Budget.decodeTile(small.decode, 16, [256, 8, 8, 8], 256)).toBeUndefined()
  const text = flashText({
    head: [D, E],
    more: [[1, 1, 17]],
    score: ["%sum: f32[] = add %logit, %logit1"],
    dtype: "f16"
  })
  const graph = graphOf(text)
  for (const schedule of Object.values(kinds).flat()) {
    if (!Budget.legal(schedule, limits, [D, 17], E, "f32", 1)) continue
    const { kernels } = lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
    const most = Math.max(...kernels.map((k) => k.workgroupBytes))
    expect(Budget.workgroupBytes(schedule, [D, 17], E, 1)).toBeGreaterThanOrEqual(most)
    expect(Budget.workgroupBytes(schedule, [D, 17], E, 1)).toBeLessThan(most + 64)
  }
})

test("every head size has a schedule on the least device", () => {
  for (const kind of ["cpu", "gpu"] as const) {
    for (const size of [1, 2, 3, 4, 31, 64, 80, 96, 127, 128, 129, 192, 255, 256]) {
      for (const other of [1, 64, 256]) {
        for (const group of [undefined, 1, 4, 8, 32]) {
          const limits = { ...Limits.portable, kind }
          for (const sizes of [size, [size, other], [size, 64, 256, 3]]) {
            const schedule = choose(limits, sizes, other, group)
            expect(Budget.illegal(schedule, limits, sizes, other, "f16", group)).toBeUndefined()
          }
        }
      }
    }
  }
})

test("every variant passes Dawn's validation, with and without f16", async () => {
  const captures = { bias: "f16[4, T, S]", sinks: "f32[4]" }
  const score = [
    "%term: f16[] = load %bias, %h, %i, %j",
    "%wide: f32[] = cast %term",
    "%biased: f32[] = add %logit, %wide"
  ]
  const programs: ReadonlyArray<Attention> = [
    {
      heads: [4, 2] as const,
      ...causal,
      captures,
      score,
      sink: ["%z: f32[] = load %sinks, %h"],
      fill: "-1e9"
    },
    { heads: [4, 1] as const, head: [5, 3] as const, mask: causal.mask, range: anyKey },
    { heads: [2, 2] as const, head: [128, 64] as const, outputs: ["result", "max"] },
    { ...causal, normaliser: "none", outputs: ["result"] },
    {
      ...causal,
      more: [
        [1, 1, 64],
        [1, 2, 3]
      ],
      score: ["%sum: f32[] = add %logit, %logit1", "%all: f32[] = add %sum, %logit2"],
      outputs: ["result", "lse"]
    }
  ]
  for (const [kind, subgroups] of [
    ["gpu", undefined],
    ["cpu", undefined],
    ["cpu", { min: 4, max: 4 }]
  ] as const) {
    for (const shaderF16 of [false, true]) {
      for (const dtype of ["f32", "f16", "bf16"]) {
        for (const program of programs) {
          const graph = graphOf(flashText({ outputs: ["result", "lse"], ...program, dtype }))
          const lowered = lower(planOf(graph), { ...Limits.portable, kind, subgroups, shaderF16 })
          expect(lowered.kernels.some((k) => k.requires.f16 === true)).toBe(
            shaderF16 && lowered.kernels.some((k) => k.bindings.some((b) => b.dtype === "f16"))
          )
          await validate(lowered)
        }
      }
    }
  }
})

test("a subgroup meets half as many barriers, and is none where a subgroup may be smaller", async () => {
  const able = { ...Limits.portable, subgroups: { min: 32, max: 64 } }
  const graph = graphOf(flashText({ ...causal, heads: [8, 2], head: [64, 64], outputs: ["result", "lse"] }))
  const decode = { threads: 32, tiles: "workgroup", keysPerSplit: 64, maxSplits: 64 } as const
  const barriers = async (cut: Flash["decode"]): Promise<number> => {
    const program = lower(planOf(graph, schedulesOf({ ...small, decode: cut, decodeRows: 8 })(graph)), able)
    await validate(program)
    const [kernel] = program.kernels.filter((k) => k.name.startsWith("flash_decode"))
    expect(kernel?.requires.subgroups === true).toBe(cut.subgroup === true)
    return kernel?.wgsl.match(/workgroupBarrier\(\)/g)?.length ?? 0
  }
  // Of a tile of keys, of the sums of weights and of values at the end.
  expect(await barriers(decode)).toBe(4 + 2 + 2)
  expect(await barriers({ ...decode, subgroup: true })).toBe(2 + 0 + 2)
  const refused = (threads: number) =>
    Budget.illegal(
      { ...small, decode: { ...decode, threads, subgroup: true }, decodeRows: 8 },
      able,
      64,
      64,
      "f32",
      4
    )
  expect([refused(32), refused(64)]).toEqual([undefined, "64 threads may be more than one subgroup"])
  const chosen = (min: number) => choose({ ...able, subgroups: { min, max: 64 } }, 64, 64, 4).decode.subgroup
  expect([chosen(32), chosen(64)]).toEqual([undefined, true])
  const tried = alternatives(able, 64, 64, 4, 4).map((s) => s.decode)
  expect(tried).toContainEqual({ ...decode, subgroup: true })
  expect(tried.filter((d) => d.subgroup === true).map((d) => d.threads)).toEqual([32])
})

test("a head size that is a symbol is refused by name", () => {
  const graph = graphOf(`
%q: f32[1, 2, T, D] = input {name = "q"}
%k: f32[1, 2, S, D] = input {name = "k"}
%v: f32[1, 2, S, 8] = input {name = "v"}
%o: f32[1, 2, T, 8] = ${plainAttention("%q, %k, %v")}
return %o`)
  expect(() => lower(planOf(graph), Limits.portable)).toThrow(/head size D is symbolic/)
})
