/** The command line on WebGPU, as processes of their own: a device is opened, used and closed, and the process ends by itself. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { spawnEffuse } from "../support/cli.ts"
import { vulkanOptions } from "../support/vulkan.ts"

const attention = `${fileURLToPath(new URL("../unit/cli/fixtures/definitions.ts", import.meta.url))}#attention`
const sizes = ["--random", "1", "--dim", "B=1", "--dim", "T=3", "--dim", "S=5"]
const { vulkan } = vulkanOptions()
const env = vulkan === undefined ? {} : { EFFUSE_VULKAN: vulkan }

describe("on WebGPU", () => {
  test("verify agrees with the float64 reference", async () => {
    const { code, out, err } = await spawnEffuse(["verify", attention, ...sizes, "--backend", "webgpu"], {
      env
    })
    expect(err).toBe("")
    expect(code).toBe(0)
    expect(out).toMatch(/error\s+\S+ of \S+ allowed/)
  })

  test("run says where it ran, and gives what the reference gives", async () => {
    const [gpu, reference] = await Promise.all([
      spawnEffuse(["run", attention, ...sizes, "--backend", "webgpu"], { env }),
      spawnEffuse(["run", attention, ...sizes, "--backend", "reference"], { env })
    ])
    expect(gpu.code).toBe(0)
    expect(gpu.err).toMatch(/^ran on (?!reference)/)
    const means = [gpu.out, reference.out].map((text) => Number(/mean (\S+)/.exec(text)?.[1]))
    expect(means[0]).toBeCloseTo(means[1] as number, 4)
  })

  test("bench --trace times each kernel, and writes what browsers' performance tools open", async () => {
    const folder = mkdtempSync(join(tmpdir(), "effuse-"))
    const file = join(folder, "trace.json")
    const { code, out } = await spawnEffuse(
      ["bench", attention, ...sizes, "--runs", "2", "--warmup", "0", "--backend", "webgpu", "--trace", file],
      { env }
    )
    expect(code).toBe(0)
    expect(out).toMatch(/^ *\d+ +flash_\w+ +1 +[\d.]+ ms +[\d.]+ %$/m)
    const { traceEvents } = JSON.parse(readFileSync(file, "utf8"))
    rmSync(folder, { recursive: true })
    const names = traceEvents.filter((e: { ph: string }) => e.ph === "X").map((e: { name: string }) => e.name)
    expect(names.filter((n: string) => n.startsWith("flash"))).toHaveLength(2)
    expect(names.filter((n: string) => n === "wait")).toHaveLength(2)
  })

  test("bench --tune tells of each schedule as it is measured, and prints what it tried, the fastest first", async () => {
    const { code, out, err } = await spawnEffuse(
      ["bench", attention, ...sizes, "--runs", "1", "--warmup", "0", "--backend", "webgpu", "--tune"],
      { env }
    )
    expect(code).toBe(0)
    const told = [...err.matchAll(/^(\d+) of (\d+): [\d.]+ ms$/gm)].map(([, n, of]) => [
      Number(n),
      Number(of)
    ])
    expect(told.length).toBeGreaterThan(0)
    expect(told).toEqual(told.map((_, n) => [n + 1, told[0]?.[1]]))
    const tried = [...out.matchAll(/^ +([\d.]+) ms +(chosen unmeasured)? +at most \d+ splits/gm)]
    expect(tried).toHaveLength(told.length)
    const times = tried.map(([, time]) => Number(time))
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    expect(tried.filter(([, , chosen]) => chosen !== undefined)).toHaveLength(1)
  })

  test("bench --tune says so where there is nothing to measure", async () => {
    const empty = sizes.map((s) => s.replace(/^(T|S)=.*/, "$1=0"))
    const { code, out, err } = await spawnEffuse(
      ["bench", attention, ...empty, "--runs", "1", "--warmup", "0", "--backend", "webgpu", "--tune"],
      { env }
    )
    expect([code, err]).toEqual([0, "note: no attention ran here, or none in time: nothing was tried\n"])
    expect(out).toContain("T = 0")
  })

  test("doctor finds the adapter", async () => {
    const { code, out } = await spawnEffuse(["doctor"], { env })
    expect(code).toBe(0)
    expect(out).toMatch(/✓ +adapter/)
    expect(out).toContain("maxStorageBufferBindingSize")
  })

  test("a size beyond the limits of the device is refused by name, with the code for the device", async () => {
    const huge =
      'graph {\n  %0: f32[T] = input {name = "x"}\n  %1: f32[100000000, T] = broadcast %0\n  return %1\n}\n'
    const { code, err } = await spawnEffuse(
      ["run", "-", "--random", "1", "--dim", "T=1000", "--backend", "webgpu"],
      { env, stdin: huge }
    )
    expect(code).toBe(4)
    expect(err).toContain("bytes")
  })
})
