/// <reference types="@webgpu/types" preserve="true" />
/**
 * WebGPU in Node: Dawn, from the optional peer dependency `webgpu`.
 *
 * A process that keeps nothing in flight uses no processor time and ends by itself.
 */

import { pollGently } from "./pollGently.ts"

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
