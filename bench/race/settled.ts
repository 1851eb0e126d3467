/** Waits until a software device compiles nothing more in the background, three seconds at most: a process is stopped while others have their turn. */
export const settled = async (): Promise<void> => {
  for (let n = 0; n < 10; n++) {
    const before = process.cpuUsage()
    // Longer than engines wait before they begin.
    await new Promise((done) => setTimeout(done, 300))
    const { user, system } = process.cpuUsage(before)
    if (user + system < 40_000) return
  }
}
