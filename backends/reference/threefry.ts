type Pair = readonly [number, number]

const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const

const rotateLeft = (x: number, by: number): number => (x << by) | (x >>> (32 - by))

/**
 * Threefry-2x32 with 20 rounds: 64 random bits of a 64-bit key and a 64-bit counter, as two unsigned words.
 * Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export const threefry2x32 = (key: Pair, counter: Pair): Pair => {
  const keys = [key[0], key[1], 0x1bd11bda ^ key[0] ^ key[1]] as const
  let x = (counter[0] + keys[0]) | 0
  let y = (counter[1] + keys[1]) | 0
  for (let round = 0; round < 20; round++) {
    x = (x + y) | 0
    y = rotateLeft(y, rotations[round % 8] as number) ^ x
    if (round % 4 === 3) {
      const injection = (round + 1) / 4
      x = (x + (keys[injection % 3] as number)) | 0
      y = (y + (keys[(injection + 1) % 3] as number) + injection) | 0
    }
  }
  return [x >>> 0, y >>> 0]
}
