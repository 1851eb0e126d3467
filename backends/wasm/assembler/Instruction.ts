import {
  codes,
  laneLoads,
  lanes as laneOps,
  laneStores,
  loads,
  plain,
  stores,
  type ValueType
} from "./instructions.ts"

/**
 * WebAssembly as data: expressions are trees whose types TypeScript checks, statements hold expressions. The encoder and the text form
 * read the same trees.
 */
export interface Expr<T extends ValueType = ValueType> {
  readonly type: T
  readonly name: string
  readonly code: number
  readonly operands: ReadonlyArray<Expr>
  readonly immediate?: Immediate
}

/** What stands in an instruction besides its operands. */
export type Immediate =
  | { readonly _tag: "local"; readonly local: Local }
  | { readonly _tag: "i32"; readonly value: number }
  | { readonly _tag: "f32" | "f64"; readonly value: number }
  | { readonly _tag: "words"; readonly words: ReadonlyArray<number> }
  | { readonly _tag: "bytes"; readonly bytes: ReadonlyArray<number> }
  | { readonly _tag: "lane"; readonly lane: number }
  | { readonly _tag: "memory"; readonly offset: number; readonly align: number; readonly lane?: number }
  | { readonly _tag: "call"; readonly callee: Callee }

export type Statement =
  | { readonly _tag: "set"; readonly local: Local; readonly value: Expr }
  | {
      readonly _tag: "effect"
      readonly name: string
      readonly code: number
      readonly operands: ReadonlyArray<Expr>
      readonly immediate?: Immediate
    }
  | { readonly _tag: "block" | "loop"; readonly label: Label; readonly body: ReadonlyArray<Statement> }
  | {
      readonly _tag: "if"
      readonly condition: Expr<"i32">
      readonly body: ReadonlyArray<Statement>
      readonly otherwise: ReadonlyArray<Statement>
    }
  | { readonly _tag: "branch"; readonly label: Label; readonly condition?: Expr<"i32"> }

/** A parameter or local variable; the module gives it its index. */
export interface Local<T extends ValueType = ValueType> {
  readonly type: T
  readonly name: string
}

export interface Label {
  readonly name: string
}

/** What can be called: a function of the module or an import, by its name in the module. */
export interface Callee {
  readonly name: string
  readonly params: ReadonlyArray<ValueType>
  readonly result: ValueType | undefined
}

type Plain = typeof plain
export type Operands<T extends ReadonlyArray<ValueType>> = { readonly [I in keyof T]: Expr<T[I]> }

/** An instruction without immediates: `op("f32x4.add", a, b)`. */
export const op = <K extends keyof Plain>(name: K, ...operands: Operands<Plain[K][1]>): Expr<Plain[K][2]> => {
  const [code, , type] = plain[name]
  return { type, name, code, operands: operands as ReadonlyArray<Expr> }
}

export const get = <T extends ValueType>(local: Local<T>): Expr<T> => ({
  type: local.type,
  name: "local.get",
  code: codes["local.get"],
  operands: [],
  immediate: { _tag: "local", local }
})

export const i32 = (value: number): Expr<"i32"> => ({
  type: "i32",
  name: "i32.const",
  code: codes["i32.const"],
  operands: [],
  immediate: { _tag: "i32", value: value | 0 }
})

export const f32 = (value: number): Expr<"f32"> => ({
  type: "f32",
  name: "f32.const",
  code: codes["f32.const"],
  operands: [],
  immediate: { _tag: "f32", value: Math.fround(value) }
})

export const f64 = (value: number): Expr<"f64"> => ({
  type: "f64",
  name: "f64.const",
  code: codes["f64.const"],
  operands: [],
  immediate: { _tag: "f64", value }
})

/** A vector of four words. */
export const words = (a: number, b: number, c: number, d: number): Expr<"v128"> => ({
  type: "v128",
  name: "v128.const",
  code: codes["v128.const"],
  operands: [],
  immediate: { _tag: "words", words: [a | 0, b | 0, c | 0, d | 0] }
})

const float = new Float32Array(1)
const bits = new Int32Array(float.buffer)

/** A word in all lanes. */
export const splat = (x: number): Expr<"v128"> => words(x, x, x, x)

/** A float in all lanes. */
export const splatF32 = (x: number): Expr<"v128"> => {
  float[0] = x
  return splat(bits[0] as number)
}

export const load = <K extends keyof typeof loads>(
  name: K,
  address: Expr<"i32">,
  offset = 0
): Expr<(typeof loads)[K][2]> => {
  const [code, align, type] = loads[name]
  // Tensors are aligned to their elements, vectors of them may begin anywhere.
  const certain = name === "v128.load16x4_u" ? 1 : Math.min(align, 2)
  return { type, name, code, operands: [address], immediate: { _tag: "memory", offset, align: certain } }
}

export const loadLane = (
  name: keyof typeof laneLoads,
  address: Expr<"i32">,
  vector: Expr<"v128">,
  lane: number
): Expr<"v128"> => {
  const [code, align] = laneLoads[name]
  const immediate = { _tag: "memory", offset: 0, align, lane } as const
  return { type: "v128", name, code, operands: [address, vector], immediate }
}

type LaneOps = typeof laneOps

export const lane = <K extends keyof LaneOps>(
  name: K,
  index: number,
  ...operands: Operands<LaneOps[K][1]>
): Expr<LaneOps[K][2]> => {
  const [code, , type] = laneOps[name]
  return {
    type,
    name,
    code,
    operands: operands as ReadonlyArray<Expr>,
    immediate: { _tag: "lane", lane: index }
  }
}

/** Words of two vectors by their numbers, 0 to 7. */
export const shuffle = (
  a: Expr<"v128">,
  b: Expr<"v128">,
  from: readonly [number, number, number, number]
): Expr<"v128"> => ({
  type: "v128",
  name: "i8x16.shuffle",
  code: codes["i8x16.shuffle"],
  operands: [a, b],
  immediate: { _tag: "bytes", bytes: from.flatMap((w) => [0, 1, 2, 3].map((k) => 4 * w + k)) }
})

/** Halves of words of two vectors, in turns: the first four of each, or the last. */
export const interleave = (a: Expr<"v128">, b: Expr<"v128">, which: "first" | "last"): Expr<"v128"> => {
  const own = which === "first" ? [0, 1, 2, 3] : [4, 5, 6, 7]
  return {
    type: "v128",
    name: "i8x16.shuffle",
    code: codes["i8x16.shuffle"],
    operands: [a, b],
    immediate: { _tag: "bytes", bytes: own.flatMap((h) => [2 * h, 2 * h + 1, 16 + 2 * h, 17 + 2 * h]) }
  }
}

/** `then` where the condition is not 0; both are computed. */
export const select = <T extends ValueType>(
  then: Expr<T>,
  otherwise: Expr<T>,
  condition: Expr<"i32">
): Expr<T> => ({
  type: then.type,
  name: "select",
  code: codes.select,
  operands: [then, otherwise, condition]
})

export const call = <T extends ValueType>(
  callee: Callee & { readonly result: T },
  ...operands: ReadonlyArray<Expr>
): Expr<T> => ({
  type: callee.result,
  name: "call",
  code: codes.call,
  operands,
  immediate: { _tag: "call", callee }
})

export const set = <T extends ValueType>(local: Local<T>, value: Expr<T>): Statement => ({
  _tag: "set",
  local,
  value
})

export const store = <K extends keyof typeof stores>(
  name: K,
  address: Expr<"i32">,
  value: Expr<(typeof stores)[K][2]>,
  offset = 0
): Statement => {
  const [code, align] = stores[name]
  const immediate = { _tag: "memory", offset, align: Math.min(align, 2) } as const
  return { _tag: "effect", name, code, operands: [address, value], immediate }
}

export const storeLane = (
  name: keyof typeof laneStores,
  address: Expr<"i32">,
  vector: Expr<"v128">,
  lane: number
): Statement => {
  const [code, align] = laneStores[name]
  const immediate = { _tag: "memory", offset: 0, align: Math.min(align, 1), lane } as const
  return { _tag: "effect", name, code, operands: [address, vector], immediate }
}
