// Values of a frozen weight's part, by flat row-major index, as float32. FORMAT: f32, bf16, f16, e4m3 or nf4 (layouts in
// frozen-weight.ts). Quantised values are rounded to bf16 after their factor, as on every engine.
//
// The including kernel binds `weight: array<u32>` and, for e4m3 and nf4, `factors: array<f32>`. Its Params have, for e4m3,
// weight_columns, block_rows, block_columns and factors_across (blocks in a row), for nf4 block_columns: values of a block.
//
// weight_values4 takes a multiple of 4, and its four values share a factor: columns and block_columns are multiples of 4
// then, which WIDE stands for at the callers. With NF4_TABLE the kernel calls prepare_weight_values before a barrier:
// a table in workgroup memory is cheaper than a tree of selections where values are many.

//#include weight-decoding.wgsl

//#if FORMAT == e4m3
fn weight_value(i: u32) -> f32 {
  return round_to_bf16(vec4f(e4m3_value(weight[i >> 2u] >> (8u * (i & 3u))) * weight_factor(i))).x;
}

fn weight_values4(i: u32) -> vec4f {
  return round_to_bf16(decoded4(weight[i >> 2u]) * weight_factor(i));
}
//#elif FORMAT == nf4
// The even value of a byte is in its high half.
fn weight_value(i: u32) -> f32 {
  let code = weight[i >> 3u] >> (4u * ((i & 7u) ^ 1u));
  return round_to_bf16(vec4f(nf4_value(code) * weight_factor(i))).x;
}

fn weight_values4(i: u32) -> vec4f {
  return round_to_bf16(decoded4(weight[i >> 3u] >> (4u * (i & 4u))) * weight_factor(i));
}
//#elif FORMAT == bf16
fn weight_value(i: u32) -> f32 { return bitcast<f32>((weight[i >> 1u] >> (16u * (i & 1u))) << 16u); }

fn weight_values4(i: u32) -> vec4f {
  return decoded4(vec2u(weight[i >> 1u], weight[(i >> 1u) + 1u]));
}
//#elif FORMAT == f16
fn weight_value(i: u32) -> f32 {
  let pair = unpack2x16float(weight[i >> 1u]);
  return select(pair.x, pair.y, (i & 1u) != 0u);
}

fn weight_values4(i: u32) -> vec4f {
  return decoded4(vec2u(weight[i >> 1u], weight[(i >> 1u) + 1u]));
}
//#else
fn weight_value(i: u32) -> f32 { return bitcast<f32>(weight[i]); }

fn weight_values4(i: u32) -> vec4f {
  return decoded4(vec4u(weight[i], weight[i + 1u], weight[i + 2u], weight[i + 3u]));
}
//#endif
