import type { HostArray } from "../../../ir/HostArray.ts"
import type { DeviceArray } from "../../Backend.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import type { Session } from "./Session.ts"
import { fromDevice, storageBytes } from "./transfer.ts"

const mapRead = 0x1 | 0x8 // GPUBufferUsage.MAP_READ | COPY_DST
const forReading = 0x1 // GPUMapMode.READ

/** Copies a tensor to the host. Rejects with DeviceLost when the device goes away meanwhile: it never hangs. */
export const read = async (session: Session, array: DeviceArray): Promise<HostArray> => {
  session.check()
  const buffer = DeviceTensor.bufferOf(session, array, "the array")
  const size = storageBytes(array.dtype, array.shape)
  const staging = session.device.createBuffer({ size, usage: mapRead })
  try {
    const encoder = session.device.createCommandEncoder()
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, size)
    session.device.queue.submit([encoder.finish()])
    await staging.mapAsync(forReading)
    const bytes = staging.getMappedRange().slice(0)
    staging.unmap()
    session.check()
    return fromDevice(array.dtype, array.shape, bytes)
  } finally {
    staging.destroy()
  }
}
