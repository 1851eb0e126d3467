/** What the engine can compile, found by asking it to. */
export interface Features {
  /** 128-bit vectors: not in every engine. Without them kernels compute word by word. */
  readonly simd: boolean
  /** Relaxed vectors, of which kernels use the multiply-add. */
  readonly relaxed: boolean
}

/** `WebAssembly` as far as this backend uses it: the compiler knows no host. */
interface Engine {
  readonly validate: (bytes: Uint8Array<ArrayBuffer>) => boolean
}

const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

/** A module whose only function, () → v128, is these instructions. */
const probe = (code: ReadonlyArray<number>): Uint8Array<ArrayBuffer> =>
  Uint8Array.from([
    ...header,
    ...[1, 5, 1, 0x60, 0, 1, 0x7b],
    ...[3, 2, 1, 0],
    ...[10, code.length + 4, 1, code.length + 2, 0, ...code, 0x0b]
  ])

/** `i32.const 0; i32x4.splat`. */
const vector = [0x41, 0, 0xfd, 0x11]

export const detect = (engine: Engine): Features => ({
  simd: engine.validate(probe(vector)),
  relaxed: engine.validate(probe([...vector, ...vector, ...vector, 0xfd, 0x85, 0x02]))
})
