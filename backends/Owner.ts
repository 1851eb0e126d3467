import { Effect, Scope } from "effect"

/** An array that a scope gives back. */
export interface Owned {
  readonly close: () => void
  /** Closed, or given away: to be called once, as soon as it is. */
  readonly whenGone: (then: () => void) => void
}

/** What one scope owns: all that is alive of what was made in it, and nothing else, for however many calls it lasts. */
export interface Owner {
  readonly adopt: (arrays: ReadonlyArray<Owned>) => void
}

const owners = new WeakMap<Scope.Scope, Owner>()

/** The owner of the scope in context, which has one finalizer for all that it is given. */
export const current: Effect.Effect<Owner, never, Scope.Scope> = Effect.flatMap(Scope.Scope, (scope) => {
  const known = owners.get(scope)
  if (known !== undefined) return Effect.succeed(known)
  const alive = new Set<Owned>()
  let closed = false
  const owner: Owner = {
    adopt: (arrays) => {
      for (const array of arrays) {
        if (closed) array.close()
        else {
          alive.add(array)
          array.whenGone(() => alive.delete(array))
        }
      }
    }
  }
  owners.set(scope, owner)
  const close = Effect.sync(() => {
    closed = true
    for (const array of [...alive]) array.close()
  })
  return Effect.as(Scope.addFinalizer(scope, close), owner)
})
