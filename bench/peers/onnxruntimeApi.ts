/** What of onnxruntime is used here. */

export type Data = Float32Array | Uint16Array | BigInt64Array | Int32Array

export interface Tensor {
  readonly data: Data
  readonly getData: (release?: boolean) => Promise<Float32Array | Uint16Array>
  readonly dispose: () => void
}

export interface Session {
  readonly outputNames: ReadonlyArray<string>
  readonly run: (
    feeds: { readonly [name: string]: Tensor },
    fetches: ReadonlyArray<string>
  ) => Promise<{ readonly [name: string]: Tensor }>
  readonly release: () => Promise<void>
}

export interface Ort {
  readonly env: {
    readonly wasm: { numThreads?: number; wasmPaths?: string }
    readonly versions: { readonly common: string }
  }
  readonly InferenceSession: {
    readonly create: (model: Uint8Array, options: { readonly [name: string]: unknown }) => Promise<Session>
  }
  readonly Tensor: {
    new (type: string, data: Data, shape: ReadonlyArray<number>): Tensor
    readonly fromGpuBuffer: (
      buffer: GPUBuffer,
      options: { readonly dataType: string; readonly dims: ReadonlyArray<number> }
    ) => Tensor
  }
}
