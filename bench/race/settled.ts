/**
 * Waits until a software device compiles nothing more in the background, three seconds at most: a process is stopped while others have their
 * turn. It is quiet twice in a row, since an engine may wait a little between one kernel and the next.
 */
export const settled = async (): Promise<void> => {
  let quiet = 0
  for (let n = 0; n < 10 && quiet < 2; n++) {
    const before = process.cpuUsage()
    await new Promise((done) => setTimeout(done, 300))
    const { user, system } = process.cpuUsage(before)
    quiet = user + system < 40_000 ? quiet + 1 : 0
  }
}
