import { hoist } from "../assembler/hoist.ts"
import type { Callee } from "../assembler/Instruction.ts"
import { calleeOf, type Func, type Module } from "../assembler/Module.ts"
import { scalarise } from "../assembler/scalarise.ts"
import type { Features } from "../features.ts"
import { type HelperName, helpers, type ImportName, imports } from "./library.ts"

/** What the kernels of one program share: its module, with the functions that several of them call. */
export interface Unit {
  readonly features: Features
  /** A function of the module that is made when it is first asked for. */
  readonly helper: (name: HelperName) => Callee & { readonly result: "v128" }
  readonly imported: (name: ImportName) => Callee & { readonly result: "f64" }
  /** The module of these kernels and all that they call. */
  readonly module: (kernels: ReadonlyArray<Func>) => Module
}

export const make = (features: Features): Unit => {
  const made = new Map<HelperName, Func>()
  const used = new Map<ImportName, Callee>()
  const unit: Unit = {
    features,
    helper: (name) => {
      const func = made.get(name) ?? helpers[name](unit, name)
      made.set(name, func)
      return { ...calleeOf(func), result: "v128" }
    },
    imported: (name) => {
      const callee = { name, params: imports[name].map(() => "f64" as const), result: "f64" as const }
      used.set(name, callee)
      return callee
    },
    module: (kernels) => ({
      imports: [...used.values()],
      functions: [...made.values(), ...kernels].map(features.simd ? hoist : scalarise)
    })
  }
  return unit
}
