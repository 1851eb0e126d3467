import { analyseMask } from "./analyseMask.ts"
import { canonicalize } from "./canonicalize.ts"
import { chooseSchedule } from "./chooseSchedule.ts"
import { fuseAttention } from "./fuseAttention.ts"
import { fuseElementwise } from "./fuseElementwise.ts"
import { normalizeMask } from "./normalizeMask.ts"
import { normalizeSoftmax } from "./normalizeSoftmax.ts"
import type { Pass } from "./Pass.ts"
import { planMemory } from "./planMemory.ts"
import { unexpandHeads } from "./unexpandHeads.ts"
import { unfuseAttention } from "./unfuseAttention.ts"

const all: ReadonlyArray<Pass> = [
  // In the order of the default pipeline.
  canonicalize,
  normalizeSoftmax,
  normalizeMask,
  unexpandHeads,
  fuseAttention,
  fuseElementwise,
  analyseMask,
  chooseSchedule,
  planMemory,
  // Not in the default pipeline.
  unfuseAttention
]

/** Every pass by name. Adding one is its file and a line here. */
export const passes: ReadonlyMap<string, Pass> = new Map(all.map((pass) => [pass.name, pass]))
