import { reference } from "../../../src/promise.ts"

export * from "../../../src/promise.ts"

export const webgpu = reference
