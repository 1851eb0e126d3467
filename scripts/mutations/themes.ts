import type { Theme } from "./Mutation.ts"
import { rules } from "./rules.ts"

export const themes: ReadonlyArray<Theme> = [rules]
