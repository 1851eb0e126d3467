/** What waits until nobody asks for anything, on a clock of the test's own. */
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import * as Idle from "../../../backends/webgpu/runtime/Idle.ts"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const after = 100
const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)

/** Jobs that are named when they begin and end when they are told to. */
const jobs = () => {
  const begun: Array<string> = []
  const ends = new Map<string, (error?: Error) => void>()
  const job = (name: string) => () => {
    begun.push(name)
    return new Promise<void>((done, fail) => {
      ends.set(name, (error) => (error === undefined ? done() : fail(error)))
    })
  }
  return { begun, job, end: (name: string, error?: Error) => ends.get(name)?.(error) }
}

const idle = Promise.resolve()

test("jobs follow each other in order, each after a pause, also behind one that fails", async () => {
  const { begun, job, end } = jobs()
  const { later } = Idle.make(() => idle, after)
  later([job("a"), job("b")])
  later([job("c")])
  await pass(after - 1)
  expect(begun).toEqual([])
  await pass(2 * after)
  expect(begun).toEqual(["a"])
  await pass(10 * after)
  expect(begun).toEqual(["a"])
  end("a", new Error("no"))
  await pass(after - 1)
  expect(begun).toEqual(["a"])
  await pass(2 * after)
  expect(begun).toEqual(["a", "b"])
  end("b")
  await pass(3 * after)
  expect(begun).toEqual(["a", "b", "c"])
  end("c")
  await pass(3 * after)
  expect(vi.getTimerCount()).toBe(0)
})

test("a job that has nothing left to do is passed over", async () => {
  const { begun, job } = jobs()
  const { later } = Idle.make(() => idle, after)
  later([() => undefined, () => undefined, job("a"), () => undefined])
  await pass(2 * after)
  expect(begun).toEqual(["a"])
})

test("who asks again and again keeps jobs waiting, and so does what is waited for", async () => {
  const { begun, job } = jobs()
  const { later, asked, until } = Idle.make(() => idle, after)
  later([job("a")])
  for (let n = 0; n < 50; n++) {
    asked()
    await pass(after / 2)
  }
  let made = (): void => {}
  until(
    new Promise<void>((done) => {
      made = done
    })
  )
  await pass(10 * after)
  expect(begun).toEqual([])
  made()
  await pass(after - 1)
  expect(begun).toEqual([])
  await pass(2 * after)
  expect(begun).toEqual(["a"])
})

test("the device ends what it was given before, and the pause begins anew", async () => {
  const { begun, job } = jobs()
  let drain = (): void => {}
  const drained = vi.fn(
    () =>
      new Promise<void>((done) => {
        drain = done
      })
  )
  const { later, asked } = Idle.make(drained, after)
  asked()
  later([job("a")])
  await pass(10 * after)
  expect([begun, drained.mock.calls.length]).toEqual([[], 1])
  drain()
  await pass(after - 1)
  expect(begun).toEqual([])
  await pass(1)
  expect(begun).toEqual(["a"])
})

test("nothing begins once it is closed, and a device that goes away ends no wait with an error", async () => {
  const { begun, job } = jobs()
  const gone = Idle.make(() => Promise.reject(new Error("gone")), after)
  gone.later([job("a")])
  await pass(after)
  gone.close()
  await pass(10 * after)
  expect([begun, vi.getTimerCount()]).toEqual([[], 0])
})
