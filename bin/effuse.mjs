#!/usr/bin/env node
/** The command line: in a clone from its sources and with the software GPU, whatever was built; in the package what was built. */
import { existsSync } from "node:fs"

const clone = new URL("../scripts/effuse.mjs", import.meta.url)
await import(existsSync(clone) ? clone.href : "../dist/src/cli/main.js")
