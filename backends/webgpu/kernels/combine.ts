import type * as Emitter from "../wgsl/Emitter.ts"

interface Team {
  /** Threads of the workgroup. */
  readonly threads: number
  /** Neighbours that come to one value: a power of two. */
  readonly share: number
  /** Whether four neighbours are a quad that exchanges registers. */
  readonly quads?: boolean
}

/** One value in each thread to one value in all that share it: a tree in workgroup memory, or two exchanges in a quad. */
export const combine = (
  emitter: Emitter.Emitter,
  { threads, share, quads = false }: Team,
  lane: string,
  parts: ReadonlyArray<{ readonly type: string; readonly value: string }>,
  merge: (mine: ReadonlyArray<string>, other: ReadonlyArray<string>) => ReadonlyArray<string>
): ReadonlyArray<string> => {
  if (share === 1) return parts.map((p) => emitter.constant(p.value))
  if (quads) {
    return ["quadSwapX", "quadSwapY"].reduce<ReadonlyArray<string>>(
      (mine, swap) =>
        merge(
          mine,
          mine.map((m) => emitter.constant(`${swap}(${m})`))
        ).map((m) => emitter.constant(m)),
      parts.map((p) => emitter.constant(p.value))
    )
  }
  const arrays = parts.map((p) =>
    emitter.module.workgroupArray(p.type === "bool" ? "u32" : p.type, threads, threads * 4)
  )
  const own = share === threads ? lane : emitter.constant("i32(lix)")
  const write = (i: number, value: string): string =>
    (parts[i] as { type: string }).type === "bool" ? `select(0u, 1u, ${value})` : value
  const read = (i: number, at: string): string => {
    const element = emitter.constant(`${arrays[i]}[${at}]`)
    return (parts[i] as { type: string }).type === "bool" ? emitter.constant(`${element} != 0u`) : element
  }
  const put = (values: ReadonlyArray<string>): void => {
    for (const [i, value] of values.entries()) emitter.line(`${arrays[i]}[${own}] = ${write(i, value)};`)
  }
  put(parts.map((p) => p.value))
  emitter.line("workgroupBarrier();")
  for (let stride = share / 2; stride >= 1; stride /= 2) {
    emitter.branch(`${lane} < ${stride}`, () => {
      const mine = parts.map((_, i) => read(i, own))
      const other = parts.map((_, i) => read(i, `${own} + ${stride}`))
      put(merge(mine, other))
    })
    emitter.line("workgroupBarrier();")
  }
  return parts.map((_, i) => read(i, share === threads ? "0" : `${own} - ${lane}`))
}
