/** `WebAssembly` as far as this backend uses it; no library types declare it for every host. */
export interface Engine {
  readonly validate: (bytes: Uint8Array<ArrayBuffer>) => boolean
  readonly compile: (bytes: Uint8Array<ArrayBuffer>) => Promise<CompiledModule>
  /** Compiles at once. A page may be refused that for long modules. */
  readonly Module: new (
    bytes: Uint8Array<ArrayBuffer>
  ) => CompiledModule
  readonly instantiate: (
    module: CompiledModule,
    imports: { readonly env: { readonly memory: Memory }; readonly Math?: typeof Math }
  ) => Promise<Instance>
  readonly Memory: new (size: {
    readonly initial: number
    readonly maximum: number
    readonly shared?: boolean
  }) => Memory
}

export interface CompiledModule {
  readonly [Symbol.toStringTag]: string
}

export interface Memory {
  /** Shared memory is of another class, which views do not tell apart. */
  readonly buffer: ArrayBuffer
  readonly grow: (pages: number) => number
}

/** A kernel, as `Program` calls it. */
export type Run = (args: number, begin: number, end: number) => void

export interface Instance {
  readonly exports: { readonly [name: string]: Run }
}

/** The host's WebAssembly; undefined where there is none. */
export const engine = (): Engine | undefined =>
  (globalThis as unknown as { readonly WebAssembly?: Engine }).WebAssembly
