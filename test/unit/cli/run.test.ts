/** The commands that compute: inputs from files and seeds, outputs to files, verify and bench on the reference. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import * as JsonArray from "../../../src/files/JsonArray.ts"
import * as Npy from "../../../src/files/Npy.ts"
import * as Npz from "../../../src/files/Npz.ts"
import * as Safetensors from "../../../src/files/Safetensors.ts"
import { effuse } from "../../support/cli.ts"

const fixtures = fileURLToPath(new URL("fixtures/definitions.ts", import.meta.url))
const attention = `${fixtures}#attention`
const folder = mkdtempSync(join(tmpdir(), "effuse-cli-"))
const at = (name: string): string => join(folder, name)

const double = at("double.eir")
writeFileSync(
  double,
  'graph {\n  %0: f32[T, 3] = input {name = "x"}\n  %1: f32[T, 3] = add %0, %0\n  return %1\n}\n'
)
const six = HostArray.fromNumbers("f32", [2, 3], [1, 2, 3, 4, 5, -6])
const run = (...args: ReadonlyArray<string>) => effuse(["run", ...args, "--backend", "reference"])

describe("inputs", () => {
  const formats: ReadonlyArray<readonly [string, string | Uint8Array]> = [
    ["x.npy", Npy.write(six)],
    ["data.npz", Npz.write(new Map([["x", six]]))],
    ["packed.npz", Npz.write(new Map([["x", six]]), { compressed: true })],
    ["data.safetensors", Safetensors.write(new Map([["x", six]]))],
    ["named.json", `{"x": ${JsonArray.write(six)}}`],
    ["x.json", "[[1, 2, 3], [4, 5, -6]]"]
  ]
  for (const [name, content] of formats) {
    test(`from ${name}, by name and without`, async () => {
      writeFileSync(at(name), content)
      for (const given of [at(name), `x=${at(name)}`]) {
        const { code, out } = await run(double, "--input", given)
        expect(code).toBe(0)
        expect(out).toContain("f32[2, 3]  min -12  max 10  mean 3")
        expect(out).toContain("2, 4, 6, 8, 10, -12")
      }
    })
  }

  test("one seed is one input, another seed another", async () => {
    const shown = async (...flags: ReadonlyArray<string>) => (await run(double, "--dim", "T=4", ...flags)).out
    const first = await shown("--random", "1")
    expect(first).toContain("f32[4, 3]")
    expect(await shown("--input", "random:1")).toBe(first)
    expect(await shown("--input", "x=random:1")).toBe(first)
    expect(await shown("--random", "2")).not.toBe(first)
  })

  test("files and random numbers together: symbols are read off the files", async () => {
    writeFileSync(at("q.npy"), Npy.write(HostArray.zeros("f32", [1, 2, 3, 8])))
    const { out } = await run(attention, "--input", `q=${at("q.npy")}`, "--random", "1", "--dim", "S=5")
    expect(out).toContain("f32[1, 2, 3, 8]")
  })

  test("what is missing is named with its type, and nothing runs", async () => {
    const { code, out, err } = await run(attention)
    expect([code, out]).toEqual([3, ""])
    expect(err).toContain('input "q" is missing: it is f32[B, 2, T, 8]')
    expect(err).toContain("--input q=q.npy --input k=k.npy --input v=v.npy")
  })

  test("sizes that are missing, unknown, malformed or contradicted are refused", async () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["--random", "1"], "T has no size"],
      [["--random", "1", "--dim", "X=2"], "the symbols are T"],
      [["--random", "1", "--dim", "T=two"], "write --dim T=512"],
      [["--random", "1", "--dim", "T=2", "--dim", "T=3"], "twice"],
      [["--random", "1", "--dim", "T=99999999999"], "--dim"],
      [["--input", at("x.npy"), "--dim", "T=7"], "the inputs make it 2"],
      [["--input", "random:x"], "is not a seed"],
      [["--input", `y=${at("x.npy")}`], "the inputs are"],
      [["--input", at("x.npy"), "--input", at("x.npy")], "given twice"]
    ]
    writeFileSync(at("x.npy"), Npy.write(six))
    for (const [flags, says] of cases) {
      const { code, out, err } = await run(double, ...flags)
      expect([code, out, err]).toEqual([2, "", expect.stringContaining(says)])
    }
  })

  test("all sizes that are missing are named at once, those of other inputs too", async () => {
    const { code, err } = await run(attention, "--random", "1")
    expect(code).toBe(2)
    expect(err).toContain('input "q" is f32[B, 2, T, 8], and B, T have no size')
    expect(err).toContain("give --dim B=16 --dim T=16 --dim S=16")
  })

  test("another dtype is refused, and converted on request", async () => {
    writeFileSync(at("ints.npy"), Npy.write(HostArray.fromNumbers("i32", [1, 3], [1, 2, 3])))
    const refused = await run(double, "--input", `x=${at("ints.npy")}`)
    expect([refused.code, refused.err]).toEqual([3, expect.stringContaining("--cast")])
    expect((await run(double, "--input", `x=${at("ints.npy")}`, "--cast")).out).toContain("2, 4, 6")
  })

  test("another rank or size is refused with both types", async () => {
    writeFileSync(at("flat.npy"), Npy.write(HostArray.zeros("f32", [3])))
    const { code, err } = await run(double, "--input", `x=${at("flat.npy")}`)
    expect(code).toBe(3)
    expect(err).toContain("f32[T, 3], given f32[3]")
  })

  test("a file that is truncated, of no known kind, or missing", async () => {
    writeFileSync(at("short.npy"), Npy.write(six).subarray(0, 90))
    writeFileSync(at("x.bin"), "")
    for (const name of ["short.npy", "x.bin", "nowhere.npy"]) {
      const { code, out, err } = await run(double, "--input", `x=${at(name)}`)
      expect([code, out]).toEqual([3, ""])
      expect(err).toContain(name)
      expect(err).not.toMatch(/^\s+at /m)
    }
  })

  test("hostile names in an archive are told in quotes, never used, and break nothing", async () => {
    const names = ["__proto__", "../../escape", "\u001b[31mred", "constructor", `${"x".repeat(200)}`]
    writeFileSync(
      at("evil.npz"),
      Npz.write(new Map([...names.map((n) => [n, six] as const), ["x", six] as const]))
    )
    const { code, out, err } = await run(double, "--input", at("evil.npz"))
    expect(code).toBe(0)
    expect(out).toContain("2, 4, 6, 8, 10, -12")
    expect(err).not.toContain("\u001b")
    expect(err).toContain('"../../escape"')
    expect(({} as { dtype?: unknown }).dtype).toBeUndefined()
  })

  test("an input with a hostile name of its own can be given", async () => {
    writeFileSync(
      at("names.npz"),
      Npz.write(new Map([["../x", HostArray.fromNumbers("f16", [1, 3], [1, -2, 3])]]))
    )
    const { code, out } = await run(`${fixtures}#pair`, "--input", at("names.npz"))
    expect(code).toBe(0)
    expect(out).toContain("double  f16[1, 3]  min -4  max 6")
    expect(out).toContain("true, false, true")
  })
})

describe("outputs", () => {
  const readers: ReadonlyArray<readonly [string, (bytes: Uint8Array) => unknown]> = [
    ["out.npz", (b) => Result.getOrThrow(Npz.read(b)).get("out")],
    ["out.safetensors", (b) => Result.getOrThrow(Safetensors.read(b)).get("out")],
    ["out.npy", (b) => Result.getOrThrow(Npy.read(b))],
    [
      "out.json",
      (b) => (Result.getOrThrow(JsonArray.read(b)) as ReadonlyMap<string, HostArray.HostArray>).get("out")
    ]
  ]
  for (const [name, read] of readers) {
    test(`${name} holds what was computed`, async () => {
      writeFileSync(at("x.npy"), Npy.write(six))
      const { code } = await run(double, "--input", at("x.npy"), "--out", at(name))
      expect(code).toBe(0)
      const expected = HostArray.fromNumbers("f32", [2, 3], [2, 4, 6, 8, 10, -12])
      expect(read(readFileSync(at(name)))).toEqual(expected)
    })
  }

  test("a format that cannot hold them is refused before anything runs", async () => {
    const { code, out, err } = await run(
      `${fixtures}#pair`,
      "--random",
      "1",
      "--dim",
      "N=2",
      "--out",
      at("p.npy")
    )
    expect([code, out]).toEqual([2, ""])
    expect(err).toContain("one array")
    expect((await run(double, "--random", "1", "--dim", "T=2", "--out", at("p.csv"))).code).toBe(2)
  })

  test("nan and infinities are counted, an empty result has no elements", async () => {
    writeFileSync(at("odd.json"), '{"x": [["nan", "inf", "-inf"], [1, 2, 3]]}')
    const { out } = await run(double, "--input", at("odd.json"))
    expect(out).toContain("min 2  max 6  mean 4  1 nan  2 infinite")
    expect((await run(double, "--random", "1", "--dim", "T=0")).out).toContain("no elements")
  })
})

describe("definitions", () => {
  const wrong: ReadonlyArray<readonly [string, number, string]> = [
    [fixtures, 2, "definitions: say which"],
    [`${fixtures}#atention`, 2, "did you mean attention?"],
    [`${fixtures}#plain`, 2, "export const plain = define("],
    [`${double}#x`, 2, "is one graph"],
    ["attention.txt", 2, "neither a module nor text IR"],
    ["nowhere.ts", 3, "no such file"],
    [`${fixtures}#mismatched`, 3, "f32[4, 8] and f32[9, 4]"]
  ]
  for (const [target, expected, says] of wrong) {
    test(`${target.split("/").at(-1)}: ${says}`, async () => {
      const { code, out, err } = await run(target, "--random", "1")
      expect([code, out]).toEqual([expected, ""])
      expect(err).toContain(says)
    })
  }

  test("a mistake of shape points at the line that wrote it", async () => {
    const { err } = await run(`${fixtures}#mismatched`)
    expect(err).toMatch(/definitions\.ts:\d+:\d+: error: matmul/)
    expect(err).toMatch(/\| export const mismatched[^\n]*\n[^\n]*\^\n/)
  })

  test("requireFused of a definition holds, with exit code 1 and the reason", async () => {
    const sizes = ["--random", "1", "--dim", "T=2", "--dim", "S=3"]
    const { code, out, err } = await run(`${fixtures}#running`, ...sizes)
    expect([code, out]).toEqual([1, ""])
    expect(err).toContain("refused")
  })

  test("a module with a mistake in it: place and caret, no stack", async () => {
    const cases: ReadonlyArray<readonly [string, string, string]> = [
      ["syntax.ts", "export const a = (\nconst b\n", "syntax.ts:2"],
      ["throws.ts", 'export const a = 1\nthrow new Error("boo")\n', "throws.ts:2:7: error:"],
      ["missing.ts", 'import "./nowhere.ts"\n', "install the package"]
    ]
    for (const [name, text, says] of cases) {
      writeFileSync(at(name), text)
      const { code, err } = await run(at(name))
      expect([code, err]).toEqual([3, expect.stringContaining(says)])
      expect(err).not.toMatch(/^\s+at /m)
    }
  })
})

describe("verify and bench", () => {
  const lengths = ["--random", "1", "--dim", "B=1", "--dim", "T=3", "--dim", "S=5"]
  const sizes = [...lengths, "--backend", "reference"]

  test("verify reports the worst element, both values and the tolerance", async () => {
    const { code, out } = await effuse(["verify", attention, ...sizes])
    expect(code).toBe(0)
    expect(out).toMatch(/worst element {2}\[\d, \d, \d, \d\]/)
    const [, compiled, expected] = /compiled\s+(\S+)\n\s+expected\s+(\S+)\n/.exec(out) ?? []
    expect(Number(compiled)).toBeCloseTo(Number(expected), 4)
    expect(out).toMatch(/error\s+\S+ of \S+ allowed/)
  })

  test("verify fails with exit code 1 where the numbers do not agree", async () => {
    // Beyond the range of float32, where the oracle still counts.
    const path = at("overflow.eir")
    writeFileSync(
      path,
      'graph {\n  %0: f32[T] = input {name = "x"}\n  %1: f32[T] = mul %0, %0\n  %2: f32[T] = div %1, %0\n  return %2\n}\n'
    )
    writeFileSync(at("big.json"), '{"x": [1, 1e30, 2]}')
    const { code, out, err } = await effuse([
      "verify",
      path,
      "--input",
      at("big.json"),
      "--backend",
      "reference"
    ])
    expect(code).toBe(1)
    expect(out).toContain("worst element  [1]")
    expect(err).toContain("outside their tolerance")
  })

  test("bench measures both pipelines and counts what they cost", async () => {
    const { code, out } = await effuse(["bench", attention, ...sizes, "--runs", "3", "--warmup", "0"])
    expect(code).toBe(0)
    expect(out).toMatch(/^fused +[\d.]+ ms +[\d.]+ ms +[\d.]+ ms/m)
    expect(out).toMatch(/^unfused +[\d.]+ ms/m)
    expect((await effuse(["bench", attention, ...sizes, "--runs", "0"])).code).toBe(2)
    const refused = await effuse(["bench", attention, ...sizes, "--runs", "1", "--tune"])
    expect([refused.code, refused.out]).toEqual([4, ""])
    expect(refused.err).toMatch(/--tune is for WebGPU, and this is reference\n.*add --backend webgpu/)
  })

  test.each(["reference", "wasm"])(
    "bench --trace times each kernel on %s, too, and writes the calls",
    async (name) => {
      const file = at(`${name}.json`)
      const flags = ["--runs", "2", "--warmup", "0", "--backend", name, "--trace", file]
      const { code, out } = await effuse(["bench", attention, ...lengths, ...flags])
      expect(code).toBe(0)
      expect(out).toMatch(/^ *\d+ +(flash\w+|decode) +1 +[\d.]+ ms +[\d.]+ %$/m)
      const { traceEvents } = JSON.parse(readFileSync(file, "utf8"))
      const spans = traceEvents.filter((e: { ph: string }) => e.ph === "X")
      const names: ReadonlyArray<string> = spans.map((e: { name: string }) => e.name)
      expect(names.filter((n) => n.startsWith("flash") || n === "decode")).toHaveLength(2)
      expect(names.filter((n) => n === "wait")).toHaveLength(2)
    }
  )
})
