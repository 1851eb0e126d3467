/** Options of the frameworks' attention layers: their names here, and the test that holds each to its meaning. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Markdown from "./markdown.ts"

interface Option {
  readonly option: string
  /** Names in the faces, and in `nn.attention`; absent where there is none. */
  readonly mlx?: string
  readonly torch?: string
  readonly keras?: string
  readonly flax?: string
  readonly core?: string
  /** A file of test/unit/nn and the name of a test in it. */
  readonly test: readonly [file: string, name: string]
}

export const options: ReadonlyArray<Option> = [
  {
    option: "features, heads",
    ...{
      mlx: "dims, numHeads",
      torch: "embedDim, numHeads",
      keras: "numHeads, keyDim",
      flax: "inFeatures, numHeads"
    },
    core: "features, heads",
    test: ["attention", "four heads"]
  },
  {
    option: "fewer key/value heads",
    ...{ keras: "GroupQueryAttention: numKeyValueHeads", flax: "numKvHeads", core: "kvHeads" },
    test: ["keras", "shares keys and values among heads"]
  },
  {
    option: "size of heads, of values' heads",
    ...{ mlx: "valueDims", keras: "keyDim, valueDim, headDim", flax: "qkvFeatures" },
    core: "headSize, valueHeadSize",
    test: ["attention", "other sizes everywhere"]
  },
  {
    option: "features of queries, keys and values",
    ...{ mlx: "queryInputDims, keyInputDims, valueInputDims", torch: "kdim, vdim" },
    ...{ keras: "features, keyFeatures, valueFeatures (read off the call there)", flax: "inKvFeatures" },
    core: "keyFeatures, valueFeatures",
    test: ["torch", "no bias, keys and values of other sizes"]
  },
  {
    option: "features out, several axes of them",
    ...{ mlx: "valueOutputDims", keras: "outputShape", flax: "outFeatures", core: "outFeatures" },
    test: ["keras", "other sizes, several output axes, no bias"]
  },
  {
    option: "biases",
    ...{
      mlx: "bias (off)",
      torch: "bias",
      keras: "useBias",
      flax: "useBias",
      core: "bias, of each projection"
    },
    test: ["mlx", "defaults: no bias"]
  },
  {
    option: "how parameters start",
    ...{
      ...{ mlx: "as there", torch: "as there", keras: "kernelInitializer, biasInitializer" },
      flax: "kernelInit, outKernelInit, biasInit, outBiasInit"
    },
    core: "init, biasInit",
    test: ["faces", "parameters start as the framework's: by its distribution, within its limits"]
  },
  {
    option: "packed in-projection",
    ...{ torch: "in_proj_weight" },
    test: ["torch", "has PyTorch's parameters"]
  },
  { option: "gate", keras: "useGate", core: "gate", test: ["keras", "a gate"] },
  {
    option: "queries and keys normalised",
    ...{ flax: "normalizeQk", core: "qkNorm: layer or rms" },
    test: ["flax", "queries and keys normalised"]
  },
  {
    option: "attention of one's own",
    ...{ flax: "attentionFn", core: "attention" },
    test: ["flax", "an attention function of one's own"]
  },
  {
    option: "the batch first or second, none",
    ...{ torch: "batchFirst, unbatched tensors", core: "any batch axes" },
    test: ["torch", "takes unbatched tensors"]
  },
  {
    option: "any batch axes",
    ...{ flax: "[..., T, F]", core: "[..., T, F]" },
    test: ["flax", "takes any batch axes, and a mask over them"]
  },
  {
    option: "attention over several axes",
    ...{ keras: "attentionAxes" },
    test: ["keras", "runs over several axes"]
  },
  {
    option: "keys and values that default",
    ...{ keras: "key: the value", flax: "inputsK: the queries, inputsV: the keys", core: "key, value" },
    test: ["keras", "takes the value for the key"]
  },
  {
    option: "key padding, true is ignored",
    ...{ torch: "keyPaddingMask" },
    test: ["torch", "padding is true where it is ignored"]
  },
  {
    option: "masks of queries, keys, values, true takes part",
    ...{ keras: "queryMask, keyMask, valueMask", core: "queryMask, keyMask, valueMask" },
    test: ["keras", "all masks at once, 1 takes part, the rest scores -1e9"]
  },
  {
    option: "bool mask, true takes part",
    ...{ mlx: "mask", keras: "attentionMask", flax: "mask", core: "mask" },
    test: ["flax", "a mask of numbers, 1 takes part"]
  },
  {
    option: "bool mask, true is not attended",
    ...{ torch: "attnMask" },
    test: ["torch", "attention masks are true where it is not allowed"]
  },
  {
    option: "float mask, added, also for each head",
    ...{ mlx: "mask", torch: "attnMask, keyPaddingMask", core: "mask, bias" },
    test: ["torch", "float masks for each head are added"]
  },
  {
    option: "mask that carries its polarity: a `Mask`",
    ...{ mlx: "mask", torch: "attnMask", keras: "attentionMask", flax: "mask", core: "mask" },
    test: ["faceErrors", "masks of every face carry their polarity"]
  },
  {
    option: "causal",
    ...{
      mlx: "createAdditiveCausalMask",
      torch: "isCausal, a hint",
      keras: "useCausalMask",
      flax: "isCausal"
    },
    core: "causal: bottom-right or top-left",
    test: ["attention", "causal, counted from the start"]
  },
  {
    option: "window",
    ...{ keras: "slidingWindow", core: "window: left, right" },
    test: ["keras", "a window on both sides"]
  },
  {
    option: "lengths of each entry of the batch",
    ...{ core: "queryLengths, keyLengths" },
    test: ["attention", "lengths of queries and keys"]
  },
  { option: "sinks", core: "sinks", test: ["attention", "sinks"] },
  {
    option: "a learned key and value, a key of zeros",
    ...{ torch: "addBiasKv, addZeroAttn", core: "extraKey, zeroKey" },
    test: ["torch", "a learned key and a key of zeros"]
  },
  {
    option: "combined masks",
    ...{ flax: "makeAttentionMask, makeCausalMask, combineMasks" },
    test: ["flax", "makeAttentionMask, makeCausalMask, combineMasks"]
  },
  {
    option: "scale, softcap",
    ...{ core: "scale, softcap" },
    test: ["attention", "a scale and a softcap"]
  },
  {
    option: "rotary positions",
    ...{ mlx: "RoPE", core: "rope" },
    test: ["attention", "rotated heads"]
  },
  {
    option: "dropout of weights, in training only",
    ...{ torch: "dropout", keras: "dropout", flax: "dropoutRate", core: "dropout" },
    test: ["torch", "drops weights in training only, and returns those it used"]
  },
  {
    option: "one draw for all heads and entries",
    ...{ flax: "broadcastDropout", core: "broadcastDropout" },
    test: ["flax", "draws dropout once for all batch entries and heads unless told otherwise"]
  },
  {
    option: "training flag and seed, the call's first",
    ...{
      torch: "training, seed",
      keras: "training, seed",
      flax: "deterministic, rngs",
      core: "training, seed"
    },
    test: ["flax", "says which flag is missing, and lets the call's beat the layer's"]
  },
  {
    option: "returned weights: none, averaged, for each head",
    ...{ torch: "needWeights, averageAttnWeights", keras: "returnAttentionScores", flax: "sowWeights" },
    core: "stages.weights, stages.kept",
    test: ["torch", "defaults: the batch second"]
  },
  {
    option: "returned stages and log-sum-exp",
    ...{ core: "stages.logits, capped, scores; Tensor.logSumExp of scores" },
    test: ["stages", "are what each step gives, and the log-sum-exp of rows is that of the scores"]
  },
  {
    option: "decoding with a cache",
    ...{ flax: "decode, cache, initCache", core: "cache" },
    test: ["flax", "decodes token by token what it computes at once"]
  },
  {
    option: "a cache as a ring, for windows",
    core: "cache: ring",
    test: ["cache", "a ring without a window holds as many keys as fit"]
  },
  {
    option: "a cache of pages, shared, read in place",
    core: "cache: table",
    test: ["pages", "a prompt of whole pages, then words"]
  },
  {
    option: "encoder and decoder layers",
    ...{
      mlx: "TransformerEncoderLayer, TransformerDecoderLayer, stacks of them, Transformer",
      torch: "TransformerEncoderLayer, TransformerDecoderLayer"
    },
    core: "transformerLayer",
    test: ["torchTransformer", "causal, with padding that is true where it is ignored"]
  },
  {
    option: "attention without projections",
    ...{ keras: "Attention, AdditiveAttention" },
    test: ["kerasScores", "AdditiveAttention: sums by learned factors"]
  },
  {
    option: "must fuse, with the reason where not",
    ...{ core: "compile(…, { requireFused: true })" },
    test: ["stages", "of any layer fuse or compile says why"]
  },
  {
    option: "flash attention or an error",
    ...{ keras: "flashAttention", core: "compile(…, { requireFused: true })" },
    test: ["faceErrors", "flash attention goes without dropout and scores"]
  },
  {
    option: "slopes of ALiBi, a score of one's own",
    ...{ mlx: "ALiBi", core: "alibi, score" },
    test: ["attention", "slopes of ALiBi, and a score of one's own"]
  },
  {
    option: "nested tensors: texts one behind the other, without padding",
    ...{ torch: "offsets, keyOffsets", core: "offsets, keyOffsets" },
    test: ["attentionInputs", "see the texts of other keys"]
  },
  {
    option: "keys and values projected already",
    ...{ torch: "staticK, staticV", core: "keyHeads, valueHeads" },
    test: ["torch", "takes keys and values that are projected already"]
  },
  {
    option: "dtypes of parameters and of computing; sums and the softmax are f32, f64 of f64",
    ...{
      mlx: "dtype",
      torch: "dtype",
      keras: "dtype: mixed_float16, …",
      flax: "paramDtype, dtype, precision"
    },
    core: "dtype, compute",
    test: ["attentionInputs", "of parameters and of computing are apart"]
  },
  {
    option: "refused, with what to do instead",
    ...{
      torch: "device",
      keras: "regularizers, constraints, name, trainable",
      flax: "dot_general, sharding, metadata, promote_dtype, rngs of the layer"
    },
    test: ["faceErrors", "refuses what means nothing here, with what to do instead"]
  }
]

export const table = (): string =>
  Markdown.table([
    ["option", "MLX", "PyTorch", "Keras, TensorFlow", "Flax", "`nn.attention`", "test"],
    ...options.map(({ option, mlx, torch, keras, flax, core, test }) => [
      option,
      ...[mlx, torch, keras, flax, core].map((names) => names ?? ""),
      `${test[0]}: ${test[1]}`
    ])
  ])

const escaped = (text: string): string => text.replaceAll(/[$()*+.?[\\\]^{|}]/g, "\\$&")

/** Tests that the table names and that do not exist. */
export const unknownTests = (): ReadonlyArray<string> =>
  options.flatMap(({ test: [file, name] }) => {
    const text = readFileSync(
      fileURLToPath(new URL(`../test/unit/nn/${file}.test.ts`, import.meta.url)),
      "utf8"
    )
    const named = new RegExp(`"${escaped(name)}"|^\\s+${escaped(name)}: \\{`, "m")
    return named.test(text) ? [] : [`${file}: ${name}`]
  })
