import { Effect, Exit, Scope } from "effect"
import { expect, test } from "vitest"
import * as Owner from "../../../backends/Owner.ts"

/** An array that notes when it is closed. */
const array = (closed: Array<string>, name: string) => {
  let told = (): void => {}
  return {
    close: () => {
      closed.push(name)
      told()
    },
    whenGone: (then: () => void) => {
      told = then
    },
    giveAway: () => told()
  }
}

test("a scope closes what is alive of what was made in it, once, and what comes too late at once", () =>
  Effect.gen(function* () {
    const closed: Array<string> = []
    const [a, b, c, late] = ["a", "b", "c", "late"].map((name) => array(closed, name))
    if (a === undefined || b === undefined || c === undefined || late === undefined)
      throw new Error("no array")
    const scope = yield* Scope.make()
    const owner = yield* Scope.provide(Owner.current, scope)
    expect(yield* Scope.provide(Owner.current, scope)).toBe(owner)
    owner.adopt([a, b])
    owner.adopt([c])
    a.close()
    b.giveAway()
    yield* Scope.close(scope, Exit.void)
    expect(closed).toEqual(["a", "c"])
    owner.adopt([late])
    expect(closed).toEqual(["a", "c", "late"])
  }).pipe(Effect.runPromise))

test("scopes own apart", () =>
  Effect.gen(function* () {
    const closed: Array<string> = []
    const scopes = [yield* Scope.make(), yield* Scope.make()] as const
    for (const [i, scope] of scopes.entries())
      (yield* Scope.provide(Owner.current, scope)).adopt([array(closed, String(i))])
    yield* Scope.close(scopes[1], Exit.void)
    expect(closed).toEqual(["1"])
  }).pipe(Effect.runPromise))
