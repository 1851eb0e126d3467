#!/usr/bin/env node
/**
 * `npx effuse` in a clone: the command line from its sources, on the project's own Node and with the software GPU from
 * npm. `scripts/ensure.mjs` links it into `node_modules/.bin`.
 */
import { fileURLToPath } from "node:url"

process.argv.splice(2, 0, "node", fileURLToPath(new URL("../src/cli/main.ts", import.meta.url)))
await import("./ensure.mjs")
