import { family } from "./family.ts"
import { fusion } from "./fusion.ts"
import { indices } from "./indices.ts"
import type { Theme } from "./Mutation.ts"
import { masks } from "./masks.ts"
import { rules } from "./rules.ts"

export const themes: ReadonlyArray<Theme> = [rules, fusion, family, indices, masks]
