/** A small model of the Llama family over 64 words, for the examples that generate. Its weights are drawn, so what it says means nothing. */
import * as nn from "../src/nn/index.ts"

/** The model's vocabulary; a word is its place here. */
export const vocabulary: ReadonlyArray<string> = [
  ...". , the a one this that my your no and or but so as if".split(" "),
  ..."cat dog bird fish tree river stone moon sun night day rain wind house road hand".split(" "),
  ..."sees finds keeps takes gives sings runs sleeps waits falls turns opens knows makes holds asks".split(
    " "
  ),
  ..."small old red quiet long cold warm bright under over near into from with again always".split(" ")
]

export const model = nn.decoder({
  ...{ words: vocabulary.length, features: 64, hidden: 128, layers: 2, heads: 4, kvHeads: 2 },
  rope: { base: 10000 },
  epsilon: 1e-5
})

/** Parameters of a seed: they are drawn as Llama's are, wider, so that the model has clear preferences. */
export const params = nn.Params.flatten(model.init(7))
for (const [name, { data }] of Object.entries(params))
  if (!name.includes("norm")) for (let n = 0; n < data.length; n++) data[n] = 4 * (data[n] as number)

/** The words of a text. Throws for one that the model does not know. */
export const read = (text: string): ReadonlyArray<number> =>
  (text.toLowerCase().match(/[a-z]+|[.,]/g) ?? []).map((word) => {
    const place = vocabulary.indexOf(word)
    if (place < 0)
      throw new Error(`the model does not know "${word}"; its words are: ${vocabulary.join(" ")}`)
    return place
  })

export const write = (words: ReadonlyArray<number>): string =>
  words.map((w) => vocabulary[w] ?? "?").join(" ")
