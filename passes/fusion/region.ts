import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Node from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import type { TensorType } from "../../ir/TensorType.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"

/** Writes an element as a region: a rank-0 graph over scalars and whole captured tensors. */

export const scalar = (dtype: DType.DType): TensorType => ({ dtype, shape: [] })

const input = (name: string, type: TensorType): Node.NodeOf<"input"> => Node.make("input", [], { name, type })

export interface Parameter {
  readonly name: string
  readonly dtype: DType.DType
}

/** The tensors that elements read, in order of appearance, each once. */
export const captures = (
  table: Element.Table,
  roots: ReadonlyArray<Element.Element>,
  logits: ReadonlyMap<Element.Element, number>
): ReadonlyArray<Node.Node> => [
  ...new Set(
    Element.reachable(table, roots).flatMap((e) => (e._tag === "load" && !logits.has(e) ? [e.of] : []))
  )
]

/** What the score region calls the logit of a term. */
export const logitName = (term: number): string => (term === 0 ? "logit" : `logit${term}`)

/**
 * The region that returns `root`. Floats are computed in `real`; index variables are named like parameters. Rounding to a narrower
 * float type is kept where it applies to data, and dropped from what depends on the logit.
 */
export const make = (
  table: Element.Table,
  root: Element.Element,
  parameters: ReadonlyArray<Parameter>,
  captured: ReadonlyArray<Node.Node>,
  real: "f32" | "f64",
  logits: ReadonlyMap<Element.Element, number>,
  result: DType.DType
): Graph.Graph => {
  const build = Graph.builder()
  const add = <K extends OpName>(
    op: K,
    operands: ReadonlyArray<Node.Node>,
    attrs: Node.AttrsOf<K>
  ): Node.Node => build.add(op, operands, attrs) as unknown as Node.Node
  const taken = new Set(parameters.map((p) => p.name))
  for (const name of ["logit", "b", "h", "i", "j"]) taken.add(name)
  const inputs = [
    ...parameters.map((p) => input(p.name, scalar(p.dtype))),
    ...captured.map((c, k) => input(nameOf(c, k, taken), c.type))
  ].map((i) => build.intern(i))
  const parameter = new Map(parameters.map((p, k) => [p.name, inputs[k] as Node.Node] as const))
  const capture = new Map(captured.map((c, k) => [c, inputs[parameters.length + k] as Node.Node] as const))
  const made = new Map<Element.Element, Node.Node>()

  const cast = (x: Node.Node, dtype: DType.DType): Node.Node =>
    x.type.dtype === dtype ? x : add("cast", [x], { dtype })
  const integer = (d: Dim.Dim): Node.Node => {
    const value = Dim.value(d)
    return value === undefined
      ? add("dim", [], { value: d })
      : add("constant", [], { values: [value], type: scalar("i32") })
  }
  const atom = (a: IndexExpr.Atom): Node.Node => {
    switch (a._tag) {
      case "variable":
        return parameter.get(a.key) as Node.Node
      case "value":
        return made.get(table.behind(a.key)) as Node.Node
      case "div":
        return add("floor_div", [position(a.of), integer(a.by)], {})
      case "mod":
        return add("mod", [position(a.of), integer(a.by)], {})
    }
  }
  /** Positive terms first, so that a difference is written as one. */
  const position = (e: IndexExpr.IndexExpr): Node.Node => {
    const addends: Array<readonly [Node.Node, boolean]> = e.terms.map(({ atom: a, coefficient }) => {
      const negative = IndexExpr.isNonNegative(Dim.neg(coefficient))
      const size = negative ? Dim.neg(coefficient) : coefficient
      return [Dim.isOne(size) ? atom(a) : add("mul", [atom(a), integer(size)], {}), negative]
    })
    const offset = Dim.value(e.constant)
    if (e.constant.terms.length > 0) {
      const negative = offset !== undefined && offset < 0
      addends.push([integer(negative ? Dim.neg(e.constant) : e.constant), negative])
    }
    const [first, ...rest] = [...addends].sort((a, b) => Number(a[1]) - Number(b[1]))
    if (first === undefined) return integer(Dim.zero)
    const lead = first[1] ? add("neg", [first[0]], {}) : first[0]
    return rest.reduce((sum, [x, negative]) => add(negative ? "sub" : "add", [sum, x], {}), lead)
  }

  const onLogit = new Set<Element.Element>()
  for (const e of Element.reachable(table, [root])) {
    const term = logits.get(e)
    if (term !== undefined) {
      made.set(e, parameter.get(logitName(term)) as Node.Node)
      onLogit.add(e)
    } else if (e._tag === "constant") {
      made.set(
        e,
        add("constant", [], { values: [e.value], type: scalar(DType.isFloat(e.dtype) ? real : e.dtype) })
      )
    } else if (e._tag === "index") made.set(e, position(e.expr))
    else if (e._tag === "load") {
      const whole = capture.get(e.of) as Node.Node
      const read = e.at.length === 0 ? whole : add("load", [whole, ...e.at.map(position)], {})
      made.set(e, DType.isFloat(e.dtype) ? cast(read, real) : read)
    } else {
      const args = e.args.map((a) => made.get(a) as Node.Node)
      if (e.args.some((a) => onLogit.has(a))) onLogit.add(e)
      if (e.op !== "cast") made.set(e, add(e.op, args, {} as never))
      else {
        const from = (e.args[0] as Element.Element).dtype
        const narrow =
          DType.isFloat(e.dtype) &&
          DType.isFloat(from) &&
          DType.bytes[e.dtype] < DType.bytes[from] &&
          !onLogit.has(e)
        const x = args[0] as Node.Node
        if (!DType.isFloat(e.dtype)) made.set(e, cast(x, e.dtype))
        else made.set(e, narrow ? cast(cast(x, e.dtype), real) : cast(x, real))
      }
    }
  }
  const out = cast(made.get(root) as Node.Node, result)
  return Graph.make([{ name: "out", node: out }], inputs)
}

/** What a capture is called inside: its own name where it is an input of the program and the name is free. */
const nameOf = (node: Node.Node, k: number, taken: Set<string>): string => {
  const wanted = node.op === "input" ? node.attrs.name : (node.label ?? `t${k}`)
  let name = wanted
  for (let n = k; taken.has(name); n++) name = `${wanted}_${n}`
  taken.add(name)
  return name
}
