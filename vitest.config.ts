// vitest 5 reports failures with Map.groupBy, which Node 20 lacks.
if (!("groupBy" in Map)) {
  Object.defineProperty(Map, "groupBy", {
    value: <K, V>(items: Iterable<V>, key: (item: V, index: number) => K): Map<K, Array<V>> => {
      const groups = new Map<K, Array<V>>()
      let index = 0
      for (const item of items) {
        const k = key(item, index++)
        const group = groups.get(k)
        if (group === undefined) groups.set(k, [item])
        else group.push(item)
      }
      return groups
    }
  })
}

import { defineConfig } from "vitest/config"

/** One project per folder of test/: the folder is the kind of promise a test keeps. */
const kind = (name: string, settings: { readonly timeout?: number; readonly shared?: boolean } = {}) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: settings.timeout ?? 60_000,
    hookTimeout: settings.timeout ?? 60_000,
    // Environment variables reach the Vulkan loader from a process, never from a thread.
    pool: "forks" as const,
    // As many as there are cores: vitest leaves one to itself, which on a machine of two is half of them.
    maxWorkers: "100%",
    // A worker keeps what its files load: modules, a device, compiled pipelines.
    isolate: settings.shared !== true
  }
})

export default defineConfig({
  test: {
    projects: [
      kind("unit"),
      kind("filetests"),
      kind("laws"),
      kind("differential", { shared: true }),
      kind("gpu", { timeout: 120_000, shared: true }),
      kind("browser", { timeout: 120_000 }),
      kind("package", { timeout: 240_000 }),
      {
        test: {
          name: "types",
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            checker: "tsc",
            include: ["test/types/**/*.test-d.ts"],
            tsconfig: "tsconfig.json",
            // Types of the sources are a check of their own, which names the file.
            ignoreSourceErrors: true
          }
        }
      }
    ]
  }
})
