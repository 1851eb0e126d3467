import { Result } from "effect"
import { type ParseError, printLocation, type VerifyError } from "../../ir/errors.ts"
import * as Form from "../../ir/Form.ts"
import type { Graph } from "../../ir/Graph.ts"
import * as Json from "../../ir/Json.ts"
import { type Limits, portable } from "../../ir/Limits.ts"
import * as Parse from "../../ir/Parse.ts"
import * as Print from "../../ir/Print.ts"
import * as Verify from "../../ir/Verify.ts"
import * as Diagnostic from "../../passes/Diagnostic.ts"
import * as Pipeline from "../../passes/Pipeline.ts"

/**
 * A filetest: a command, an input as text, and the full text that the command answers.
 *
 *     // RUN: opt --passes canonicalize
 *     graph { ... }
 *     // ---
 *     graph { ... }
 *
 * `EFFUSE_BLESS=1` writes what the command answers below the line; the change is then reviewed by eye.
 */
export interface Filetest {
  readonly command: string
  readonly arguments: ReadonlyArray<string>
  readonly input: string
  readonly expected: string
}

const run = "// RUN: "
const line = "\n// ---\n"

/** Splits the text of a filetest. A file without the line expects nothing yet, so it fails until it is blessed. */
export const split = (text: string): Filetest => {
  if (!text.startsWith(run)) throw new Error(`a filetest starts with "${run}"`)
  const [head = "", ...rest] = text.split("\n")
  const [command = "", ...words] = head.slice(run.length).trim().split(/\s+/)
  const body = rest.join("\n")
  const at = `\n${body}`.indexOf(line)
  const input = at < 0 ? body.trimEnd() : body.slice(0, at).replace(/\n$/, "")
  const expected = at < 0 ? "" : `\n${body}`.slice(at + line.length).replace(/\n$/, "")
  return { command, arguments: words, input, expected }
}

/** The text of a filetest; the inverse of `split`. */
export const join = (test: Filetest): string =>
  `${[`${run}${test.command}`, ...test.arguments].join(" ")}\n${test.input}${line}${test.expected}\n`

const get = <A, E extends { readonly message: string }>(result: Result.Result<A, E>): A => {
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

/** The input read as a graph. The command's line counts, so that places are those of the file. */
const parsed = (input: string): Result.Result<Graph, ParseError> =>
  Parse.graph(`\n${input}`, { file: "input" })

const graphOf = (input: string): Graph => get(parsed(input))

const verdict = (result: Result.Result<void, VerifyError>): string =>
  Result.isSuccess(result) ? "accepted" : result.failure.message

const explained = ({ at, what, source, hint }: ParseError): string =>
  [
    `${at === undefined ? "" : `${printLocation(at)}: `}${what}`,
    ...(source === undefined ? [] : [source]),
    ...(hint === undefined ? [] : [`hint: ${hint}`])
  ].join("\n")

/** What an option such as `--passes a,b` was given. */
const option = (words: ReadonlyArray<string>, name: string): string | undefined => {
  const at = words.indexOf(name)
  return at < 0 ? undefined : words[at + 1]
}

const able: Limits = { ...portable, twinProducts: true, productsInPlace: true, rowEpilogues: true }

type Command = (input: string, words: ReadonlyArray<string>) => string

/** Every command of the filetests. Adding one is a line here. */
export const commands: { readonly [name: string]: Command } = {
  /** The graph, printed back. */
  print: (input) => Print.graph(graphOf(input)),
  /** The graph in its JSON form. */
  json: (input) => JSON.stringify(Json.encode(graphOf(input)), null, 2),
  /** The graph of a JSON form, or the reason there is none. */
  "from-json": (input) => {
    const result = Json.parse(input)
    return Result.isSuccess(result) ? Print.graph(result.success) : explained(result.failure)
  },
  /** What the verifier says: `accepted`, or all violations. */
  verify: (input) => verdict(Verify.graph(graphOf(input))),
  /** What a form says: `form kernels`. */
  form: (input, [name = ""]) => verdict(Form.check(graphOf(input), name as Form.FormName)),
  /** Why the input is not a graph: place, message, the line with a caret, the hint. */
  "parse-error": (input) => {
    const result = parsed(input)
    return Result.isFailure(result) ? explained(result.failure) : "no error"
  },
  /**
   * The graph after `--passes a,b`; with `--explain`, what the passes say follows as comments; with `--able` for a device whose kernels may
   * do all that limits speak of.
   */
  opt: (input, words) => {
    const pipeline = get(Pipeline.parse(option(words, "--passes") ?? ""))
    const limits = words.includes("--able") ? able : portable
    const { graph, diagnostics } = get(Pipeline.run(pipeline, graphOf(input), { limits }))
    const said = words.includes("--explain") ? diagnostics.map(Diagnostic.print) : []
    return [Print.graph(graph), ...said.map((text) => text.replace(/^/gm, "// "))].join("\n")
  }
}

/** What the command of a filetest answers. */
export const answer = (test: Filetest): string => {
  const command = Object.hasOwn(commands, test.command) ? commands[test.command] : undefined
  if (command === undefined) {
    throw new Error(`there is no filetest command ${test.command}: use ${Object.keys(commands).join(", ")}`)
  }
  return command(test.input, test.arguments)
}
