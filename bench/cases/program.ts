/** The cases as a user of Effuse writes them, and how far a correct result may be off. */
import { Result } from "effect"
import type * as HostArray from "../../ir/HostArray.ts"
import * as Tolerance from "../../ir/Tolerance.ts"
import * as Attention from "../../src/Attention.ts"
import * as Mask from "../../src/Mask.ts"
import * as Score from "../../src/Score.ts"
import { type Spec, spec } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"
import { trace } from "../../src/trace.ts"
import { blockSizes, type Case, isLookedAt, type Attention as Shape } from "./cases.ts"
import { inputsOf, shapeOf } from "./inputs.ts"
import { layer } from "./transformer.ts"

type Tensors = { readonly [name: string]: Tensor.Tensor }

export interface Program {
  readonly fn: (inputs: Tensors) => Tensor.Tensor
  readonly signature: { readonly [name: string]: Spec }
  /** Lengths of the case. */
  readonly sizes: { readonly [symbol: string]: number }
}

const attention =
  (c: Shape) =>
  ({ q, k, v }: Tensors): Tensor.Tensor => {
    if (c.alibi === true || c.softcap !== undefined) {
      const capped = c.softcap === undefined ? [] : [Score.softcap(c.softcap)]
      const far = c.alibi === true ? [Score.alibi(c.heads[0])] : []
      const [first = Score.scale(1), second = Score.scale(1)] = [...capped, ...far]
      const [keys, values] = [k, v].map((x) =>
        Tensor.repeatHeads(x as Tensor.Tensor, c.heads[0] / c.heads[1])
      )
      const logits = Tensor.matmul(q as never, Tensor.transpose(keys as never) as never) as Tensor.Tensor
      const scores = Score.andThen(
        first,
        second
      )(Tensor.mul(logits, 1 / Math.sqrt(c.D)) as Tensor.Tensor<"f32">)
      const weights = Tensor.softmax(c.causal ? Mask.apply(scores, Mask.causal) : scores, -1)
      return Tensor.matmul(weights as never, values as never) as Tensor.Tensor
    }
    return Attention.scaledDotProductAttention(
      q as never,
      k as never,
      v as never,
      {
        ...(c.causal ? { mask: "causal" as const } : {}),
        ...(c.window === undefined ? {} : { window: c.window - 1 })
      } as never
    ) as Tensor.Tensor
  }

export const programOf = (c: Case): Program => {
  if (c.kind === "product") {
    return {
      fn: ({ a, b }) => Tensor.matmul(a as never, b as never) as Tensor.Tensor,
      signature: { a: spec("f32", ["M", c.K]), b: spec("f32", [c.K, c.N]) },
      sizes: { M: c.M }
    }
  }
  if (c.kind === "block") {
    const given = Object.entries(inputsOf({ ...c, T: 0 })).filter(([name]) => name !== "x")
    const weights = given.map(([name, x]) => [name, spec("f32", x.shape)] as const)
    return {
      fn: ({ x, ...w }) => layer(x as Tensor.Tensor, w as never),
      signature: { x: spec("f32", ["B", "T", 512]), ...Object.fromEntries(weights) },
      sizes: { B: 1, T: c.T }
    }
  }
  const [queries, keys] = c.heads
  return {
    fn: attention(c),
    signature: {
      q: spec(c.dtype, [1, queries, "T", c.D]),
      k: spec(c.dtype, [1, keys, "S", c.D]),
      v: spec(c.dtype, [1, keys, "S", c.D])
    },
    sizes: { T: c.T, S: c.S }
  }
}

/** The block with its angles given: WGSL allows its sines errors so large that next to them any result would be right. */
const withAngles = (program: Program): Program => ({
  ...program,
  fn: ({ x, cos, sin, ...w }) =>
    layer(x as Tensor.Tensor, w as never, (heads) => Tensor.rope(heads, { cos, sin }) as Tensor.Tensor),
  signature: {
    ...program.signature,
    cos: spec("f32", ["T", blockSizes.size / 2]),
    sin: spec("f32", ["T", blockSizes.size / 2])
  }
})

/** Without the rows that the reference leaves out. */
const compared = (c: Case, actual: Float32Array): Float32Array => {
  if (c.kind !== "attention") return actual
  const rows = actual.slice()
  for (let row = 0; row < c.heads[0] * c.T; row++)
    if (!isLookedAt(c, Math.floor(row / c.T), row % c.T)) rows.fill(0, row * c.D, (row + 1) * c.D)
  return rows
}

/** Whether a result is right, and a line that says how far off it is. */
export const judge = (
  c: Case,
  actual: Float32Array,
  expected: Float64Array
): { readonly ok: boolean; readonly message: string } => {
  const program = programOf(c)
  const { fn, signature, sizes } = c.kind === "block" ? withAngles(program) : program
  const { graph } = Result.getOrThrow(trace(fn as Parameters<typeof trace>[0], signature))
  const [tolerance] = Tolerance.of(graph, sizes, { exponent: 8 })
  const shape = shapeOf(c)
  if (actual.length !== expected.length || tolerance === undefined)
    return { ok: false, message: `${actual.length} numbers instead of ${expected.length}` }
  const as64 = (data: ArrayLike<number>): HostArray.HostArray<"f64"> => ({
    dtype: "f64",
    shape,
    data: Float64Array.from(data)
  })
  const { ok, message } = Tolerance.compare(as64(compared(c, actual)), as64(expected), tolerance)
  return { ok, message }
}
