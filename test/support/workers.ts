import type * as workerThreads from "node:worker_threads"

/** The module as `process.getBuiltinModule` gives it: what is written to it is seen by whoever asks. */
export const builtin = process.getBuiltinModule("node:worker_threads") as {
  Worker: typeof workerThreads.Worker
}

export const StockWorker = builtin.Worker

export const restoreWorkers = (): void => {
  builtin.Worker = StockWorker
}

/** The workers that are started from here on. */
export const recorded = (): ReadonlyArray<workerThreads.Worker> => {
  const made: Array<workerThreads.Worker> = []
  builtin.Worker = class extends StockWorker {
    constructor(...args: ConstructorParameters<typeof StockWorker>) {
      super(...args)
      made.push(this)
    }
  }
  return made
}
