import type { Callee, Expr, Immediate, Label, Local, Statement } from "./Instruction.ts"
import { codes, typeCodes, type ValueType } from "./instructions.ts"
import { calleeOf, type Func, localsOf, type Module } from "./Module.ts"

/** What a memory's limits say: of any size, or shared by threads, which needs a most. */
const memoryLimits = (shared: boolean): ReadonlyArray<number> =>
  shared ? [3, 1, ...unsigned(65536)] : [0, 1]

/** The binary format: WebAssembly core specification, chapter 5. The memory that it imports is shared by threads, or it is not. */
export const encode = (
  module: Module,
  memory: { readonly shared: boolean } = { shared: false }
): Uint8Array<ArrayBuffer> => {
  const types: Array<string> = []
  const typeBytes: Array<ReadonlyArray<number>> = []
  const typeOf = ({ params, result }: Callee): number => {
    const key = `${params.join()}:${result}`
    const known = types.indexOf(key)
    if (known >= 0) return known
    typeBytes.push([
      0x60,
      ...vector(params.map(typeByte)),
      ...vector(result === undefined ? [] : [typeByte(result)])
    ])
    return types.push(key) - 1
  }
  const callees = [...module.imports, ...module.functions.map(calleeOf)]
  const numbers = new Map(callees.map((c, i) => [c.name, i] as const))
  const typeNumbers = callees.map(typeOf)
  const own = module.imports.length

  const sections: ReadonlyArray<readonly [id: number, content: ReadonlyArray<number>]> = [
    [1, vector(typeBytes)],
    [
      2,
      vector([
        [...text("env"), ...text("memory"), 2, ...memoryLimits(memory.shared)],
        ...module.imports.map((c, i) => [
          ...text("env"),
          ...text(c.name),
          0,
          ...unsigned(typeNumbers[i] as number)
        ])
      ])
    ],
    [3, vector(typeNumbers.slice(own).map((n) => unsigned(n)))],
    [
      7,
      vector(
        module.functions.flatMap((f, i) => (f.exported ? [[...text(f.name), 0, ...unsigned(own + i)]] : []))
      )
    ],
    [10, vector(module.functions.map((f) => sized(functionBytes(f, numbers))))]
  ]
  const bytes: Array<number> = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  for (const [id, content] of sections) {
    bytes.push(id)
    append(bytes, sized(content))
  }
  return Uint8Array.from(bytes)
}

const typeByte = (type: ValueType): ReadonlyArray<number> => [typeCodes[type]]

/** Appends without the limit on arguments of a call. */
const append = (to: Array<number>, from: ReadonlyArray<number>): void => {
  for (const b of from) to.push(b)
}

/** LEB128, unsigned. */
export const unsigned = (x: number): ReadonlyArray<number> => {
  const bytes: Array<number> = []
  let rest = x >>> 0
  do {
    const low = rest & 0x7f
    rest >>>= 7
    bytes.push(rest === 0 ? low : low | 0x80)
  } while (rest !== 0)
  return bytes
}

/** LEB128 of a 32-bit integer with a sign. */
export const signed = (x: number): ReadonlyArray<number> => {
  const bytes: Array<number> = []
  for (let rest = x | 0; ; rest >>= 7) {
    const low = rest & 0x7f
    const last = (rest >> 6 === 0 && (low & 0x40) === 0) || (rest >> 6 === -1 && (low & 0x40) !== 0)
    bytes.push(last ? low : low | 0x80)
    if (last) return bytes
  }
}

const vector = (items: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => {
  const bytes = [...unsigned(items.length)]
  for (const item of items) append(bytes, item)
  return bytes
}

const sized = (content: ReadonlyArray<number>): ReadonlyArray<number> => {
  const bytes = [...unsigned(content.length)]
  append(bytes, content)
  return bytes
}

const text = (name: string): ReadonlyArray<number> => sized([...new TextEncoder().encode(name)])

const float = new DataView(new ArrayBuffer(4))

const floatBytes = (x: number): ReadonlyArray<number> => {
  float.setFloat32(0, x, true)
  return [0, 1, 2, 3].map((i) => float.getUint8(i))
}

const wordBytes = (x: number): ReadonlyArray<number> => [
  x & 255,
  (x >> 8) & 255,
  (x >> 16) & 255,
  (x >> 24) & 255
]

const functionBytes = (f: Func, functions: ReadonlyMap<string, number>): ReadonlyArray<number> => {
  const locals = localsOf(f)
  const runs: Array<{ readonly type: ValueType; count: number }> = []
  for (const { type } of locals) {
    const last = runs.at(-1)
    if (last?.type === type) last.count++
    else runs.push({ type, count: 1 })
  }
  const indices = new Map<Local, number>([...f.params, ...locals].map((l, i) => [l, i] as const))
  const out: Array<number> = [...vector(runs.map(({ type, count }) => [...unsigned(count), typeCodes[type]]))]

  const code = (c: number): void => {
    if (c > 0xffff) {
      out.push(c >> 16)
      append(out, unsigned(c & 0xffff))
    } else out.push(c)
  }
  const index = (local: Local): ReadonlyArray<number> => {
    const found = indices.get(local)
    if (found === undefined) throw new Error(`${f.name} reads ${local.name}, which nothing sets`)
    return unsigned(found)
  }
  const immediate = (x: Immediate): ReadonlyArray<number> => {
    switch (x._tag) {
      case "local":
        return index(x.local)
      case "i32":
        return signed(x.value)
      case "f32":
        return floatBytes(x.value)
      case "words":
        return x.words.flatMap(wordBytes)
      case "bytes":
        return x.bytes
      case "lane":
        return [x.lane]
      case "memory":
        return [...unsigned(x.align), ...unsigned(x.offset), ...(x.lane === undefined ? [] : [x.lane])]
      case "call":
        return unsigned(functions.get(x.callee.name) as number)
    }
  }
  const expr = (e: Expr): void => {
    e.operands.forEach(expr)
    code(e.code)
    if (e.immediate !== undefined) append(out, immediate(e.immediate))
  }
  const statements = (list: ReadonlyArray<Statement>, labels: ReadonlyArray<Label | undefined>): void => {
    for (const s of list) {
      switch (s._tag) {
        case "set":
          expr(s.value)
          code(codes["local.set"])
          append(out, index(s.local))
          break
        case "effect":
          s.operands.forEach(expr)
          code(s.code)
          if (s.immediate !== undefined) append(out, immediate(s.immediate))
          break
        case "block":
        case "loop":
          out.push(codes[s._tag], 0x40)
          statements(s.body, [s.label, ...labels])
          out.push(codes.end)
          break
        case "if":
          expr(s.condition)
          out.push(codes.if, 0x40)
          statements(s.body, [undefined, ...labels])
          if (s.otherwise.length > 0) {
            out.push(codes.else)
            statements(s.otherwise, [undefined, ...labels])
          }
          out.push(codes.end)
          break
        case "branch":
          if (s.condition !== undefined) expr(s.condition)
          out.push(s.condition === undefined ? codes.br : codes.br_if)
          append(out, unsigned(labels.indexOf(s.label)))
          break
      }
    }
  }
  statements(f.body, [])
  if (f.result !== undefined) expr(f.result)
  out.push(codes.end)
  return out
}
