import { open as effuse } from "./effuse.ts"
import { open as jax } from "./jax.ts"
import { openNode, openWeb } from "./onnxruntime.ts"
import type { Open } from "./Peer.ts"
import { open as plain } from "./plain.ts"
import { open as tfjs } from "./tfjs.ts"

export interface Peer {
  readonly open: Open
  /** Where it has WebGPU. */
  readonly webgpu: "node" | "browser" | "both" | undefined
  /** What it computes with on the processor. */
  readonly cpu: "wasm" | "native" | undefined
  /** Whether it skips what a mask hides, so that how long it takes is not foreseen from the whole square. */
  readonly skips?: true
}

export const peers = {
  effuse: { open: effuse, webgpu: "both", cpu: "wasm", skips: true },
  plain: { open: plain, webgpu: "both", cpu: undefined, skips: true },
  "onnxruntime-web": { open: openWeb, webgpu: "browser", cpu: "wasm" },
  "onnxruntime-node": { open: openNode, webgpu: "node", cpu: "native" },
  "jax-js": { open: jax, webgpu: "both", cpu: "wasm" },
  tfjs: { open: tfjs, webgpu: "both", cpu: "wasm" }
} as const satisfies { readonly [name: string]: Peer }

export type PeerName = keyof typeof peers

export const peerNames = Object.keys(peers) as ReadonlyArray<PeerName>
