import * as Node from "../../../ir/Node.ts"
import * as s from "../spell.ts"

type N = s.N

/** A program of the family of attention, and what becomes of it. */
export interface Member {
  readonly outputs: N | { readonly [name: string]: N }
  /** Each attention node: its output, `none` where it has no softmax; `x2` where it has two logits. */
  readonly nodes: ReadonlyArray<string>
  /** Tensors with an element for each query and key that kernels write, besides the outputs; none where nothing is said. */
  readonly inMemory?: number
}

export type Table = { readonly [name: string]: Member }

export const becomes = (
  outputs: Member["outputs"],
  nodes: ReadonlyArray<string> = ["result"],
  inMemory = 0
): Member => ({ outputs, nodes, inMemory })

/** Words that all tables share: four heads of queries, keys for each of them or for two of them. */
export const q = s.input("q", ["B", 4, "T", 8])
export const k = s.input("k", ["B", 4, "S", 8])
export const v = s.input("v", ["B", 4, "S", 6])
export const v2 = s.input("v", ["B", 2, "S", 6])
export const scale = s.constant(0.3)
export const zero = s.constant(0)
export const row = s.reshape(s.iota("T"), ["T", 1])
export const causal = s.op("ge", row, s.iota("S"))
/** Causal by one less: the first query sees no key. */
export const late = s.op("ge", s.sub(row, s.constant(1, "i32")), s.iota("S"))
export const scores = s.mul(s.matmul(q, s.swap(k)), scale)
export const grouped = s.mul(s.matmul(q, s.swap(s.repeatHeads(s.input("k", ["B", 2, "S", 8]), 2))), scale)
export const float = (x: N): N => s.cast(x, "f32")
export const hide = (x: N, keep = causal): N => s.select(keep, x, s.constant(-Infinity))
export const attend = (x: N, values = v): N => s.matmul(s.softmax(x), values)
/** Sums over axes, which disappear; over the queries where none is named. */
export const columns = (x: N, ...axes: ReadonlyArray<number>): N =>
  Node.make("reduce_sum", [x], { axes: axes.length === 0 ? [2] : axes }) as unknown as N
export const half = (name: string, ...dims: ReadonlyArray<number | string>): N => s.input(name, dims, "f16")
