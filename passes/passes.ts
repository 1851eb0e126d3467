import type { Pass } from "./Pass.ts"

/** Every pass by name, in the order of the default pipeline. Adding one is its file and a line here. */
export const passes: ReadonlyMap<string, Pass> = new Map(
  ([] as ReadonlyArray<Pass>).map((pass) => [pass.name, pass] as const)
)
