/** Types of values on the WebAssembly stack. */
export type EngineType = "i32" | "i64" | "f32" | "f64" | "v128"

/** And four doubles, which no engine has: `halve` and `scalarise` write them out. */
export type ValueType = EngineType | "v256"

/** Code, operands and result of an instruction. Codes with a prefix byte are `prefix << 16 | code`. */
type Spec = readonly [code: number, operands: ReadonlyArray<ValueType>, result: ValueType | undefined]
type Table = { readonly [name: string]: Spec }

const simd = 0xfd_0000
const saturating = 0xfc_0000

/** Instructions without an immediate. */
export const plain = {
  "i32.eqz": [0x45, ["i32"], "i32"],
  "i32.eq": [0x46, ["i32", "i32"], "i32"],
  "i32.ne": [0x47, ["i32", "i32"], "i32"],
  "i32.lt_s": [0x48, ["i32", "i32"], "i32"],
  "i32.lt_u": [0x49, ["i32", "i32"], "i32"],
  "i32.gt_s": [0x4a, ["i32", "i32"], "i32"],
  "i32.gt_u": [0x4b, ["i32", "i32"], "i32"],
  "i32.le_s": [0x4c, ["i32", "i32"], "i32"],
  "i32.le_u": [0x4d, ["i32", "i32"], "i32"],
  "i32.ge_s": [0x4e, ["i32", "i32"], "i32"],
  "i32.ge_u": [0x4f, ["i32", "i32"], "i32"],
  "i32.add": [0x6a, ["i32", "i32"], "i32"],
  "i32.sub": [0x6b, ["i32", "i32"], "i32"],
  "i32.mul": [0x6c, ["i32", "i32"], "i32"],
  "i32.div_s": [0x6d, ["i32", "i32"], "i32"],
  "i32.div_u": [0x6e, ["i32", "i32"], "i32"],
  "i32.rem_u": [0x70, ["i32", "i32"], "i32"],
  "i32.and": [0x71, ["i32", "i32"], "i32"],
  "i32.or": [0x72, ["i32", "i32"], "i32"],
  "i32.xor": [0x73, ["i32", "i32"], "i32"],
  "i32.shl": [0x74, ["i32", "i32"], "i32"],
  "i32.shr_s": [0x75, ["i32", "i32"], "i32"],
  "i32.shr_u": [0x76, ["i32", "i32"], "i32"],
  "f32.eq": [0x5b, ["f32", "f32"], "i32"],
  "f32.ne": [0x5c, ["f32", "f32"], "i32"],
  "f32.lt": [0x5d, ["f32", "f32"], "i32"],
  "f32.gt": [0x5e, ["f32", "f32"], "i32"],
  "f32.le": [0x5f, ["f32", "f32"], "i32"],
  "f32.ge": [0x60, ["f32", "f32"], "i32"],
  "f32.abs": [0x8b, ["f32"], "f32"],
  "f32.neg": [0x8c, ["f32"], "f32"],
  "f32.ceil": [0x8d, ["f32"], "f32"],
  "f32.floor": [0x8e, ["f32"], "f32"],
  "f32.nearest": [0x90, ["f32"], "f32"],
  "f32.sqrt": [0x91, ["f32"], "f32"],
  "f32.add": [0x92, ["f32", "f32"], "f32"],
  "f32.sub": [0x93, ["f32", "f32"], "f32"],
  "f32.mul": [0x94, ["f32", "f32"], "f32"],
  "f32.div": [0x95, ["f32", "f32"], "f32"],
  "f32.min": [0x96, ["f32", "f32"], "f32"],
  "f32.max": [0x97, ["f32", "f32"], "f32"],
  "f32.convert_i32_s": [0xb2, ["i32"], "f32"],
  "f32.convert_i32_u": [0xb3, ["i32"], "f32"],
  "f32.demote_f64": [0xb6, ["f64"], "f32"],
  "f64.promote_f32": [0xbb, ["f32"], "f64"],
  "f64.eq": [0x61, ["f64", "f64"], "i32"],
  "f64.ne": [0x62, ["f64", "f64"], "i32"],
  "f64.lt": [0x63, ["f64", "f64"], "i32"],
  "f64.gt": [0x64, ["f64", "f64"], "i32"],
  "f64.le": [0x65, ["f64", "f64"], "i32"],
  "f64.ge": [0x66, ["f64", "f64"], "i32"],
  "f64.abs": [0x99, ["f64"], "f64"],
  "f64.neg": [0x9a, ["f64"], "f64"],
  "f64.ceil": [0x9b, ["f64"], "f64"],
  "f64.floor": [0x9c, ["f64"], "f64"],
  "f64.nearest": [0x9e, ["f64"], "f64"],
  "f64.sqrt": [0x9f, ["f64"], "f64"],
  "f64.add": [0xa0, ["f64", "f64"], "f64"],
  "f64.sub": [0xa1, ["f64", "f64"], "f64"],
  "f64.mul": [0xa2, ["f64", "f64"], "f64"],
  "f64.div": [0xa3, ["f64", "f64"], "f64"],
  "f64.min": [0xa4, ["f64", "f64"], "f64"],
  "f64.max": [0xa5, ["f64", "f64"], "f64"],
  "f64.convert_i32_s": [0xb7, ["i32"], "f64"],
  "f64.convert_i32_u": [0xb8, ["i32"], "f64"],
  "i64.or": [0x84, ["i64", "i64"], "i64"],
  "i64.shl": [0x86, ["i64", "i64"], "i64"],
  "i64.shr_u": [0x88, ["i64", "i64"], "i64"],
  "i64.extend_i32_u": [0xad, ["i32"], "i64"],
  "i32.wrap_i64": [0xa7, ["i64"], "i32"],
  "i64.reinterpret_f64": [0xbd, ["f64"], "i64"],
  "f64.reinterpret_i64": [0xbf, ["i64"], "f64"],
  "i32.reinterpret_f32": [0xbc, ["f32"], "i32"],
  "f32.reinterpret_i32": [0xbe, ["i32"], "f32"],
  "i32.trunc_sat_f32_s": [saturating + 0, ["f32"], "i32"],
  "i32.trunc_sat_f32_u": [saturating + 1, ["f32"], "i32"],
  "i32.trunc_sat_f64_s": [saturating + 2, ["f64"], "i32"],
  "i32.trunc_sat_f64_u": [saturating + 3, ["f64"], "i32"],

  "i32x4.splat": [simd + 0x11, ["i32"], "v128"],
  "f32x4.splat": [simd + 0x13, ["f32"], "v128"],
  "i32x4.eq": [simd + 0x37, ["v128", "v128"], "v128"],
  "i32x4.ne": [simd + 0x38, ["v128", "v128"], "v128"],
  "i32x4.lt_s": [simd + 0x39, ["v128", "v128"], "v128"],
  "i32x4.lt_u": [simd + 0x3a, ["v128", "v128"], "v128"],
  "i32x4.gt_s": [simd + 0x3b, ["v128", "v128"], "v128"],
  "i32x4.gt_u": [simd + 0x3c, ["v128", "v128"], "v128"],
  "i32x4.le_s": [simd + 0x3d, ["v128", "v128"], "v128"],
  "i32x4.le_u": [simd + 0x3e, ["v128", "v128"], "v128"],
  "i32x4.ge_s": [simd + 0x3f, ["v128", "v128"], "v128"],
  "i32x4.ge_u": [simd + 0x40, ["v128", "v128"], "v128"],
  "f32x4.eq": [simd + 0x41, ["v128", "v128"], "v128"],
  "f32x4.ne": [simd + 0x42, ["v128", "v128"], "v128"],
  "f32x4.lt": [simd + 0x43, ["v128", "v128"], "v128"],
  "f32x4.gt": [simd + 0x44, ["v128", "v128"], "v128"],
  "f32x4.le": [simd + 0x45, ["v128", "v128"], "v128"],
  "f32x4.ge": [simd + 0x46, ["v128", "v128"], "v128"],
  "v128.not": [simd + 0x4d, ["v128"], "v128"],
  "v128.and": [simd + 0x4e, ["v128", "v128"], "v128"],
  "v128.andnot": [simd + 0x4f, ["v128", "v128"], "v128"],
  "v128.or": [simd + 0x50, ["v128", "v128"], "v128"],
  "v128.xor": [simd + 0x51, ["v128", "v128"], "v128"],
  "v128.bitselect": [simd + 0x52, ["v128", "v128", "v128"], "v128"],
  "v128.any_true": [simd + 0x53, ["v128"], "i32"],
  "f32x4.ceil": [simd + 0x67, ["v128"], "v128"],
  "f32x4.floor": [simd + 0x68, ["v128"], "v128"],
  "f32x4.nearest": [simd + 0x6a, ["v128"], "v128"],
  "i16x8.eq": [simd + 0x2d, ["v128", "v128"], "v128"],
  "i16x8.shl": [simd + 0x8b, ["v128", "i32"], "v128"],
  "i16x8.shr_s": [simd + 0x8c, ["v128", "i32"], "v128"],
  "i16x8.narrow_i32x4_u": [simd + 0x86, ["v128", "v128"], "v128"],
  "i32x4.abs": [simd + 0xa0, ["v128"], "v128"],
  "i32x4.neg": [simd + 0xa1, ["v128"], "v128"],
  "i32x4.shl": [simd + 0xab, ["v128", "i32"], "v128"],
  "i32x4.shr_s": [simd + 0xac, ["v128", "i32"], "v128"],
  "i32x4.shr_u": [simd + 0xad, ["v128", "i32"], "v128"],
  "i32x4.add": [simd + 0xae, ["v128", "v128"], "v128"],
  "i32x4.sub": [simd + 0xb1, ["v128", "v128"], "v128"],
  "i32x4.mul": [simd + 0xb5, ["v128", "v128"], "v128"],
  "i32x4.min_s": [simd + 0xb6, ["v128", "v128"], "v128"],
  "i32x4.min_u": [simd + 0xb7, ["v128", "v128"], "v128"],
  "i32x4.max_s": [simd + 0xb8, ["v128", "v128"], "v128"],
  "i32x4.max_u": [simd + 0xb9, ["v128", "v128"], "v128"],
  "f32x4.abs": [simd + 0xe0, ["v128"], "v128"],
  "f32x4.neg": [simd + 0xe1, ["v128"], "v128"],
  "f32x4.sqrt": [simd + 0xe3, ["v128"], "v128"],
  "f32x4.add": [simd + 0xe4, ["v128", "v128"], "v128"],
  "f32x4.sub": [simd + 0xe5, ["v128", "v128"], "v128"],
  "f32x4.mul": [simd + 0xe6, ["v128", "v128"], "v128"],
  "f32x4.div": [simd + 0xe7, ["v128", "v128"], "v128"],
  "f32x4.min": [simd + 0xe8, ["v128", "v128"], "v128"],
  "f32x4.max": [simd + 0xe9, ["v128", "v128"], "v128"],
  "f32x4.pmin": [simd + 0xea, ["v128", "v128"], "v128"],
  "f32x4.pmax": [simd + 0xeb, ["v128", "v128"], "v128"],
  "i32x4.trunc_sat_f32x4_s": [simd + 0xf8, ["v128"], "v128"],
  "i32x4.trunc_sat_f32x4_u": [simd + 0xf9, ["v128"], "v128"],
  "f32x4.convert_i32x4_s": [simd + 0xfa, ["v128"], "v128"],
  "f32x4.convert_i32x4_u": [simd + 0xfb, ["v128"], "v128"],
  "f64x2.splat": [simd + 0x14, ["f64"], "v128"],
  "f64x2.eq": [simd + 0x47, ["v128", "v128"], "v128"],
  "f64x2.ne": [simd + 0x48, ["v128", "v128"], "v128"],
  "f64x2.lt": [simd + 0x49, ["v128", "v128"], "v128"],
  "f64x2.gt": [simd + 0x4a, ["v128", "v128"], "v128"],
  "f64x2.le": [simd + 0x4b, ["v128", "v128"], "v128"],
  "f64x2.ge": [simd + 0x4c, ["v128", "v128"], "v128"],
  "f32x4.demote_f64x2_zero": [simd + 0x5e, ["v128"], "v128"],
  "f64x2.promote_low_f32x4": [simd + 0x5f, ["v128"], "v128"],
  "f64x2.ceil": [simd + 0x74, ["v128"], "v128"],
  "f64x2.floor": [simd + 0x75, ["v128"], "v128"],
  "f64x2.nearest": [simd + 0x94, ["v128"], "v128"],
  "i64x2.extend_low_i32x4_s": [simd + 0xc7, ["v128"], "v128"],
  "i64x2.extend_high_i32x4_s": [simd + 0xc8, ["v128"], "v128"],
  "f64x2.abs": [simd + 0xec, ["v128"], "v128"],
  "f64x2.neg": [simd + 0xed, ["v128"], "v128"],
  "f64x2.sqrt": [simd + 0xef, ["v128"], "v128"],
  "f64x2.add": [simd + 0xf0, ["v128", "v128"], "v128"],
  "f64x2.sub": [simd + 0xf1, ["v128", "v128"], "v128"],
  "f64x2.mul": [simd + 0xf2, ["v128", "v128"], "v128"],
  "f64x2.div": [simd + 0xf3, ["v128", "v128"], "v128"],
  "f64x2.min": [simd + 0xf4, ["v128", "v128"], "v128"],
  "f64x2.max": [simd + 0xf5, ["v128", "v128"], "v128"],
  "f64x2.pmin": [simd + 0xf6, ["v128", "v128"], "v128"],
  "f64x2.pmax": [simd + 0xf7, ["v128", "v128"], "v128"],
  "i32x4.trunc_sat_f64x2_s_zero": [simd + 0xfc, ["v128"], "v128"],
  "i32x4.trunc_sat_f64x2_u_zero": [simd + 0xfd, ["v128"], "v128"],
  "f64x2.convert_low_i32x4_s": [simd + 0xfe, ["v128"], "v128"],
  "f64x2.convert_low_i32x4_u": [simd + 0xff, ["v128"], "v128"],
  "f64x2.relaxed_madd": [simd + 0x107, ["v128", "v128", "v128"], "v128"],
  // a * b + c, rounded once or twice as the engine likes.
  "f32x4.relaxed_madd": [simd + 0x105, ["v128", "v128", "v128"], "v128"],
  // Lanes of the first where those of the third are ones, of the second where they are zeros.
  "i32x4.relaxed_laneselect": [simd + 0x10b, ["v128", "v128", "v128"], "v128"]
} as const satisfies Table

/** Reads of memory; the second number is the bytes they read, as an exponent of two: their greatest alignment. */
export const loads = {
  "i32.load": [0x28, 2, "i32"],
  "i32.load16_u": [0x2f, 1, "i32"],
  "f32.load": [0x2a, 2, "f32"],
  "f64.load": [0x2b, 3, "f64"],
  "v128.load": [simd + 0x00, 4, "v128"],
  "v128.load16x4_u": [simd + 0x04, 3, "v128"],
  "v128.load32_splat": [simd + 0x09, 2, "v128"],
  "v128.load64_splat": [simd + 0x0a, 3, "v128"]
} as const satisfies {
  readonly [name: string]: readonly [code: number, align: number, result: ValueType]
}

/** Writes of memory. */
export const stores = {
  "i32.store": [0x36, 2, "i32"],
  "i32.store16": [0x3b, 1, "i32"],
  "f32.store": [0x38, 2, "f32"],
  "f64.store": [0x39, 3, "f64"],
  "v128.store": [simd + 0x0b, 4, "v128"]
} as const satisfies {
  readonly [name: string]: readonly [code: number, align: number, value: ValueType]
}

/** Reads and writes of one lane of a vector. */
export const laneLoads = {
  "v128.load16_lane": [simd + 0x55, 1],
  "v128.load32_lane": [simd + 0x56, 2],
  "v128.load64_lane": [simd + 0x57, 3]
} as const satisfies { readonly [name: string]: readonly [code: number, align: number] }

export const laneStores = {
  "v128.store16_lane": [simd + 0x59, 1],
  "v128.store32_lane": [simd + 0x5a, 2],
  "v128.store64_lane": [simd + 0x5b, 3]
} as const satisfies { readonly [name: string]: readonly [code: number, align: number] }

/** Instructions on one lane of a vector, in a register. */
export const lanes = {
  "i32x4.extract_lane": [simd + 0x1b, ["v128"], "i32"],
  "i32x4.replace_lane": [simd + 0x1c, ["v128", "i32"], "v128"],
  "f32x4.extract_lane": [simd + 0x1f, ["v128"], "f32"],
  "f32x4.replace_lane": [simd + 0x20, ["v128", "f32"], "v128"],
  "f64x2.extract_lane": [simd + 0x21, ["v128"], "f64"],
  "f64x2.replace_lane": [simd + 0x22, ["v128", "f64"], "v128"]
} as const satisfies Table

/** Codes of what has constructors of its own. */
export const codes = {
  "local.get": 0x20,
  "local.set": 0x21,
  "i32.const": 0x41,
  "f32.const": 0x43,
  "f64.const": 0x44,
  "v128.const": simd + 0x0c,
  "i8x16.shuffle": simd + 0x0d,
  select: 0x1b,
  call: 0x10,
  br: 0x0c,
  br_if: 0x0d,
  return: 0x0f,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b
} as const

/** Type codes of the binary format. */
export const typeCodes: { readonly [T in EngineType]: number } = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b
}
