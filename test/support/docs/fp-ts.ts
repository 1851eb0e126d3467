import { reference } from "../../../src/fp-ts.ts"

export * from "../../../src/fp-ts.ts"

export const webgpu = () => reference
