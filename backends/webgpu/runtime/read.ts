import type { DType } from "../../../ir/DType.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import type { DeviceArray } from "../../Backend.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import type { Session } from "./Session.ts"
import { transact } from "./transact.ts"
import { fromDevice, storageBytes } from "./transfer.ts"

/** GPUMapMode.READ. */
const forReading = 0x1

/** Copies a tensor to the host. Rejects when the device goes away meanwhile: it never hangs. */
export const read = async (session: Session, array: DeviceArray): Promise<HostArray> => {
  const bytes = storageBytes(array.dtype, array.shape)
  const copy = await transact(session, (acquire) => {
    const buffer = DeviceTensor.bufferOf(session, array, "the array")
    const staging = acquire.staging(bytes, "the copy for the host")
    const encoder = session.device.createCommandEncoder()
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes)
    session.device.queue.submit([encoder.finish()])
    return staging
  })
  const result = await readCopy(session, copy, array.dtype, array.shape)
  session.check()
  return result
}

/** Reads a staging buffer that a submitted copy fills, and gives it back to its pool. */
export const readCopy = async (
  session: Session,
  copy: GPUBuffer,
  dtype: DType,
  shape: ReadonlyArray<number>
): Promise<HostArray> => {
  const bytes = storageBytes(dtype, shape)
  try {
    await copy.mapAsync(forReading, 0, bytes)
    const content = copy.getMappedRange(0, bytes).slice(0)
    copy.unmap()
    session.staging.release(copy)
    return fromDevice(dtype, shape, content)
  } catch (cause) {
    session.staging.discard(copy)
    throw cause
  }
}
