/** Files of Node, Deno and Bun. Not named where bundlers of pages would look for them. */
export const nodeFiles = (): Promise<typeof import("node:fs/promises")> =>
  import(/* @vite-ignore */ ["node:fs", "promises"].join("/"))
