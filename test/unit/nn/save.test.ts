import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { deflateRawSync } from "node:zlib"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import type { FloatDType } from "../../../ir/DType.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Npz from "../../../src/files/Npz.ts"
import * as Zip from "../../../src/files/Zip.ts"
import * as nn from "../../../src/nn/index.ts"

const folder = mkdtempSync(join(tmpdir(), "effuse-save-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const model = nn.decoder({ words: 11, features: 8, hidden: 12, layers: 2, heads: 2, kvHeads: 1 })
const params = model.init(3)
const flat = nn.Params.flatten(params)

const all = (weights: nn.Weights) =>
  Effect.map(
    Effect.forEach(weights.names, (n) => Effect.map(weights.read(n), (x) => [n, x] as const)),
    (entries) => Object.fromEntries(entries)
  )

const opened = (name: string, bytes: Uint8Array) =>
  nn.blobSource(name, new Blob([bytes as Uint8Array<ArrayBuffer>]))

describe("parameters", () => {
  it.each([undefined, "f32", "f16", "bf16"] as const)("go through safetensors, as %s", async (dtype) => {
    const source = opened("a", nn.safetensors(params, { dtype }))
    const back = await Effect.runPromise(Effect.flatMap(nn.openWeights([source]), all))
    const as = (x: HostArray.HostArray): HostArray.HostArray =>
      dtype === undefined ? x : HostArray.fromNumbers(dtype as FloatDType, x.shape, HostArray.toNumbers(x))
    expect(back).toEqual(Object.fromEntries(Object.entries(flat).map(([n, x]) => [n, as(x)])))
    expect(
      nn.Params.fromFlat(nn.decoder({ ...model.config, dtype: dtype ?? "f32" }).params, back)
    ).toBeDefined()
  })

  it("go through a folder of shards with an index, none larger than told", async () => {
    const files = await Effect.runPromise(nn.saveFolder(folder, params, { maxBytes: 1000 }))
    expect(files.at(-1)).toBe("model.safetensors.index.json")
    expect(files.length).toBeGreaterThan(3)
    expect(files[0]).toMatch(/^model-00001-of-0000\d.safetensors$/)
    const index = JSON.parse(readFileSync(join(folder, files.at(-1) as string), "utf8"))
    const total = Object.values(flat).reduce((sum, x) => sum + HostArray.byteLength(x), 0)
    expect(index.metadata.total_size).toBe(total)
    expect(Object.keys(index.weight_map)).toEqual(Object.keys(flat))
    const sources = await Effect.runPromise(nn.folderSources(folder))
    expect(sources.map((s) => s.name)).toEqual(files.slice(0, -1).map((f) => `${folder}/${f}`))
    expect(await Effect.runPromise(Effect.flatMap(nn.openWeights(sources), all))).toEqual(flat)
    for (const s of sources) expect(s.size).toBeLessThan(1000 + 1500)
  })

  it("go into one file where they fit", async () => {
    const own = join(folder, "one")
    expect(await Effect.runPromise(nn.saveFolder(own, params))).toEqual(["model.safetensors"])
    const sources = await Effect.runPromise(nn.folderSources(own))
    expect(await Effect.runPromise(Effect.flatMap(nn.openWeights(sources), all))).toEqual(flat)
  })

  it("go through npz, of a model and of a layer", async () => {
    const back = await Effect.runPromise(Effect.flatMap(nn.openNpz(opened("a.npz", nn.npz(params))), all))
    expect(back).toEqual(flat)
    const layer = nn.mlx.MultiHeadAttention(8, 2, { bias: true })
    const own = nn.Params.flatten(layer.init(1))
    const weights = await Effect.runPromise(nn.openNpz(opened("a.npz", nn.npz(own))))
    expect(await Effect.runPromise(all(weights))).toEqual(own)
    expect(weights.shapeOf("out_proj.bias")).toEqual([8])
    expect(weights.bytesOf("out_proj.bias")).toBe(32)
  })

  it("are read from what numpy.savez_compressed writes", async () => {
    const file = opened("a.npz", Npz.write(new Map(Object.entries(flat)), { compressed: true }))
    expect(await Effect.runPromise(Effect.flatMap(nn.openNpz(file), all))).toEqual(flat)
  })
})

describe("an archive", () => {
  const whole = Npz.write(new Map([["x", HostArray.zeros("f32", [600])]]), { compressed: true })
  const refused = async (bytes: Uint8Array) => {
    const failed = await Effect.runPromise(Effect.flip(nn.openNpz(opened("a.npz", bytes))))
    expect(failed._tag).toBe("FileError")
    return failed.message
  }

  it("is refused wherever it is cut", async () => {
    for (let length = 0; length < whole.length; length += 7) await refused(whole.subarray(0, length))
  })

  it("is refused where it claims other bytes than it holds", async () => {
    const claims = (size: number): Uint8Array => {
      const bytes = whole.slice()
      const view = new DataView(bytes.buffer)
      const directory = view.getUint32(bytes.length - 6, true)
      view.setUint32(directory + 24, size, true)
      return bytes
    }
    expect(await refused(claims(100))).toMatch(/does not inflate to 100 bytes/)
    expect(await refused(claims(4000))).toMatch(/checksum/)
    expect(await refused(claims(2 ** 31))).toMatch(/there is too little of it/)
  })

  it("is refused where it holds something else", async () => {
    const text = new TextEncoder().encode("hello")
    expect(await refused(Zip.write([{ name: "x.txt", bytes: text }], deflateRawSync))).toMatch(/no .npy file/)
    expect(await refused(Zip.write([{ name: "x.npy", bytes: text }]))).toMatch(/"x.npy"/)
  })

  it("says which tensor there is not", async () => {
    const weights = await Effect.runPromise(nn.openNpz(opened("a.npz", whole)))
    expect((await Effect.runPromise(Effect.flip(weights.read("y")))).message).toBe('there is no tensor "y"')
  })
})
