import { halve } from "../assembler/halve.ts"
import { hoist } from "../assembler/hoist.ts"
import type { Callee } from "../assembler/Instruction.ts"
import { calleeOf, type Func, type Module } from "../assembler/Module.ts"
import { needed } from "../assembler/needed.ts"
import { scalarise } from "../assembler/scalarise.ts"
import type { Features } from "../features.ts"
import { type HelperF64, type HelperName, helpers, helpersF64, type ImportName, imports } from "./library.ts"

/** What the kernels of one program share: its module, with the functions that several of them call. */
export interface Unit {
  readonly features: Features
  /** A function of the module that is made when it is first asked for. */
  readonly helper: (name: HelperName) => Callee & { readonly result: "v128" }
  /** The same, of doubles. */
  readonly helperF64: (name: HelperF64) => Callee & { readonly result: "v256" }
  readonly imported: (name: ImportName) => Callee & { readonly result: "f64" }
  /** The module of these kernels and all that they call. */
  readonly module: (kernels: ReadonlyArray<Func>) => Module
}

/** `doubles` says whether kernels compute in f64. */
export const make = (features: Features, doubles = false): Unit => {
  const made = new Map<string, Func>()
  const used = new Map<ImportName, Callee>()
  const helper = (name: string, make: (unit: Unit, name: string) => Func): Callee => {
    const func = made.get(name) ?? make(unit, name)
    made.set(name, func)
    return calleeOf(func)
  }
  const unit: Unit = {
    features,
    helper: (name) => ({ ...helper(name, helpers[name]), result: "v128" }),
    helperF64: (name) => ({ ...helper(`${name}_f64`, helpersF64[name]), result: "v256" }),
    imported: (name) => {
      const params = imports[name].map(() => "f64" as const)
      const callee = { name: `Math.${name}`, params, result: "f64" as const }
      used.set(name, callee)
      return callee
    },
    module: (kernels) => ({
      imports: [...used.values()],
      functions: [...made.values(), ...kernels]
        .map(needed)
        .map((f) => (!features.simd ? scalarise(f) : hoist(doubles ? halve(f) : f)))
    })
  }
  return unit
}
