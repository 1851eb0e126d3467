import type { Callee, Expr, Immediate, Statement } from "./Instruction.ts"
import { type Func, localsOf, type Module } from "./Module.ts"

/** The text format, with folded expressions: WebAssembly core specification, chapter 6. */
export const print = (module: Module): string =>
  [
    "(module",
    `  (import "env" "memory" (memory 1))`,
    ...module.imports.map(
      (c) => `  (import ${c.name.split(".").map(quoted).join(" ")} (func $${c.name}${signature(c)}))`
    ),
    ...module.functions.flatMap(printFunction).map((line) => `  ${line}`),
    ")"
  ].join("\n")

const quoted = (name: string): string => JSON.stringify(name)

const signature = ({ params, result }: Callee): string =>
  `${params.length === 0 ? "" : ` (param ${params.join(" ")})`}${result === undefined ? "" : ` (result ${result})`}`

const printFunction = (f: Func): ReadonlyArray<string> => {
  const head = [
    `(func $${f.name}`,
    ...(f.exported ? [`(export ${JSON.stringify(f.name)})`] : []),
    ...f.params.map((p) => `(param $${p.name} ${p.type})`),
    ...(f.result === undefined ? [] : [`(result ${f.result.type})`])
  ].join(" ")
  const locals = localsOf(f).map((l) => `  (local $${l.name} ${l.type})`)
  const result = f.result === undefined ? [] : [`  ${printExpr(f.result)}`]
  return [head, ...locals, ...indented(f.body.flatMap(printStatement)), ...result, ")"]
}

const indented = (lines: ReadonlyArray<string>): ReadonlyArray<string> => lines.map((l) => `  ${l}`)

const printNumber = (x: number): string =>
  Number.isNaN(x)
    ? "nan"
    : x === Infinity
      ? "inf"
      : x === -Infinity
        ? "-inf"
        : Object.is(x, -0)
          ? "-0"
          : String(x)

const printImmediate = (x: Immediate): string => {
  switch (x._tag) {
    case "local":
      return `$${x.local.name}`
    case "i32":
      return String(x.value)
    case "f32":
    case "f64":
      return printNumber(x.value)
    case "words":
      return `i32x4 ${x.words.map((w) => `0x${(w >>> 0).toString(16)}`).join(" ")}`
    case "bytes":
      return x.bytes.join(" ")
    case "lane":
      return String(x.lane)
    case "memory": {
      const offset = x.offset === 0 ? "" : `offset=${x.offset} `
      return `${offset}align=${2 ** x.align}${x.lane === undefined ? "" : ` ${x.lane}`}`
    }
    case "call":
      return `$${x.callee.name}`
  }
}

const fold = (name: string, immediate: Immediate | undefined, operands: ReadonlyArray<Expr>): string =>
  `(${[name, ...(immediate === undefined ? [] : [printImmediate(immediate)]), ...operands.map(printExpr)].join(" ")})`

const printExpr = (e: Expr): string => fold(e.name, e.immediate, e.operands)

const printStatement = (s: Statement): ReadonlyArray<string> => {
  switch (s._tag) {
    case "set":
      return [`(local.set $${s.local.name} ${printExpr(s.value)})`]
    case "effect":
      return [fold(s.name, s.immediate, s.operands)]
    case "block":
    case "loop":
      return [`(${s._tag} $${s.label.name}`, ...indented(s.body.flatMap(printStatement)), ")"]
    case "if":
      return [
        `(if ${printExpr(s.condition)}`,
        "  (then",
        ...indented(indented(s.body.flatMap(printStatement))),
        "  )",
        ...(s.otherwise.length === 0
          ? []
          : ["  (else", ...indented(indented(s.otherwise.flatMap(printStatement))), "  )"]),
        ")"
      ]
    case "branch":
      return [
        s.condition === undefined
          ? `(br $${s.label.name})`
          : `(br_if $${s.label.name} ${printExpr(s.condition)})`
      ]
  }
}
