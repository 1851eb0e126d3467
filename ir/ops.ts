import * as compare from "./ops/compare.ts"
import * as contract from "./ops/contract.ts"
import * as elementwise from "./ops/elementwise.ts"
import { flashAttention } from "./ops/flashAttention.ts"
import { fused } from "./ops/fused.ts"
import * as indexing from "./ops/indexing.ts"
import * as movement from "./ops/movement.ts"
import * as normalise from "./ops/normalise.ts"
import * as reduce from "./ops/reduce.ts"
import * as source from "./ops/source.ts"

/**
 * The closed set of ops. Adding one is a record in its family's file and a line here; the type checker then names every
 * table that misses it.
 */
export const ops = {
  input: source.input,
  constant: source.constant,
  iota: source.iota,
  dim: source.dim,
  random_bits: source.randomBits,

  neg: elementwise.neg,
  abs: elementwise.abs,
  sign: elementwise.sign,
  floor: elementwise.floor,
  ceil: elementwise.ceil,
  round: elementwise.round,
  exp: elementwise.exp,
  exp2: elementwise.exp2,
  log: elementwise.log,
  sqrt: elementwise.sqrt,
  rsqrt: elementwise.rsqrt,
  sin: elementwise.sin,
  cos: elementwise.cos,
  tanh: elementwise.tanh,
  erf: elementwise.erf,
  sigmoid: elementwise.sigmoid,
  not: elementwise.not,
  add: elementwise.add,
  sub: elementwise.sub,
  mul: elementwise.mul,
  div: elementwise.div,
  floor_div: elementwise.floorDiv,
  mod: elementwise.mod,
  pow: elementwise.pow,
  min: elementwise.min,
  max: elementwise.max,
  and: elementwise.and,
  or: elementwise.or,
  xor: elementwise.xor,
  cast: elementwise.cast,

  eq: compare.eq,
  ne: compare.ne,
  lt: compare.lt,
  le: compare.le,
  gt: compare.gt,
  ge: compare.ge,
  is_nan: compare.isNan,
  is_inf: compare.isInf,
  select: compare.select,

  reduce_sum: reduce.reduceSum,
  reduce_prod: reduce.reduceProd,
  reduce_max: reduce.reduceMax,
  reduce_min: reduce.reduceMin,
  argmax: reduce.argmax,
  cumsum: reduce.cumsum,

  dot: contract.dot,

  reshape: movement.reshape,
  transpose: movement.transpose,
  broadcast: movement.broadcast,
  slice: movement.slice,
  concat: movement.concat,
  pad: movement.pad,

  gather: indexing.gather,
  load: indexing.load,
  update_slice: indexing.updateSlice,
  scatter: indexing.scatter,

  softmax: normalise.softmax,
  logsumexp: normalise.logsumexp,
  layer_norm: normalise.layerNorm,
  rms_norm: normalise.rmsNorm,

  flash_attention: flashAttention,
  fused
} as const

export type Ops = typeof ops
export type OpName = keyof Ops

/** The ops of some families: what a table is total over that serves only these. */
export type OfFamily<F extends Ops[OpName]["family"]> = {
  [K in OpName]: Ops[K]["family"] extends F ? K : never
}[OpName]

export const opNames = Object.keys(ops) as ReadonlyArray<OpName>

export const isOpName = (name: string): name is OpName => Object.hasOwn(ops, name)
