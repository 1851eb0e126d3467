import * as Graph from "../ir/Graph.ts"
import * as Node from "../ir/Node.ts"
import type { OpName } from "../ir/ops.ts"
import * as TensorType from "../ir/TensorType.ts"
import * as Pattern from "./Pattern.ts"
import { attempt, type Count } from "./Statistics.ts"

/**
 * What a rewrite does to floats. "exact": every element keeps its bits (zeros may change sign). "reassociates": equal in real
 * arithmetic, rounded elsewhere; NaN and infinities stay, but those that a step makes by leaving the range of the dtype.
 * "refines-nan": equal wherever neither NaN nor overflow arises; where one does, in the operands or on the way, NaN and numbers
 * may take each other's place.
 */
export type Kind = "exact" | "reassociates" | "refines-nan"

/** A law of the algebra of tensors, used from left to right. */
export interface Rule {
  readonly name: string
  /** The law as mathematics. */
  readonly law: string
  readonly kind: Kind
  readonly match: Pattern.Pattern
  readonly when: (m: Match) => boolean
  readonly rewrite: (m: Match) => Node.Node | undefined
  /** Nodes as text, the last of which the rule rewrites. A test fires it, twice, and compares values. */
  readonly example: string
}

/** A match, and the means to build what replaces it. */
export interface Match {
  /** The node bound to a name of the pattern; "root" is the whole match. */
  readonly get: (name: string) => Node.Node
  /** The node bound to a name, if it is of that op. */
  readonly as: <K extends OpName>(name: string, op: K) => Extract<Node.Node, Node.NodeOf<K>>
  /** The value of a constant bound to a name. */
  readonly number: (name: string) => number
  readonly build: <K extends OpName>(
    op: K,
    operands: ReadonlyArray<Node.Node>,
    attrs: Node.AttrsOf<K>
  ) => Node.Node
  /** A scalar constant of the dtype of the root. */
  readonly constant: (value: number) => Node.Node
}

interface Definition {
  readonly law: string
  readonly kind: Kind
  readonly match: (v: typeof Pattern.variables) => Pattern.Pattern
  readonly when?: (m: Match) => boolean
  /** A pattern over the variables of `match`, or a function of the match where attributes are computed. */
  readonly rewrite:
    | ((v: typeof Pattern.variables) => Pattern.Pattern)
    | { readonly by: (m: Match) => Node.Node | undefined }
  readonly example: string
}

/** Defines a rule. A variable that `rewrite` uses and `match` does not bind is a mistake in the rule and throws. */
export const make = (name: string, definition: Definition): Rule => {
  const { law, kind, example, rewrite } = definition
  const pattern = definition.match(Pattern.variables)
  if (pattern._tag !== "apply") throw new Error(`${name}: a rule matches an op, not any value`)
  const bound = new Set(Pattern.names(pattern))
  const base = { name, law, kind, match: pattern, when: definition.when ?? (() => true), example }
  if ("by" in rewrite) return { ...base, rewrite: rewrite.by }
  const template = rewrite(Pattern.variables)
  const unbound = Pattern.names(template).filter((n) => !bound.has(n))
  if (unbound.length > 0)
    throw new Error(`${name}: rewrites to ${unbound.join(", ")}, which the match does not bind`)
  return { ...base, rewrite: (m) => instantiate(template, m) }
}

/** A rewrite that computes attributes or conditions from the match. */
export const by = (f: (m: Match) => Node.Node | undefined) => ({ by: f })

const instantiate = (p: Pattern.Pattern, m: Match): Node.Node => {
  switch (p._tag) {
    case "variable":
    case "constant":
      return m.get(p.name)
    case "number":
      return m.constant(p.value)
    case "apply":
      return m.build(
        p.op,
        p.args.map((a) => instantiate(a, m)),
        {} as never
      )
  }
}

const matchOf = (bindings: Pattern.Bindings, root: Node.Node, builder: Graph.Builder): Match => {
  const get = (name: string): Node.Node => {
    const node = name === "root" ? root : bindings.get(name)
    if (node === undefined) throw new Error(`the match binds no ${name}`)
    return node
  }
  const build: Match["build"] = (op, operands, attrs) =>
    builder.add(op, operands, attrs, { at: root.at, label: root.label }) as unknown as Node.Node
  return {
    get,
    as: (name, op) => {
      const node = get(name)
      if (!Node.is(node, op)) throw new Error(`${name} is ${node.op}, not ${op}`)
      return node
    },
    number: (name) => Pattern.uniform(get(name)) as number,
    build,
    constant: (value) =>
      build("constant", [], { values: [value], type: { dtype: root.type.dtype, shape: [] } })
  }
}

/** What a rule makes of a node; undefined where it does not apply. The type never changes. */
export const apply = (rule: Rule, node: Node.Node, builder: Graph.Builder): Node.Node | undefined => {
  const bindings = Pattern.match(rule.match, node)
  if (bindings === undefined) return undefined
  const match = matchOf(bindings, node, builder)
  if (!rule.when(match)) return undefined
  const result = rule.rewrite(match)
  return result !== undefined && result !== node && TensorType.equals(result.type, node.type)
    ? result
    : undefined
}

/** Rewrites of one node before the engine stops asking: rules terminate by themselves, this catches those that do not. */
const fuel = 100

/**
 * Rewrites a graph to a fixpoint, operands first. Each node asks only the rules about its op, and what a rule builds is
 * asked again, so the cost is linear in nodes and rewrites.
 */
export const rewrite = (graph: Graph.Graph, rules: ReadonlyArray<Rule>, count: Count): Graph.Graph => {
  const byOp = new Map<OpName, Array<Rule>>()
  for (const rule of rules) {
    if (rule.match._tag !== "apply") continue
    const { op } = rule.match
    byOp.set(op, [...(byOp.get(op) ?? []), rule])
  }
  /** What each node became; a node that is in normal form stands for itself. */
  const settled = new Map<Node.Node, Node.Node>()
  const settle = (root: Node.Node, builder: Graph.Builder, left: number): Node.Node => {
    let current = root
    for (let step = left; step > 0; step--) {
      const known = settled.get(current)
      if (known !== undefined) {
        count.trail?.follow(current, known)
        return known
      }
      const next = once(current, builder)
      if (next === undefined) break
      current = inside(next, builder, step - 1)
      count.trail?.follow(next, current)
    }
    return current
  }
  const once = (node: Node.Node, builder: Graph.Builder): Node.Node | undefined => {
    for (const rule of byOp.get(node.op) ?? []) {
      const result = attempt(count, rule.name, () => apply(rule, node, builder))
      if (result === undefined) continue
      count(rule.name)
      count.trail?.applied(rule.name, node, result)
      return result
    }
    return undefined
  }
  /** Settles what a rule built below its result. */
  const inside = (root: Node.Node, builder: Graph.Builder, left: number): Node.Node => {
    for (const node of Node.postOrder([root], settled)) {
      const operands = node.operands.map((o) => settled.get(o) ?? o)
      const own = builder.intern(Node.withOperands(node, operands))
      count.trail?.follow(node, own)
      if (node === root) return own
      const result = settle(own, builder, left)
      settled.set(node, result)
      settled.set(result, result)
    }
    return root
  }
  const step = (node: Node.Node, builder: Graph.Builder): Node.Node => {
    const result = settle(node, builder, fuel)
    settled.set(node, result)
    settled.set(result, result)
    return result
  }
  return Graph.transform(graph, step, count.trail?.follow)
}
