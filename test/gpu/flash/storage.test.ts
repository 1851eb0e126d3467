import { test } from "vitest"
import { agree } from "../../support/agree.ts"
import { causal, flashText, schedulesOf, small, smallDecode, smallStaged } from "../../support/flashText.ts"
import { plainAttention } from "../../support/irText.ts"

for (const dtype of ["f16", "bf16"] as const) {
  test(`${dtype} in, ${dtype} and f32 out`, async () => {
    for (const schedule of [small, smallStaged, smallDecode]) {
      for (const head of [
        [8, 8],
        [5, 3],
        [4, 6]
      ] as const) {
        const text = flashText({ ...causal, heads: [4, 2], dtype, head, outputs: ["result", "lse"] })
        await agree(text, { T: 3, S: 5 }, { kind: "cpu", schedules: schedulesOf(schedule) })
      }
      const widened = flashText({ dtype, resultDtype: "f32" })
      await agree(widened, { T: 2, S: 5 }, { kind: "cpu", schedules: schedulesOf(schedule) })
    }
  })
}

/** Layouts other than [B, H, T, D], and work on the way in and out, inside one kernel. */
const body = (
  before: ReadonlyArray<string>,
  q: string,
  after: ReadonlyArray<string>,
  result: string
) => `graph {
%q: f16[2, T, 4, 8] = input {name = "q"}
%k: f16[2, S, 2, 8] = input {name = "k"}
%v: f16[2, S, 2, 8] = input {name = "v"}
%gate: f32[2, T, 32] = input {name = "gate"}
%out: ${result} = fused %q, %k, %v, %gate {
  body = {
    %q: f16[2, T, 4, 8] = input {name = "q"}
    %k: f16[2, S, 2, 8] = input {name = "k"}
    %v: f16[2, S, 2, 8] = input {name = "v"}
    %gate: f32[2, T, 32] = input {name = "gate"}
    ${before.join("\n    ")}
    %a: f32[2, 4, T, 8] = ${plainAttention(q)}
    ${after.join("\n    ")}
  }
}
return %out
}`

const perHead = (casts: boolean): ReadonlyArray<string> =>
  [
    ["q", "T", 4],
    ["k", "S", 2],
    ["v", "S", 2]
  ].flatMap(([x, length, heads]) => [
    `%${x}1: f16[2, ${heads}, ${length}, 8] = transpose %${x} {perm = [0, 2, 1, 3]}`,
    ...(casts ? [`%${x}2: f32[2, ${heads}, ${length}, 8] = cast %${x}1`] : [])
  ])

test("views, casts and an epilogue belong to the kernel", async () => {
  const merged = [
    "%t: f32[2, T, 4, 8] = transpose %a {perm = [0, 2, 1, 3]}",
    "%m: f32[2, T, 32] = reshape %t",
    "%g: f32[2, T, 32] = mul %m, %gate",
    "%r: f16[2, T, 32] = cast %g",
    "return %r"
  ]
  const across = ["%t: f32[2, 4, 8, T] = transpose %a {perm = [0, 1, 3, 2]}", "return %t"]
  for (const schedule of [small, smallDecode]) {
    for (const [after, result] of [
      [merged, "f16[2, T, 32]"],
      [across, "f32[2, 4, 8, T]"]
    ] as const) {
      const graph = body(perHead(true), "%q2, %k2, %v2", after, result)
      await agree(
        graph,
        { T: 3, S: 5 },
        {
          kind: "cpu",
          schedules: (g) => new Map(g.nodes.filter((n) => n.op === "fused").map((n) => [n, schedule]))
        }
      )
    }
  }
})

test("work on q and k on the way in is done where they are read", async () => {
  const turned = [...perHead(true), "%q3: f32[2, 4, T, 8] = exp %q2", "%k3: f32[2, 2, S, 8] = neg %k2"]
  const graph = body(turned, "%q3, %k3, %v2", ["return %a"], "f32[2, 4, T, 8]")
  await agree(
    graph,
    { T: 3, S: 5 },
    {
      kind: "cpu",
      schedules: (g) => new Map(g.nodes.filter((n) => n.op === "fused").map((n) => [n, small]))
    }
  )
})
