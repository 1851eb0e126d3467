/// <reference types="@webgpu/types" preserve="true" />
/**
 * WebGPU in Node: Dawn, from the optional peer dependency `webgpu`.
 *
 * A process that keeps nothing in flight uses no processor time and ends by itself.
 */

export interface DawnOptions {
  /**
   * Folder with a Vulkan loader and a software driver (`libvulkan.so.1`, `vk_swiftshader_icd.json`) for machines
   * that have no driver. Default: the environment variable `EFFUSE_VULKAN`. Linux only.
   */
  readonly vulkan?: string | undefined
  /** Prefer that folder over a driver the machine has. Default: whether `EFFUSE_SOFTWARE` is 1. */
  readonly software?: boolean | undefined
  /** Dawn's own settings, as `backend=null` or `enable-dawn-features=allow_unsafe_apis`. */
  readonly flags?: ReadonlyArray<string>
}

/**
 * Opens Dawn and puts the standard names that scripts find in a browser (`GPUBufferUsage`, `GPUValidationError`, ...)
 * on `globalThis` where they are missing. The promise rejects when `webgpu` is not installed.
 *
 * A machine without a driver gives a `GPU` whose `requestAdapter` resolves to null.
 */
export const openDawn = async (options: DawnOptions = {}): Promise<GPU> => {
  // Browsers and Deno have WebGPU; only Node needs this package, and only when it computes on a GPU.
  const dawn = await import("webgpu")
  const create = (flags: ReadonlyArray<string>): GPU => dawn.create([...precise, ...flags])
  const globals = dawn.globals as Readonly<Record<string, unknown>>
  pollGently(globals)
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis))
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
  }
  const { flags = [] } = options
  const vulkan = options.vulkan ?? process.env["EFFUSE_VULKAN"]
  if (vulkan !== undefined) {
    const software = options.software ?? process.env["EFFUSE_SOFTWARE"] === "1"
    if (software || !loadLibrary("libvulkan.so.1") || (await create(flags).requestAdapter()) === null) {
      process.env["VK_ICD_FILENAMES"] = `${vulkan}/vk_swiftshader_icd.json`
      if (!loadLibrary(`${vulkan}/libvulkan.so.1`)) throw new Error(`no Vulkan loader in ${vulkan}`)
    }
  }
  return create(flags)
}

/** Pages get rounded timestamps, for want of trust in what they would learn from exact ones. A process of one's own need not. */
const precise = ["disable-dawn-features=timestamp_quantization"]

/**
 * Loads a shared library into the process, for good, and says whether it is there. Dawn asks for `libvulkan.so.1` by that
 * name alone, and the system answers with a library of the same name that is already loaded, so no search path has to
 * be set before Node starts.
 */
const loadLibrary = (file: string): boolean => {
  // glibc's RTLD_NOW, RTLD_GLOBAL and RTLD_NODELETE.
  const flags = 0x2 | 0x100 | 0x1000
  try {
    process.dlopen({ exports: {} }, file, flags)
  } catch (error) {
    // Node loads the library first and complains afterwards that it is no Node add-on.
    return error instanceof Error && error.message.includes("did not self-register")
  }
  return true
}

/** The methods after which Dawn polls until their promise settles. */
const pollingMethods: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
  ["GPUAdapter", ["requestDevice"]],
  ["GPUBuffer", ["mapAsync"]],
  ["GPUDevice", ["createComputePipelineAsync", "createRenderPipelineAsync", "popErrorScope"]],
  ["GPUQueue", ["onSubmittedWorkDone"]],
  ["GPUShaderModule", ["getCompilationInfo"]]
]

/** Work that ends within this time is noticed at once; longer work is looked at once a millisecond. */
const spinMilliseconds = 1

const patched = Symbol.for("effuse/dawn/polls-gently")

/**
 * While a promise is in flight Dawn looks for its end in a loop of `setImmediate`, which occupies a core, and a
 * software GPU needs that core to get the work done. It looks `setImmediate` up anew each time it goes around, and only
 * inside the methods above or inside the previous turn of the loop, so during those calls, and no others, the name
 * stands for a scheduler that soon sleeps between turns.
 */
const pollGently = (globals: Readonly<Record<string, unknown>>): void => {
  const { setImmediate, setTimeout } = globalThis
  let since = 0
  const withScheduler = <A>(run: () => A): A => {
    const original = globalThis.setImmediate
    globalThis.setImmediate = schedule as typeof setImmediate
    try {
      return run()
    } finally {
      globalThis.setImmediate = original
    }
  }
  const schedule = (turn: () => void): unknown => {
    const next = () => withScheduler(turn)
    return performance.now() - since < spinMilliseconds ? setImmediate(next) : setTimeout(next, 1)
  }
  for (const [type, methods] of pollingMethods) {
    const prototype = (globals[type] as { readonly prototype: Record<PropertyKey, unknown> }).prototype
    if (prototype[patched] === true) continue
    prototype[patched] = true
    for (const method of methods) {
      const stock = prototype[method] as (...args: Array<unknown>) => unknown
      prototype[method] = function (this: unknown, ...args: Array<unknown>) {
        since = performance.now()
        return withScheduler(() => stock.apply(this, args))
      }
    }
  }
}
