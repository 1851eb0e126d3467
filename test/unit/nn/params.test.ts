import { describe, expect, it } from "vitest"
import { threefry2x32 } from "../../../backends/reference/threefry.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as nn from "../../../src/nn/index.ts"

const layer = nn.gatedMlp({ features: 3, hidden: 4, bias: true })
const names = ["gate.weight", "gate.bias", "up.weight", "up.bias", "down.weight", "down.bias"]

const moments = (x: HostArray.HostArray) => {
  const data = [...HostArray.toNumbers(x)]
  const mean = data.reduce((a, b) => a + b, 0) / data.length
  const variance = data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length
  return { mean, deviation: Math.sqrt(variance), most: Math.max(...data.map(Math.abs)) }
}

describe("parameters", () => {
  it("have names made of the places in the tree", () => {
    expect(Object.keys(nn.Params.signature(layer.params)).sort()).toEqual([...names].sort())
    expect(Object.keys(nn.Params.signature({ layers: [layer.params] }, "p."))).toContain("p.layers.0.up.bias")
  })

  it("may lie on a device, whose arrays hold what they like", () => {
    const array = { _tag: "DeviceArray", owner: {} }
    array.owner = array
    expect(nn.Params.flatten({ a: [array], b: array })).toEqual({ "a.0": array, b: array })
  })

  it("come back from flat values, and say everything that is wrong at once", () => {
    const flat = nn.Params.flatten(layer.init(1))
    expect(nn.Params.flatten(nn.Params.fromFlat(layer.params, flat))).toEqual(flat)
    const { "gate.weight": moved, "up.bias": dropped, ...rest } = flat
    const wrong = {
      ...rest,
      "gate.wieght": moved as HostArray.HostArray,
      "down.bias": HostArray.zeros("f32", [4]),
      "up.weight": HostArray.zeros("f16", [4, 3])
    }
    expect(dropped?.shape).toEqual([4])
    expect(() => nn.Params.fromFlat(layer.params, wrong)).toThrow(
      [
        "gate.weight is missing; did you mean gate.wieght?",
        "up.weight is f16 instead of f32",
        "up.bias is missing",
        "down.bias is [4] instead of [3]",
        "gate.wieght is not known"
      ].join("\n")
    )
  })
})

describe("starting values", () => {
  it("are the same for a key, and another for another", () => {
    expect(layer.init(7)).toEqual(layer.init(7))
    expect(layer.init(7)).not.toEqual(layer.init(8))
  })

  it("of one parameter do not depend on which others there are", () => {
    const plain = nn.mlp({ features: 3, hidden: 4 }).init(7)
    expect(layer.init(7).up.weight).toEqual(plain.up.weight)
  })

  it("are those of Threefry, block after block", () => {
    const next = nn.Key.uniforms(nn.Key.make(5))
    const first = threefry2x32([0, 5], [0, 0])
    const second = threefry2x32([0, 5], [0, 1])
    expect([next(), next(), next()]).toEqual([first[0], first[1], second[0]].map((x) => x * 2 ** -32))
  })

  const fan = { in: 80, out: 120 }
  const { Initialiser } = nn
  it.each([
    ["uniform", Initialiser.uniform(0.3), 0.3 / Math.sqrt(3), 0.3],
    ["normal", Initialiser.normal(0.5), 0.5, 5],
    ["truncatedNormal", Initialiser.truncatedNormal(0.5), 0.5, 1 / 0.8796],
    ["glorotUniform", Initialiser.glorotUniform(fan), Math.sqrt(0.01), Math.sqrt(0.03)],
    ["glorotNormal", Initialiser.glorotNormal(fan), Math.sqrt(0.01), 1],
    ["lecunNormal", Initialiser.lecunNormal(fan), Math.sqrt(1 / 80), 0.3],
    ["heNormal", Initialiser.heNormal(fan), Math.sqrt(1 / 40), 0.4],
    ["fanInUniform", Initialiser.fanInUniform(fan), Math.sqrt(1 / 240), Math.sqrt(1 / 80)]
  ] as const)("%s has its mean, deviation and bound", (_, init, deviation, bound) => {
    const values = nn.Params.init({ x: nn.Params.param("f32", [100, 100], init) }, 3)
    const found = moments(values.x)
    expect(Math.abs(found.mean)).toBeLessThan(5 * deviation * 0.01)
    expect(Math.abs(found.deviation / deviation - 1)).toBeLessThan(0.04)
    expect(found.most).toBeLessThanOrEqual(bound)
  })

  it("refuses seeds that are none", () => {
    expect(() => layer.init(-1)).toThrow(/-1 is not a seed/)
    expect(() => layer.init(0.5)).toThrow(/0.5 is not a seed/)
  })
})
