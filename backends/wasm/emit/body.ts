import * as Dim from "../../../ir/Dim.ts"
import * as DType from "../../../ir/DType.ts"
import type { Graph } from "../../../ir/Graph.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import type { OfFamily } from "../../../ir/ops.ts"
import { splatF64 } from "../assembler/doubles.ts"
import { call, type Expr, i32, op, select, splat, splatF32 } from "../assembler/Instruction.ts"
import { operand, type Ref } from "../Job.ts"
import type { Frame } from "./Frame.ts"
import { broadcastFrom, moved } from "./moved.ts"
import { where } from "./real.ts"
import { compute, isScalarOp, scalar } from "./scalar.ts"
import { load } from "./storage.ts"
import * as Value from "./Value.ts"

/** Ops that `emit` has no case for: the scalar table emits them, or a kernel is built around them. */
type Other = OfFamily<"elementwise" | "compare" | "reduce" | "contract" | "normalise" | "fused"> | "scatter"

type Indices = ReadonlyArray<Value.Value>

/** Emits elements of the values of a graph. */
export interface Body {
  /**
   * The elements of a node at an index tuple. Views on the way become index arithmetic. Throws for an anchor whose value was
   * not given.
   */
  readonly at: (node: Node, indices: Indices) => Value.Value
  /** Where a gather finds the elements of its result in its first operand. */
  readonly found: (gather: NodeOf<"gather">, indices: Indices) => Indices
  /** Fixes the value of a node, whatever the index: the anchor's elements at hand, a parameter of a region. */
  readonly give: (node: Node, value: Value.Value) => void
}

/**
 * Where a graph's inputs come from: a buffer, or a function that gives the elements at an index tuple (a capture of a region that
 * the surrounding body computes); undefined for scalars that `give` provides.
 */
export type Sources = (input: Node, position: number) => Ref | ((indices: Indices) => Value.Value) | undefined

let scopes = 0

export const body = (frame: Frame, graph: Graph, sources: Sources): Body => {
  const { e } = frame
  const given = new Map<Node, Value.Value>()
  const numbers = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const sourceOf = new Map(graph.inputs.map((n, i) => [n as Node, sources(n, i)] as const))
  const scope = scopes++

  const at = (node: Node, indices: Indices): Value.Value => {
    const value = given.get(node)
    if (value !== undefined) return value
    return e.remember(`${scope}:${numbers.get(node)}@${indices.map(Value.keyOf).join(";")}`, () =>
      emit(node, indices)
    )
  }

  const clamped = (position: Node, indices: Indices, size: Dim.Dim): Value.Value =>
    Value.clamp(e, at(position, indices), size, position.type.dtype === "u32")

  /** Both are computed; what is read for elements that are not chosen has been clamped into its axis. */
  const choose = (condition: Condition, then: Value.Value, otherwise: Value.Value): Value.Value => {
    if (condition === true) return then
    const [a, b] = [Value.toRegister(e, then), Value.toRegister(e, otherwise)]
    return Value.ofRegister(
      e.bind(condition.type === "i32" ? select(a, b, condition) : where(condition, a, b))
    )
  }

  /** A read along an axis of length 0 gives 0. */
  const unlessEmpty = (node: Node, sizes: ReadonlyArray<Dim.Dim>, value: Value.Value): Value.Value => {
    const open = sizes.filter((d) => !((Dim.value(d) ?? 0) > 0))
    if (open.length === 0) return value
    const all = open
      .map((d) => op("i32.ne", e.dim(d), i32(0)) as Expr<"i32">)
      .reduce((a, b) => op("i32.and", a, b))
    return choose(e.bind(all), value, literal(node.type.dtype, 0))
  }

  const found: Body["found"] = ({ operands, attrs: { axis } }, indices) => {
    const [x, positions] = operands as readonly [Node, Node]
    const end = axis + positions.type.shape.length
    const position = clamped(positions, indices.slice(axis, end), x.type.shape[axis] as Dim.Dim)
    return [...indices.slice(0, axis), position, ...indices.slice(end)]
  }

  const emit = (node: Node, indices: Indices): Value.Value => {
    const { shape, dtype } = node.type
    const operands = node.operands
    const x = operands[0] as Node
    if (isScalarOp(node.op)) {
      const args = operands.map((o) => at(o, broadcastFrom(o, indices)))
      const from = (operands[node.op === "select" ? 1 : 0] as Node).type.dtype
      return scalar[node.op]({ e, from, to: dtype }, ...args)
    }
    switch (node.op) {
      case "input": {
        const source = sourceOf.get(node)
        if (source === undefined) throw new Error("a parameter of a region has no value")
        if (typeof source === "function") return source(indices)
        return load(e, frame.pointer(source), dtype, indices, shape)
      }
      case "constant": {
        const { values } = node.attrs
        if (values.length === 1) return literal(dtype, values[0] as number)
        return load(e, frame.pointer({ _tag: "constant", node }), dtype, indices, shape)
      }
      case "iota":
        return indices[0] as Value.Value
      case "dim":
        return Value.uniform(e.dim(node.attrs.value))
      case "random_bits": {
        const number = Value.toVector(e, Value.linearize(e, indices, shape))
        const seed = Value.toVector(e, at(x, []))
        return Value.vector(e.bind(call(e.unit.helper("threefry"), seed, number)))
      }
      case "reshape":
      case "transpose":
      case "broadcast":
      case "slice":
        return at(x, moved(e, node, indices) as Indices)
      case "concat": {
        const { axis } = node.attrs
        const index = indices[axis] as Value.Value
        const part = (k: number, start: Dim.Dim): Value.Value => {
          const own = operands[k] as Node
          const size = own.type.shape[axis] as Dim.Dim
          const local = clampInto(Value.sub(e, index, Value.uniform(e.dim(start))), size)
          const value = at(
            own,
            indices.map((i, a) => (a === axis ? local : i))
          )
          if (k === operands.length - 1) return value
          const end = Dim.add(start, size)
          return choose(below(index, end), value, part(k + 1, end))
        }
        return part(0, Dim.zero)
      }
      case "pad": {
        const { low, high, value } = node.attrs
        const from = indices.map((i, axis) => Value.sub(e, i, Value.uniform(e.dim(low[axis] as Dim.Dim))))
        const padded = from.map(
          (_, axis) => Dim.value(low[axis] as Dim.Dim) !== 0 || Dim.value(high[axis] as Dim.Dim) !== 0
        )
        const inner = from.map((i, axis) =>
          padded[axis] ? clampInto(i, x.type.shape[axis] as Dim.Dim) : (indices[axis] as Value.Value)
        )
        const inside = from.flatMap((i, axis) =>
          padded[axis] ? [within(i, x.type.shape[axis] as Dim.Dim)] : []
        )
        return inside.reduce((all, condition) => choose(condition, all, literal(dtype, value)), at(x, inner))
      }
      case "gather":
        return unlessEmpty(node, [x.type.shape[node.attrs.axis] as Dim.Dim], at(x, found(node, indices)))
      case "load":
        return unlessEmpty(
          node,
          x.type.shape,
          at(
            x,
            operands.slice(1).map((p, axis) => clamped(p, [], x.type.shape[axis] as Dim.Dim))
          )
        )
      case "update_slice": {
        const { axis, wrap } = node.attrs
        const [, update, start] = operands as [Node, Node, Node]
        const first = at(start, start.type.shape.length === 1 ? [indices[0] as Value.Value] : [])
        const size = Value.uniform(e.dim(x.type.shape[axis] as Dim.Dim))
        const begins = start.type.shape.length === 0 || Value.isUniform(indices[0] as Value.Value)
        const from = begins ? Value.uniform(Value.first(e, first)) : first
        const distance = Value.sub(e, indices[axis] as Value.Value, from)
        const offset = wrap ? scalar.mod({ e, from: "i32", to: "i32" }, distance, size) : distance
        const count = update.type.shape[axis] as Dim.Dim
        const value = at(
          update,
          indices.map((i, a) => (a === axis ? clampInto(offset, count) : i))
        )
        return choose(within(offset, count), value, at(x, indices))
      }
      default:
        // An op of another family that has no case above does not compile.
        throw new Error(`${node.op satisfies Other} has no value at a single element: it anchors a kernel`)
    }
  }

  /** A vector that begins at a multiple of 4 is inside or outside an axis of such a length as a whole. */
  const isWhole = (i: Value.Value, size: Dim.Dim): i is Value.Affine =>
    Value.isUniform(i) ||
    (i._tag === "affine" && i.step === 1 && i.align >= 4 && (Dim.value(size) ?? 1) % 4 === 0)

  const clampInto = (i: Value.Value, size: Dim.Dim): Value.Value => {
    const known = Dim.value(size)
    if (i._tag === "affine" && i.step === 1 && isWhole(i, size) && known !== undefined && known >= 4)
      return { ...i, base: e.max(e.min(i.base, i32(known - 4)), i32(0)), below: size }
    return Value.clamp(e, i, size)
  }

  const below = (i: Value.Value, end: Dim.Dim): Condition =>
    isWhole(i, end)
      ? e.bind(op("i32.lt_s", i.base, e.dim(end)))
      : e.bind(op("i32x4.lt_s", Value.toVector(e, i), Value.toVector(e, Value.uniform(e.dim(end)))))

  const within = (i: Value.Value, size: Dim.Dim): Condition =>
    isWhole(i, size)
      ? // As an unsigned number what is below 0 is past the end.
        e.bind(op("i32.lt_u", i.base, e.dim(size)))
      : e.bind(op("i32x4.lt_u", Value.toVector(e, i), Value.toVector(e, Value.uniform(e.dim(size)))))

  return {
    at,
    found,
    give: (node, value) => {
      given.set(node, value)
    }
  }
}

/** For all lanes alike, or for each its own. */
type Condition = true | Expr<"i32"> | Expr<"v128">

/** Emits a fused body: its inputs are the operands of the fused node. */
export const make = (frame: Frame, graph: Graph): Body => body(frame, graph, (_, i) => operand(i))

/** A constant of a dtype. */
export const literal = (dtype: DType.DType, x: number): Value.Value => {
  switch (compute(dtype)) {
    case "bool":
      return Value.vector(splat(x === 0 ? 0 : -1))
    case "i32":
    case "u32":
      return Value.integer(x | 0)
    case "f32":
      return Value.vector(splatF32(x))
    case "f64":
      return Value.doubles(splatF64(x))
  }
}

/** The node whose value is stored in place of a result: a final cast from one float type to a smaller one happens in the store. */
export const stored = (root: Node): Node => {
  const x = root.operands[0]
  return root.op === "cast" &&
    root.type.dtype !== "f64" &&
    DType.isFloat(root.type.dtype) &&
    x !== undefined &&
    DType.isFloat(x.type.dtype)
    ? x
    : root
}
