/** The entry `effuse` as programs in the documentation get it in tests: what opens a GPU opens the reference. */
import { layer } from "../../../src/Reference.ts"

export * from "../../../src/index.ts"

export const WebGpu = { layer, layerWith: () => layer }
