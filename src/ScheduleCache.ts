import { nodeFiles, nodeModule } from "./nodeModule.ts"

/** Where measured schedules are kept between processes: one text, read and written whole. */
export interface ScheduleCache {
  readonly read: () => Promise<string | undefined>
  readonly write: (text: string) => Promise<void>
}

/** Kept as long as the value lives, for tests and for programs that keep it elsewhere. */
export const inMemory = (): ScheduleCache => {
  let kept: string | undefined
  return {
    read: async () => kept,
    write: async (text) => {
      kept = text
    }
  }
}

interface Storage {
  readonly getItem: (key: string) => string | null
  readonly setItem: (key: string, value: string) => void
}

/** The origin's storage in a browser, a file of the user's cache folder in Node. What cannot be read or written is not kept. */
export const standard = (): ScheduleCache => {
  const { localStorage: storage } = globalThis as { readonly localStorage?: Storage }
  const isNode = typeof process === "object" && typeof process.versions?.node === "string"
  if (!isNode) {
    const key = "effuse-schedules"
    return {
      read: async () => storage?.getItem(key) ?? undefined,
      write: async (text) => storage?.setItem(key, text)
    }
  }
  const file = async () => {
    const [{ homedir }, { join }] = await Promise.all([
      nodeModule<typeof import("node:os")>("os"),
      nodeModule<typeof import("node:path")>("path")
    ])
    const folder = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "effuse")
    return { folder, path: join(folder, "schedules.json") }
  }
  return {
    read: async () => {
      const [{ readFile }, { path }] = await Promise.all([nodeFiles(), file()])
      return readFile(path, "utf8")
    },
    write: async (text) => {
      const [{ mkdir, rename, writeFile }, { folder, path }] = await Promise.all([nodeFiles(), file()])
      await mkdir(folder, { recursive: true })
      // Whole or not at all, also for processes that write at once.
      await writeFile(`${path}.${process.pid}`, text)
      await rename(`${path}.${process.pid}`, path)
    }
  }
}
