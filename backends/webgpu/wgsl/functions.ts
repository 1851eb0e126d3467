/** A WGSL function and the helpers it calls. */
interface Helper {
  readonly text: string
  readonly uses?: ReadonlyArray<HelperName>
}

/**
 * Functions that WGSL lacks, or whose builtin is too inaccurate or undefined where the IR is defined. They never produce an infinity or a
 * NaN as a constant, and test for them by bits: WGSL may assume that neither occurs.
 */
export type HelperName =
  | "nan_bits"
  | "inf_bits"
  | "exp_f32"
  | "exp2_f32"
  | "log_f32"
  | "tanh_f32"
  | "sigmoid_f32"
  | "erf_f32"
  | "sign_f32"
  | "sin_f32"
  | "cos_f32"
  | "quadrant"
  | "quarter_turns"
  | "pow_f32"
  | "power_i32"
  | "min_f32"
  | "max_f32"
  | "near_one"
  | "factor"
  | "product"
  | "scaled"
  | "floor_div_f32"
  | "mod_f32"
  | "floor_div_i32"
  | "mod_i32"
  | "floor_div_u32"
  | "mod_u32"
  | "to_i32"
  | "to_u32"
  | "f16_bits"
  | "f16_value"
  | "bf16_bits"
  | "round_f16"
  | "largest_bits"
  | "tame"
  | "round_bf16"
  | "threefry"

export const helpers: { readonly [K in HelperName]: Helper } = {
  nan_bits: { text: "fn nan_bits(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }" },
  inf_bits: {
    text: "fn inf_bits(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }"
  },
  // Below -104 the result rounds to 0. What the builtins make of -inf and of NaN differs from device to device.
  exp_f32: {
    text: "fn exp_f32(x: f32) -> f32 { return select(select(exp(x), 0.0, x < -104.0), x, nan_bits(x)); }",
    uses: ["nan_bits"]
  },
  exp2_f32: {
    text: "fn exp2_f32(x: f32) -> f32 { return select(select(exp2(x), 0.0, x < -150.0), x, nan_bits(x)); }",
    uses: ["nan_bits"]
  },
  // The builtin is undefined at 0 and below; the quotient and the root give -inf and NaN without spelling them.
  log_f32: {
    text: `fn log_f32(x: f32) -> f32 {
  let r = select(select(log(x), -1.0 / abs(x), x == 0.0), sqrt(x), x < 0.0);
  return select(r, x, nan_bits(x));
}`,
    uses: ["nan_bits"]
  },
  // Cephes tanhf: an odd polynomial near 0, where the quotient of exponentials loses digits.
  tanh_f32: {
    text: `fn tanh_f32(x: f32) -> f32 {
  let z = x * x;
  let p = fma(fma(fma(fma(-5.70498872745e-3, z, 2.06390887954e-2), z, -5.37397155531e-2), z, 1.33314422036e-1), z, -3.33332819422e-1);
  let t = 1.0 - 2.0 / (exp(2.0 * min(abs(x), 15.0)) + 1.0);
  let r = select(select(t, -t, x < 0.0), fma(p * z, x, x), abs(x) < 0.625);
  return select(r, x, nan_bits(x));
}`,
    uses: ["nan_bits"]
  },
  sigmoid_f32: {
    text: `fn sigmoid_f32(x: f32) -> f32 {
  let e = exp(-min(abs(x), 104.0));
  let r = select(e, 1.0, x >= 0.0) / (1.0 + e);
  return select(r, x, nan_bits(x));
}`,
    uses: ["nan_bits"]
  },
  // Minimax polynomials, below 1 ulp in exact arithmetic except for the exponential: x + x p(x²) to 0.93, 1 - exp(-p(|x|)) beyond.
  erf_f32: {
    text: `fn erf_f32(x: f32) -> f32 {
  let t = min(abs(x), 4.0);
  let s = t * t;
  var far = fma(-1.72853470e-5, t, 3.83197126e-4);
  far = fma(far, s, fma(-3.88396438e-3, t, 2.42546219e-2));
  far = fma(far, t, -1.06777877e-1);
  far = fma(far, t, -6.34846687e-1);
  far = fma(far, t, -1.28717512e-1);
  far = 1.0 - exp(fma(far, t, -t));
  var near = fma(-5.96761703e-4, s, 4.99119423e-3);
  near = fma(near, s, -2.67681349e-2);
  near = fma(near, s, 1.12819925e-1);
  near = fma(near, s, -3.76125336e-1);
  near = fma(near, s, 1.28379166e-1);
  let r = select(select(far, -far, x < 0.0), fma(near, x, x), t <= 0.927734375);
  return select(r, x, nan_bits(x));
}`,
    uses: ["nan_bits"]
  },
  // Payne & Hanek: |x| · 2/π modulo 4, in units of 2^-30, of 64 of the bits of 2/π; the whole words before these only add full turns. |x| is at least 1, and finite.
  quarter_turns: {
    text: `fn quarter_turns(x: f32) -> u32 {
  const words = array<u32, 7>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u);
  let bits = bitcast<u32>(x);
  let m = (bits & 0x7fffffu) | 0x800000u;
  let at = ((bits >> 23u) & 255u) - 120u;
  let w = min(at >> 5u, 4u);
  let s = at & 31u;
  let high = (words[w] << s) | ((words[w + 1u] >> 1u) >> (31u - s));
  let low = (words[w + 1u] << s) | ((words[w + 2u] >> 1u) >> (31u - s));
  let rest = (((m >> 12u) * (low >> 16u)) >> 4u) + (((m & 0xfffu) * (low >> 16u)) >> 16u) + (((m >> 12u) * (low & 0xffffu)) >> 20u);
  return m * high + rest;
}`
  },
  // The builtins promise 2^-11, within [-π, π] only. Reduction by π/2 in three parts (Cody & Waite) to 2^13 quarter turns, whose products are exact whether `fma` rounds once or twice; beyond,
  // in whole numbers, in a loop of no or one turn, since a software device runs both sides of a branch. Then the Cephes polynomials.
  quadrant: {
    text: `fn quadrant(x: f32, turn: i32) -> f32 {
  let k = round(x * 0.63661977236758134);
  let d = fma(-k, 7.5497899548918821e-8, fma(-k, 4.837512969970703125e-4, fma(-k, 1.5703125, x)));
  var r = select(clamp(d, -0.8, 0.8), d, nan_bits(d));
  var q = i32(k);
  for (var isLarge = (abs(x) > 12867.0) & (abs(x) <= 3.4028234663852886e38); isLarge; isLarge = false) {
    let turns = quarter_turns(x);
    let nearest = (turns + 0x20000000u) >> 30u;
    let sign = select(1, -1, x < 0.0);
    q = sign * i32(nearest);
    r = f32(sign * bitcast<i32>(turns - (nearest << 30u))) * 1.4629180792671596e-9;
  }
  q = (q + turn) & 3;
  let z = r * r;
  let s = fma(fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1) * z, r, r);
  let c = fma(fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2) * z, z, fma(-0.5, z, 1.0));
  let v = select(s, c, (q & 1) == 1);
  return select(v, -v, q >= 2);
}`,
    uses: ["nan_bits", "quarter_turns"]
  },
  sin_f32: { text: "fn sin_f32(x: f32) -> f32 { return quadrant(x, 0); }", uses: ["quadrant"] },
  cos_f32: { text: "fn cos_f32(x: f32) -> f32 { return quadrant(x, 1); }", uses: ["quadrant"] },
  power_i32: {
    text: `fn power_i32(x: f32, n: i32) -> f32 {
  var result = 1.0;
  var square = x;
  for (var k = abs(n); k > 0; k = k >> 1u) {
    if ((k & 1) == 1) { result = result * square; }
    square = square * square;
  }
  return select(result, 1.0 / result, n < 0);
}`
  },
  // Small whole exponents by multiplication: exact signs, and no error from the logarithm.
  pow_f32: {
    text: `fn pow_f32(x: f32, y: f32) -> f32 {
  let isWhole = (y == floor(y)) & !nan_bits(y);
  if (isWhole & (abs(y) <= 64.0)) { return power_i32(x, i32(y)); }
  let a = abs(x);
  let nan = bitcast<f32>(bitcast<u32>(y) | 0x7fc00000u);
  let some = select(pow(a, y), select(1.0 / a, 0.0, y > 0.0), a == 0.0);
  let magnitude = select(some, nan, (a == 1.0) & inf_bits(y));
  let ofWhole = select(magnitude, -magnitude, floor(y * 0.5) != y * 0.5);
  let below = select(select(nan, magnitude, inf_bits(x) | (a == 0.0)), ofWhole, isWhole);
  return select(select(magnitude, below, bitcast<i32>(x) < 0), nan, nan_bits(x) | nan_bits(y));
}`,
    uses: ["power_i32", "nan_bits", "inf_bits"]
  },
  min_f32: {
    text: "fn min_f32(x: f32, y: f32) -> f32 { return select(select(min(x, y), y, nan_bits(y)), x, nan_bits(x)); }",
    uses: ["nan_bits"]
  },
  max_f32: {
    text: "fn max_f32(x: f32, y: f32) -> f32 { return select(select(max(x, y), y, nan_bits(y)), x, nan_bits(x)); }",
    uses: ["nan_bits"]
  },
  // A number times 2^64 to a power: x.x * 2^(64 x.y), brought nearer to 1.
  near_one: {
    text: `fn near_one(x: vec2<f32>) -> vec2<f32> {
  let up = abs(x.x) < 2.3283064365386963e-10;
  let down = abs(x.x) > 4294967296.0;
  let factor = select(select(1.0, 18446744073709551616.0, up), 5.421010862427522e-20, down);
  return vec2<f32>(x.x * factor, x.y + select(select(0.0, -1.0, up), 1.0, down));
}`
  },
  // Subnormal numbers by their bits, which devices may flush: infinity times one is no NaN.
  factor: {
    text: `fn factor(x: f32) -> vec2<f32> {
  let bits = bitcast<u32>(x);
  let small = f32(bits & 0x7fffffu) * 4.76837158203125e-7;
  let isSmall = (bits & 0x7f800000u) == 0u;
  return select(near_one(near_one(vec2<f32>(x, 0.0))), vec2<f32>(select(small, -small, bits > 0x7fffffffu), -2.0), isSmall);
}`,
    uses: ["near_one"]
  },
  // Of such numbers that are near 1: nothing overflows or underflows on the way.
  product: {
    text: "fn product(x: vec2<f32>, y: vec2<f32>) -> vec2<f32> { return near_one(vec2<f32>(x.x * y.x, x.y + y.y)); }",
    uses: ["near_one"]
  },
  scaled: {
    text: `fn scaled(x: vec2<f32>) -> f32 {
  let factor = select(select(1.0, 18446744073709551616.0, x.y > 0.0), 5.421010862427522e-20, x.y < 0.0);
  let once = x.x * factor;
  let twice = select(once, once * factor, abs(x.y) > 1.0);
  return select(twice, twice * factor, abs(x.y) > 2.0);
}`
  },
  sign_f32: {
    text: "fn sign_f32(x: f32) -> f32 { return select(sign(x), x, nan_bits(x)); }",
    uses: ["nan_bits"]
  },
  // A quotient may be a little less than the whole number that it is.
  floor_div_f32: {
    text: `fn floor_div_f32(x: f32, y: f32) -> f32 {
  let q = x / y;
  return select(floor(q), round((x - mod_f32(x, y)) / y), (abs(q) < 4194304.0) & !inf_bits(y));
}`,
    uses: ["mod_f32", "inf_bits"]
  },
  // Long division of whole numbers, 8 bits at a time: exact, and the quotient may be larger than any float.
  mod_f32: {
    text: `fn mod_f32(x: f32, y: f32) -> f32 {
  let a = bitcast<u32>(x) & 0x7fffffffu;
  let b = bitcast<u32>(y) & 0x7fffffffu;
  if ((a >= 0x7f800000u) | (b > 0x7f800000u) | (b == 0u)) { return bitcast<f32>(a | 0x7fc00000u); }
  var rest = x;
  if (a >= b) {
    let low = max(b >> 23u, 1u);
    let divisor = (b & 0x7fffffu) | select(0u, 0x800000u, b >= 0x800000u);
    var r = ((a & 0x7fffffu) | select(0u, 0x800000u, a >= 0x800000u)) % divisor;
    for (var left = max(a >> 23u, 1u) - low; left > 0u; left -= min(left, 8u)) { r = (r << min(left, 8u)) % divisor; }
    let up = min(countLeadingZeros(r) - 8u, low - 1u);
    let shifted = r << up;
    let magnitude = bitcast<f32>((shifted & 0x7fffffu) | select(0u, (low - up) << 23u, shifted >= 0x800000u));
    rest = select(magnitude, -magnitude, x < 0.0);
  }
  return select(rest, rest + y, (rest != 0.0) & ((rest < 0.0) != (y < 0.0)));
}`
  },
  floor_div_i32: {
    text: `fn floor_div_i32(x: i32, y: i32) -> i32 {
  if (y == 0) { return 0; }
  let q = x / y;
  return q - select(0, 1, (q * y != x) & ((x < 0) != (y < 0)));
}`
  },
  mod_i32: {
    text: "fn mod_i32(x: i32, y: i32) -> i32 { return select(x - y * floor_div_i32(x, y), 0, y == 0); }",
    uses: ["floor_div_i32"]
  },
  floor_div_u32: {
    text: "fn floor_div_u32(x: u32, y: u32) -> u32 { return select(x / max(y, 1u), 0u, y == 0u); }"
  },
  mod_u32: { text: "fn mod_u32(x: u32, y: u32) -> u32 { return select(x % max(y, 1u), 0u, y == 0u); }" },
  // Truncates and saturates; NaN gives 0.
  to_i32: {
    text: `fn to_i32(x: f32) -> i32 {
  let inside = i32(clamp(x, -2147483648.0, 2147483520.0));
  return select(select(inside, 2147483647, x >= 2147483648.0), 0, nan_bits(x));
}`,
    uses: ["nan_bits"]
  },
  to_u32: {
    text: `fn to_u32(x: f32) -> u32 {
  let inside = u32(clamp(x, 0.0, 4294967040.0));
  return select(select(inside, 4294967295u, x >= 4294967296.0), 0u, nan_bits(x));
}`,
    uses: ["nan_bits"]
  },
  // To nearest even by integer arithmetic: pack2x16float may round either way and is undefined past 65504.
  f16_bits: {
    text: `fn f16_bits(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let a = bits & 0x7fffffffu;
  if (a > 0x7f800000u) { return sign | 0x7e00u; }
  if (a >= 0x477ff000u) { return sign | 0x7c00u; }
  if (a >= 0x38800000u) { return sign | ((a - 0x38000000u + 0xfffu + ((a >> 13u) & 1u)) >> 13u); }
  if (a < 0x33000000u) { return sign; }
  let shift = 126u - (a >> 23u);
  let m = (a & 0x7fffffu) | 0x800000u;
  let q = m >> shift;
  let rest = m & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  return sign | (q + select(0u, 1u, (rest > half) | ((rest == half) & ((q & 1u) == 1u))));
}`
  },
  // Subnormals included, which unpack2x16float may flush.
  f16_value: {
    text: `fn f16_value(h: u32) -> f32 {
  let a = h & 0x7fffu;
  let sign = (h & 0x8000u) << 16u;
  if (a >= 0x7c00u) { return bitcast<f32>(sign | 0x7f800000u | ((a & 0x3ffu) << 13u)); }
  if (a < 0x400u) { return select(1.0, -1.0, sign != 0u) * f32(a) * 5.9604644775390625e-8; }
  return bitcast<f32>(sign | ((a << 13u) + 0x38000000u));
}`
  },
  bf16_bits: {
    text: `fn bf16_bits(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}`
  },
  round_f16: {
    text: "fn round_f16(x: f32) -> f32 { return f16_value(f16_bits(x)); }",
    uses: ["f16_bits", "f16_value"]
  },
  round_bf16: {
    text: "fn round_bf16(x: f32) -> f32 { return bitcast<f32>(bf16_bits(x) << 16u); }",
    uses: ["bf16_bits"]
  },
  // The largest |x|, also where one is infinite or NaN: as integers bits are in the order of what they stand for.
  largest_bits: {
    text: `fn largest_bits(x: vec4<f32>) -> u32 {
  let bits = bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu);
  return max(max(bits.x, bits.y), max(bits.z, bits.w));
}`
  },
  // Whether numbers up to these two, as bits, may be multiplied in f16, and eight products added: see flash/halves.ts.
  tame: {
    text: `fn tame(a: u32, b: u32) -> bool {
  let x = bitcast<f32>(a);
  let y = bitcast<f32>(b);
  return (max(a, b) < 0x7f800000u) & (x * y <= 4096.0) & (x + y + 1.0 <= 16.0 * x * y);
}`
  },
  // Salmon et al. 2011, Threefry-2x32 with 20 rounds; key (seed, 0), counter (index, 0).
  threefry: {
    text: `fn threefry(seed: u32, index: u32) -> u32 {
  let keys = vec3<u32>(seed, 0u, seed ^ 0x1bd11bdau);
  var x = index + keys.x;
  var y = keys.y;
  for (var block = 0u; block < 5u; block++) {
    let r = select(vec4<u32>(17u, 29u, 16u, 24u), vec4<u32>(13u, 15u, 26u, 6u), (block & 1u) == 0u);
    x = x + y; y = ((y << r.x) | (y >> (32u - r.x))) ^ x;
    x = x + y; y = ((y << r.y) | (y >> (32u - r.y))) ^ x;
    x = x + y; y = ((y << r.z) | (y >> (32u - r.z))) ^ x;
    x = x + y; y = ((y << r.w) | (y >> (32u - r.w))) ^ x;
    let a = (block + 1u) % 3u;
    let b = (block + 2u) % 3u;
    x = x + select(select(keys.z, keys.y, a == 1u), keys.x, a == 0u);
    y = y + select(select(keys.z, keys.y, b == 1u), keys.x, b == 0u) + block + 1u;
  }
  return x;
}`
  }
}
