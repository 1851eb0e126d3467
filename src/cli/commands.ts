import { bench } from "./commands/bench.ts"
import { doctor } from "./commands/doctor.ts"
import { dump } from "./commands/dump.ts"
import { explain } from "./commands/explain.ts"
import { ops } from "./commands/ops.ts"
import { opt } from "./commands/opt.ts"
import { passes } from "./commands/passes.ts"
import { run } from "./commands/run.ts"
import { verify } from "./commands/verify.ts"
import { wgsl } from "./commands/wgsl.ts"

/** Every command. Adding one is its file and a line here. */
export const commands = [run, dump, explain, opt, wgsl, verify, bench, doctor, ops, passes] as const
