import { Pipeable } from "effect"
import type { booleanAlgebra } from "fp-ts"
import * as Dim from "../ir/Dim.ts"
import type * as DType from "../ir/DType.ts"
import * as Tensor from "./Tensor.ts"
import type { Dims } from "./tensor/dims.ts"
import type { Floating } from "./tensor/operand.ts"
import * as Site from "./tensor/Site.ts"

/**
 * Which keys a query sees, as values: predicates over batch, head, query and key.
 *
 * A `Keep` is true where a key takes part, a `Drop` where it does not; they are different types and become each other by name
 * only. Masks know no lengths: these come from the scores a mask is applied to, whose last two axes are queries and keys,
 * whose first axis is the batch, and whose third axis from the end is the heads.
 */

/** The positions a predicate speaks about: tensors that broadcast against the scores. */
export interface Grid {
  /** Query positions, i32 [T, 1]; [B, 1, …, T, 1] where a mask is shifted by batch. */
  readonly query: Tensor.Tensor<"i32">
  /** Key positions, i32 [S]. */
  readonly key: Tensor.Tensor<"i32">
  /** Batch positions, i32 [B, 1, …, 1]. */
  readonly batch: Tensor.Tensor<"i32">
  /** Head positions, i32 [H, 1, 1]. */
  readonly head: Tensor.Tensor<"i32">
  /** T as an i32 scalar. */
  readonly queries: Tensor.Tensor<"i32">
  /** S as an i32 scalar. */
  readonly keys: Tensor.Tensor<"i32">
  /** The number of axes of the scores. */
  readonly rank: number
}

export type Predicate = (grid: Grid) => Tensor.Tensor<"bool">

/** Keys that take part. */
export interface Keep extends Pipeable.Pipeable {
  readonly _tag: "Keep"
  readonly holds: Predicate
}

/** Keys that do not take part. */
export interface Drop extends Pipeable.Pipeable {
  readonly _tag: "Drop"
  readonly holds: Predicate
}

/** A mask of either polarity. */
export type Mask = Keep | Drop

class Value<Tag extends "Keep" | "Drop"> extends Pipeable.Class {
  readonly _tag: Tag
  readonly holds: Predicate
  constructor(tag: Tag, holds: Predicate) {
    super()
    this._tag = tag
    this.holds = holds
  }
}

const like = <M extends Mask>(mask: M, holds: Predicate): M => new Value(mask._tag, holds) as unknown as M

/** A mask from a predicate of one's own: true where a key takes part. */
export const keepWhere = (holds: Predicate): Keep => new Value("Keep", holds)

/** A mask from a predicate of one's own: true where a key does not take part. */
export const dropWhere = (holds: Predicate): Drop => new Value("Drop", holds)

export const isMask = (x: unknown): x is Mask => x instanceof Value

/** The same keys take part, said the other way round. */
export const toDrop = (mask: Keep): Drop => dropWhere((grid) => Tensor.not(mask.holds(grid)))

/** The same keys take part, said the other way round. */
export const toKeep = (mask: Drop): Keep => keepWhere((grid) => Tensor.not(mask.holds(grid)))

/** A number, a length or a polynomial of lengths (`"P"`, `"S - T"`), an integer scalar, or one integer for each batch entry, [B]. */
export type Amount = number | string | Dim.Dim | Tensor.Tensor<"i32" | "u32">

/** An amount that broadcasts against the scores. */
const amountAt = (amount: Amount, { rank }: Grid): Tensor.Tensor<"i32"> => {
  if (!Tensor.isTensor(amount)) return Tensor.dim(amount)
  const value = Tensor.cast(amount, "i32")
  if (value.rank === 0) return value
  if (value.rank === 1) return Tensor.reshape(value, [-1, ...Array.from({ length: rank - 1 }, () => 1)])
  throw Site.shapeError(
    "mask",
    `an amount is a scalar or one value for each batch entry, given ${value}`,
    "reshape it to [B]"
  )
}

/** The grid whose queries and keys stand elsewhere. What is not asked for is not built. */
const moved = (grid: Grid, { query, key }: { readonly query?: Place; readonly key?: Place }): Grid => ({
  rank: grid.rank,
  get query() {
    return query === undefined ? grid.query : query(grid.query)
  },
  get key() {
    return key === undefined ? grid.key : key(grid.key)
  },
  get batch() {
    return grid.batch
  },
  get head() {
    return grid.head
  },
  get queries() {
    return grid.queries
  },
  get keys() {
    return grid.keys
  }
})

/** Where a position stands among others. */
export type Place = (position: Tensor.Tensor<"i32">) => Tensor.Tensor<"i32">

/**
 * The mask over other positions: a query at p is taken for one at `query(p)`, a key for one at `key(p)`, which is `query(p)` unless told
 * otherwise. `reindex(causal, (p) => Tensor.mod(p, 8))` is causal within each 8 positions, and again for the others.
 */
export const reindex: {
  (query: Place, key?: Place): <M extends Mask>(mask: M) => M
  <M extends Mask>(mask: M, query: Place, key?: Place): M
} = Site.dual(
  (args) => isMask(args[0]),
  (mask: Mask, query: Place, key: Place = query) =>
    like(mask, (grid) => mask.holds(moved(grid, { query, key })))
)

/** The mask for queries that stand `offset` positions further on. */
export const shift: {
  (offset: Amount): <M extends Mask>(mask: M) => M
  <M extends Mask>(mask: M, offset: Amount): M
} = Site.dual(
  (args) => args.length > 1,
  (mask: Mask, offset: Amount) =>
    offset === 0
      ? mask
      : like(mask, (grid) =>
          mask.holds(
            moved(grid, { query: (p) => Tensor.add(p, amountAt(offset, grid)) as Tensor.Tensor<"i32"> })
          )
        )
)

/** Every key takes part. */
export const all: Keep = keepWhere(() => Tensor.constant(true, "bool"))

/** No key takes part: every row is empty and gives 0. */
export const none: Keep = keepWhere(() => Tensor.constant(false, "bool"))

/** Key j ≤ query i, both counted from 0: the top-left alignment. */
export const causal: Keep = keepWhere(({ query, key }) => Tensor.le(key, query))

/** Key j ≤ query i + offset: queries that start at position `offset` of the keys. */
export const causalFrom = (offset: Amount): Keep => shift(causal, offset)

/** Key j ≤ query i + S - T: the last query sees every key, the bottom-right alignment. */
export const causalBottomRight: Keep = keepWhere(({ query, key, keys, queries }) =>
  Tensor.le(key, Tensor.add(query, Tensor.sub(keys, queries)))
)

const whole = (op: string, value: number, least: number): number => {
  if ((Number.isSafeInteger(value) && value >= least) || value === Infinity) return value
  throw Site.attrError(op, `${value} is not a distance`, `use a whole number of ${least} or more`)
}

/**
 * i - left ≤ j ≤ i + right: the query's own position, `left` keys before it and `right` after it. Infinity leaves a side
 * open.
 */
export const slidingWindow = (left: number, right = 0): Keep => {
  whole("slidingWindow", left, 0)
  whole("slidingWindow", right, 0)
  return keepWhere(({ query, key }) => {
    const after = left === Infinity ? undefined : Tensor.ge(key, Tensor.sub(query, left))
    const before =
      right === Infinity ? undefined : Tensor.le(key, right === 0 ? query : Tensor.add(query, right))
    if (after === undefined) return before ?? Tensor.constant(true, "bool")
    return before === undefined ? after : (Tensor.and(after, before) as Tensor.Tensor<"bool">)
  })
}

/** The first n keys. `or(prefix(n), causal)` is the mask of a prefix language model. */
export const prefix = (n: Amount): Keep => keepWhere((grid) => Tensor.lt(grid.key, amountAt(n, grid)))

/** The first `lengths[b]` keys of each batch entry: what comes after them is padding. */
export const padding = (lengths: Amount): Keep => prefix(lengths)

/** Ids of positions as a column for queries or a row for keys: [T] or [B, T]. */
const idsAt = (ids: Tensor.Tensor, { rank }: Grid, side: "query" | "key"): Tensor.Tensor => {
  if (ids.rank === 1) return side === "key" ? ids : Tensor.expandDims(ids, 1)
  if (ids.rank !== 2 || rank < 3) {
    throw Site.shapeError(
      "document",
      `ids are [T] or [B, T] for scores of rank ${rank}, given ${ids}`,
      "reshape or squeeze them"
    )
  }
  const [batch, length] = ids.shape as readonly [number | string, number | string]
  const ones = Array.from({ length: rank - 3 }, () => 1)
  return Tensor.reshape(ids, side === "key" ? [batch, ...ones, 1, length] : [batch, ...ones, length, 1])
}

/** Query and key of one document: equal ids, one for each position, [T] or [B, T]. Keys may have ids of their own. */
export const document = (ids: Tensor.Tensor, keyIds: Tensor.Tensor = ids): Keep =>
  keepWhere((grid) => Tensor.eq(idsAt(ids, grid, "query"), idsAt(keyIds, grid, "key")))

/** |i - j| ≤ width, every `step`-th key: (i - j) mod step = 0. */
export const dilated = (width: number, step: number): Keep => {
  whole("dilated", width, 0)
  whole("dilated", step, 1)
  return keepWhere(({ query, key }) => {
    const distance = Tensor.sub(query, key)
    const near = Tensor.le(Tensor.abs(distance), width)
    return Tensor.and(near, Tensor.eq(Tensor.mod(distance, step), 0)) as Tensor.Tensor<"bool">
  })
}

/** Query and key in the same chunk of n positions. */
export const chunked = (n: number): Keep => {
  whole("chunked", n, 1)
  return keepWhere(({ query, key }) => Tensor.eq(Tensor.floorDiv(query, n), Tensor.floorDiv(key, n)))
}

/** A mask that is data: true where a key takes part. Any shape that broadcasts against the scores. */
export const fromTensor = (keep: Tensor.Tensor<"bool">): Keep => keepWhere(() => asBool("fromTensor", keep))

/** A mask that is data: true where a key does not take part. */
export const dropFromTensor = (drop: Tensor.Tensor<"bool">): Drop =>
  dropWhere(() => asBool("dropFromTensor", drop))

const asBool = (op: string, x: Tensor.Tensor<"bool">): Tensor.Tensor<"bool"> => {
  if (x.dtype === "bool") return x
  throw Site.dtypeError(
    op,
    `a mask is a bool tensor, given ${x}`,
    "compare it: Tensor.ne(x, 0); add an additive mask with Score.bias"
  )
}

/** A connective of two masks of one polarity. */
export interface Connective {
  (that: Keep): (self: Keep) => Keep
  (that: Drop): (self: Drop) => Drop
  (self: Keep, that: Keep): Keep
  (self: Drop, that: Drop): Drop
}

const connective = (
  name: string,
  op: (a: Tensor.Tensor<"bool">, b: Tensor.Tensor<"bool">) => unknown
): Connective =>
  Site.dual(
    (args) => args.length > 1,
    (self: Mask, that: Mask) => {
      if (self._tag === that._tag)
        return like(self, (grid) => op(self.holds(grid), that.holds(grid)) as Tensor.Tensor<"bool">)
      throw Site.attrError(
        name,
        `a ${self._tag} meets a ${that._tag}`,
        "convert one with Mask.toKeep or Mask.toDrop"
      )
    }
  )

/** Where both hold. */
export const and: Connective = connective("Mask.and", (a, b) => Tensor.and(a, b))

/** Where either holds. */
export const or: Connective = connective("Mask.or", (a, b) => Tensor.or(a, b))

/** Where the mask does not hold; its polarity stays. */
export const not = <M extends Mask>(mask: M): M => like(mask, (grid) => Tensor.not(mask.holds(grid)))

/** Keep-masks form a Boolean algebra; the laws are tested on grids. */
export const BooleanAlgebra: booleanAlgebra.BooleanAlgebra<Keep> = {
  meet: (x, y) => and(x, y),
  join: (x, y) => or(x, y),
  zero: none,
  one: all,
  implies: (x, y) => or(not(x), y),
  not
}

/** The positions of scores of a shape, built when a predicate asks for them. */
const gridOf = (shape: Dims): Grid => {
  const rank = shape.length
  if (rank < 2) {
    throw Site.shapeError(
      "Mask",
      `scores end in axes of queries and keys, given [${shape.join(", ")}]`,
      "apply masks to [..., T, S]"
    )
  }
  const size = (axis: number): string => String(shape.at(axis))
  const positions = (axis: number, after: number): Tensor.Tensor<"i32"> => {
    const counted = Tensor.iota(dimOf(size(axis)))
    return after === 0 ? counted : Tensor.reshape(counted, [-1, ...Array.from({ length: after }, () => 1)])
  }
  return {
    rank,
    get query() {
      return positions(-2, 1)
    },
    get key() {
      return positions(-1, 0)
    },
    get batch() {
      return positions(0, rank - 1)
    },
    get head() {
      if (rank < 3)
        throw Site.shapeError(
          "Mask",
          `scores [${shape.join(", ")}] have no axis of heads`,
          "heads come third from the end"
        )
      return positions(-3, 2)
    },
    get queries() {
      return Tensor.dim(size(-2))
    },
    get keys() {
      return Tensor.dim(size(-1))
    }
  }
}

const dimOf = (text: string): Dim.Dim => Dim.parse(text) as Dim.Dim

/** Fills that a row of scores may get where a key does not take part: -inf takes it out; a finite number is a score like any other. */
export const apply: {
  (
    mask: Mask,
    fill?: number
  ): <D extends DType.DType, S extends Dims>(scores: Tensor.Tensor<D, S>) => Tensor.Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(
    scores: Tensor.Tensor<D, S>,
    mask: Mask,
    fill?: number
  ): Tensor.Tensor<Floating<D>, S>
} = Site.dual(
  (args) => Tensor.isTensor(args[0]),
  (scores: Tensor.Tensor, mask: Mask, fill = -Infinity) => {
    if (!isMask(mask))
      throw Site.attrError(
        "Mask.apply",
        "the second argument is not a mask",
        "make one with Mask.fromTensor(bools)"
      )
    const holds = mask.holds(gridOf(scores.shape))
    checkReach(scores, holds)
    return mask._tag === "Keep" ? Tensor.where(holds, scores, fill) : Tensor.where(holds, fill, scores)
  }
)

/** A mask never adds axes or stretches the scores. */
const checkReach = (scores: Tensor.Tensor, holds: Tensor.Tensor): void => {
  const short = scores.rank - holds.rank
  const fits = holds.shape.every((d, i) => d === 1 || scores.shape[i + short] !== 1)
  if (short >= 0 && fits) return
  throw Site.shapeError(
    "Mask.apply",
    `a mask ${holds} does not broadcast to scores ${scores}`,
    "every axis of the mask is 1 or that of the scores"
  )
}

/** The mask as bools over scores of this shape, in its own polarity. */
export const toTensor: {
  (shape: ReadonlyArray<Dim.DimLike>): (mask: Mask) => Tensor.Tensor<"bool">
  (mask: Mask, shape: ReadonlyArray<Dim.DimLike>): Tensor.Tensor<"bool">
} = Site.dual(
  (args) => isMask(args[0]),
  (mask: Mask, shape: ReadonlyArray<Dim.DimLike>) => {
    const sizes = shape.map((d) => (Dim.isDim(d) ? (Dim.value(d) ?? d.key) : d))
    return Tensor.broadcastTo(mask.holds(gridOf(sizes)), shape)
  }
)
