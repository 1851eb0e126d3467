const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

export interface PlainOptions {
  /** Queries, a multiple of rows times threads. */
  readonly T: number
  /** Keys; as many as queries where it is causal. */
  readonly S: number
  readonly D: number
  readonly causal: boolean
  /** Query heads that share a key head. */
  readonly group: number
  readonly rows: number
  readonly threads: number
}

/**
 * A straightforward flash attention kernel, the baseline that is worth beating: f32, a few neighbouring rows in the registers of each
 * thread, one key at a time. Dispatched as [T / rows / threads, heads].
 */
export const plainFlash = ({ T, S, D, causal, group, rows, threads }: PlainOptions): string => {
  const chunks = D / 4
  const all = (f: (row: number) => string): string => range(rows).map(f).join("\n")
  const each = (f: (chunk: number) => string): string => range(chunks).map(f).join("\n")
  const scale = 1 / Math.sqrt(D)
  return `
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4f>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = (w.x * ${threads}u + t) * ${rows}u;
  let head = w.y * ${T}u;
  let keys = w.y / ${group}u * ${S}u;
  ${all(
    (
      a
    ) => `${each((c) => `let q${a}_${c} = q[(head + row + ${a}u) * ${chunks}u + ${c}u]; var o${a}_${c} = vec4f();`)}
  var m${a} = -1e30; var l${a} = 0.0;`
  )}
  let end = ${causal ? `(w.x + 1u) * ${threads * rows}u` : `${S}u`};
  for (var j = 0u; j < end; j++) {
    let at = (keys + j) * ${chunks}u;
    ${all((a) => `var s${a} = 0.0;`)}
    ${each((c) => `{ let x = k[at + ${c}u]; ${all((a) => `s${a} += dot(q${a}_${c}, x);`)} }`)}
    ${all(
      (a) => `let seen${a} = ${causal ? `j <= row + ${a}u` : true};
    let n${a} = max(m${a}, select(-1e30, s${a} * ${scale}, seen${a}));
    let f${a} = exp(m${a} - n${a});
    let p${a} = select(0.0, exp(s${a} * ${scale} - n${a}), seen${a});
    m${a} = n${a}; l${a} = l${a} * f${a} + p${a};`
    )}
    ${each((c) => `{ let x = v[at + ${c}u]; ${all((a) => `o${a}_${c} = o${a}_${c} * f${a} + p${a} * x;`)} }`)}
  }
  ${all((a) => each((c) => `o[(head + row + ${a}u) * ${chunks}u + ${c}u] = o${a}_${c} / l${a};`))}
}`
}
