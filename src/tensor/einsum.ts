import * as Dim from "../../ir/Dim.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { Fits, Shaped } from "./dims.ts"
import type { Einsum } from "./equation.ts"
import { reshapeNode, transposeNode } from "./movement.ts"
import { castNode, meet, type Numeric, numeric, type Promote, scalar, tensorNode } from "./operand.ts"
import * as Site from "./Site.ts"
import { iotaNode } from "./source.ts"
import { fromNode, isTensor, type Tensor } from "./Tensor.ts"

/** A node whose axes have names: a letter, or `...0`, `...1`, … for the axes of an ellipsis, counted from the right. */
interface Named {
  readonly node: IRNode.Node
  readonly labels: ReadonlyArray<string>
}

const mistake = (equation: string, why: string) =>
  Site.attrError(
    "einsum",
    `${why} in ${JSON.stringify(equation)}`,
    'write letters for axes: "bhqd,bhkd->bhqk"'
  )

const labelsOf = (equation: string, term: string, ellipsis: number): ReadonlyArray<string> => {
  const labels: Array<string> = []
  for (const [part] of term.matchAll(/\.\.\.|[\s\S]/g)) {
    if (part === "...") {
      if (labels.some((l) => l.startsWith("..."))) throw mistake(equation, "two ellipses stand in one term")
      for (let i = ellipsis - 1; i >= 0; i--) labels.push(`...${i}`)
    } else if (/[A-Za-z]/.test(part)) labels.push(part)
    else throw mistake(equation, `${JSON.stringify(part)} is not a letter`)
  }
  return labels
}

/** Letters that occur once, in alphabetical order, after the axes of the ellipses: what numpy.einsum assumes. */
const implied = (terms: ReadonlyArray<string>): string => {
  const letters = terms.join("").replaceAll(".", "").split("").sort()
  const once = letters.filter((l) => letters.indexOf(l) === letters.lastIndexOf(l)).join("")
  return terms.some((t) => t.includes("...")) ? `...${once}` : once
}

interface Parsed {
  readonly inputs: ReadonlyArray<Named>
  readonly output: ReadonlyArray<string>
}

const parse = (equation: string, nodes: ReadonlyArray<IRNode.Node>): Parsed => {
  const [left = "", right, ...more] = equation.replaceAll(/\s/g, "").split("->")
  if (more.length > 0) throw mistake(equation, "there are two arrows")
  const terms = left.split(",")
  let most = 0
  const inputs = nodes.map((node, i) => {
    const term = terms[i] as string
    const rank = node.type.shape.length
    const letters = term.replace("...", "").length
    const spare = rank - letters
    if (spare < 0 || (spare > 0 && !term.includes("..."))) {
      throw Site.shapeError(
        "einsum",
        `${JSON.stringify(term)} names ${letters} axes of ${Site.list([node])}`,
        "name each axis once, or write ... for the others"
      )
    }
    most = Math.max(most, spare)
    return { node, labels: labelsOf(equation, term, spare) }
  })
  const output = labelsOf(equation, right ?? implied(terms), most)
  const known = new Set(inputs.flatMap((x) => x.labels))
  output.forEach((label, i) => {
    if (!known.has(label)) throw mistake(equation, `the result names ${label}, which no operand has,`)
    if (output.indexOf(label) !== i) throw mistake(equation, `the result names ${label} twice`)
  })
  return { inputs, output }
}

/** The size of each label; a size of literally 1 gives way to another. */
const sizesOf = (equation: string, inputs: ReadonlyArray<Named>): ReadonlyMap<string, Dim.Dim> => {
  const sizes = new Map<string, Dim.Dim>()
  for (const { node, labels } of inputs) {
    labels.forEach((label, axis) => {
      const own = Site.sizeAt(node.type.shape, axis)
      const known = sizes.get(label) ?? Dim.one
      if (!Dim.isOne(own) && !Dim.isOne(known) && !Dim.canEqual(own, known)) {
        throw Site.shapeError(
          "einsum",
          `${label} is ${Dim.print(known)} and ${Dim.print(own)} in ${JSON.stringify(equation)}, given ${Site.list(inputs.map((x) => x.node))}`,
          "one letter means one size"
        )
      }
      if (Dim.isOne(known)) sizes.set(label, own)
    })
  }
  return sizes
}

const without = ({ node, labels }: Named, dropped: (label: string, axis: number) => boolean): Named => ({
  node: reshapeNode(
    node,
    node.type.shape.filter((_, i) => !dropped(labels[i] as string, i))
  ),
  labels: labels.filter((l, i) => !dropped(l, i))
})

const sumOver = (x: Named, gone: (label: string) => boolean): Named => {
  const axes = x.labels.flatMap((l, i) => (gone(l) ? [i] : []))
  if (axes.length === 0) return x
  return { node: Site.emit("reduce_sum", [x.node], { axes }), labels: x.labels.filter((l) => !gone(l)) }
}

/** A letter that stands twice in one term means the diagonal: everything else is masked, then summed away. */
const diagonal = (x: Named): Named => {
  const second = x.labels.findIndex((l, i) => x.labels.indexOf(l) !== i)
  if (second < 0) return x
  const first = x.labels.indexOf(x.labels[second] as string)
  const position = (axis: number): IRNode.Node => {
    const size = Site.sizeAt(x.node.type.shape, axis)
    return reshapeNode(
      iotaNode(size),
      x.labels.map((_, i) => (i === axis ? size : Dim.one))
    )
  }
  const onDiagonal = Site.emit("eq", [position(first), position(second)], {})
  const masked = Site.emit("select", [onDiagonal, x.node, scalar(0, x.node.type.dtype)], {})
  const rest = Site.emit("reduce_sum", [masked], { axes: [second] })
  return diagonal({ node: rest, labels: x.labels.filter((_, i) => i !== second) })
}

/** Axes in the order of `labels`, of size 1 where the node lacks one. */
const arranged = (x: Named, labels: ReadonlyArray<string>): IRNode.Node => {
  const perm = labels.flatMap((l) => (x.labels.includes(l) ? [x.labels.indexOf(l)] : []))
  const ordered = transposeNode(x.node, perm)
  let next = 0
  const shape = labels.map((l) => (x.labels.includes(l) ? Site.sizeAt(ordered.type.shape, next++) : Dim.one))
  return reshapeNode(ordered, shape)
}

/** The product of two, summed over labels that nothing needs any more. */
const pair = (left: Named, right: Named, needed: ReadonlySet<string>): Named => {
  const x = sumOver(left, (l) => !needed.has(l) && !right.labels.includes(l))
  const y = sumOver(right, (l) => !needed.has(l) && !left.labels.includes(l))
  const shared = x.labels.filter((l) => y.labels.includes(l))
  const batch = shared.filter((l) => needed.has(l))
  const contracted = shared.filter((l) => !needed.has(l))
  const labels = [
    ...batch,
    ...x.labels.filter((l) => !shared.includes(l)),
    ...y.labels.filter((l) => !shared.includes(l))
  ]
  if (contracted.length === 0) {
    return { node: Site.emit("mul", [arranged(x, labels), arranged(y, labels)], {}), labels }
  }
  const axes = (of: Named, names: ReadonlyArray<string>): ReadonlyArray<number> =>
    names.map((l) => of.labels.indexOf(l))
  const node = Site.emit("dot", [x.node, y.node], {
    lhsBatch: axes(x, batch),
    rhsBatch: axes(y, batch),
    lhsContract: axes(x, contracted),
    rhsContract: axes(y, contracted)
  })
  return { node, labels }
}

const evaluate = (equation: string, nodes: ReadonlyArray<IRNode.Node>): IRNode.Node => {
  const { inputs, output } = parse(equation, nodes)
  const sizes = sizesOf(equation, inputs)
  const stretched =
    (x: Named) =>
    (label: string, axis: number): boolean =>
      Dim.isOne(Site.sizeAt(x.node.type.shape, axis)) && !Dim.isOne(sizes.get(label) as Dim.Dim)
  const operands = inputs.map((x) => diagonal(without(x, stretched(x))))
  let result = operands[0] as Named
  operands.slice(1).forEach((next, i) => {
    result = pair(result, next, new Set([...output, ...operands.slice(i + 2).flatMap((x) => x.labels)]))
  })
  return arranged(
    sumOver(result, (l) => !output.includes(l)),
    output
  )
}

const termsOf = (equation: unknown): number => {
  if (typeof equation === "string") return (equation.split("->")[0] as string).split(",").length
  throw Site.attrError(
    "einsum",
    `${JSON.stringify(equation)} is not an equation`,
    'write letters for axes: "bhqd,bhkd->bhqk"'
  )
}

/**
 * Products and sums by letters, as numpy.einsum: `einsum("bhqd,bhkd->bhqk", q, k)`. A letter that the result lacks is summed over, a letter that stands
 * twice in one term takes the diagonal, `...` stands for the axes without a letter, which broadcast. More than two operands
 * are taken from left to right. With one operand too few it is a function of the first one, for `pipe`.
 *
 * Throws `ShapeError` where one letter means two sizes, `AttrError` where the equation is not one.
 */
export const einsum: {
  <const E extends `${string},${string}`, B extends Tensor>(
    equation: E,
    y: B
  ): <A extends Tensor>(
    x: A & Fits<Einsum<E, readonly [A["shape"], B["shape"]]>>
  ) => Tensor<Numeric<Promote<A["dtype"], B["dtype"]>>, Shaped<Einsum<E, readonly [A["shape"], B["shape"]]>>>
  <const E extends string, A extends Tensor>(
    equation: E,
    x: A & Fits<Einsum<E, readonly [A["shape"]]>>
  ): Tensor<Numeric<A["dtype"]>, Shaped<Einsum<E, readonly [A["shape"]]>>>
  <const E extends string, A extends Tensor, B extends Tensor>(
    equation: E,
    x: A,
    y: B & Fits<Einsum<E, readonly [A["shape"], B["shape"]]>>
  ): Tensor<Numeric<Promote<A["dtype"], B["dtype"]>>, Shaped<Einsum<E, readonly [A["shape"], B["shape"]]>>>
  (equation: string, x: Tensor, y: Tensor, z: Tensor, ...more: ReadonlyArray<Tensor>): Tensor
} = Site.dual(
  (args) => args.length !== termsOf(args[0]),
  (...args: ReadonlyArray<string | Tensor>) => {
    // The tensor of a pipe comes before the equation.
    const equation = args.find((x) => typeof x === "string") as string
    const operands = args.filter(isTensor)
    const terms = termsOf(equation)
    if (operands.length !== terms) {
      throw Site.attrError(
        "einsum",
        `${JSON.stringify(equation)} takes ${terms} operands, not ${operands.length}`,
        "separate the terms of operands with commas"
      )
    }
    const nodes = operands.map((x) => tensorNode("einsum", x))
    const dtype = numeric(meet("einsum", operands))
    return fromNode(
      evaluate(
        equation,
        nodes.map((n) => castNode(n, dtype))
      )
    )
  }
)
