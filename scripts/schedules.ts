/**
 * Runs every legal schedule (`ir/flashSchedules.ts`, `ir/matmulSchedules.ts`) on this machine's WebGPU and on the reference, those first that
 * compile soonest. Of attention there are thousands for each pair of head sizes, of products more: a run that was ended goes on with `--from`.
 *
 *     npm run schedules                                          all, attention of head sizes 6 and 9
 *     npm run schedules -- --head 64,64 --family decode          one family
 *     npm run schedules -- --from 1200 --limit 100 --every 7     some
 *     npm run schedules -- --count                               how many there are, for several devices
 *     npm run schedules -- --front                               products in f16, each head size, by a compiler's front end
 */
import { parseArgs } from "node:util"
import { describe } from "../backends/webgpu/runtime/deviceLimits.ts"
import * as Limits from "../ir/Limits.ts"
import type { Arithmetic } from "../ir/Schedule.ts"
import { sharedDevice } from "../test/support/dawn.ts"
import { allOf, multiplied, productFamilies, productFamilyNames } from "../test/support/multiplied.ts"
import { limitsOf, validate } from "../test/support/runProgram.ts"
import {
  families,
  familyNames,
  listed,
  type Scheduled,
  scheduled,
  worstShare,
  written
} from "../test/support/scheduled.ts"

const usage = `npm run schedules -- [options]
  --head     head sizes of keys and values: 6,9
  --family   one of ${[...familyNames, ...productFamilyNames].join(", ")}
  --from     the number of the first one: where a run that was ended goes on
  --limit    how many at most
  --every    each second one with 2
  --count    how many there are, for several devices
  --front    products in f16, each head size, by a compiler's front end
  --help     this text`

const end = (text: string, code: number): never => {
  console.log(text)
  process.exit(code)
}

const optionsOf = () => {
  try {
    return parseArgs({
      options: {
        head: { type: "string", default: "6,9" },
        family: { type: "string" },
        from: { type: "string", default: "0" },
        limit: { type: "string", default: "Infinity" },
        every: { type: "string", default: "1" },
        count: { type: "boolean", default: false },
        front: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (cause) {
    return end(`${(cause as Error).message}\n\n${usage}`, 2)
  }
}
const given = optionsOf()
if (given.help) end(usage, 0)

const isAsked = (name: string): boolean => given.family === undefined || name === given.family
const known = familyNames.filter(isAsked)
const products = productFamilyNames.filter(isAsked)
if (known.length + products.length === 0)
  end(`there is no family ${JSON.stringify(given.family)}\n\n${usage}`, 2)
const heads = given.head.split(",").map(Number) as unknown as readonly [number, number]
const [from, limit, every] = [given.from, given.limit, given.every].map(Number) as [number, number, number]
const isSize = (n: number): boolean => Number.isInteger(n) && n > 0 && n <= 256
if (heads.length !== 2 || !heads.every(isSize)) end(`--head takes two sizes of 1 to 256\n\n${usage}`, 2)
if (!(from >= 0 && limit > 0 && every >= 1))
  end(`--from, --limit and --every take numbers, the last two 1 or more\n\n${usage}`, 2)

/** Counts for several devices, at several head sizes. */
const count = (): void => {
  const room = (bytes: number): Limits.Limits => ({
    ...Limits.portable,
    maxComputeWorkgroupStorageSize: bytes
  })
  const devices: { readonly [name: string]: Limits.Limits } = {
    "16 KiB of workgroup memory": Limits.portable,
    "32 KiB": room(32768),
    "48 KiB, subgroups of 32": { ...room(49152), subgroups: { min: 32, max: 32 } },
    "32 KiB, subgroups of 4": { ...room(32768), subgroups: { min: 4, max: 4 } }
  }
  for (const [name, limits] of Object.entries(devices)) {
    for (const sizes of [
      [6, 9],
      [64, 64],
      [128, 128],
      [256, 256]
    ] as const) {
      const counts = known.map((family) => `${listed(family, limits, sizes).length} ${family}`)
      if (known.length > 0) console.log(`${name}, head sizes ${sizes.join(" and ")}: ${counts.join(", ")}`)
    }
    const counts = products.map((family) => `${allOf(family, limits).length} ${family}`)
    if (products.length > 0) console.log(`${name}, products: ${counts.join(", ")}`)
  }
}

/** Each head size from 1 to 256 with another of values, and every cut of it that multiplies in f16. */
const front = async (): Promise<void> => {
  const limits = { ...Limits.portable, shaderF16: true }
  const seen = new Set<string>()
  let [accepted, total] = [0, 0]
  for (let size = Math.max(1, from); size <= Math.min(256, from + limit); size++) {
    for (const family of known.filter((name) => families[name].arithmetic === "f16")) {
      const sizes = [size, 257 - size] as const
      for (const [n, schedule] of listed(family, limits, sizes).entries()) {
        // Numbers of splits change constants alone.
        if (family === "short in f16" && n % 18 !== size % 18) continue
        const { program, kernels, name } = scheduled(family, schedule, sizes, limits, n)
        if (kernels.every((text) => seen.has(text))) continue
        total++
        for (const text of kernels) seen.add(text)
        const refused = await validate(program).then(
          () => undefined,
          (cause: unknown) => String(cause)
        )
        if (refused === undefined) accepted++
        else console.log(`FAILED ${name}: ${refused}`)
      }
    }
    if (size % 16 === 0) console.log(`head sizes to ${size}: ${accepted} of ${total}`)
  }
  console.log(`a front end accepts ${accepted} of ${total} schedules in f16, ${seen.size} distinct kernels`)
  process.exit(accepted === total ? 0 : 1)
}

interface Entry {
  readonly family: string
  readonly number: number
  readonly arithmetic: Arithmetic
  /** What it takes to compile, roughly in multiply-adds that are written out. */
  readonly cost: number
  readonly draw: () => Scheduled
}

const entriesOf = (limits: Limits.Limits): ReadonlyArray<Entry> => {
  // Products in f16 are emulated where the device has none, in several times the text.
  const text = (arithmetic: Arithmetic): number => (arithmetic === "f16" && !limits.shaderF16 ? 4 : 1)
  const attention = known.flatMap((family) => {
    const { arithmetic } = families[family]
    return listed(family, limits, heads).map((schedule, number) => ({
      ...{ family, number, arithmetic },
      cost: written(family, schedule, heads) * text(arithmetic),
      draw: () => scheduled(family, schedule, heads, limits, number)
    }))
  })
  const multiplications = products.flatMap((family) => {
    const { arithmetic } = productFamilies[family]
    return allOf(family, limits).map((schedule, number) => ({
      ...{ family, number, arithmetic },
      cost: 4 * (16 + schedule.threadRows * schedule.threadColumns) * text(arithmetic),
      draw: () => multiplied(family, schedule, limits, number)
    }))
  })
  return [...attention, ...multiplications].toSorted((a, b) => a.cost - b.cost)
}

const run = async (): Promise<void> => {
  const device = await sharedDevice()
  const limits = await limitsOf("cpu")
  console.log(describe(device.adapterInfo, limits))
  const entries = entriesOf(limits)
  const chosen = entries.slice(from).filter((_, n) => n % every === 0)
  const seen = new Set<string>()
  let [ran, same, failed, worst, nearest] = [0, 0, 0, 0, ""]
  const state = (): string =>
    `${ran} of ${entries.length} legal schedules ran (${seen.size} distinct kernels, ${same} schedules of kernels that ran before), ${failed} failed; nearest to its tolerance at ${worst.toFixed(3)} of it`
  let told = performance.now()
  for (const [n, { family, number, arithmetic, draw }] of chosen.slice(0, limit).entries()) {
    const drawn = draw()
    ran++
    if (drawn.kernels.every((text) => seen.has(text))) {
      same++
      continue
    }
    for (const text of drawn.kernels) seen.add(text)
    try {
      const share = await worstShare(drawn, arithmetic)
      if (share > worst) nearest = `${family} ${number}: ${drawn.name}`
      worst = Math.max(share, worst)
    } catch (cause) {
      failed++
      console.log(`FAILED --family "${family}" --head ${heads} --from ${number} --limit 1: ${cause}`)
    }
    if (performance.now() - told > 10_000) {
      told = performance.now()
      console.log(`${state()}; go on with --from ${from + (n + 1) * every}`)
    }
  }
  console.log(nearest)
  console.log(`schedules: ${state()}`)
  process.exit(failed > 0 || ran === 0 ? 1 : 0)
}

if (given.count) count()
else if (given.front) await front()
else await run()
