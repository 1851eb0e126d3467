import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import type { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Safetensors from "../../../src/files/Safetensors.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { download } from "../../../src/transfer.ts"

const folder = mkdtempSync(join(tmpdir(), "effuse-weights-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const layer = nn.gatedMlp({ features: 3, hidden: 4, bias: true })
const values = nn.Params.flatten(layer.init(3))
const half = (x: HostArray.HostArray): HostArray.HostArray =>
  HostArray.fromNumbers("bf16", x.shape, HostArray.toNumbers(x))

const run = <A, E>(effect: Effect.Effect<A, E, Backend>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Reference.layer)))

const source = (name: string, tensors: { readonly [name: string]: HostArray.HostArray }) =>
  nn.blobSource(
    name,
    new Blob([Safetensors.write(new Map(Object.entries(tensors))) as Uint8Array<ArrayBuffer>])
  )

/** The length of a header, and no header. */
const huge = new Uint8Array(8)
new DataView(huge.buffer).setBigUint64(0, 100_000_001n, true)

describe("weights", () => {
  it("come from the shards of a folder, part by part, floats as the layer has them", async () => {
    const names = Object.keys(values)
    const shard = (from: number, to: number) =>
      Object.fromEntries(names.slice(from, to).map((n) => [n, half(values[n] as HostArray.HostArray)]))
    const files = { "a.safetensors": shard(0, 2), "b.safetensors": shard(2, 6) }
    const map: { [name: string]: string } = {}
    for (const [file, tensors] of Object.entries(files)) {
      writeFileSync(join(folder, file), Safetensors.write(new Map(Object.entries(tensors))))
      for (const name of Object.keys(tensors)) map[name] = file
    }
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }))
    const sources = await Effect.runPromise(nn.folderSources(folder))
    expect(sources.map((s) => s.name.slice(folder.length + 1))).toEqual(Object.keys(files))

    const lines: Array<string> = []
    const found = await run(
      Effect.gen(function* () {
        const weights = yield* nn.openWeights(sources)
        expect([...weights.names].sort()).toEqual([...names].sort())
        const arrays = yield* nn.loaded(nn.load(weights, layer.params), (step) =>
          lines.push(nn.progressLine(step, 8))
        )
        return yield* Effect.all(Object.fromEntries(Object.entries(arrays).map(([n, a]) => [n, download(a)])))
      }).pipe(Effect.scoped)
    )
    for (const name of names) {
      const rounded = HostArray.toNumbers(half(values[name] as HostArray.HostArray))
      expect(found[name]?.dtype).toBe("f32")
      expect([...HostArray.toNumbers(found[name] as HostArray.HostArray)]).toEqual([...rounded])
    }
    expect(lines).toHaveLength(6)
    expect(lines.at(-1)).toBe("[########] 100 %  down.bias")
    expect(lines[0]).toBe("[##      ] 26 %  gate.weight")
  })

  it("are counted anew when a load is run again", async () => {
    const weights = await Effect.runPromise(nn.openWeights([source("model.safetensors", values)]))
    const stream = nn.load(weights, layer.params)
    for (let turn = 0; turn < 2; turn++) {
      const steps: Array<nn.Loaded> = []
      await run(nn.loaded(stream, (s) => steps.push(s)).pipe(Effect.scoped))
      expect(steps.at(-1)?.done).toBe(steps[0]?.total)
    }
  })

  it("pass through host memory one at a time, without a second copy", async () => {
    const held = async (tensors: nn.State) => {
      const weights = await Effect.runPromise(nn.openWeights([source("model.safetensors", tensors)]))
      const steps: Array<number> = []
      await run(nn.loaded(nn.load(weights, layer.params), (s) => steps.push(s.hostBytes)).pipe(Effect.scoped))
      return steps
    }
    const bytes = Object.values(values).map(HostArray.byteLength)
    expect(await held(values)).toEqual(bytes)
    // Two bytes as the file has them and four as the layer does.
    const halves = Object.fromEntries(Object.entries(values).map(([n, x]) => [n, half(x)]))
    expect(await held(halves)).toEqual(bytes.map((b) => 1.5 * b))
  })

  it("are read where the bytes of the file lie", async () => {
    const file = new Uint8Array(Safetensors.write(new Map(Object.entries(values))))
    const read = async (start: number, stop: number) => file.slice(start, stop)
    const seen: Array<Uint8Array> = []
    const watched = {
      ...{ name: "a", size: file.length },
      read: async (start: number, stop: number) => {
        seen.push(await read(start, stop))
        return seen.at(-1) as Uint8Array
      }
    }
    const weights = await Effect.runPromise(nn.openWeights([watched]))
    const { data } = await Effect.runPromise(weights.read("up.weight"))
    expect(data.buffer).toBe(seen.at(-1)?.buffer)
  })

  it("draw a bar over itself on a terminal, and one line into a file", () => {
    const draw = (isTTY: boolean): string => {
      let text = ""
      const write = (x: string): void => {
        text += x
      }
      const bar = nn.progressBar({ isTTY, columns: 30, write })
      const step = { array: undefined as never, total: 8, hostBytes: 4 }
      bar({ ...step, name: "a", done: 2 })
      bar({ ...step, name: "b", done: 8 })
      return text
    }
    const full = `[${"#".repeat(24)}] 10`
    expect(draw(true)).toBe(`\r\u001b[2K[${"#".repeat(6)}${" ".repeat(18)}] 25\r\u001b[2K${full}\n`)
    expect(draw(false)).toBe(`${full}\n`)
  })

  it("reads no more than it is asked for", async () => {
    const whole = source("model.safetensors", values)
    const ranges: Array<readonly [number, number]> = []
    const watched = {
      ...whole,
      read: (start: number, stop: number) => {
        ranges.push([start, stop])
        return whole.read(start, stop)
      }
    }
    const weights = await Effect.runPromise(nn.openWeights([watched]))
    const before = ranges.length
    const bias = await Effect.runPromise(weights.read("up.bias"))
    expect(bias).toEqual(values["up.bias"])
    expect(ranges.slice(before).map(([a, b]) => b - a)).toEqual([16])
    expect(ranges.slice(0, before).every(([, stop]) => stop <= whole.size - 4 * 43)).toBe(true)
  })

  it("lists everything that does not fit before anything is read", async () => {
    const { "gate.weight": gate, "up.bias": _, ...rest } = values
    const wrong = {
      ...rest,
      "gate.wieght": gate as HostArray.HostArray,
      "down.bias": HostArray.zeros("f32", [4]),
      "gate.bias": HostArray.zeros("i32", [4])
    }
    const weights = await Effect.runPromise(nn.openWeights([source("model.safetensors", wrong)]))
    const failed = await run(Effect.flip(nn.loaded(nn.load(weights, layer.params))).pipe(Effect.scoped))
    expect(failed._tag).toBe("ParamsError")
    expect(failed.message).toBe(
      [
        "gate.weight is missing; did you mean gate.wieght?",
        "gate.bias holds i32, which are no weights",
        "up.bias is missing",
        "down.bias is [4] instead of [3]",
        "gate.wieght is not known"
      ].join("\n")
    )
    const some = { ...values, other: HostArray.zeros("f32", [1]) }
    const more = await Effect.runPromise(nn.openWeights([source("model.safetensors", some)]))
    const options = { allowOthers: true }
    expect(
      Object.keys(await run(nn.loaded(nn.load(more, layer.params, options)).pipe(Effect.scoped)))
    ).toHaveLength(6)
  })

  it("are found under other names", async () => {
    const renamed = Object.fromEntries(Object.entries(values).map(([n, x]) => [`model.${n}`, x]))
    const weights = await Effect.runPromise(nn.openWeights([source("model.safetensors", renamed)]))
    const stream = nn.load(weights, layer.params, { rename: (n) => `model.${n}` })
    expect(Object.keys(await run(nn.loaded(stream).pipe(Effect.scoped)))).toEqual(Object.keys(values))
  })

  it.each([
    [
      "a name in two shards",
      () => [source("a", values), source("b", values)],
      /b: tensor "gate.weight" is in a too/
    ],
    ["a file that is cut", () => [nn.blobSource("a", new Blob([new Uint8Array(5)]))], /5 bytes are too few/],
    [
      "a header of more than 100 MB",
      () => [{ ...nn.blobSource("a", new Blob([huge])), size: 2 ** 40 }],
      /a: the header of 100000001 bytes is longer than the 100000000 that are read/
    ],
    ["no safetensors", () => [nn.blobSource("a", new Blob(["not a file of tensors"]))], /the header claims/]
  ])("refuses %s", async (_, sources, message) => {
    const failed = await Effect.runPromise(Effect.flip(nn.openWeights(sources())))
    expect(failed._tag).toBe("FileError")
    expect(failed.message).toMatch(message)
  })

  it("refuses an index that leads out of its folder", async () => {
    const map = JSON.stringify({ weight_map: { x: "../secret.safetensors" } })
    writeFileSync(join(folder, "model.safetensors.index.json"), map)
    const failed = await Effect.runPromise(Effect.flip(nn.folderSources(folder)))
    expect(failed.message).toMatch(/names "..\/secret.safetensors"/)
    const none = await Effect.runPromise(Effect.flip(nn.folderSources(join(folder, "none"))))
    expect(none.message).toMatch(/none.model.safetensors: ENOENT/)
  })

  it.each(["{", "[]", "null", "{}", '{"weight_map":{"x":1}}', '{"weight_map":{"x":".."}}'])(
    "refuses the index %s",
    async (text) => {
      writeFileSync(join(folder, "model.safetensors.index.json"), text)
      expect((await Effect.runPromise(Effect.flip(nn.folderSources(folder))))._tag).toBe("FileError")
    }
  )

  it("says which tensor there is not", async () => {
    const weights = await Effect.runPromise(nn.openWeights([source("a", values)]))
    const failed = await Effect.runPromise(Effect.flip(weights.read("up.bais")))
    expect(failed.message).toMatch(/no tensor "up.bais"/)
    expect(failed.hint).toBe("did you mean up.bias?")
  })
})
