/** Checked, never run: the types of the package mean something without any setting of the consumer's. */
import type { WebGpu } from "effuse"

type IsAny<A> = 0 extends 1 & A ? true : false

export const deviceIsKnown: IsAny<Parameters<typeof WebGpu.layerDevice>[0]> = false
