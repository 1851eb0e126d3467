const heads = "{lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}"

const inputs = (dtype: string, keyHeads: number, D: number): string => `
%q: ${dtype}[B, 4, T, ${D}] = input {name = "q"}
%k: ${dtype}[B, ${keyHeads}, S, ${D}] = input {name = "k"}
%lse: f32[B, 4, T] = input {name = "lse"}`

/** exp(scores - lse) of causal attention. */
const weights = `
%j: i32[S] = iota
%t: i32[T] = iota
%i: i32[T, 1] = reshape %t
%seen: bool[T, S] = le %j, %i
%row: f32[B, 4, T, 1] = reshape %lse
%shifted: f32[B, 4, T, S] = sub %scores, %row
%e: f32[B, 4, T, S] = exp %shifted
%zero: f32[] = constant {values = [0]}
%w: f32[B, 4, T, S] = select %seen, %e, %zero`

const mean = `
%sum: f32[B, T, S] = reduce_sum %w {axes = [1]}
%count: f32[] = constant {values = [0.25]}
%mean: f32[B, T, S] = mul %sum, %count`

/** Sums over heads of a function of scores. */
export const contractionSums: { readonly [name: string]: string } = {
  "weights averaged over heads": `graph {${inputs("f32", 4, 8)}
%scores: f32[B, 4, T, S] = dot %q, %k ${heads}${weights}${mean}
return "mean": %mean
}`,
  "heads in groups, an odd head size, in 16 bits": `graph {${inputs("f16", 2, 5)}
%grouped: f16[B, 2, 2, T, 5] = reshape %q
%five: f16[B, 2, 2, T, S] = dot %grouped, %k {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [4], rhsContract = [3]}
%narrow: f16[B, 4, T, S] = reshape %five
%scores: f32[B, 4, T, S] = cast %narrow${weights}${mean}
%back: f16[B, S, T] = transpose %halved {perm = [0, 2, 1]}
return "mean": %back
}`.replace("%back:", "%halved: f16[B, T, S] = cast %mean\n%back:"),
  "over the batch and the heads": `graph {${inputs("f32", 4, 8)}
%scores: f32[B, 4, T, S] = dot %q, %k ${heads}${weights}
%turned: f32[T, B, S, 4] = transpose %w {perm = [2, 0, 3, 1]}
%all: f32[T, S] = reduce_sum %turned {axes = [1, 3]}
return "all": %all
}`,
  "of integers": `graph {
%x: i32[3, T, 4] = input {name = "x"}
%y: i32[3, S, 4] = input {name = "y"}
%products: i32[3, T, S] = dot %x, %y {lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [2]}
%least: i32[] = constant {values = [0]}
%kept: i32[3, T, S] = max %products, %least
%sum: i32[T, S] = reduce_sum %kept {axes = [0]}
return "sum": %sum
}`
}
