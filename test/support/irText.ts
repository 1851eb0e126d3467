/** The line of an input, which the text can call by its name. */
export const input = (type: string, name = "x"): string => `%${name}: ${type} = input {name = "${name}"}`

/** A graph of lines `name: type = …`; every name is also an output. */
export const outputsOf = (
  inputs: ReadonlyArray<string>,
  lines: ReadonlyArray<readonly [name: string, line: string]>
): string =>
  [
    "graph {",
    ...inputs,
    ...lines.map(([name, line]) => `%${name}: ${line}`),
    `return ${lines.map(([name]) => `"${name}": %${name}`).join(", ")}`,
    "}"
  ].join("\n")

/** A graph of one fused node: inputs, the lines of its body, and which of them is the result. */
export const fused = (
  inputs: ReadonlyArray<readonly [name: string, type: string]>,
  type: string,
  body: ReadonlyArray<string>,
  result: string
): string =>
  [
    "graph {",
    ...inputs.map(([name, t]) => input(t, name)),
    `%out: ${type} = fused ${inputs.map(([name]) => `%${name}`).join(", ")} {`,
    "body = {",
    ...inputs.map(([name, t]) => input(t, name)),
    ...body,
    `return %${result}`,
    "}",
    "}",
    "return %out",
    "}"
  ].join("\n")

/** Attention over these operands: its scores are the logits as they are, and every query sees every key. */
export const plainAttention = (
  operands: string,
  output: "result" | "lse" = "result"
): string => `flash_attention ${operands} {
  score = {
    ${input("f32[]", "logit")}
    ${input("i32[]", "b")}
    ${input("i32[]", "h")}
    ${input("i32[]", "i")}
    ${input("i32[]", "j")}
    return %logit
  },
  fill = -inf,
  output = "${output}"
}`
