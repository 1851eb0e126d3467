/**
 * Everything that can be turned: environment variables, options of the library, options of the device. The one table;
 * `effuse doctor` prints it with the values of this machine, the documentation prints it with the defaults.
 */
export interface Knob {
  readonly name: string
  readonly kind: "environment" | "compile" | "jit" | "device" | "wasm"
  /** As text, for people. */
  readonly default: string
  readonly meaning: string
}

const knob = (kind: Knob["kind"], name: string, byDefault: string, meaning: string): Knob => ({
  kind,
  name,
  default: byDefault,
  meaning
})

export const knobs: ReadonlyArray<Knob> = [
  knob(
    "environment",
    "EFFUSE_VULKAN",
    "not set",
    "folder with libvulkan.so.1 and vk_swiftshader_icd.json: a software GPU for Node on Linux without a driver"
  ),
  knob(
    "environment",
    "EFFUSE_SOFTWARE",
    "0",
    "1 prefers the software GPU of EFFUSE_VULKAN over a driver the machine has"
  ),
  knob("environment", "EFFUSE_DEBUG", "0", "1 makes the command line print the stack of an error"),
  knob(
    "environment",
    "EFFUSE_CONFORMANCE",
    "../shared/conformance",
    "folder of published cases for `npm run conformance`, the demo and the tests"
  ),
  knob("environment", "EFFUSE_CHROMIUM", "the one from npm", "the Chromium that the browser tests start"),
  knob("environment", "EFFUSE_BLESS", "0", "1 makes the filetests and goldens write what they get"),
  knob(
    "environment",
    "EFFUSE_TEST_OUTCOMES",
    "set by npm test",
    "file into which the reporter of the tests writes what passed, failed and was skipped"
  ),
  knob("environment", "XDG_CACHE_HOME", "~/.cache", "folder in which Node keeps what `tune` measured"),
  knob("environment", "NO_COLOR", "not set", "any value: the command line prints no colour (no-color.org)"),
  knob(
    "environment",
    "FORCE_COLOR",
    "not set",
    "any value but 0: the command line prints colour into a pipe too"
  ),

  knob(
    "compile",
    "requireFused",
    "false",
    "fail with FusionRequired unless all attention became flash_attention"
  ),
  knob("compile", "donate", "[]", "arguments whose memory a call may overwrite"),
  knob("compile", "pipeline", "the default pipeline", "passes by name and order, separated by commas"),
  knob(
    "compile",
    "tune",
    "false",
    "measure how attention is cut into tiles on this device, once; WebGPU only"
  ),
  knob(
    "compile",
    "arithmetic",
    "f32",
    "f16: products of numbers that are stored as f16 may be multiplied in f16, where the device can"
  ),
  knob("compile", "hooks", "[]", "functions called after each pass"),
  knob("compile", "statistics", "false", "count how often each rule is tried, and how long that takes"),
  knob("jit", "cacheSize", "32", "compiled signatures that are kept, the one unused for longest goes first"),

  knob("device", "gpu", "navigator.gpu, in Node Dawn", "the WebGPU implementation to open"),
  knob(
    "device",
    "powerPreference",
    "high-performance",
    "which adapter to ask for: high-performance or low-power"
  ),
  knob("device", "vulkan", "EFFUSE_VULKAN", "as EFFUSE_VULKAN, for WebGpu.layerWith"),
  knob("device", "software", "EFFUSE_SOFTWARE is 1", "as EFFUSE_SOFTWARE, for WebGpu.layerWith"),
  knob("device", "flags", "[]", "settings of Dawn itself, such as backend=null"),
  knob("wasm", "threads", "as many as cores, 8 at most", "threads that compute, the caller's among them"),
  knob("wasm", "relaxed", "true", "false leaves out instructions whose last bit depends on the engine"),
  knob("wasm", "simd", "true", "false computes without vector instructions, as engines that have none do")
]
