// Values of a frozen weight from its words, by FORMAT: what weight-values.wgsl and kernels with loads of their own share.
// Quantised values are rounded to bf16 after their factor, as on every engine.
//
// With NF4_TABLE the kernel calls prepare_weight_values before a barrier: a table in workgroup memory is cheaper than a tree
// of selections where values are many.

//#if FORMAT == e4m3
// Subnormal codes are taken from 2⁻⁶, as float32 subnormals may be flushed.
fn e4m3_value(code: u32) -> f32 {
  let magnitude = (code & 0x7fu) << 20u;
  let normal = bitcast<f32>(magnitude + 0x3c000000u);
  let subnormal = bitcast<f32>(magnitude + 0x3c800000u) - 0.015625;
  let value = select(normal, subnormal, magnitude < 0x00800000u);
  return select(value, -value, (code & 0x80u) != 0u);
}

fn weight_factor(i: u32) -> f32 {
  let row = i / params.weight_columns;
  let column = i - row * params.weight_columns;
  return factors[(row / params.block_rows) * params.factors_across + column / params.block_columns];
}

// Without their factor, from the lowest byte.
fn decoded4(word: u32) -> vec4f {
  return vec4f(e4m3_value(word), e4m3_value(word >> 8u), e4m3_value(word >> 16u), e4m3_value(word >> 24u));
}
//#elif FORMAT == nf4
//#if NF4_TABLE
var<workgroup> nf4_values: array<f32, 16>;

fn prepare_weight_values(lane: u32) {
  if (lane < 16u) { nf4_values[lane] = nf4_selected(lane); }
}

fn nf4_value(code: u32) -> f32 { return nf4_values[code & 15u]; }
//#else
fn nf4_value(code: u32) -> f32 { return nf4_selected(code); }
//#endif

fn nf4_selected(code: u32) -> f32 {
  let low = (code & 1u) != 0u;
  let first = select(vec4f(-1.0, -0.5250730514526367, -0.28444138169288635, -0.09105003625154495), vec4f(-0.6961928009986877, -0.39491748809814453, -0.18477343022823334, 0.0), low);
  let second = select(vec4f(0.07958029955625534, 0.24611230194568634, 0.44070982933044434, 0.7229568362236023), vec4f(0.16093020141124725, 0.33791524171829224, 0.5626170039176941, 1.0), low);
  let four = select(first, second, (code & 8u) != 0u);
  let two = select(four.xy, four.zw, (code & 4u) != 0u);
  return select(two.x, two.y, (code & 2u) != 0u);
}

// Without their factor, from the lowest 16 bits. The even value of a byte is in its high half.
fn decoded4(half: u32) -> vec4f {
  return vec4f(nf4_value(half >> 4u), nf4_value(half), nf4_value(half >> 12u), nf4_value(half >> 8u));
}

// All of a block, which runs across rows, have one.
fn weight_factor(i: u32) -> f32 { return factors[i / params.block_columns]; }
//#elif FORMAT == bf16
fn decoded4(words: vec2u) -> vec4f {
  return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}
//#elif FORMAT == f16
fn decoded4(words: vec2u) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
//#else
fn decoded4(words: vec4u) -> vec4f { return bitcast<vec4f>(words); }
//#endif

// To the nearest, ties to even. Factors are finite, and so are the products.
fn round_to_bf16(x: vec4f) -> vec4f {
  let bits = bitcast<vec4u>(x);
  return bitcast<vec4f>((bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u));
}
