import { fused } from "./irText.ts"

const one = (inputs: ReadonlyArray<readonly [string, string]>, type: string, line: string): string =>
  fused(inputs, type, [`%r: ${type} = ${line}`], "r")

const dot = "{lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [2]}"

/** Kernels worth reading, by name: the texts of the goldens, and a part of what is validated for every device. */
export const kernelTexts: { readonly [name: string]: string } = {
  "map-swish-f16": fused(
    [
      ["x", "f16[T, 64]"],
      ["bias", "f16[64]"]
    ],
    "f16[T, 64]",
    ["%a: f16[T, 64] = add %x, %bias", "%b: f16[T, 64] = sigmoid %a", "%c: f16[T, 64] = mul %a, %b"],
    "c"
  ),
  "map-heads": fused(
    [["x", "bf16[B, S, 8, 64]"]],
    "bf16[B, 16, S, 64]",
    [
      "%a: bf16[B, 8, S, 64] = transpose %x {perm = [0, 2, 1, 3]}",
      "%b: bf16[B, 8, 1, S, 64] = reshape %a",
      "%c: bf16[B, 8, 2, S, 64] = broadcast %b",
      "%d: bf16[B, 16, S, 64] = reshape %c"
    ],
    "d"
  ),
  "map-cache": fused(
    [
      ["past", "f32[P, 64]"],
      ["new", "f32[T, 64]"]
    ],
    "f32[P + T, 64]",
    ["%a: f32[P + T, 64] = concat %past, %new {axis = 0}"],
    "a"
  ),
  "rows-softmax": one([["x", "f32[B, T, S]"]], "f32[B, T, S]", "softmax %x {axis = 2}"),
  "rows-rms-norm": fused(
    [
      ["x", "f16[T, 128]"],
      ["gain", "f32[128]"]
    ],
    "f16[T, 128]",
    [
      "%a: f32[T, 128] = cast %x",
      "%b: f32[T, 128] = rms_norm %a {axis = 1, epsilon = 0.00001}",
      "%c: f32[T, 128] = mul %b, %gain",
      "%d: f16[T, 128] = cast %c"
    ],
    "d"
  ),
  "rows-sum": one([["x", "f32[T, 3, S]"]], "f32[3]", "reduce_sum %x {axes = [0, 2]}"),
  "matmul-gelu": fused(
    [
      ["x", "f32[T, 256]"],
      ["w", "f32[512, 256]"],
      ["bias", "f32[512]"]
    ],
    "f32[T, 512]",
    [
      "%d: f32[T, 512] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [1]}",
      "%e: f32[T, 512] = add %d, %bias",
      "%h: f32[] = constant {values = [0.7071067811865476]}",
      "%s: f32[T, 512] = mul %e, %h",
      "%f: f32[T, 512] = erf %s",
      "%o: f32[] = constant {values = [1]}",
      "%g: f32[T, 512] = add %f, %o",
      "%k: f32[T, 512] = mul %e, %g"
    ],
    "k"
  ),
  "matmul-scores": fused(
    [
      ["q", "f16[B, T, 64]"],
      ["k", "f16[B, S, 64]"]
    ],
    "f32[B, T, S]",
    [`%a: f32[B, T, 64] = cast %q`, `%b: f32[B, S, 64] = cast %k`, `%c: f32[B, T, S] = dot %a, %b ${dot}`],
    "c"
  ),
  "matmul-long": fused(
    [
      ["x", "f16[T, 4096]"],
      ["w", "f16[4096, 64]"],
      ["bias", "f32[64]"]
    ],
    "f16[T, 64]",
    [
      `%a: f32[T, 4096] = cast %x`,
      `%b: f32[4096, 64] = cast %w`,
      "%c: f32[T, 64] = dot %a, %b {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}",
      "%d: f32[T, 64] = add %c, %bias",
      "%r: f16[T, 64] = cast %d"
    ],
    "r"
  ),
  "matmul-sum": fused(
    [
      ["q", "f32[4, T, 8]"],
      ["k", "f32[4, S, 8]"],
      ["lse", "f32[4, T, 1]"]
    ],
    "f32[T, S]",
    [
      `%c: f32[4, T, S] = dot %q, %k ${dot}`,
      "%shifted: f32[4, T, S] = sub %c, %lse",
      "%w: f32[4, T, S] = exp %shifted",
      "%all: f32[T, S] = reduce_sum %w {axes = [0]}",
      "%quarter: f32[] = constant {values = [0.25]}",
      "%mean: f32[T, S] = mul %all, %quarter"
    ],
    "mean"
  )
}
