import { suggest } from "../ir/suggest.ts"
import { cpuCases, gpuCases } from "./cases/cases.ts"
import { type PeerName, peerNames } from "./peers/index.ts"

export interface Options {
  readonly mode: "webgpu" | "cpu" | "generate"
  /** Whether it is in Chromium instead of Node. */
  readonly browser: boolean
  readonly json: boolean
  /** Whether what is said is kept in `bench/RESULTS.md`. */
  readonly save: boolean
  /** Names of cases; all where there are none. */
  readonly only: ReadonlyArray<string>
  readonly peers: ReadonlyArray<PeerName>
  /** Turns of each contender in each case. */
  readonly rounds: number
  /** Numbers of threads that each peer on the processor runs with. */
  readonly threads: ReadonlyArray<number>
  /** After so many the run ends and says what it knows. */
  readonly seconds: number
}

const known = {
  "--cpu": "WebAssembly and native code instead of WebGPU",
  "--browser": "Chromium instead of Node, with WebGPU or --cpu",
  "--generate": "a small model that generates",
  "--json": "results as JSON, everything else on the error stream; after npm run --silent nothing but JSON",
  "--save": "what is said into bench/RESULTS.md, where the run came to its end",
  "--only": "cases, by name, separated by commas",
  "--peers": "peers, by name, separated by commas; Effuse always runs",
  "--rounds": "turns of each contender in each case",
  "--threads": "numbers of threads, separated by commas: 1,2",
  "--seconds": "when the run ends, with what it knows by then: 350, or 290 with --cpu",
  "--help": "this text"
} as const

type Known = keyof typeof known

export const usage = [
  "npm run bench -- [options]",
  ...Object.entries(known).map(([name, text]) => `  ${name.padEnd(10)} ${text}`),
  `peers: ${peerNames.join(", ")}`,
  `cases on the processor: ${cpuCases.map((c) => c.name).join(", ")}`,
  `cases on WebGPU: ${gpuCases.map((c) => c.name).join(", ")}`
].join("\n")

const names = Object.keys(known) as ReadonlyArray<Known>
const modes = { "--cpu": "cpu", "--generate": "generate" } as const
const valued: ReadonlyArray<Known> = ["--only", "--peers", "--rounds", "--threads", "--seconds"]

const unknown = (what: string, name: string, all: ReadonlyArray<string>): string => {
  const near = suggest(name, all)
  const hint = near === undefined ? "." : `, did you mean ${near}?`
  return `there is no ${what} ${name}${hint} There are: ${all.join(", ")}`
}

const listed = (
  what: string,
  text: string,
  all: ReadonlyArray<string>
): { readonly list: ReadonlyArray<string> } | { readonly error: string } => {
  const list = text.split(",").map((x) => x.trim())
  const wrong = list.find((x) => !all.includes(x))
  return wrong === undefined ? { list } : { error: unknown(what, wrong, all) }
}

/** Options of the command line, or what is wrong with them. */
export const parse = (
  args: ReadonlyArray<string>
): { readonly options: Options } | { readonly error: string } | { readonly help: string } => {
  const given = new Map<Known, string>()
  const rest = args.flatMap((a) => (a.startsWith("--") && a.includes("=") ? split(a) : [a]))
  for (let n = 0; n < rest.length; n++) {
    const name = rest[n] as Known
    if (!names.includes(name)) return { error: unknown("option", name, names) }
    const takes = valued.includes(name)
    const value = takes ? rest[++n] : ""
    if (value === undefined || (takes && value.startsWith("--")))
      return { error: `${name} needs a value: ${known[name]}` }
    given.set(name, value)
  }
  if (given.has("--help")) return { help: usage }
  const chosen = (Object.keys(modes) as ReadonlyArray<keyof typeof modes>).filter((m) => given.has(m))
  if (chosen.length > 1) return { error: `${chosen.join(" and ")} are different runs: choose one` }
  const browser = given.has("--browser")
  const mode = chosen[0] === undefined ? "webgpu" : modes[chosen[0]]
  if (browser && mode === "generate") return { error: "--generate runs in Node only" }
  if (given.has("--save") && (mode === "generate" || given.has("--only")))
    return { error: "--save is for runs of all cases" }
  const cases = (mode === "cpu" ? cpuCases : gpuCases).map((c) => c.name)
  const only = listed("case", given.get("--only") ?? cases.join(), cases)
  if ("error" in only) return only
  const peers = listed("peer", given.get("--peers") ?? peerNames.join(), peerNames)
  if ("error" in peers) return peers
  const rounds = Number(given.get("--rounds") ?? (mode === "cpu" ? 5 : mode === "generate" ? 2 : 3))
  if (!(Number.isSafeInteger(rounds) && rounds > 0))
    return { error: `--rounds is a whole number of 1 or more, not ${given.get("--rounds")}` }
  const threads = (given.get("--threads") ?? "1,2").split(",").map(Number)
  if (!threads.every((t) => Number.isSafeInteger(t) && t > 0))
    return { error: `--threads are whole numbers of 1 or more, not ${given.get("--threads")}` }
  const seconds = Number(given.get("--seconds") ?? (mode === "cpu" ? 290 : 350))
  if (!(seconds > 0)) return { error: `--seconds is a number above 0, not ${given.get("--seconds")}` }
  return {
    options: {
      mode,
      browser,
      seconds,
      json: given.has("--json"),
      save: given.has("--save"),
      only: only.list,
      peers: ["effuse", ...peers.list.filter((p) => p !== "effuse")] as ReadonlyArray<PeerName>,
      rounds,
      threads
    }
  }
}

const split = (text: string): [string, string] => {
  const at = text.indexOf("=")
  return [text.slice(0, at), text.slice(at + 1)]
}
