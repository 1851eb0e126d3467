/** What the kernels of one call took. Times are nanoseconds since the first of them began. */
export interface Profile {
  /**
   * Whose clock: timestamps that the device writes around each kernel, or, where it has none, the host's, of when it heard that each
   * kernel was done; or that of the thread itself which computed.
   */
  readonly clock: "device" | "host" | "thread"
  /** Steps of that clock in nanoseconds. A browser rounds timestamps: kernels shorter than this are 0 or one step long. */
  readonly resolution: number
  /** In the order in which they ran. */
  readonly kernels: ReadonlyArray<KernelTime>
  /** What the host did of it, in nanoseconds: arguments uploaded and commands encoded, then waiting until all was done. */
  readonly host: { readonly encode: number; readonly wait: number }
}

export interface KernelTime {
  readonly name: string
  /** Number of the kernel in the program, as it prints. */
  readonly kernel: number
  /** Without a device, the pieces that threads take. */
  readonly workgroups: number
  readonly begin: number
  readonly end: number
}
