import type { Layer } from "effect"
import { expectTypeOf, test } from "vitest"
import type { Backend } from "../../backends/Backend.ts"
import type { UnsupportedByDevice } from "../../src/errors.ts"
import * as WebGpu from "../../src/WebGpu.ts"

test("whoever brings a device is told, too, where the backend could not be loaded", () => {
  expectTypeOf(WebGpu.layerDevice).returns.toEqualTypeOf<Layer.Layer<Backend, UnsupportedByDevice>>()
})
