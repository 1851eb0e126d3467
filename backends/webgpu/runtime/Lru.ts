/** Values by key; beyond `most` the one unused for longest is forgotten. */
export interface Lru<K, V> {
  readonly get: (key: K, make: () => V) => V
  readonly delete: (key: K) => void
  readonly clear: () => void
}

export const make = <K, V>(most: number): Lru<K, V> => {
  // Least recently used first: a Map keeps insertion order.
  const values = new Map<K, V>()
  return {
    get: (key, create) => {
      const known = values.has(key)
      const value = known ? (values.get(key) as V) : create()
      if (known) values.delete(key)
      values.set(key, value)
      if (values.size > most) values.delete(values.keys().next().value as K)
      return value
    },
    delete: (key) => {
      values.delete(key)
    },
    clear: () => values.clear()
  }
}
