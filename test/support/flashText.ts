import type * as Graph from "../../ir/Graph.ts"
import type { Node } from "../../ir/Node.ts"
import type { Flash, Schedule, Schedules } from "../../ir/Schedule.ts"

/** An attention program as text, from the parts that a test wants to vary. Sizes are numbers or symbols. */
export interface Attention {
  readonly heads?: readonly [query: number | string, key: number | string]
  readonly sizes?: readonly [batch: number | string, queries: number | string, keys: number | string]
  /** Head size and value head size. */
  readonly head?: readonly [number, number]
  readonly dtype?: string
  readonly resultDtype?: string
  /** Types of captured tensors by name; a region reads them as `%name`. */
  readonly captures?: { readonly [name: string]: string }
  /** Lines of a region over %logit, %b, %h, %i, %j (or %first, %last) and the captures. The last line is the value. */
  readonly score?: ReadonlyArray<string>
  readonly mask?: ReadonlyArray<string>
  readonly sink?: ReadonlyArray<string>
  readonly probability?: ReadonlyArray<string>
  /** Ends with %lo, %hi, %fullLo, %fullHi defined. */
  readonly range?: ReadonlyArray<string>
  /** The same of one row %i. */
  readonly rowRange?: ReadonlyArray<string>
  readonly fill?: string
  /** Further logits, %logit1, …: the batch and the heads of their keys, and their head size. */
  readonly more?: ReadonlyArray<
    readonly [batch: number | string, heads: number | string, size: number | string]
  >
  readonly normaliser?: "none"
  readonly outputs?: ReadonlyArray<Output>
}

type Output = "result" | "lse" | "max" | "sum"

const name = (line: string): string => (/^%\w+/.exec(line.trim()) as RegExpExecArray)[0]

export const flashText = (a: Attention): string => {
  const [Hq, Hkv] = a.heads ?? [2, 2]
  const [B, T, S] = a.sizes ?? [1, "T", "S"]
  const [D, E] = a.head ?? [8, 8]
  const dtype = a.dtype ?? "f32"
  const captures = Object.entries(a.captures ?? {})
  const more = a.more ?? []
  const input = (as: string, type: string): string => `    %${as}: ${type} = input {name = "${as}"}`
  const region = (
    as: string,
    parameters: ReadonlyArray<readonly [string, string]>,
    lines: ReadonlyArray<string> | undefined,
    result?: string
  ): ReadonlyArray<string> => {
    if (lines === undefined) return []
    const returned = result ?? name(lines.at(-1) as string)
    return [
      `  ${as} = {`,
      ...[...parameters, ...captures].map(([p, type]) => input(p, type)),
      ...lines.map((l) => `    ${l}`),
      `    return ${returned}`,
      "  },"
    ]
  }
  const index = (...names: ReadonlyArray<string>) => names.map((n) => [n, "i32[]"] as const)
  const logits = ["logit", ...more.map((_, n) => `logit${n + 1}`)].map((n) => [n, "f32[]"] as const)
  const operands = ["q", "k", "v", ...more.flatMap((_, n) => [`q${n + 1}`, `k${n + 1}`])]
  const bounds = `"lo": %lo, "hi": %hi, "fullLo": %fullLo, "fullHi": %fullHi`
  const node = (output: Output): ReadonlyArray<string> => {
    const type =
      output === "result" ? `${a.resultDtype ?? dtype}[${B}, ${Hq}, ${T}, ${E}]` : `f32[${B}, ${Hq}, ${T}]`
    return [
      `%${output}: ${type} = flash_attention ${[...operands, ...captures.map(([n]) => n)].map((n) => `%${n}`).join(", ")} {`,
      ...(more.length === 0 ? [] : [`  terms = ${more.length + 1},`]),
      ...(a.normaliser === undefined ? [] : [`  normaliser = "${a.normaliser}",`]),
      ...region("score", [...logits, ...index("b", "h", "i", "j")], a.score ?? scaled),
      ...region("mask", index("b", "h", "i", "j"), a.mask),
      ...region("sink", index("b", "h", "i"), a.sink),
      ...region("probability", index("b", "h", "i", "j"), a.probability),
      ...region("range", index("b", "h", "first", "last"), a.range, bounds),
      ...region("rowRange", index("b", "h", "i"), a.rowRange, bounds),
      `  fill = ${a.fill ?? (a.normaliser === undefined ? "-inf" : "0")},`,
      `  output = "${output}"`,
      "}"
    ]
  }
  const outputs = a.outputs ?? ["result"]
  return [
    "graph {",
    `%q: ${dtype}[${B}, ${Hq}, ${T}, ${D}] = input {name = "q"}`,
    `%k: ${dtype}[${B}, ${Hkv}, ${S}, ${D}] = input {name = "k"}`,
    `%v: ${dtype}[${B}, ${Hkv}, ${S}, ${E}] = input {name = "v"}`,
    ...more.flatMap(([batch, heads, size], n) => [
      `%q${n + 1}: ${dtype}[${B}, ${Hq}, ${T}, ${size}] = input {name = "q${n + 1}"}`,
      `%k${n + 1}: ${dtype}[${batch}, ${heads}, ${S}, ${size}] = input {name = "k${n + 1}"}`
    ]),
    ...captures.map(([n, type]) => `%${n}: ${type} = input {name = "${n}"}`),
    ...outputs.flatMap(node),
    `return ${outputs.map((o) => `"${o}": %${o}`).join(", ")}`,
    "}"
  ].join("\n")
}

/** logit * 0.25 */
export const scaled: ReadonlyArray<string> = [
  "%scale: f32[] = constant {values = [0.25]}",
  "%scaled: f32[] = mul %logit, %scale"
]

const one = "%one: i32[] = constant {values = [1]}"

/** j <= i, with its range. */
export const causal = {
  mask: ["%seen: bool[] = le %j, %i"],
  range: [
    one,
    "%lo: i32[] = constant {values = [0]}",
    "%hi: i32[] = add %last, %one",
    `%fullLo: i32[] = constant {values = [0]}`,
    "%fullHi: i32[] = add %first, %one"
  ]
} satisfies Attention

/** i - width < j <= i, with its range. */
export const window = (width: number) =>
  ({
    mask: [
      `%width: i32[] = constant {values = [${width}]}`,
      "%past: bool[] = le %j, %i",
      "%start: i32[] = sub %i, %width",
      "%near: bool[] = gt %j, %start",
      "%seen: bool[] = and %past, %near"
    ],
    range: [
      one,
      `%back: i32[] = constant {values = [${width - 1}]}`,
      "%lo: i32[] = sub %first, %back",
      "%hi: i32[] = add %last, %one",
      "%fullLo: i32[] = sub %last, %back",
      "%fullHi: i32[] = add %first, %one"
    ]
  }) satisfies Attention

/** A range that knows nothing: all keys may be visible, none is certain. */
export const anyKey: ReadonlyArray<string> = [
  "%lo: i32[] = constant {values = [0]}",
  "%hi: i32[] = dim {value = S}",
  "%fullLo: i32[] = constant {values = [0]}",
  `%fullHi: i32[] = constant {values = [0]}`
]

/** Small tiles, so that few keys and rows already make several of them, and pipelines compile quickly. */
export const small: Flash = {
  kind: "flash",
  prefill: { rows: 4, keys: 4, threads: 2, tiles: "registers", quads: false },
  decode: { threads: 4, tiles: "registers", keysPerSplit: 4, maxSplits: 4 },
  decodeRows: 0
}

export const smallQuads: Flash = {
  ...small,
  prefill: { ...small.prefill, rows: 12, keys: 4, threads: 4, quads: true }
}

export const smallStaged: Flash = {
  ...small,
  prefill: { rows: 8, keys: 4, threads: 8, tiles: "workgroup", quads: false }
}

/** Runs everything with the decode variant. */
export const smallDecode: Flash = { ...small, decodeRows: 8 }

/** The same, with rows that the threads of a workgroup share. */
export const smallDecodeShared: Flash = { ...smallDecode, decode: { ...small.decode, tiles: "workgroup" } }

/** The same, with several rows that four neighbours share. */
export const smallDecodeQuads: Flash = {
  ...smallDecode,
  decode: { ...small.decode, keysPerSplit: 1, quads: true }
}

/** Splits keys for several rows. */
export const smallShort: Flash = { ...small, short: smallStaged.prefill }

/** One schedule for all attention nodes of a graph. */
export const schedulesOf =
  (schedule: Flash) =>
  (graph: Graph.Graph): Schedules =>
    new Map<Node, Schedule>(
      graph.nodes.filter((n) => n.op === "flash_attention").map((n) => [n, schedule] as const)
    )
