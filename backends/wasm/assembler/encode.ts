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
          ...c.name.split(".").flatMap(text),
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
    ]
  ]
  // Code is most of it, and is copied once.
  const bodies = module.functions.map((f) => functionBytes(f, numbers))
  const code = bodies.flatMap((body) => [unsigned(body.length), body])
  const count = unsigned(bodies.length)
  const codeLength = code.reduce((sum, part) => sum + part.length, count.length)
  const parts = [
    [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...sections.flatMap(([id, content]) => [[id], unsigned(content.length), content]),
    ...[[10], unsigned(codeLength), count, ...code]
  ]
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

const typeCode = (type: ValueType): number => {
  if (type === "v256") throw new Error("no engine has vectors of four doubles")
  return typeCodes[type]
}

const typeByte = (type: ValueType): ReadonlyArray<number> => [typeCode(type)]

/** Appends without the limit on arguments of a call. */
const append = (to: Array<number>, from: ReadonlyArray<number>): void => {
  for (const b of from) to.push(b)
}

/** Appends LEB128, unsigned. */
const pushUnsigned = (to: Array<number>, x: number): void => {
  let rest = x >>> 0
  for (; rest > 0x7f; rest >>>= 7) to.push((rest & 0x7f) | 0x80)
  to.push(rest)
}

/** Appends LEB128 of a 32-bit integer with a sign. */
const pushSigned = (to: Array<number>, x: number): void => {
  let rest = x | 0
  for (; rest < -64 || rest > 63; rest >>= 7) to.push((rest & 0x7f) | 0x80)
  to.push(rest & 0x7f)
}

const pushed =
  (push: (to: Array<number>, x: number) => void) =>
  (x: number): ReadonlyArray<number> => {
    const bytes: Array<number> = []
    push(bytes, x)
    return bytes
  }

export const unsigned = pushed(pushUnsigned)
export const signed = pushed(pushSigned)

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

const float = new DataView(new ArrayBuffer(8))

const pushWord = (to: Array<number>, x: number): void => {
  to.push(x & 255, (x >> 8) & 255, (x >> 16) & 255, (x >> 24) & 255)
}

const pushFloat = (to: Array<number>, x: number): void => {
  float.setFloat32(0, x, true)
  pushWord(to, float.getInt32(0, true))
}

const pushDouble = (to: Array<number>, x: number): void => {
  float.setFloat64(0, x, true)
  pushWord(to, float.getInt32(0, true))
  pushWord(to, float.getInt32(4, true))
}

const functionBytes = (f: Func, functions: ReadonlyMap<string, number>): ReadonlyArray<number> => {
  const locals = localsOf(f)
  const runs: Array<{ readonly type: ValueType; count: number }> = []
  for (const { type } of locals) {
    const last = runs.at(-1)
    if (last?.type === type) last.count++
    else runs.push({ type, count: 1 })
  }
  const indices = new Map<Local, number>()
  f.params.concat(locals).forEach((local, i) => {
    indices.set(local, i)
  })
  const out: Array<number> = [...vector(runs.map(({ type, count }) => [...unsigned(count), typeCode(type)]))]

  const code = (c: number): void => {
    if (c > 0xffff) {
      out.push(c >> 16)
      pushUnsigned(out, c & 0xffff)
    } else out.push(c)
  }
  const index = (local: Local): void => {
    const found = indices.get(local)
    if (found === undefined) throw new Error(`${f.name} reads ${local.name}, which nothing sets`)
    pushUnsigned(out, found)
  }
  const immediate = (x: Immediate): void => {
    switch (x._tag) {
      case "local":
        index(x.local)
        return
      case "i32":
        pushSigned(out, x.value)
        return
      case "f32":
        pushFloat(out, x.value)
        return
      case "f64":
        pushDouble(out, x.value)
        return
      case "words":
        for (const word of x.words) pushWord(out, word)
        return
      case "bytes":
        append(out, x.bytes)
        return
      case "lane":
        out.push(x.lane)
        return
      case "memory":
        pushUnsigned(out, x.align)
        pushUnsigned(out, x.offset)
        if (x.lane !== undefined) out.push(x.lane)
        return
      case "call":
        pushUnsigned(out, functions.get(x.callee.name) as number)
        return
    }
  }
  const expr = (e: Expr): void => {
    // No iterator, here and where else there is one for each instruction: code that runs for the first time makes objects of its steps.
    e.operands.forEach(expr)
    code(e.code)
    if (e.immediate !== undefined) immediate(e.immediate)
  }
  const statements = (list: ReadonlyArray<Statement>, labels: ReadonlyArray<Label | undefined>): void => {
    list.forEach((s) => {
      switch (s._tag) {
        case "set":
          expr(s.value)
          code(codes["local.set"])
          index(s.local)
          break
        case "effect":
          s.operands.forEach(expr)
          code(s.code)
          if (s.immediate !== undefined) immediate(s.immediate)
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
          pushUnsigned(out, labels.indexOf(s.label))
          break
      }
    })
  }
  statements(f.body, [])
  if (f.result !== undefined) expr(f.result)
  out.push(codes.end)
  return out
}
