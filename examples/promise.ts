/** The face for people who do not use Effect: `npx node examples/promise.ts`. */
import { Mask, spec, Tensor } from "../src/index.ts"
import { reference } from "../src/promise.ts"

const engine = await reference()

const attention = await engine.compile(
  ({ q, k, v }) =>
    Tensor.matmul(q, Tensor.transpose(k)).pipe(
      Tensor.mul(1 / Math.sqrt(2)),
      Mask.apply(Mask.causal),
      Tensor.softmax(-1),
      Tensor.matmul(v)
    ),
  { q: spec("f32", ["T", 2]), k: spec("f32", ["T", 2]), v: spec("f32", ["T", 2]) }
)

const array = (...data: ReadonlyArray<number>) =>
  ({ dtype: "f32", shape: [data.length / 2, 2], data: Float32Array.from(data) }) as const

// Queries of zeros weigh all keys alike, so each row is the mean of the values up to its own.
const out = await attention({
  q: array(0, 0, 0, 0, 0, 0),
  k: array(1, 2, 3, 4, 5, 6),
  v: array(3, 30, 5, 50, 10, 100)
})

console.log(attention.explain().split("\n")[0])
for (let row = 0; row < 3; row++) console.log([...out.data.subarray(2 * row, 2 * row + 2)].join(" "))

await engine.close()
