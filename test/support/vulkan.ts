import { softwareVulkan } from "../../scripts/unpack.mjs"

/**
 * Options for Dawn on this machine: its own driver where it has one, else the software one from npm, which
 * `EFFUSE_SOFTWARE=1` prefers. Both give the same results; only the software one is there on every machine.
 */
export const vulkanOptions = (): { readonly vulkan: string | undefined } => ({
  vulkan: process.env["EFFUSE_VULKAN"] ?? softwareVulkan()
})
