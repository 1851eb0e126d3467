import { describe, expect, test } from "vitest"
import { fusedKernels } from "../../support/fusedKernels.ts"

const sizes = { B: 2, T: 3, C: 5 }

/** What each kernel is around, in order, where what follows %n, a norm of %x, is these lines; the graph gives what it gave. */
const kernels = (lines: string, rowEpilogues = true): ReadonlyArray<string> =>
  fusedKernels(
    `graph {
    %x: f32[B, 2, T, 8] = input {name = "x"}
    %c: f32[T, 4] = input {name = "c"}
    %g: f32[8] = input {name = "g"}
    %n: f32[B, 2, T, 8] = rms_norm %x {axis = 3, epsilon = 0.001}
    ${lines}
  }`,
    sizes,
    { productsInPlace: true, rowEpilogues }
  )

const slice = (name: string, of: string, start: number, stop: number, step = 1): string =>
  `%${name}: f32[B, 2, T, ${Math.ceil((stop - start) / step)}] = slice %${of} {starts = [0, 0, 0, ${start}], stops = [B, 2, T, ${stop}], steps = [1, 1, 1, ${step}]}`

const halves = (of: string): string => `${slice("a", of, 0, 4)}
  ${slice("b", of, 4, 8)}
  %m: f32[B, 2, T, 4] = neg %b`

const turned = `
  %h: f32[B, 2, T, 8] = mul %n, %g
  ${halves("h")}
  %e: f32[B, 2, T, 4] = mul %m, %c
  %o: f32[B, 2, T, 8] = concat %e, %a {axis = 3}`

describe("a norm and what mixes its rows are one kernel", () => {
  const spellings: ReadonlyArray<readonly [name: string, lines: string]> = [
    ["halves", `${turned} return %o`],
    ["heads that move then", `${turned} %p: f32[B, T, 2, 8] = transpose %o {perm = [0, 2, 1, 3]} return %p`],
    ["a cast", `${turned} %p: f16[B, 2, T, 8] = cast %o return %p`],
    [
      "rows plus rows with halves exchanged",
      `${halves("n")}
       %e: f32[B, 2, T, 8] = concat %m, %a {axis = 3}
       %o: f32[B, 2, T, 8] = add %n, %e
       return %o`
    ],
    [
      "neighbours, by a reshape",
      `%y: f32[B, 2, T, 4, 2] = reshape %n
       %y0: f32[B, 2, T, 4, 1] = slice %y {starts = [0, 0, 0, 0, 0], stops = [B, 2, T, 4, 1], steps = [1, 1, 1, 1, 1]}
       %y1: f32[B, 2, T, 4, 1] = slice %y {starts = [0, 0, 0, 0, 1], stops = [B, 2, T, 4, 2], steps = [1, 1, 1, 1, 1]}
       %m: f32[B, 2, T, 4, 1] = neg %y1
       %e: f32[B, 2, T, 4, 2] = concat %m, %y0 {axis = 4}
       %o: f32[B, 2, T, 8] = reshape %e
       return %o`
    ],
    ["some of a row", `${halves("n")} %o: f32[B, 2, T, 4] = add %a, %m return %o`],
    [
      "a row into a tensor",
      `%k: f32[B, 2, C, 8] = input {name = "k"}
       %s: i32[B] = input {name = "s"}
       ${turned}
       %u: f32[B, 2, C, 8] = update_slice %k, %o, %s {axis = 2, wrap = false}
       return %u`
    ]
  ]
  test.each(spellings)("%s", (_, lines) => {
    expect(kernels(lines)).toEqual(["rms_norm"])
    expect(kernels(lines, false)).toEqual(["rms_norm", "map"])
  })
})

describe("a norm is a kernel of its own", () => {
  const others: ReadonlyArray<readonly [why: string, lines: string]> = [
    ["where it is a result", `${turned} return "n": %n, "o": %o`],
    [
      "where somebody else reads it",
      `${turned} %s: f32[B, 2, T] = reduce_sum %h {axes = [3]} return "o": %o, "s": %s`
    ],
    [
      "where rows of two heads meet",
      `%a: f32[B, 1, T, 8] = slice %n {starts = [0, 0, 0, 0], stops = [B, 1, T, 8], steps = [1, 1, 1, 1]}
       %b: f32[B, 1, T, 8] = slice %n {starts = [0, 1, 0, 0], stops = [B, 2, T, 8], steps = [1, 1, 1, 1]}
       %o: f32[B, 1, T, 8] = add %a, %b
       return %o`
    ],
    [
      "where a row meets that of another position",
      `%r: f32[B, 2, 8, T] = transpose %n {perm = [0, 1, 3, 2]}
       %y: f32[B, 2, 8, T] = reshape %n
       %o: f32[B, 2, 8, T] = add %r, %y
       return %o`
    ],
    [
      "where heads become one",
      `${halves("n")}
       %e: f32[B, 2, T, 8] = concat %m, %a {axis = 3}
       %t: f32[B, T, 2, 8] = transpose %e {perm = [0, 2, 1, 3]}
       %y: f32[B, T, 16] = reshape %t
       %z: f32[B, T, 16] = exp %y
       return %z`
    ],
    [
      "where positions follow each other",
      `%z: f32[B, 2, 1, 8] = input {name = "z"}
       %o: f32[B, 2, T + 1, 8] = concat %z, %n {axis = 2}
       return %o`
    ],
    [
      "where a row becomes longer",
      `%o: f32[B, 2, T, 16] = concat %n, %n {axis = 3}
       return %o`
    ],
    [
      "where every row meets all of another tensor",
      `%z: f32[7, 1, 1, 1, 1] = input {name = "z"}
       %o: f32[7, B, 2, T, 8] = add %z, %n
       return %o`
    ]
  ]
  test.each(others)("%s", (_, lines) => {
    expect(kernels(lines)[0]).toBe("rms_norm")
    expect(kernels(lines).length).toBeGreaterThan(1)
  })
})
