import { describe, expect, test } from "vitest"
import * as Reference from "../../../../backends/reference/Reference.ts"
import * as HostArray from "../../../../ir/HostArray.ts"
import * as Shape from "../../../../ir/Shape.ts"
import { normalizeMask } from "../../../../passes/normalizeMask.ts"
import * as arrays from "../../../support/arrays.ts"
import { expectSameValue, through } from "../../../support/fusing.ts"
import { checkRanges } from "../../../support/ranges.ts"
import * as s from "../../../support/spell.ts"
import { expectOutputs } from "../../../support/tolerance.ts"
import {
  attention,
  causal,
  compiled,
  even,
  flashes,
  flip,
  float,
  fuses,
  hold,
  keep,
  max,
  minusInfinity,
  node,
  one,
  padded,
  refused,
  roll,
  scores,
  square,
  sum,
  v,
  zero
} from "./nearMiss.ts"

const used = (x: s.N): s.N => s.matmul(s.softmax(x), v)
const masked = (mask: s.N, fill: s.N = minusInfinity): s.N => used(s.select(mask, scores, fill))
const queries = s.reshape(s.iota("T"), ["T", 1])
const floats = s.input("mask", ["T", "S"])

/** A mask is what the expression says, not what its name or its shape says. */
describe("masks that are easily mistaken", () => {
  /** Heads of a bias from one on, in steps; of 9 queries and 6 keys where asked. */
  const from = (first: number, last: number, step = 1, queries?: number): s.N => {
    const bias = s.input("bias", queries === undefined ? [4, "T", "S"] : [4, queries, 6])
    return node("slice", [bias], {
      starts: Shape.from([first, 0, 0]),
      stops: [s.Dim.from(last), ...bias.type.shape.slice(1)],
      steps: [step, 1, 1]
    })
  }
  const squares = s.input("keep", [6, 6], "bool")
  const cube = s.input("x", [4, 4, 6, 6])
  const heads = s.input("keep", [4, "T", "S"], "bool")
  hold({
    "multiplied by a causal mask: dropped scores are 0, and count": fuses(
      used(s.mul(scores, float(causal))),
      "score"
    ),
    "multiplied by a float mask": fuses(used(s.mul(scores, floats)), "score"),
    "a float mask through a sigmoid, added": fuses(used(s.add(scores, s.op("sigmoid", floats))), "score"),
    "a float mask through a sigmoid, multiplied": fuses(
      used(s.mul(scores, s.op("sigmoid", floats))),
      "score"
    ),
    "added 1 for kept keys": fuses(used(s.add(scores, float(keep))), "score"),
    "a transposed mask": fuses(
      s.matmul(s.softmax(s.select(s.swap(squares), even, minusInfinity)), square("v")),
      "mask"
    ),
    "a mask of the heads from the last": fuses(masked(flip(heads, 0)), "mask"),
    "a mask of the next head": fuses(masked(roll(heads, 0)), "mask"),
    "a mask with batch and heads exchanged": fuses(
      s.matmul(
        s.softmax(
          s.select(
            s.permute(s.input("keep", [4, 4, 6, 6], "bool"), 1, 0, 2, 3),
            s.matmul(cube, s.swap(cube)),
            minusInfinity
          )
        ),
        cube
      ),
      "mask"
    ),
    "padding of the queries": fuses(
      masked(s.reshape(s.input("keep", ["B", "T"], "bool"), ["B", 1, "T", 1])),
      "mask"
    ),
    "anti-causal": fuses(masked(s.op("not", causal)), "mask"),
    "causal from the end": fuses(masked(flip(causal, 1)), "mask"),
    "what a mask drops, kept": fuses(used(s.select(keep, minusInfinity, scores)), "mask"),
    "two masks, either of which keeps": fuses(masked(s.op("or", keep, causal)), "mask"),
    "two masks, one of which keeps": fuses(masked(s.op("xor", keep, causal)), "mask"),
    "a mask and one of other fill": fuses(
      used(s.select(keep, s.select(causal, scores, s.constant(-1e4)), minusInfinity)),
      "mask",
      "score"
    ),
    "a finite fill behind -inf": fuses(
      used(s.select(keep, s.select(causal, scores, minusInfinity), s.constant(-1e4))),
      "mask",
      "score"
    ),
    "a fill of +inf before a negative factor": fuses(
      used(s.mul(s.select(keep, scores, s.constant(Infinity)), s.constant(-2))),
      "mask",
      "score"
    ),
    "a fill of +inf that is taken away": fuses(
      used(s.sub(scores, s.select(keep, zero, s.constant(Infinity)))),
      "mask"
    ),
    "a bias from a part of a table, beyond its end": fuses(
      used(s.add(scores, s.gather(s.slice(s.input("table", [10]), 0, 0, 3), s.iota("S"), 0))),
      "mask",
      "score"
    ),
    "a bias that ends before the keys do": fuses(
      s.matmul(
        s.softmax(s.add(even, s.concat(1, s.input("bias", [6, 5]), s.broadcast(s.constant(-2), [6, 1])))),
        square("v")
      ),
      "mask",
      "score"
    ),
    "a padded bias": fuses(
      s.matmul(
        s.softmax(
          s.add(
            even,
            node("pad", [s.input("bias", [6, 4])], {
              low: Shape.from([0, 1]),
              high: Shape.from([0, 1]),
              value: -2
            })
          )
        ),
        square("v")
      ),
      "mask",
      "score"
    ),
    "a bias padded in front": fuses(
      s.matmul(s.softmax(s.add(even, padded(s.input("bias", [6, 5]), -2))), square("v")),
      "mask",
      "score"
    ),
    "the lesser of two positions": fuses(
      masked(s.op("lt", s.op("min", s.reshape(s.iota("T"), ["T", 1]), s.iota("S")), s.constant(2, "i32"))),
      "mask"
    ),
    "the greater of two positions": fuses(
      masked(s.op("lt", s.op("max", s.reshape(s.iota("T"), ["T", 1]), s.iota("S")), s.constant(2, "i32"))),
      "mask"
    ),
    "a bias of the even heads, then of the odd": fuses(
      used(s.add(scores, s.concat(0, from(0, 4, 2), from(1, 4, 2)))),
      "mask",
      "score"
    ),
    "a bias of heads in pieces of several lengths": fuses(
      used(s.add(scores, s.concat(0, from(0, 1), from(1, 3), from(2, 3)))),
      "mask",
      "score"
    ),
    "a bias of heads, each from another query on": fuses(
      s.matmul(
        s.softmax(
          s.add(
            even,
            s.concat(0, ...[0, 1, 2, 3].map((head) => s.slice(from(head, head + 1, 1, 9), 1, head, head + 6)))
          )
        ),
        square("v")
      ),
      "mask",
      "score"
    ),
    "remainders by a negative number": fuses(
      masked(s.op("lt", s.op("mod", s.iota("S"), s.constant(-3, "i32")), s.op("neg", queries))),
      "mask"
    ),
    "quotients by a negative number": fuses(
      masked(s.op("ge", s.op("floor_div", s.iota("S"), s.constant(-2, "i32")), s.op("neg", queries))),
      "mask"
    ),
    "quotients by 0": fuses(
      masked(s.op("ge", s.op("floor_div", s.iota("S"), s.constant(0, "i32")), queries)),
      "mask"
    ),
    "up to half of what some rows have": fuses(
      masked(
        s.op(
          "le",
          s.iota("S"),
          s.op(
            "floor_div",
            s.select(
              s.op("lt", queries, s.constant(1, "i32")),
              s.add(queries, s.constant(4, "i32")),
              s.constant(0, "i32")
            ),
            s.constant(2, "i32")
          )
        )
      ),
      "mask"
    ),
    "a fill of 0": fuses(masked(keep, zero), "mask"),
    "a fill of each key": fuses(masked(keep, s.input("fill", ["S"])), "mask", "score"),
    "a mask by the greatest score": refused(
      masked(s.op("ge", max(scores), s.constant(0.5))),
      attention,
      "the scores are changed by reduce_max, which is computed from the scores themselves"
    ),
    "a mask by how many scores are positive": refused(
      masked(s.op("gt", sum(float(s.op("gt", scores, zero))), one)),
      attention,
      "the scores are changed by reduce_sum, which is computed from the scores themselves"
    )
  })
})

/** Finite fills, as people write them. The last is the least f16. */
const fills = [-1e4, -3e4, -1e9, -1e10, -3.4028234663852886e38, -65504]

const half = (x: s.N): s.N => s.cast(x, "f16")
const keepIndicator = float(keep)
const spellings: { readonly [name: string]: (fill: number) => s.N } = {
  "where keep": (f) => s.select(keep, scores, s.constant(f)),
  "where drop": (f) => s.select(s.op("not", keep), s.constant(f), scores),
  "added where drop": (f) => s.add(scores, s.select(keep, zero, s.constant(f))),
  "added where keep, first": (f) => s.add(s.select(s.op("not", keep), s.constant(f), zero), scores),
  "(1 - keep) · fill": (f) => s.add(scores, s.mul(s.sub(one, keepIndicator), s.constant(f))),
  "(keep - 1) · -fill": (f) => s.add(scores, s.mul(s.sub(keepIndicator, one), s.constant(-f))),
  "less -fill · (1 - keep)": (f) => s.sub(scores, s.mul(s.constant(-f), s.sub(one, keepIndicator))),
  "less -fill · drop": (f) => s.sub(scores, s.mul(float(s.op("not", keep)), s.constant(-f))),
  "at most": (f) => s.op("min", scores, s.select(keep, s.constant(Infinity), s.constant(f))),
  "a float mask that holds it": (f) => s.add(scores, s.mul(s.op("sub", one, floats), s.constant(f))),
  "before the scale": (f) => s.mul(s.select(keep, scores, s.constant(2 * f)), s.constant(0.5)),
  "in half precision": (f) => s.cast(s.select(keep, half(scores), half(s.constant(f))), "f32"),
  "two masks in a row": (f) => s.select(keep, s.select(causal, scores, s.constant(f)), s.constant(f)),
  "behind a window of -inf": (f) =>
    s.select(
      s.op("le", s.iota("S"), s.constant(3, "i32")),
      s.select(keep, scores, s.constant(f)),
      minusInfinity
    )
}

/**
 * A finite fill is a score: a row without a kept key weighs its keys by what the scores then are, all alike or by their rounded
 * sums, and never gives 0 as a row of -inf does.
 */
describe("finite fills on rows without keys", () => {
  const at = { B: 2, T: 3, S: 5 }
  for (const [name, spelled] of Object.entries(spellings)) {
    test(name, () => {
      // In half precision the others are -inf.
      for (const fill of name === "in half precision" ? fills.filter((f) => f >= -65504) : fills) {
        const before = s.graph(used(spelled(fill)))
        const { graph } = compiled(before)
        expect(flashes(graph).length).toBe(1)
        // Row 0 keeps no key, row 1 all, row 2 some.
        const rows = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1]
        const from = arrays.random(1)
        const inputs = before.inputs.map(({ attrs, type }) =>
          attrs.name === "keep" || attrs.name === "mask"
            ? HostArray.fromNumbers(type.dtype, [3, 5], Float64Array.from(rows))
            : arrays.array(from, type.dtype, Shape.evaluate(type.shape, at))
        )
        expectSameValue(before, graph, at, inputs)
        expectSameValue(before, through(before, normalizeMask).graph, at, inputs)
      }
    })
  }
  test("a row of -inf gives 0, a row of any finite fill the mean of the values", () => {
    const at = { B: 1, T: 2, S: 3 }
    for (const fill of [-Infinity, ...fills]) {
      const { graph } = compiled(s.graph(used(s.select(keep, scores, s.constant(fill)))))
      expect(flashes(graph).map((n) => n.attrs.fill)).toEqual([fill])
      const inputs = graph.inputs.map(({ attrs, type }) => {
        const shape = Shape.evaluate(type.shape, at)
        // The value of key j is j in all features.
        const value = (n: number) =>
          attrs.name === "v" ? Math.floor(n / 8) % 3 : attrs.name === "keep" ? 0 : 1
        return HostArray.fromNumbers(
          type.dtype,
          shape,
          Float64Array.from({ length: HostArray.sizeOf(shape) }, (_, n) => value(n))
        )
      })
      const [out] = Reference.evaluate(graph, inputs, at)
      expect(new Set(out?.data), `${fill}`).toEqual(new Set([fill === -Infinity ? 0 : 1]))
    }
  })
})

test("a mask of what equals itself drops NaN, for all that analysis knows", () => {
  const at = { B: 1, T: 2, S: 3 }
  const before = s.graph(masked(s.op("eq", floats, floats)))
  const { graph } = compiled(before)
  const from = arrays.random(4)
  const inputs = before.inputs.map(({ attrs, type }) =>
    attrs.name === "mask"
      ? HostArray.fromNumbers(type.dtype, [2, 3], Float64Array.of(1, Number.NaN, 2, 3, 4, Number.NaN))
      : arrays.array(from, type.dtype, Shape.evaluate(type.shape, at))
  )
  expectSameValue(before, graph, at, inputs)
  expect(checkRanges(graph, inputs, at).wrong).toEqual([])
})

test("a bias that is rounded to half precision is rounded in the kernel", () => {
  const at = { B: 1, T: 2, S: 3 }
  const before = s.graph(used(s.add(scores, s.cast(half(s.input("bias", ["T", "S"])), "f32"))))
  const { graph } = compiled(before)
  expect(flashes(graph).length).toBe(1)
  const from = arrays.random(3)
  const inputs = before.inputs.map(({ attrs, type }) => {
    const shape = Shape.evaluate(type.shape, at)
    // Around a thousand half precision counts by halves.
    return attrs.name === "bias"
      ? HostArray.fromNumbers(type.dtype, shape, Float64Array.of(1000.2, 1000.3, 999.8, 1000.7, 1000, 1000.2))
      : arrays.array(from, type.dtype, shape)
  })
  expectOutputs(before, at, Reference.evaluate(graph, inputs, at), Reference.evaluate(before, inputs, at), {
    reassociated: true
  })
})
