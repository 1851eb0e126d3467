import * as Dim from "../../../ir/Dim.ts"
import * as DType from "../../../ir/DType.ts"
import type { Graph } from "../../../ir/Graph.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import type { OfFamily } from "../../../ir/ops.ts"
import { operand, type Ref } from "../Job.ts"
import type { Emitter } from "./Emitter.ts"
import { broadcastFrom, moved } from "./moved.ts"
import { allOf, cast, isScalarOp, literal, scalar } from "./scalar.ts"
import { load } from "./storage.ts"

export { strided } from "./strided.ts"

/** Ops that `emit` has no case for: the scalar table emits them, or a kernel is built around them. */
type Other = OfFamily<"elementwise" | "compare" | "reduce" | "contract" | "normalise" | "fused"> | "scatter"

/** Emits elements of the values of a graph. */
export interface Body {
  /**
   * The element of a node at an index tuple, as a bound value of the node's compute type (f32 for 16-bit floats). Views on the way
   * become index arithmetic. Throws for an anchor whose value was not given.
   */
  readonly at: (node: Node, indices: ReadonlyArray<string>) => string
  /** Where a gather finds the element of its result in its first operand. */
  readonly found: (gather: NodeOf<"gather">, indices: ReadonlyArray<string>) => ReadonlyArray<string>
  /** Fixes the value of a node: whatever the index, as the anchor's element at hand or a parameter of a region, or by it. */
  readonly give: (node: Node, value: string | ((indices: ReadonlyArray<string>) => string)) => void
  /** Says which part of a concat the elements that are asked for lie in. */
  readonly pick: (node: NodeOf<"concat">, part: number) => void
}

/**
 * Where a graph's inputs come from: a buffer, or a function that gives the element at an index tuple (a capture of a region that
 * the surrounding body computes); undefined for scalars that `give` provides.
 */
export type Sources = (
  input: Node,
  position: number
) => Ref | ((indices: ReadonlyArray<string>) => string) | undefined

const body = (emitter: Emitter, graph: Graph, sources: Sources): Body => {
  const { module } = emitter
  const given = new Map<Node, string | ((indices: ReadonlyArray<string>) => string)>()
  const picked = new Map<Node, number>()
  const numbers = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const sourceOf = new Map(graph.inputs.map((n, i) => [n as Node, sources(n, i)] as const))
  const scope = module.fresh("g")

  const at = (node: Node, indices: ReadonlyArray<string>): string => {
    const value = given.get(node)
    if (value !== undefined) return typeof value === "string" ? value : value(indices)
    return emitter.remember(`${scope}:${numbers.get(node)}@${indices.join(",")}`, () => emit(node, indices))
  }

  const clamped = (position: Node, indices: ReadonlyArray<string>, size: Dim.Dim): string => {
    const value = at(position, indices)
    const last = emitter.sub(emitter.dim(size), "1")
    return emitter.bind(
      position.type.dtype === "u32" ? `i32(min(${value}, u32(${last})))` : `max(0, min(${value}, ${last}))`
    )
  }

  /** A read along an axis of length 0 gives 0. */
  const unlessEmpty = (node: Node, sizes: ReadonlyArray<Dim.Dim>, value: string): string => {
    const open = sizes.filter((d) => !((Dim.value(d) ?? 0) > 0))
    if (open.length === 0) return value
    return emitter.bind(
      `select(${zeroOf(node)}, ${value}, ${allOf(...open.map((d) => `${emitter.dim(d)} > 0`))})`
    )
  }

  const choose = (type: Node, condition: string, then: () => string, otherwise: () => string): string => {
    const result = emitter.variable(wgslType(type), zeroOf(type))
    emitter.branch(
      condition,
      () => emitter.line(`${result} = ${then()};`),
      () => emitter.line(`${result} = ${otherwise()};`)
    )
    return emitter.constant(result)
  }

  const found: Body["found"] = ({ operands, attrs: { axis } }, indices) => {
    const [x, positions] = operands as readonly [Node, Node]
    const end = axis + positions.type.shape.length
    const position = clamped(positions, indices.slice(axis, end), x.type.shape[axis] as Dim.Dim)
    return [...indices.slice(0, axis), position, ...indices.slice(end)]
  }

  const emit = (node: Node, indices: ReadonlyArray<string>): string => {
    const { shape, dtype } = node.type
    const operands = node.operands
    const x = operands[0] as Node
    if (isScalarOp(node.op)) {
      const args = operands.map((o) => at(o, broadcastFrom(o, indices)))
      const context = { module, from: (operands[node.op === "select" ? 1 : 0] as Node).type.dtype, to: dtype }
      return emitter.bind(
        node.op === "cast" ? cast(context, args[0] as string) : scalar[node.op](context, ...args)
      )
    }
    switch (node.op) {
      case "input": {
        const source = sourceOf.get(node)
        if (source === undefined) throw new Error("a parameter of a region has no value")
        if (typeof source === "function") return source(indices)
        return load(emitter, source, dtype, emitter.linearize(indices, shape))
      }
      case "constant": {
        const { values } = node.attrs
        // A name, not a literal: expressions of literals are evaluated, and refused, at compile time.
        if (values.length === 1)
          return emitter.bind(`${wgslType(node)}(${literal(module, dtype, values[0] as number)})`)
        return load(emitter, { _tag: "constant", node }, dtype, emitter.linearize(indices, shape))
      }
      case "iota":
        return indices[0] as string
      case "dim":
        return emitter.dim(node.attrs.value)
      case "random_bits":
        return emitter.bind(
          `${module.helper("threefry")}(${at(x, [])}, u32(${emitter.linearize(indices, shape)}))`
        )
      case "reshape":
      case "transpose":
      case "broadcast":
      case "slice":
        return at(x, moved(emitter, node, indices) as ReadonlyArray<string>)
      case "concat": {
        const { axis } = node.attrs
        const index = indices[axis] as string
        const only = picked.get(node)
        const part = (k: number, start: Dim.Dim): string => {
          const own = operands[k] as Node
          const value = () =>
            at(
              own,
              indices.map((i, a) => (a === axis ? emitter.sub(index, emitter.dim(start)) : i))
            )
          if (k === (only ?? operands.length - 1)) return value()
          const end = Dim.add(start, own.type.shape[axis] as Dim.Dim)
          if (only !== undefined) return part(k + 1, end)
          return choose(node, `${index} < ${emitter.dim(end)}`, value, () => part(k + 1, end))
        }
        return part(0, Dim.zero)
      }
      case "pad": {
        const { low, value } = node.attrs
        const from = indices.map((i, axis) => emitter.sub(i, emitter.dim(low[axis] as Dim.Dim)))
        const inside = from.flatMap((i, axis) => {
          const size = emitter.dim(x.type.shape[axis] as Dim.Dim)
          const starts = Dim.value(low[axis] as Dim.Dim) === 0 ? [] : [`${i} >= 0`]
          const ends = Dim.value(node.attrs.high[axis] as Dim.Dim) === 0 ? [] : [`${i} < ${size}`]
          return [...starts, ...ends]
        })
        if (inside.length === 0) return at(x, from)
        const outside = () => `${wgslType(node)}(${literal(module, dtype, value)})`
        return choose(node, allOf(...inside), () => at(x, from), outside)
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
        const first = at(start, start.type.shape.length === 1 ? [indices[0] as string] : [])
        const size = emitter.dim(x.type.shape[axis] as Dim.Dim)
        const distance = emitter.sub(indices[axis] as string, first)
        const offset = wrap ? emitter.bind(`${module.helper("mod_i32")}(${distance}, ${size})`) : distance
        const count = emitter.dim(update.type.shape[axis] as Dim.Dim)
        return choose(
          node,
          allOf(`${offset} >= 0`, `${offset} < ${count}`),
          () =>
            at(
              update,
              indices.map((i, a) => (a === axis ? offset : i))
            ),
          () => at(x, indices)
        )
      }
      default:
        // An op of another family that has no case above does not compile.
        throw new Error(`${node.op satisfies Other} has no value at a single element: it anchors a kernel`)
    }
  }

  return {
    at,
    found,
    give: (node, value) => {
      given.set(node, value)
    },
    pick: (node, part) => {
      picked.set(node, part)
    }
  }
}

/** Emits a fused body: its inputs are the operands of the fused node. */
export const make = (emitter: Emitter, graph: Graph): Body => body(emitter, graph, (_, i) => operand(i))

/** Emits a region: scalars among its inputs are given by the caller, whole tensors are read from `sources`. */
export const region = body

/** The node whose value is stored in place of a result: a final cast from one float type to a 16-bit one happens in the store. */
export const stored = (root: Node): Node => {
  const x = root.operands[0]
  return root.op === "cast" &&
    DType.isFloat(root.type.dtype) &&
    x !== undefined &&
    DType.isFloat(x.type.dtype)
    ? x
    : root
}

const wgslType = (node: Node): string => {
  const { dtype } = node.type
  return dtype === "i32" || dtype === "u32" || dtype === "bool" ? dtype : "f32"
}

const zeroOf = (node: Node): string => {
  const type = wgslType(node)
  return type === "bool" ? "false" : `${type}(0)`
}
