import { UnsupportedByDevice } from "../../errors.ts"
import { detect, type Features } from "../features.ts"
import { mostBytes, page } from "../limits.ts"
import { type Engine, engine, type Memory } from "./engine.ts"
import * as Heap from "./Heap.ts"

/** What all programs of one backend share: the memory, and who owns which piece of it. */
export interface Session {
  readonly engine: Engine
  readonly features: Features
  readonly memory: Memory
  readonly heap: Heap.Heap
}

/** Throws `UnsupportedByDevice` where the host has no WebAssembly. */
export const make = (relaxed: boolean): Session => {
  const host = engine()
  if (host === undefined) {
    throw new UnsupportedByDevice({
      message: "this runtime has no WebAssembly",
      hint: "run on the reference"
    })
  }
  const found = detect(host)
  const memory = new host.Memory({ initial: 16, maximum: Math.floor(mostBytes / page) })
  const size = (): number => memory.buffer.byteLength
  const grow = (bytes: number): boolean => {
    // By half at least, so that growing costs a constant factor.
    const wanted = Math.min(mostBytes, Math.max(bytes, Math.ceil(size() * 1.5)))
    for (const target of [wanted, bytes]) {
      try {
        memory.grow(Math.ceil((target - size()) / page))
        return true
      } catch {
        // The host has less: what is needed is asked for by itself.
      }
    }
    return false
  }
  return {
    engine: host,
    features: { ...found, relaxed: found.relaxed && relaxed },
    memory,
    heap: Heap.make({ size, grow, limit: mostBytes })
  }
}
