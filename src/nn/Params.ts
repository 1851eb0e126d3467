import * as Dim from "../../ir/Dim.ts"
import type { FloatDType } from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { suggest } from "../../ir/suggest.ts"
import { isDeviceArray } from "../argument.ts"
import { ParamsError } from "../errors.ts"
import { type Spec, spec, type TensorOf } from "../spec.ts"
import { isTensor } from "../tensor/Tensor.ts"
import type { Initialiser } from "./Initialiser.ts"
import * as Key from "./Key.ts"

/** A parameter of a layer: what it is and how it starts. */
export interface Param<S extends Spec = Spec> {
  readonly _tag: "Param"
  readonly spec: S
  readonly init: Initialiser
}

/** The parameters of a layer by name, in records and lists. What a layer does not have is undefined. */
export type Tree = Param | undefined | { readonly [name: string]: Tree } | ReadonlyArray<Tree>

/** A tree with something else at its leaves. */
type Mapped<P, Leaf> =
  P extends Param<infer S>
    ? Leaf extends "tensor"
      ? TensorOf<S>
      : HostArray.HostArray
    : P extends undefined
      ? undefined
      : { readonly [K in keyof P]: Mapped<P[K], Leaf> }

/** What `apply` takes: a tensor for each parameter. */
export type Tensors<P> = Mapped<P, "tensor">

/** Values of parameters in host memory. */
export type Values<P> = Mapped<P, "value">

export const param = <const S extends ReadonlyArray<number>>(
  dtype: FloatDType,
  shape: S,
  init: Initialiser
): Param => ({ _tag: "Param", spec: spec(dtype, shape) as Spec, init })

const isParam = (x: unknown): x is Param => (x as { readonly _tag?: unknown } | undefined)?._tag === "Param"

const isLeaf = (x: unknown): boolean =>
  isParam(x) || isTensor(x) || HostArray.isHostArray(x) || isDeviceArray(x as object)

/** The leaves of a tree of parameters, values or tensors by name: names of records and positions of lists, joined by dots. */
export const flatten = <Leaf = HostArray.HostArray>(tree: unknown): { readonly [name: string]: Leaf } => {
  const found: Array<readonly [string, Leaf]> = []
  const walk = (x: unknown, path: string): void => {
    if (x === undefined) return
    if (isLeaf(x)) found.push([path, x as Leaf])
    else
      for (const [name, inner] of Object.entries(x as object))
        walk(inner, path === "" ? name : `${path}.${name}`)
  }
  walk(tree, "")
  return Object.fromEntries(found)
}

const replace = (tree: Tree, leaf: (param: Param, path: string) => unknown, path = ""): unknown => {
  if (tree === undefined) return undefined
  if (isParam(tree)) return leaf(tree, path)
  const at = (name: string | number): string => (path === "" ? `${name}` : `${path}.${name}`)
  if (Array.isArray(tree)) return tree.map((inner: Tree, n) => replace(inner, leaf, at(n)))
  return Object.fromEntries(
    Object.entries(tree as { readonly [name: string]: Tree }).map(([name, inner]) => [
      name,
      replace(inner, leaf, at(name))
    ])
  )
}

/** The signature of a tree: what `compile` takes, by name. */
export const signature = (tree: Tree, prefix = ""): { readonly [name: string]: Spec } =>
  Object.fromEntries(
    Object.entries(flatten<Param>(tree)).map(([name, p]) => [prefix + name, p.spec] as const)
  )

/** Puts arguments of `signature`'s names together as the tree that `apply` takes. Others are left alone. */
export const nest = <P extends Tree>(
  tree: P,
  inputs: { readonly [name: string]: unknown },
  prefix = ""
): Tensors<P> => replace(tree, (_, path) => inputs[prefix + path]) as Tensors<P>

/** Starting values of all parameters. Each is drawn from the key and its own name. */
export const init = <P extends Tree>(tree: P, seed: number | Key.Key): Values<P> => {
  const key = typeof seed === "number" ? Key.make(seed) : seed
  return replace(tree, (p, path) => {
    const shape = p.spec.type.shape.map((d) => Dim.value(d) as number)
    const next = p.init(Key.fold(key, path))
    const numbers = Float64Array.from({ length: HostArray.sizeOf(shape) }, next)
    return HostArray.fromNumbers(p.spec.dtype, shape, numbers)
  }) as Values<P>
}

/**
 * Values read from somewhere as the tree of a layer. Throws `ParamsError` with everything that is missing, in excess, or of another shape
 * or dtype, by name.
 */
export const fromFlat = <P extends Tree>(
  tree: P,
  values: { readonly [name: string]: HostArray.HostArray }
): Values<P> => {
  const wanted = flatten<Param>(tree)
  const problems: Array<string> = []
  for (const [name, { spec: own }] of Object.entries(wanted)) {
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    const shape = own.shape.join(", ")
    if (value === undefined) {
      const near = suggest(
        name,
        Object.keys(values).filter((n) => !Object.hasOwn(wanted, n))
      )
      problems.push(`${name} is missing${near === undefined ? "" : `; did you mean ${near}?`}`)
    } else if (value.shape.join(", ") !== shape)
      problems.push(`${name} is [${value.shape.join(", ")}] instead of [${shape}]`)
    else if (value.dtype !== own.dtype) problems.push(`${name} is ${value.dtype} instead of ${own.dtype}`)
  }
  for (const name of Object.keys(values))
    if (!Object.hasOwn(wanted, name)) problems.push(`${name} is not known`)
  if (problems.length > 0) throw new ParamsError({ message: problems.join("\n"), problems })
  return replace(tree, (_, path) => values[path]) as Values<P>
}
