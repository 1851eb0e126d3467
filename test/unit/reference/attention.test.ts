import { describe, expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import { array, integers, random } from "../../support/arrays.ts"
import { evaluate, graphOf } from "../../support/evaluate.ts"
import { expectClose } from "../../support/tolerance.ts"

const numbers = (result: HostArray.HostArray | undefined): ReadonlyArray<number> => [
  ...HostArray.toNumbers(result as HostArray.HostArray)
]

/** A region: typed parameters, then lines, then what it returns. */
const region = (parameters: ReadonlyArray<string>, body: string): string =>
  `{\n${parameters.map((p) => `%${p.split(": ")[0]}: ${p.split(": ")[1]} = input {name = "${p.split(": ")[0]}"}`).join("\n")}\n${body}\n}`

const indices = ["b: i32[]", "h: i32[]", "i: i32[]", "j: i32[]"]
const identity = (captures: ReadonlyArray<string>) =>
  region(["logit: f32[]", ...indices, ...captures], "return %logit")

interface Attention {
  readonly captures?: ReadonlyArray<string>
  readonly score?: string
  readonly mask?: string
  readonly sink?: string
  readonly probability?: string
  readonly fill?: string
  readonly heads?: string
  readonly dtype?: string
}

/** Two outputs, "out" and "lse", of attention with bodies of regions given as lines. */
const attention = (a: Attention): string => {
  const captures = a.captures ?? []
  const dtype = a.dtype ?? "f32"
  const regions = [
    `score = ${a.score === undefined ? identity(captures) : region(["logit: f32[]", ...indices, ...captures], a.score)}`,
    ...(a.mask === undefined ? [] : [`mask = ${region([...indices, ...captures], a.mask)}`]),
    ...(a.sink === undefined ? [] : [`sink = ${region([...indices.slice(0, 3), ...captures], a.sink)}`]),
    ...(a.probability === undefined
      ? []
      : [`probability = ${region([...indices, ...captures], a.probability)}`]),
    `fill = ${a.fill ?? "-inf"}`
  ].join(", ")
  const heads = a.heads ?? "H"
  return `graph {
    %q: ${dtype}[B, ${heads}, T, D] = input {name = "q"}
    %k: ${dtype}[B, H, S, D] = input {name = "k"}
    %v: ${dtype}[B, H, S, E] = input {name = "v"}
    ${captures.map((c) => `%${c.split(": ")[0]}: ${c.split(": ")[1]} = input {name = "${c.split(": ")[0]}"}`).join("\n")}
    %out: ${dtype}[B, ${heads}, T, E] = flash_attention %q, %k, %v${captures.map((c) => `, %${c.split(": ")[0]}`).join("")} {${regions}, output = "result"}
    %lse: f32[B, ${heads}, T] = flash_attention %q, %k, %v${captures.map((c) => `, %${c.split(": ")[0]}`).join("")} {${regions}, output = "lse"}
    return "out": %out, "lse": %lse
  }`
}

const f32 = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>) =>
  HostArray.fromNumbers("f32", shape, values)

describe("by hand", () => {
  // One head, two keys of size 1: logits are q*k, values 1 and 3.
  const k = f32([1, 1, 2, 1], [0, Math.log(3)])
  const v = f32([1, 1, 2, 1], [1, 3])

  it("weights values by the softmax of logits", () => {
    const [out, lse] = evaluate(attention({}), [f32([1, 1, 1, 1], [1]), k, v])
    expect(numbers(out)[0]).toBeCloseTo((1 * 1 + 3 * 3) / 4, 6)
    expect(numbers(lse)[0]).toBeCloseTo(Math.log(4), 6)
  })

  it("counts a sink in the sum, without a value", () => {
    const sink = { captures: ["s: f32[1]"], sink: "%x: f32[] = load %s, %h\nreturn %x" }
    const [out, lse] = evaluate(attention(sink), [f32([1, 1, 1, 1], [1]), k, v, f32([1], [Math.log(4)])])
    expect(numbers(out)[0]).toBeCloseTo(10 / 8, 6)
    expect(numbers(lse)[0]).toBeCloseTo(Math.log(8), 6)
  })

  it("multiplies normalised weights by the probability factor", () => {
    const gate = { captures: ["g: f32[S]"], probability: "%x: f32[] = load %g, %j\nreturn %x" }
    const [out] = evaluate(attention(gate), [f32([1, 1, 1, 1], [1]), k, v, f32([2], [2, 0])])
    expect(numbers(out)[0]).toBeCloseTo(2 / 4, 6)
  })

  const masked = { captures: ["m: bool[S]"], mask: "%x: bool[] = load %m, %j\nreturn %x" }
  const mask = (values: ReadonlyArray<number>) => HostArray.fromNumbers("bool", [2], values)

  it("leaves out masked keys, whatever they hold", () => {
    const broken = f32([1, 1, 2, 1], [1, Number.NaN])
    const [out, lse] = evaluate(attention(masked), [f32([1, 1, 1, 1], [1]), k, broken, mask([1, 0])])
    expect(numbers(out)).toEqual([1])
    expect(numbers(lse)).toEqual([0])
  })

  it("gives 0 and -inf for a row without keys", () => {
    const [out, lse] = evaluate(attention(masked), [f32([1, 1, 1, 1], [1]), k, v, mask([0, 0])])
    expect(numbers(out)).toEqual([0])
    expect(numbers(lse)).toEqual([-Infinity])
  })

  it("gives the mean of the values for a row of finite fills", () => {
    const [out, lse] = evaluate(attention({ ...masked, fill: "-1e9" }), [
      f32([1, 1, 1, 1], [1]),
      k,
      v,
      mask([0, 0])
    ])
    expect(numbers(out)).toEqual([2])
    expect(numbers(lse)).toEqual([Math.fround(-1e9)])
  })

  it("gives a sink all the weight of an empty row", () => {
    const both = {
      captures: ["m: bool[S]"],
      mask: masked.mask,
      sink: "%x: f32[] = constant {values = [0.5]}\nreturn %x"
    }
    const [out, lse] = evaluate(attention(both), [f32([1, 1, 1, 1], [1]), k, v, mask([0, 0])])
    expect(numbers(out)).toEqual([0])
    expect(numbers(lse)).toEqual([0.5])
  })

  it("takes no keys and no queries", () => {
    const none = f32([1, 1, 0, 1], [])
    const [out, lse] = evaluate(attention({}), [f32([1, 1, 2, 1], [1, 2]), none, none])
    expect(numbers(out)).toEqual([0, 0])
    expect(numbers(lse)).toEqual([-Infinity, -Infinity])
    expect(evaluate(attention({}), [none, k, v])[0]?.shape).toEqual([1, 1, 0, 1])
  })

  it("does not overflow on large logits", () => {
    const [out] = evaluate(attention({}), [f32([1, 1, 1, 1], [1e6]), k, v])
    expect(numbers(out)).toEqual([3])
  })
})

describe("against its primitive expansion", () => {
  const capped = `
    %scale: f32[] = constant {values = [0.25]}
    %cap: f32[] = constant {values = [5]}
    %1: f32[] = mul %logit, %scale
    %2: f32[] = div %1, %cap
    %3: f32[] = tanh %2
    %4: f32[] = mul %3, %cap
    %5: f32[] = load %bias, %h, %i, %j
    %6: f32[] = add %4, %5
    return %6`
  const window = `
    %left: i32[] = constant {values = [3]}
    %d: i32[] = sub %i, %j
    %zero: i32[] = constant {values = [0]}
    %1: bool[] = ge %d, %zero
    %2: bool[] = le %d, %left
    %3: bool[] = and %1, %2
    return %3`
  const fused = attention({
    heads: "2*H",
    captures: ["bias: f32[2*H, T, S]", "sinks: f32[2*H]", "gate: f32[T, S]"],
    score: capped,
    mask: window,
    sink: "%x: f32[] = load %sinks, %h\nreturn %x",
    probability: "%x: f32[] = load %gate, %i, %j\nreturn %x"
  })
  const plain = `graph {
    %q: f32[B, 2*H, T, D] = input {name = "q"}
    %k: f32[B, H, S, D] = input {name = "k"}
    %v: f32[B, H, S, E] = input {name = "v"}
    %bias: f32[2*H, T, S] = input {name = "bias"}
    %sinks: f32[2*H] = input {name = "sinks"}
    %gate: f32[T, S] = input {name = "gate"}
    %k5: f32[B, H, 1, S, D] = reshape %k
    %kb: f32[B, H, 2, S, D] = broadcast %k5
    %kk: f32[B, 2*H, S, D] = reshape %kb
    %v5: f32[B, H, 1, S, E] = reshape %v
    %vb: f32[B, H, 2, S, E] = broadcast %v5
    %vv: f32[B, 2*H, S, E] = reshape %vb
    %s0: f32[B, 2*H, T, S] = dot %q, %kk {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}
    %scale: f32[] = constant {values = [0.25]}
    %cap: f32[] = constant {values = [5]}
    %s1: f32[B, 2*H, T, S] = mul %s0, %scale
    %s2: f32[B, 2*H, T, S] = div %s1, %cap
    %s3: f32[B, 2*H, T, S] = tanh %s2
    %s4: f32[B, 2*H, T, S] = mul %s3, %cap
    %s5: f32[B, 2*H, T, S] = add %s4, %bias
    %i0: i32[T] = iota
    %i: i32[T, 1] = reshape %i0
    %j: i32[S] = iota
    %d: i32[T, S] = sub %i, %j
    %zero: i32[] = constant {values = [0]}
    %left: i32[] = constant {values = [3]}
    %m0: bool[T, S] = ge %d, %zero
    %m1: bool[T, S] = le %d, %left
    %m: bool[T, S] = and %m0, %m1
    %none: f32[] = constant {values = [-inf]}
    %s6: f32[B, 2*H, T, S] = select %m, %s5, %none
    %e0: f32[2*H, 1, 1] = reshape %sinks
    %e: f32[B, 2*H, T, 1] = broadcast %e0
    %c: f32[B, 2*H, T, S + 1] = concat %s6, %e {axis = 3}
    %p0: f32[B, 2*H, T, S + 1] = softmax %c {axis = 3}
    %p1: f32[B, 2*H, T, S] = slice %p0 {starts = [0, 0, 0, 0], stops = [B, 2*H, T, S], steps = [1, 1, 1, 1]}
    %p: f32[B, 2*H, T, S] = mul %p1, %gate
    %out: f32[B, 2*H, T, E] = dot %p, %vv {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [2]}
    %lse: f32[B, 2*H, T] = logsumexp %c {axis = 3}
    return "out": %out, "lse": %lse
  }`

  const sizes = [
    [1, 1, 1, 1, 1, 1],
    [2, 3, 7, 11, 5, 3],
    [1, 2, 11, 7, 4, 8],
    [2, 1, 4, 0, 3, 2],
    [0, 1, 2, 3, 1, 1]
  ]
  it.each(sizes)("B=%i H=%i T=%i S=%i D=%i E=%i", (B, H, T, S, D, E) => {
    const from = random(B * 7 + H * 5 + T * 3 + S)
    const inputs = [
      array(from, "f32", [B, 2 * H, T, D]),
      array(from, "f32", [B, H, S, D]),
      array(from, "f32", [B, H, S, E]),
      array(from, "f32", [2 * H, T, S], "holes"),
      array(from, "f32", [2 * H]),
      array(from, "f32", [T, S], "uniform")
    ]
    const bindings = { B, H, T, S, D, E }
    const oracle = evaluate(plain, inputs, bindings, { precision: "f64" })
    const tolerances = Tolerance.of(graphOf(plain), bindings)
    for (const text of [plain, fused]) {
      evaluate(text, inputs, bindings).forEach((actual, i) => {
        expectClose(actual, oracle[i] as HostArray.HostArray, tolerances[i] as Tolerance.Tolerance)
      })
    }
    // The oracle of the fused node is the oracle of its expansion: both compute the same real numbers.
    evaluate(fused, inputs, bindings, { precision: "f64" }).forEach((actual, i) => {
      expectClose(actual, oracle[i] as HostArray.HostArray, { relative: 2 ** -24, absolute: 0 })
    })
  })

  it("maps query heads to key/value heads by the group factor", () => {
    const one = attention({ heads: "6*H" })
    const from = random(4)
    const [q, k, v] = [
      array(from, "f32", [1, 12, 3, 4]),
      array(from, "f32", [1, 2, 5, 4]),
      array(from, "f32", [1, 2, 5, 4])
    ]
    const bindings = { B: 1, H: 2, T: 3, S: 5, D: 4, E: 4 }
    const [grouped] = evaluate(one, [q, k, v], bindings)
    const expand = (x: HostArray.HostArray<"f32">) =>
      f32(
        [1, 12, 5, 4],
        Array.from({ length: 12 * 20 }, (_, e) => x.data[Math.floor(e / 120) * 20 + (e % 20)] as number)
      )
    const [repeated] = evaluate(attention({}), [q, expand(k), expand(v)])
    expect(numbers(grouped)).toEqual(numbers(repeated))
  })

  it("holds f16 storage, f32 inside", () => {
    const from = random(9)
    const inputs = ["q", "k", "v"].map(() => array(from, "f16", [1, 2, 9, 8]))
    const bindings = { B: 1, H: 2, T: 9, S: 9, D: 8, E: 8 }
    const text = attention({ dtype: "f16" })
    const [actual] = evaluate(text, inputs, bindings)
    const [expected] = evaluate(text, inputs, bindings, { precision: "f64" })
    expectClose(actual as HostArray.HostArray, expected as HostArray.HostArray, {
      relative: 2 ** -11,
      absolute: 2 ** -24
    })
  })
})

it("reads captures at clamped positions and integer captures by document", () => {
  const text = attention({
    captures: ["doc: i32[B, S]"],
    mask: "%x: i32[] = load %doc, %b, %i\n%y: i32[] = load %doc, %b, %j\n%z: bool[] = eq %x, %y\nreturn %z"
  })
  const from = random(2)
  const [q, k] = [array(from, "f32", [2, 1, 6, 3]), array(from, "f32", [2, 1, 6, 3])]
  const docs = integers(from, [2, 6], 0, 2)
  // Values that are one-hot in the key: the result is the row of weights.
  const oneHot = Array.from({ length: 72 }, (_, e) => (Math.floor(e / 6) % 6 === e % 6 ? 1 : 0))
  const [weights] = evaluate(text, [q, k, f32([2, 1, 6, 6], oneHot), docs])
  const found = numbers(weights)
  for (let b = 0; b < 2; b++) {
    for (let i = 0; i < 6; i++) {
      for (let j = 0; j < 6; j++) {
        const visible = docs.data[b * 6 + i] === docs.data[b * 6 + j]
        expect((found[(b * 6 + i) * 6 + j] as number) > 0).toBe(visible)
      }
    }
  }
})

it("computes eight heads of 128 by 128 within two seconds", () => {
  const from = random(1)
  const [q, k, v] = ["q", "k", "v"].map(() => array(from, "f32", [1, 8, 128, 64]))
  const text = attention({ mask: "%x: bool[] = le %j, %i\nreturn %x" })
  const start = performance.now()
  evaluate(text, [q, k, v] as ReadonlyArray<HostArray.HostArray>)
  expect(performance.now() - start).toBeLessThan(4000)
})
