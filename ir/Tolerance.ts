import * as Dim from "./Dim.ts"
import * as DType from "./DType.ts"
import type * as Graph from "./Graph.ts"
import * as HostArray from "./HostArray.ts"
import { isHalf, wide } from "./halfProducts.ts"
import type * as Node from "./Node.ts"
import { specOf } from "./Node.ts"
import { parts } from "./ops/flashAttention.ts"
import type { Arithmetic } from "./Schedule.ts"
import * as Shape from "./Shape.ts"

/**
 * How far two correct computations of one graph may lie apart. Derived from the graph, never picked.
 *
 * Along every path a bound on the error is carried, in units of the largest element of a tensor (a normwise bound: sums may cancel,
 * so no bound relative to a single element exists). With u the unit roundoff of a dtype and a that of its accumulator:
 *
 *     source, integers       0
 *     movement, choice       max of operands
 *     sum, difference        max of operands + u
 *     product, quotient      sum of operands + (3 or less) u      WGSL, 15.7.4.1, division is off by 2.5 units
 *     other functions        sum of operands + f u                f: the accuracy WGSL grants that function
 *     exp and its kin        κ · operand + (3 + 2κ) u             exp(x + δ) = exp(x)(1 + δ); |x| ≤ κ
 *     contraction, sum of n  sum of operands + γ(n, a) + u
 *     products in f16        + 10 units of f16, of values + 11   eight roundings and two for what is flushed; weights are rounded, too
 *     softmax of n           κ · operand + (3 + 2κ) a + γ(n, a) + u
 *     attention              q·k, score region, softmax and p·v by the lines above
 *
 * γ(n, u) = exp(λ √n u) − 1 bounds a sum of n rounded terms in any order, with a probability of failure below
 * 2 exp(−λ²/2) for each element: Higham & Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput.
 * 41(5), 2019, Theorem 2.4. λ = 8 makes that 2.5e-14.
 */
export interface Tolerance {
  /** Allowed error in units of |expected element| + largest |expected element|. */
  readonly relative: number
  /** Allowed error where everything is near zero: devices may flush subnormals. */
  readonly absolute: number
}

export interface Options {
  /** Largest |argument| of an exponential that is expected, after scaling. */
  readonly exponent?: number
  /** Whether rules that reassociate floats may have fired: both orders have their own error. */
  readonly reassociated?: boolean
  /**
   * What the expectation was computed with: "exact" by the float64 oracle, "rounded" by another backend or by the
   * reference in float32, which has an error of its own.
   */
  readonly expected?: "exact" | "rounded"
  /** What products of numbers that are stored as f16 may be rounded to. Float32 unless given. */
  readonly arithmetic?: Arithmetic
}

/** What the walk over a graph is told besides it. */
interface Setting {
  readonly sizes: Dim.Bindings
  readonly kappa: number
  readonly arithmetic: Arithmetic
}

/**
 * Error of products in f16 of tiles that are fit for it, in units of the largest product: backends add up at most eight before they are added
 * in float32, and what devices may flush to zero is less than two roundings.
 */
const productsInHalf = (8 + 2) * DType.roundoff.f16

const confidence = 8

/** Error of a sum of `n` terms in an arithmetic of roundoff `u`, in units of the sum of absolute terms. */
export const gamma = (n: number, u: number): number => Math.expm1(confidence * Math.sqrt(Math.max(n, 1)) * u)

/** Smallest normal number. */
const smallestNormal: { readonly [D in DType.FloatDType]: number } = {
  f64: 2 ** -1022,
  f32: 2 ** -126,
  f16: 2 ** -14,
  bf16: 2 ** -126
}

const roundoff = (d: DType.DType): number => (DType.isFloat(d) ? DType.roundoff[d] : 0)
const accumulator = (d: DType.DType): number => DType.roundoff[d === "f64" ? "f64" : "f32"]

/**
 * Units in the last place that functions are off by whose error does not depend on the argument: what WGSL (15.7.4.1) grants. It grants sines and cosines
 * 2^-11, within [-π, π]: backends compute these themselves, at any angle.
 */
const granted: { readonly [op: string]: number } = {
  div: 2.5,
  rsqrt: 2,
  sqrt: 4.5,
  // 2^-21 absolute near 1, 3 units elsewhere.
  log: 8,
  sin: 4,
  cos: 4,
  erf: 16
}

const elementwise = (node: Node.Node, operands: ReadonlyArray<number>, kappa: number): number => {
  const u = roundoff(node.type.dtype)
  const most = Math.max(0, ...operands)
  const sum = operands.reduce((a, b) => a + b, 0)
  switch (node.op) {
    case "exp":
    case "exp2":
    case "sigmoid":
    case "tanh":
      return kappa * sum + (3 + 2 * kappa) * u
    case "pow":
      return kappa * sum + (3 + 2 * kappa + granted.log!) * u
    // An angle of up to 2^13 that is itself rounded, a position times a frequency, is off by as many units.
    case "sin":
    case "cos":
      return sum + (sum === 0 ? (granted[node.op] as number) : 2 ** 13) * u
    case "mul":
    case "div":
      return sum + (granted[node.op] ?? 1) * u
    case "add":
    case "sub":
    case "cast":
      return most + u
    default:
      return specOf(node.op).facts.exact === true ? most : sum + (granted[node.op] ?? 1) * u
  }
}

/** Bounds of all nodes of a graph, given those of its inputs. */
const propagate = (
  graph: Graph.Graph,
  inputs: ReadonlyArray<number>,
  setting: Setting
): ReadonlyArray<number> => {
  const bounds = new Map<Node.Node, number>()
  graph.inputs.forEach((input, i) => {
    bounds.set(input, inputs[i] ?? 0)
  })
  for (const node of graph.nodes) {
    if (node.op === "input") continue
    const operands = node.operands.map((o) => bounds.get(o) ?? 0)
    bounds.set(node, DType.isFloat(node.type.dtype) ? boundOf(node, operands, setting) : 0)
  }
  return graph.outputs.map((o) => bounds.get(o.node) ?? 0)
}

const lengthOf = (node: Node.Node, axes: ReadonlyArray<number>, sizes: Dim.Bindings): number =>
  axes.reduce((n, axis) => n * Dim.evaluate(node.type.shape[axis] as Dim.Dim, sizes), 1)

const softmaxError = (operand: number, n: number, a: number, kappa: number): number =>
  kappa * operand + (3 + 2 * kappa) * a + gamma(n, a)

const boundOf = (node: Node.Node, operands: ReadonlyArray<number>, setting: Setting): number => {
  const { sizes, kappa } = setting
  const u = roundoff(node.type.dtype)
  const a = accumulator(node.type.dtype)
  const most = Math.max(0, ...operands)
  const sum = operands.reduce((x, y) => x + y, 0)
  const x = node.operands[0] as Node.Node
  switch (node.op) {
    case "dot":
      return sum + gamma(lengthOf(x, node.attrs.lhsContract, sizes), a) + u + halved(node, setting)
    case "reduce_sum":
    case "reduce_prod":
      return most + gamma(lengthOf(x, node.attrs.axes, sizes), a) + u
    case "cumsum":
      return most + gamma(lengthOf(x, [node.attrs.axis], sizes), a) + u
    case "softmax":
    case "logsumexp":
      return softmaxError(most, lengthOf(x, [node.attrs.axis], sizes), a, kappa) + u
    case "layer_norm":
    case "rms_norm":
      return 2 * most + gamma(lengthOf(x, [node.attrs.axis], sizes), a) + 6 * a + u
    case "flash_attention":
      return attention(node, operands, setting)
    case "fused":
      return propagate(node.attrs.body, operands, setting)[0] ?? 0
    case "reduce_max":
    case "reduce_min":
      return most
    default:
      return specOf(node.op).facts.movement === true ? most : elementwise(node, operands, kappa)
  }
}

/**
 * What products in f16 add to the error of a contraction. One that a person writes with one side stored as f16 may be that of the weights in
 * attention, which are rounded for it.
 */
const halved = (
  node: Node.NodeOf<"dot"> | Node.NodeOf<"flash_attention">,
  { arithmetic }: Setting
): number => {
  const all = wide(node).length === 0
  const may = arithmetic === "f16" && (node.op === "dot" ? node.operands.some(isHalf) : all)
  return may ? productsInHalf + (all ? 0 : DType.roundoff.f16) : 0
}

const attention = (
  node: Node.NodeOf<"flash_attention">,
  operands: ReadonlyArray<number>,
  setting: Setting
): number => {
  const { sizes, kappa } = setting
  const half = halved(node, setting)
  const { v, terms, captures } = parts(operands, node.attrs)
  const [, keys] = node.operands as [Node.Node, Node.Node]
  const a = accumulator((keys as Node.Node).type.dtype)
  const [, , length] = Shape.evaluate((keys as Node.Node).type.shape, sizes) as [number, number, number]
  const widths = parts(node.operands, node.attrs).terms.map((t) => lengthOf(t.k, [3], sizes))
  const logits = terms.map(({ q, k }, n) => q + k + gamma(widths[n] as number, a) + half)
  const region = node.attrs.score as Graph.Graph
  const [score = 0] = propagate(region, [...logits, 0, 0, 0, 0, ...captures], setting)
  if (node.attrs.output === "max") return score + roundoff(node.type.dtype)
  const weights = node.attrs.normaliser === undefined ? softmaxError(score, length, a, kappa) : score
  const [factor = 0] =
    node.attrs.probability === undefined
      ? []
      : propagate(node.attrs.probability as Graph.Graph, [0, 0, 0, 0, ...captures], setting)
  const weighted = half === 0 ? 0 : half + DType.roundoff.f16
  return weights + factor + v + gamma(length, a) + weighted + 2 * a + roundoff(node.type.dtype)
}

/**
 * The tolerance of each output of a graph for lengths, in the order of the outputs. Integers and bools are compared exactly. A graph and its
 * optimised form have bounds of their own: take those of the graph a person wrote, whose roundings are the more numerous.
 */
export const of = (
  graph: Graph.Graph,
  sizes: Dim.Bindings,
  options: Options = {}
): ReadonlyArray<Tolerance> => {
  const { exponent: kappa = 8, arithmetic = "f32" } = options
  const bounds = propagate(graph, [], { sizes, kappa, arithmetic })
  const factor = (options.reassociated === true ? 2 : 1) * (options.expected === "rounded" ? 2 : 1)
  return graph.outputs.map(({ node }, i) =>
    DType.isFloat(node.type.dtype)
      ? {
          // The expectation, however exact, is rounded to the dtype once.
          relative: factor * (bounds[i] as number) + roundoff(node.type.dtype),
          absolute: smallestNormal[node.type.dtype]
        }
      : exact
  )
}

/** Equality. */
export const exact: Tolerance = { relative: 0, absolute: 0 }

/** One element that is further off than all others. */
export interface Worst {
  readonly index: ReadonlyArray<number>
  readonly actual: number
  readonly expected: number
  readonly error: number
  readonly allowed: number
}

export interface Comparison {
  readonly ok: boolean
  /** Elements outside the tolerance. */
  readonly failures: number
  /** The element with the largest error in units of what is allowed; absent for arrays without elements or of other types. */
  readonly worst?: Worst
  /** One line for people. */
  readonly message: string
}

const indexOf = (flat: number, shape: ReadonlyArray<number>): ReadonlyArray<number> => {
  const strides = Shape.strides(shape)
  return shape.map((size, axis) => Math.floor(flat / (strides[axis] as number)) % size)
}

/**
 * Compares element by element: |actual − expected| ≤ relative · (|expected| + largest finite |expected|) + absolute. NaN and
 * infinities must be in the same places.
 */
export const compare = (
  actual: HostArray.HostArray,
  expected: HostArray.HostArray,
  tolerance: Tolerance
): Comparison => {
  const typed = (array: HostArray.HostArray): string => `${array.dtype}[${array.shape.join(", ")}]`
  if (typed(actual) !== typed(expected)) {
    return { ok: false, failures: 1, message: `${typed(actual)} instead of ${typed(expected)}` }
  }
  const [a, e] = [HostArray.toNumbers(actual), HostArray.toNumbers(expected)]
  let scale = 0
  for (const x of e) if (Number.isFinite(x)) scale = Math.max(scale, Math.abs(x))
  let failures = 0
  let worst: { at: number; error: number; allowed: number; ratio: number } | undefined
  for (let i = 0; i < e.length; i++) {
    const [x, y] = [a[i] as number, e[i] as number]
    const ordinary = Number.isFinite(x) && Number.isFinite(y)
    const same = Object.is(x, y) || x === y
    const error = same ? 0 : ordinary ? Math.abs(x - y) : Infinity
    const allowed = ordinary ? tolerance.relative * (Math.abs(y) + scale) + tolerance.absolute : 0
    if (error > allowed) failures++
    const ratio = error === 0 ? 0 : error / allowed
    if (worst === undefined || ratio > worst.ratio) worst = { at: i, error, allowed, ratio }
  }
  if (worst === undefined) return { ok: true, failures, message: `${typed(expected)}: nothing to compare` }
  const { at, error, allowed } = worst
  const found: Worst = {
    index: indexOf(at, expected.shape),
    actual: a[at] as number,
    expected: e[at] as number,
    error,
    allowed
  }
  const place = `worst at [${found.index.join(", ")}]: ${found.actual} for ${found.expected}, error ${error} of ${allowed} allowed`
  const count = failures === 0 ? "within tolerance" : `${failures} of ${e.length} elements outside tolerance`
  return { ok: failures === 0, failures, worst: found, message: `${typed(expected)}: ${count}; ${place}` }
}
