import { describe, expect, test } from "vitest"
import * as Print from "../../../../ir/Print.ts"
import { fuseAttention } from "../../../../passes/fuseAttention.ts"
import { expectSameValue, through } from "../../../support/fusing.ts"
import { minusInfinity, scores, sizes, v } from "../../../support/heads.ts"
import type { N } from "../../../support/spell.ts"
import * as s from "../../../support/spell.ts"
import { causal, fuses, scale } from "./fuses.ts"

describe("masks and scores", () => {
  const scaled = s.mul(scores, scale)
  const attend = (x: N) => s.matmul(s.softmax(x), v)
  const keep = s.input("keep", ["B", 1, "T", "S"], "bool")
  const padding = s.reshape(s.input("padding", ["B", "S"], "bool"), ["B", 1, 1, "S"])
  const lengths = s.op(
    "lt",
    s.reshape(s.iota("S"), [1, 1, 1, "S"]),
    s.reshape(s.input("lengths", ["B"], "i32"), ["B", 1, 1, 1])
  )
  const window = s.op("lt", s.sub(s.reshape(s.iota("T"), ["T", 1]), s.iota("S")), s.constant(2, "i32"))
  const bias = s.input("bias", [4, "T", "S"])
  const slopes = s.reshape(s.input("slopes", [4]), [4, 1, 1])
  const distance = s.cast(s.sub(s.iota("S"), s.reshape(s.iota("T"), ["T", 1])), "f32")
  const segments = s.input("segments", ["B", "T"], "i32")
  const softcap = (x: N) => s.mul(s.op("tanh", s.div(x, s.constant(2))), s.constant(2))
  const float = (x: N) => s.cast(x, "f32")
  const one = s.constant(1)
  const masked: { readonly [name: string]: readonly [N, "mask" | "fill" | "score"] } = {
    "where keep": [s.select(keep, scaled, minusInfinity), "mask"],
    "where drop": [s.select(s.op("not", causal), minusInfinity, scaled), "mask"],
    "causal before the scale": [s.mul(s.select(causal, scores, minusInfinity), scale), "mask"],
    "causal and window": [s.select(s.op("and", causal, window), scaled, minusInfinity), "mask"],
    "two in a row": [s.select(padding, s.select(causal, scaled, minusInfinity), minusInfinity), "mask"],
    lengths: [s.select(lengths, scaled, minusInfinity), "mask"],
    segments: [
      s.select(
        s.op(
          "eq",
          s.reshape(segments, ["B", 1, "T", 1]),
          s.reshape(s.input("segments of keys", ["B", "S"], "i32"), ["B", 1, 1, "S"])
        ),
        scaled,
        minusInfinity
      ),
      "mask"
    ],
    "additive -inf": [s.add(scaled, s.select(causal, s.constant(0), minusInfinity)), "mask"],
    "additive -inf first": [s.add(s.select(causal, s.constant(0), minusInfinity), scaled), "mask"],
    "log of a mask": [s.add(scaled, s.op("log", float(keep))), "mask"],
    "additive tensor": [s.add(scaled, s.input("mask", ["B", 1, "T", "S"])), "mask"],
    "finite fill": [s.select(causal, scaled, s.constant(-1e9)), "fill"],
    "finite fill of what is dropped": [s.select(s.op("not", keep), s.constant(-3e4), scaled), "fill"],
    "finite fill, then -inf": [
      s.select(causal, s.select(padding, scaled, s.constant(-1e9)), minusInfinity),
      "mask"
    ],
    "(1 - keep) * -1e9": [s.add(scaled, s.mul(s.sub(one, float(keep)), s.constant(-1e9))), "score"],
    "s - 1e9 * (1 - keep)": [s.sub(scaled, s.mul(s.constant(1e9), s.sub(one, float(keep)))), "score"],
    "padding from float 0 and 1": [
      s.select(s.op("ne", float(padding), s.constant(0)), scaled, minusInfinity),
      "mask"
    ],
    "minimum of a bias and a mask": [
      s.add(scaled, s.op("min", bias, s.select(causal, s.constant(9), minusInfinity))),
      "mask"
    ],
    "softcap after the mask": [softcap(s.select(causal, scaled, minusInfinity)), "score"],
    softcap: [softcap(scaled), "score"],
    ALiBi: [s.add(scaled, s.mul(slopes, distance)), "score"],
    "relative bias table": [
      s.add(
        scaled,
        s.gather(
          s.input("table", [4, 9]),
          s.add(
            s.op(
              "min",
              s.op("max", s.sub(s.iota("S"), s.reshape(s.iota("T"), ["T", 1])), s.constant(-4, "i32")),
              s.constant(4, "i32")
            ),
            s.constant(4, "i32")
          ),
          1
        )
      ),
      "mask"
    ],
    "causal through iota casts": [
      s.select(
        s.op("le", float(s.iota("S")), float(s.reshape(s.iota("T"), ["T", 1]))),
        scaled,
        minusInfinity
      ),
      "mask"
    ],
    "bottom-right causal": [
      s.select(
        s.op(
          "ge",
          s.add(
            s.reshape(s.iota("T"), ["T", 1]),
            s.cast(s.sub(s.input("offset", [], "i32"), s.constant(0, "i32")), "i32")
          ),
          s.iota("S")
        ),
        scaled,
        minusInfinity
      ),
      "mask"
    ],
    "per-key scale": [s.mul(scaled, s.reshape(s.input("temperature", ["S"]), [1, 1, 1, "S"])), "score"]
  }
  for (const [name, [x, where]] of Object.entries(masked)) {
    test(name, () => {
      const { node, graph } = fuses(attend(x))
      expect(
        { mask: node.attrs.mask !== undefined, fill: node.attrs.fill !== -Infinity },
        Print.graph(graph)
      ).toEqual({
        mask: where !== "score",
        fill: where === "fill"
      })
      const texts = [node.attrs.score, ...(node.attrs.mask ? [node.attrs.mask] : [])].map((r) =>
        Print.graph(r)
      )
      expect(texts.join("\n")).not.toContain("inf]")
    })
  }

  test("a float mask that holds -inf leaves no infinity to the score", () => {
    const { node } = fuses(attend(s.add(scaled, s.input("mask", ["T", "S"]))))
    expect(Print.graph(node.attrs.mask as never)).toContain("is_inf")
    expect(Print.graph(node.attrs.score)).toContain("select")
  })

  test("rows that are masked throughout give 0", () => {
    const before = s.graph(
      attend(s.select(s.op("lt", s.iota("S"), s.reshape(s.iota("T"), ["T", 1])), scaled, minusInfinity))
    )
    expectSameValue(before, through(before, fuseAttention).graph, sizes)
  })
})
