/** A program that computes on the GPU ends by itself, with the exit code that it means. */
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import { vulkanOptions } from "../../support/vulkan.ts"

const source = (file: string): string => JSON.stringify(new URL(`../../../src/${file}`, import.meta.url).href)

const prelude = `
  import { Effect } from "effect"
  const { compile } = await import(${source("compile.ts")})
  const { spec } = await import(${source("spec.ts")})
  const Tensor = await import(${source("Tensor.ts")})
  const WebGpu = await import(${source("WebGpu.ts")})
  const Promised = await import(${source("promise.ts")})
  const options = ${JSON.stringify(vulkanOptions())}
  const x = { dtype: "f32", shape: [2], data: Float32Array.of(1, 2) }
  const signature = { x: spec("f32", ["N"]) }
  const twice = ({ x }) => Tensor.add(x, x)
`

const run = async (script: string): Promise<{ code: number; stdout: string; stderr: string }> => {
  const settings = { timeout: 60_000, cwd: new URL("../../..", import.meta.url) }
  try {
    const done = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "-e", prelude + script],
      settings
    )
    return { code: 0, ...done }
  } catch (failed) {
    return failed as { code: number; stdout: string; stderr: string }
  }
}

const runs = (name: string, script: string, code: number, out: string, err: RegExp) =>
  test(name, async (context) => {
    if (!("typescript" in process.features)) return context.skip("this Node does not run TypeScript")
    const ended = await run(script)
    expect(ended.stdout).toBe(out)
    expect(ended.stderr).toMatch(err)
    expect(ended.code).toBe(code)
  })

runs(
  "after a layer has closed",
  `const program = Effect.gen(function* () {
     const f = yield* compile(twice, signature)
     return yield* f({ x })
   })
   const out = await Effect.runPromise(Effect.provide(program, WebGpu.layerWith(options)))
   console.log([...out.data].join())`,
  0,
  "2,4\n",
  /^$/
)

runs(
  "with an engine that nobody closed, arrays on its device, and a call under way",
  `const engine = await Promised.webgpu(options)
   const f = await engine.compile(twice, signature)
   const held = await f.onDevice({ x })
   console.log([...(await engine.download(held)).data].join())
   f({ x })`,
  0,
  "2,4\n",
  /^$/
)

runs(
  "after a failure that nobody handled, which it prints",
  `const engine = await Promised.webgpu(options)
   const f = await engine.compile(twice, signature)
   await f({ x: 3 })`,
  1,
  "",
  /SignatureError: input "x": number is not a tensor/
)
