/** A module of Node, Deno and Bun, by its name without "node:". Bundlers of pages do not see it, so that they need not leave it out. */
export const nodeModule = <M>(name: string): Promise<M> => import(/* @vite-ignore */ ["node", name].join(":"))

/** Files of Node, Deno and Bun. */
export const nodeFiles = () => nodeModule<typeof import("node:fs/promises")>("fs/promises")
