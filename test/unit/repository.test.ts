/** The shape of the repository: who may import whom, how long a file may be, what nobody writes down. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))
const notOurs = new Set(["node_modules", "dist", "coverage", ".git", ".cache", ".cache-install-lock"])

/** Every file below a folder, as paths from the root with forward slashes. */
const filesBelow = (folder: string): ReadonlyArray<string> =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`
    if (notOurs.has(entry.name)) return []
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : []
  })

const files = filesBelow("")
const textOf = (path: string): string => readFileSync(join(root, path), "utf8")
const codeFolders = ["ir", "passes", "backends", "src", "test", "scripts"] as const
const sources = files.filter(
  (path) => codeFolders.some((folder) => path.startsWith(`${folder}/`)) && /\.(ts|mjs)$/.test(path)
)
const product = sources.filter((path) => /^(ir|passes|backends|src)\//.test(path))

interface Import {
  readonly from: string
  /** A path from the root for a file of ours, else the specifier. */
  readonly to: string
  readonly names: ReadonlyArray<string>
  /** Nothing is left of it at run time. */
  readonly erased: boolean
}

const statement = /^\s*(?:import|export)\s+(type\s+)?([^"'`;]*?)\s*from\s*"([^"]+)"/gm
const dynamic = /\bimport\(\s*"([^"]+)"/g

const importsOf = (from: string): ReadonlyArray<Import> => {
  const text = textOf(from)
  const resolve = (to: string) =>
    to.startsWith(".")
      ? normalize(join(dirname(from), to))
          .split(sep)
          .join("/")
      : to
  const named = (clause: string) =>
    (/\{([^}]*)\}/.exec(clause)?.[1] ?? clause)
      .split(",")
      .map(
        (name) =>
          name
            .trim()
            .replace(/^type\s+/, "")
            .split(/\s+as\s+/)[0] ?? ""
      )
      .filter((name) => name !== "")
  return [
    ...[...text.matchAll(statement)].map((found) => ({
      from,
      to: resolve(found[3] ?? ""),
      names: named(found[2] ?? ""),
      erased: found[1] !== undefined
    })),
    ...[...text.matchAll(dynamic)].map((found) => ({
      from,
      to: resolve(found[1] ?? ""),
      names: [],
      erased: false
    }))
  ]
}

const imports = sources.flatMap(importsOf)

/** The part of the house a file belongs to: a top-level folder, or one backend. What all backends share is `backends`. */
const partOf = (path: string): string => {
  const [folder = "", name = "", file] = path.split("/")
  return folder === "backends" && file !== undefined ? `backends/${name}` : folder
}
const allowed = (from: string, to: string): boolean => {
  const [own, other] = [partOf(from), partOf(to)]
  if (own === other) return true
  if (own === "ir") return false
  if (own === "passes" || own === "backends") return other === "ir"
  if (own.startsWith("backends/")) return other === "ir" || other === "backends"
  if (own === "src") return /^(ir|passes|backends)\b/.test(other)
  // Scripts run the same cases and arrays that the tests do.
  return own === "test" || own === "scripts"
}

describe("layers", () => {
  test("imports follow the house: ir ← passes, ir ← backends, all three ← src, everything ← test", () => {
    expect(sources.length).toBeGreaterThan(0)
    const ours = imports.filter(({ to }) => codeFolders.some((folder) => to.startsWith(`${folder}/`)))
    expect(ours.length).toBeGreaterThan(0)
    const wrong = ours.filter(({ from, to }) => !allowed(from, to)).map(({ from, to }) => `${from} → ${to}`)
    expect(wrong).toEqual([])
  })

  test("the rule itself tells right from wrong", () => {
    const verdicts = [
      allowed("ir/a.ts", "passes/b.ts"),
      allowed("passes/a.ts", "backends/webgpu/b.ts"),
      allowed("backends/webgpu/a.ts", "backends/reference/b.ts"),
      allowed("backends/a.ts", "backends/webgpu/b.ts"),
      allowed("backends/webgpu/a.ts", "src/b.ts"),
      allowed("src/a.ts", "test/b.ts")
    ]
    expect(verdicts.every((verdict) => !verdict)).toBe(true)
    expect(allowed("backends/webgpu/a.ts", "backends/webgpu/kernels/b.ts")).toBe(true)
    expect(allowed("backends/webgpu/a.ts", "backends/b.ts")).toBe(true)
    expect(allowed("src/a.ts", "backends/webgpu/b.ts")).toBe(true)
  })

  test("every relative import names a file that exists, with its extension", () => {
    const known = new Set(files)
    const broken = imports
      .filter(({ to }) => /^(ir|passes|backends|src|scripts)\//.test(to) && !known.has(to))
      .map(({ from, to }) => `${from} → ${to}`)
    expect(broken).toEqual([])
  })

  test("no import cycle among files at run time", () => {
    const targets = new Map<string, ReadonlyArray<string>>()
    for (const from of sources) {
      targets.set(
        from,
        imports
          .filter((one) => one.from === from && !one.erased && sources.includes(one.to))
          .map(({ to }) => to)
      )
    }
    const done = new Set<string>()
    const cycles: Array<string> = []
    const visit = (file: string, path: ReadonlyArray<string>): void => {
      if (path.includes(file)) {
        cycles.push([...path.slice(path.indexOf(file)), file].join(" → "))
        return
      }
      if (done.has(file)) return
      for (const next of targets.get(file) ?? []) visit(next, [...path, file])
      done.add(file)
    }
    for (const file of sources) visit(file, [])
    expect(cycles).toEqual([])
  })

  test("ir and passes take only data modules from effect, and nothing from Node", () => {
    const data = new Set(
      `Array BigInt Boolean Brand Chunk Data Equal Equivalence Function Hash HashMap HashSet Iterable Match MutableHashMap
       MutableHashSet Number Option Order Ordering Pipeable Predicate Record Result Schema String Struct Tuple Types absurd
       dual flow hole identity pipe`.split(/\s+/)
    )
    const wrong = imports
      .filter(({ from }) => /^(ir|passes)\//.test(from))
      .flatMap(({ from, to, names }) => {
        const used = to === "effect" ? names : to.startsWith("effect/") ? [to.slice("effect/".length)] : []
        return [...used.filter((name) => !data.has(name)), ...(to.startsWith("node:") ? [to] : [])].map(
          (name) => `${from} takes ${name}`
        )
      })
    expect(wrong).toEqual([])
  })
})

describe("files", () => {
  test("none is longer than 600 lines", () => {
    const long = sources.filter((path) => textOf(path).trimEnd().split("\n").length > 600)
    expect(long).toEqual([])
  })

  test("none is named after nothing", () => {
    expect(sources.filter((path) => /(^|\/)(utils?|helpers?|common|misc)(\.|\/)/i.test(path))).toEqual([])
  })

  test("the product holds no `any` and silences no checker", () => {
    const escapes = product.flatMap((path) => {
      const code = textOf(path).replace(/\/\*[\s\S]*?\*\//g, "")
      const bare = code.replace(/(^|\s)\/\/.*$/gm, "")
      const found = [
        ...(bare.match(/(:|\bas|<|\|)\s*any\b\s*[,;)>=\]|[]|:\s*any$|\bas any\b/gm) ?? []),
        ...(textOf(path).match(/@ts-(ignore|nocheck|expect-error)/g) ?? [])
      ]
      return found.map((what) => `${path}: ${what.trim()}`)
    })
    expect(escapes).toEqual([])
  })

  test("none names the machine it was written on", () => {
    // In pieces, so that this file does not name them either.
    const words = [
      ["/wo", "rk/"],
      [".lib", "rary"],
      ["farm-", "studio"],
      ["/tmp/bash", "_jobs"],
      ["registry", ".npmjs"],
      ["_auth", "Token"]
    ].map((pieces) => pieces.join(""))
    const private_ = files
      .filter((path) =>
        /\.(ts|mjs|js|json|md|txt|html|css|ya?ml|wgsl|ir|sh)$|(^|\/)\.[\w-]+$|(^|\/)run$/.test(path)
      )
      .flatMap((path) => {
        const text = textOf(path)
        return words.filter((word) => text.includes(word)).map((word) => `${path}: ${word}`)
      })
    expect(private_).toEqual([])
  })

  test("the lock file pins versions and leaves the registry to the user", () => {
    const lock = textOf("package-lock.json")
    expect(lock).not.toContain('"resolved"')
    const manifest = JSON.parse(textOf("package.json")) as Record<string, Record<string, string>>
    const loose = Object.entries({ ...manifest["dependencies"], ...manifest["devDependencies"] }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+$/.test(version)
    )
    expect(loose).toEqual([])
  })
})
