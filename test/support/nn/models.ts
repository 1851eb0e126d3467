import * as nn from "../../../src/nn/index.ts"

/** A model that is small enough to run anywhere, with its parameters. */
export const tiny = (config: Partial<nn.DecoderConfig> = {}) => {
  const model = nn.decoder({
    words: 23,
    features: 16,
    hidden: 24,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    rope: { base: 100 },
    epsilon: 1e-5,
    ...config
  })
  const drawn = model.init(5)
  // Starting values make all words alike; larger ones make choices clear.
  const params = nn.Params.flatten(drawn)
  for (const [name, value] of Object.entries(params))
    if (!name.includes("norm"))
      for (let n = 0; n < value.data.length; n++) value.data[n] = 4 * (value.data[n] as number)
  return { model, params }
}
