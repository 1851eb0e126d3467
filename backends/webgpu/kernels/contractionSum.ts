import type { ContractionSum } from "../../../ir/ContractionSum.ts"
import type * as Dim from "../../../ir/Dim.ts"
import * as Graph from "../../../ir/Graph.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job, Lowered } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Epilogue from "../wgsl/epilogue.ts"
import * as Module from "../wgsl/Module.ts"
import { compute } from "../wgsl/scalar.ts"
import {
  accumulators,
  divides,
  multiplyAdd,
  type Operand,
  scheduleOf,
  steps,
  storeBlock
} from "./contraction.ts"
import { reader, usable } from "./matmulRegisters.ts"
import { vectorsOf } from "./vectors.ts"

/** Whether one kernel computes the sum: what lies between contraction and sum, and what follows the sum, keeps elements one to one. */
export const isOneKernel = ({ body }: Pick<Job, "body">, { dot, sum }: ContractionSum): boolean => {
  const before = Graph.assemble([{ name: "x", node: sum.operands[0] as Node }], body.inputs)
  return Epilogue.isDirect({ body: before, anchor: dot }) && Epilogue.isDirect({ body, anchor: sum })
}

/**
 * The sum over entries of a function of each entry's contraction: a thread computes a block of rows and columns, one entry after the
 * other, straight from storage, and adds the function of it to its totals.
 */
export const contractionSum = (job: Job, { dot, sum, chain, row, column }: ContractionSum): Lowered => {
  const operand = sum.operands[0] as Node
  const { shape } = operand.type
  const [left, right] = dot.operands as readonly [Node, Node]
  const { lhsBatch, lhsContract, rhsBatch, rhsContract } = dot.attrs
  const free = (x: Node, ...taken: ReadonlyArray<number>): ReadonlyArray<number> =>
    x.type.shape.flatMap((_, axis) => (taken.includes(axis) ? [] : [axis]))
  const leftFree = free(left, ...lhsBatch, ...lhsContract)
  // All free axes of lhs but the last are entries, too.
  const lhs: Operand = {
    node: left,
    batch: [...lhsBatch, ...leftFree.slice(0, -1)],
    free: leftFree.slice(-1),
    contract: lhsContract
  }
  const rhs: Operand = {
    node: right,
    batch: rhsBatch,
    free: free(right, ...rhsBatch, ...rhsContract),
    contract: rhsContract
  }
  const sizesOf = (axes: ReadonlyArray<number>, of = shape): Shape.Shape => axes.map((a) => of[a] as Dim.Dim)
  const summed = sum.attrs.axes
  const kept = free(operand, row, column, ...summed)
  const [rows, columns] = [shape[row] as Dim.Dim, shape[column] as Dim.Dim]
  const depthShape = sizesOf(lhsContract, left.type.shape)
  const schedule = scheduleOf(job, {
    batch: sizesOf(kept),
    rows: [rows],
    columns: [columns],
    depth: depthShape,
    rhs: [rhs]
  })

  // Totals are kept beside the sums of an entry.
  const [threadRows, threadColumns] = [schedule.threadRows, schedule.threadColumns].map((n) =>
    Math.min(4, n)
  ) as [number, number]
  const module = Module.make(job)
  const e = Emitter.make(module)
  const threads = job.limits.kind === "cpu" ? 16 : 64
  const [down, across] = [Size.ceilDiv(rows, threadRows), Size.ceilDiv(columns, threadColumns)]
  const tiles = Size.product([Shape.size(sizesOf(kept)), down, across])
  const tile = e.constant(`${Module.workgroupIndex} * ${threads} + i32(lix)`)
  e.line(`if (${tile} >= ${Size.wgsl(tiles, module.symbol)}) { return; }`)
  const perRow = e.bind(Size.wgsl(across, module.symbol))
  const perEntry = e.mul(e.bind(Size.wgsl(down, module.symbol)), perRow)
  const entryNumber = e.bind(`${tile} / ${perEntry}`)
  const rest = e.sub(tile, e.mul(entryNumber, perEntry))
  const tileRow = e.bind(`${rest} / ${perRow}`)
  const firstRow = e.mul(tileRow, String(threadRows))
  const firstColumn = e.mul(e.sub(rest, e.mul(tileRow, perRow)), String(threadColumns))
  const keptIndex = e.delinearize(entryNumber, sizesOf(kept))

  const spans = {
    rows: { first: firstRow, size: rows, inside: divides(threadRows, rows) },
    columns: { first: firstColumn, size: columns, inside: divides(threadColumns, columns) }
  }
  const last = (
    index: string,
    { size, inside }: { readonly size: Dim.Dim; readonly inside: boolean }
  ): string => (inside ? index : e.bind(`min(${index}, ${e.sub(e.dim(size), "1")})`))
  const type = compute(left.type.dtype)
  const total = compute(sum.type.dtype)
  const count = threadRows * threadColumns
  const totals = e.variable(`array<${total}, ${count}>`, `array<${total}, ${count}>()`)

  e.loop("0", e.dim(Shape.size(sizesOf(summed))), "1", (n) => {
    const summedIndex = e.delinearize(n, sizesOf(summed))
    const indices = (r: string, c: string): ReadonlyArray<string> =>
      shape.map((_, axis) => {
        if (axis === row) return r
        if (axis === column) return c
        const at = summed.indexOf(axis)
        return (at >= 0 ? summedIndex[at] : keptIndex[kept.indexOf(axis)]) as string
      })
    const entry = backThrough(e, chain, indices(firstRow, firstColumn)).slice(0, -2)
    const body = Body.make(e, job.body)
    const element = (o: Operand, line: string, k: string): string => {
      const depth = e.delinearize(k, depthShape)
      return body.at(
        o.node,
        o.node.type.shape.map((_, axis) => {
          const [b, d] = [o.batch.indexOf(axis), o.contract.indexOf(axis)]
          return (b >= 0 ? entry[b] : d >= 0 ? depth[d] : line) as string
        })
      )
    }
    const read = (o: Operand, first: string, size: Dim.Dim, per: number) =>
      reader(e, usable(vectorsOf(e, job, o), per), entry, { first, size, per }, (line, k) =>
        element(o, line, k)
      )
    const [a, b] = [read(lhs, firstRow, rows, threadRows), read(rhs, firstColumn, columns, threadColumns)]
    const step = a.along === "depth" || b.along === "depth" ? 4 : 1
    const sums = accumulators(e, type, threadRows, threadColumns)
    e.loop("0", e.dim(Shape.size(depthShape)), String(step), (k) => {
      const [x, y] = [a.read(k, step), b.read(k, step)]
      for (const at of steps(step)) {
        sums.forEach((own, i) => {
          own.forEach((s, j) => {
            multiplyAdd(e, type, s, x.at(i, at), y.at(j, at))
          })
        })
      }
    })
    const products = e.variable(
      `array<${type}, ${count}>`,
      `array<${type}, ${count}>(${sums.flat().join(", ")})`
    )
    e.loop("0", String(count), "1", (item) => {
      const r = last(e.add(firstRow, e.bind(`${item} / ${threadColumns}`)), spans.rows)
      const c = last(e.add(firstColumn, e.bind(`${item} % ${threadColumns}`)), spans.columns)
      const one = Body.make(e, job.body)
      one.give(dot, e.constant(`${products}[${item}]`))
      e.line(`${totals}[${item}] += ${one.at(operand, indices(r, c))};`)
    })
  })

  const epilogue = Epilogue.make(e, { ...job, anchor: sum }, () => Body.make(e, job.body))
  const result = shape.flatMap((_, axis) => (summed.includes(axis) ? [] : [axis]))
  const store = (r: string, c: string, values: ReadonlyArray<string>): void =>
    epilogue.store(
      result.map((axis) =>
        axis === row ? r : axis === column ? c : (keptIndex[kept.indexOf(axis)] as string)
      ),
      ...values
    )
  const names = steps(threadRows).map((i) =>
    steps(threadColumns).map((j) => `${totals}[${i * threadColumns + j}]`)
  )
  storeBlock({ emitter: e, store }, total, [names], spans)
  return module.finish({
    name: "matmul_sum",
    lines: e.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: Size.ceilDiv(tiles, threads)
  })
}

/** The index of the contraction's element that an element of the sum's operand is made of. */
const backThrough = (
  e: Emitter.Emitter,
  chain: ReadonlyArray<Node>,
  indices: ReadonlyArray<string>
): ReadonlyArray<string> =>
  chain.reduce<ReadonlyArray<string>>((at, node) => {
    if (node.op === "transpose") {
      const from = at.map(() => "0")
      node.attrs.perm.forEach((axis, i) => {
        from[axis] = at[i] as string
      })
      return from
    }
    if (node.op !== "reshape") return at
    return e.reshape(at, node.type.shape, (node.operands[0] as Node).type.shape)
  }, indices)
