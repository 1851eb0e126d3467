import { describe, expect, test } from "vitest"
import { dispatched } from "../../support/dispatched.ts"
import { input } from "../../support/irText.ts"

const kinds = ["cpu", "gpu"] as const
const calls = (K: number) => [1, 2, 3, 5, 33].map((T) => ({ sizes: { T, K } }))

/** One dispatch a call: matrix times vector to so many rows, then tiles. */
const once = (kind: "cpu" | "gpu") =>
  [1, 2, 3, 5, 33].map((T) => [T <= (kind === "cpu" ? 2 : 3) ? "matmul_vector" : "matmul"])

interface Size {
  readonly heads: number
  readonly size: number
  readonly dtype?: string
  readonly bias?: boolean
  /** Whether the weight is [columns, K]. */
  readonly transposed?: boolean
}

/** Heads [H, T, D] of a projection of x [T, K], rotated by `turn`, which names them %h and its result %r. */
const projected = (
  { heads: H, size: D, dtype = "f32", bias = false, transposed = false }: Size,
  turn: (H: number, D: number) => string
): string => {
  const N = H * D
  const cast = (name: string, of: string, shape: string) =>
    dtype === "f32" ? "" : `${name}: f32[${shape}] = cast ${of}`
  const wide = (name: string, of: string) => (dtype === "f32" ? of : name)
  const w = transposed ? `${N}, K` : `K, ${N}`
  return `graph {
    ${input(`${dtype}[T, K]`)}
    ${input(`${dtype}[${w}]`, "w")}
    ${bias ? input(`f32[${N}]`, "bias") : ""}
    ${input(`f32[T, ${D / 2}]`, "cos")}
    ${input(`f32[T, ${D / 2}]`, "sin")}
    ${cast("%wx", "%x", "T, K")}
    ${cast("%ww", "%w", w)}
    %p: f32[T, ${N}] = dot ${wide("%wx", "%x")}, ${wide("%ww", "%w")} {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [${transposed ? 1 : 0}]}
    ${bias ? `%q: f32[T, ${N}] = add %p, %bias` : ""}
    %s: f32[T, ${H}, ${D}] = reshape ${bias ? "%q" : "%p"}
    %h: f32[${H}, T, ${D}] = transpose %s {perm = [1, 0, 2]}
    ${turn(H, D)}
    ${dtype === "f32" ? "" : `%n: ${dtype}[${H}, T, ${D}] = cast %r`}
    return "r": ${dtype === "f32" ? "%r" : "%n"}
  }`
}

const slice = (name: string, H: number, start: number, stop: number, step = 1): string =>
  `${name}: f32[${H}, T, ${Math.ceil((stop - start) / step)}] = slice %h {starts = [0, 0, ${start}], stops = [${H}, T, ${stop}], steps = [1, 1, ${step}]}`

const product = (name: string, H: number, m: number, a: string, b: string): string =>
  `${name}: f32[${H}, T, ${m}] = mul ${a}, ${b}`

/** (a, b) to (a cos - b sin, b cos + a sin). */
const turned = (H: number, m: number): string => `
  ${product("%ac", H, m, "%a", "%cos")}
  ${product("%bs", H, m, "%b", "%sin")}
  ${product("%bc", H, m, "%b", "%cos")}
  ${product("%as", H, m, "%a", "%sin")}
  %u: f32[${H}, T, ${m}] = sub %ac, %bs
  %v: f32[${H}, T, ${m}] = add %bc, %as`

const halves = (H: number, D: number): string => `
  ${slice("%a", H, 0, D / 2)}
  ${slice("%b", H, D / 2, D)}
  ${turned(H, D / 2)}
  %r: f32[${H}, T, ${D}] = concat %u, %v {axis = 2}`

const neighbours = (H: number, D: number): string => `
  ${slice("%a", H, 0, D, 2)}
  ${slice("%b", H, 1, D, 2)}
  ${turned(H, D / 2)}
  %u1: f32[${H}, T, ${D / 2}, 1] = reshape %u
  %v1: f32[${H}, T, ${D / 2}, 1] = reshape %v
  %uv: f32[${H}, T, ${D / 2}, 2] = concat %u1, %v1 {axis = 3}
  %r: f32[${H}, T, ${D}] = reshape %uv`

/** Heads times cosines plus heads with halves exchanged times sines. */
const rotateHalf = (H: number, D: number): string => `
  ${slice("%a", H, 0, D / 2)}
  ${slice("%b", H, D / 2, D)}
  %nb: f32[${H}, T, ${D / 2}] = neg %b
  %o: f32[${H}, T, ${D}] = concat %nb, %a {axis = 2}
  %cc: f32[T, ${D}] = concat %cos, %cos {axis = 1}
  %ss: f32[T, ${D}] = concat %sin, %sin {axis = 1}
  ${product("%hc", H, D, "%h", "%cc")}
  ${product("%os", H, D, "%o", "%ss")}
  %r: f32[${H}, T, ${D}] = add %hc, %os`

const spellings = { halves, neighbours, rotateHalf }

describe.each(kinds)("a rotation is the end of its projection, by kernels for a %s", (kind) => {
  test.each([
    ["halves", { heads: 3, size: 8 }],
    ["halves", { heads: 2, size: 2, bias: true }],
    ["halves", { heads: 1, size: 128, transposed: true }],
    ["neighbours", { heads: 5, size: 16, transposed: true, bias: true }],
    ["neighbours", { heads: 3, size: 6 }],
    ["neighbours", { heads: 3, size: 16 }],
    ["rotateHalf", { heads: 1, size: 6, transposed: true }],
    ["rotateHalf", { heads: 3, size: 32, bias: true }]
  ] as const)("%s of %o", async (spelling, size) => {
    const text = projected(size, spellings[spelling])
    expect(await dispatched(text, calls(12), { kind })).toEqual(once(kind))
  })

  test("of any depth", async () => {
    const text = projected({ heads: 3, size: 8 }, halves)
    expect(await dispatched(text, calls(7), { kind })).toEqual(once(kind))
    expect(await dispatched(text, [{ sizes: { T: 4, K: 0 } }, { sizes: { T: 0, K: 4 } }], { kind })).toEqual([
      ["matmul"],
      []
    ])
  })

  test.each(["f16", "bf16"])("of %s", async (dtype) => {
    for (const [size, turn] of [
      [{ heads: 3, size: 8, dtype }, halves],
      [{ heads: 3, size: 8, dtype, transposed: true, bias: true }, rotateHalf],
      [{ heads: 1, size: 6, dtype }, halves],
      [{ heads: 2, size: 8, dtype }, neighbours]
    ] as const)
      expect(await dispatched(projected(size, turn), calls(12), { kind })).toEqual(once(kind))
  })

  test("where the sums of a long depth are split", async () => {
    for (const dtype of ["f32", "f16"])
      expect(
        await dispatched(projected({ heads: 2, size: 8, dtype }, halves), [{ sizes: { T: 5, K: 700 } }], {
          kind
        })
      ).toEqual([["matmul_split", "matmul_combine"]])
  })
})
