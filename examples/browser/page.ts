/** Attention in a web page, on WebGPU or, where there is none, on WebAssembly: pick a mask, see who attends to whom, and what the compiler made of the expression. */
import { Mask, spec, Tensor } from "../../src/index.ts"
import { auto } from "../../src/promise.ts"

const length = 96
const size = 16

const masks: Readonly<Record<string, Mask.Keep>> = {
  "causal, at most 24 keys back": Mask.and(Mask.causal, Mask.slidingWindow(24)),
  causal: Mask.causal,
  "causal with a prefix of 32": Mask.or(Mask.prefix(32), Mask.causal),
  "chunks of 24": Mask.chunked(24),
  "every third key within 30": Mask.dilated(30, 3),
  all: Mask.all
}

const signature = { q: spec("f32", ["T", size]), k: spec("f32", ["T", size]), v: spec("f32", ["T", size]) }

const weigh = (mask: Mask.Keep, q: Tensor.Tensor<"f32">, k: Tensor.Tensor<"f32">) =>
  Tensor.matmul(q, Tensor.transpose(k)).pipe(
    Tensor.mul(1 / Math.sqrt(size)),
    Mask.apply(mask),
    Tensor.softmax(-1)
  )

const element = <E extends Element>(id: string): E => document.querySelector(`#${id}`) as E

/** Smooth rows, so that the picture has shape: row t turns with frequencies that fall from column to column. */
const rows = (phase: number) => {
  const data = Float32Array.from(
    { length: length * size },
    (_, n) => Math.sin((Math.floor(n / size) + phase) / 1.6 ** (n % size) + (n % 2) * 1.57) * 1.6
  )
  return { dtype: "f32", shape: [length, size], data } as const
}

/** Weights as grey: white is 0, black is the largest weight of the row. */
const draw = (weights: Float32Array): void => {
  const image = new ImageData(length, length)
  for (let row = 0; row < length; row++) {
    const line = weights.subarray(row * length, (row + 1) * length)
    const most = Math.max(...line)
    line.forEach((w, column) => {
      const grey = 255 - 255 * Math.sqrt(w / most)
      image.data.set([grey, grey, grey, 255], 4 * (row * length + column))
    })
  }
  element<HTMLCanvasElement>("weights").getContext("2d")?.putImageData(image, 0, 0)
}

const start = async (): Promise<void> => {
  const engine = await auto()
  element("device").textContent = `Running on ${engine.description}`
  const choice = element<HTMLSelectElement>("mask")
  choice.append(...Object.keys(masks).map((name) => new Option(name)))

  const show = async (): Promise<void> => {
    const mask = masks[choice.value] ?? Mask.all
    const attention = await engine.compile(({ q, k, v }) => Tensor.matmul(weigh(mask, q, k), v), signature)
    const weights = await engine.compile(({ q, k }) => weigh(mask, q, k), signature)
    const inputs = { q: rows(0), k: rows(0), v: rows(7) }
    const { data } = await weights(inputs)
    await attention(inputs)
    draw(data as Float32Array)
    const { dispatches, scratchBytes } = attention.stats({ T: length })
    element("cost").textContent =
      `Attention itself: ${dispatches} ${dispatches === 1 ? "kernel" : "kernels"}, ${scratchBytes} bytes between kernels.`
    element("explain").textContent = attention.explain()
    document.body.dataset["shows"] = choice.value
  }
  choice.addEventListener("change", () => void show())
  await show()
}

/** Settles when the first picture is there; a failure is shown in the page. */
export const ready: Promise<string> = start().then(
  () => "ready",
  (error: { readonly message: string; readonly hint?: string }) => {
    element("device").className = "error"
    element("device").textContent = `${error.message}\n${error.hint ?? ""}`
    return `failed: ${error.message}`
  }
)

export const state = (): Promise<string> => ready
