// One operand of matrix-product.wgsl, in f16: x · 2^-exponent = high + low, where the exponent is one of a vector along the
// contracted dimension k, so that its largest value lies in [2^14, 2^15). High and low together hold 22 bits of values down to
// 2^-16 of that; below, low is subnormal and ends at 2^-39. LOW: else high alone is written, for values of at most 11 bits.
//
// Stored row-major from element `first` on, rows `stride` apart, all multiples of 4: with ACROSS vectors are the columns and k
// runs down the rows, else vectors are the rows. As packed, out is [plane, k_block, padded vectors, K_BLOCK] in halves, zero
// from k on, with the planes high and low; vectors beyond `vectors` are not written.
//
// Launch: a workgroup for each row (`flat`), with ACROSS for every 32 columns.
struct Params {
  vectors: u32, padded: u32, k: u32, first: u32, stride: u32,
  weight_columns: u32, block_rows: u32, block_columns: u32, factors_across: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> exponents: array<i32>;
//#if FORMAT
@group(0) @binding(4) var<storage, read> weight: array<u32>;
//#if FACTORS
@group(0) @binding(5) var<storage, read> factors: array<f32>;
//#endif
//#include weight-values.wgsl
//#elif FIXED
@group(0) @binding(6) var<storage, read> fixed_source: array<vec4f>;
//#else
@group(0) @binding(3) var<storage, read_write> source: array<vec4f>;
//#endif

const THREADS = 256u;
const K_BLOCK = ${K_BLOCK}u;
const CHUNKS = K_BLOCK / 8u;

fn stored_values(row: u32, column: u32) -> vec4f {
  let i = params.first + row * params.stride + column;
//#if FORMAT
  return weight_values4(i);
//#elif FIXED
  return fixed_source[i >> 2u];
//#else
  return source[i >> 2u];
//#endif
}

// Bits of the magnitudes, 0 for what is not finite: that keeps its value whatever the scale.
fn finite_magnitude(x: vec4f) -> vec4u {
  let bits = bitcast<vec4u>(x) & vec4u(0x7fffffffu);
  return select(bits, vec4u(), bits >= vec4u(0x7f800000u));
}

// For the largest magnitude. At most 126, as 2^127 and more are no normal scale of subnormal values.
fn shift_of(top: u32) -> i32 { return min(126, 14 + 127 - i32(max(1u, top >> 23u))); }

fn scale_of(shift: i32) -> f32 { return bitcast<f32>(u32(shift + 127) << 23u); }

struct Halves { high: u32, low: u32 }

// To the 11 bits of a half, ties to even. As integers: of x - unpack(pack(x)) some driver makes 0.
fn rounded(x: vec2f) -> vec2f {
  let bits = bitcast<vec2u>(x);
  return bitcast<vec2f>((bits + vec2u(0xfffu) + ((bits >> vec2u(13u)) & vec2u(1u))) & vec2u(0xffffe000u));
}

// What packing does to values that are not finite is up to the device, so their bits are made here.
fn halves_of(x: vec2f, scale: f32) -> Halves {
  let bits = bitcast<vec2u>(x);
  let magnitude = bits & vec2u(0x7fffffffu);
  let is_finite = magnitude < vec2u(0x7f800000u);
  let scaled = select(vec2f(), x * scale, is_finite);
  let special = select(vec2u(0x7c00u), vec2u(0x7e00u), magnitude > vec2u(0x7f800000u)) | ((bits >> vec2u(16u)) & vec2u(0x8000u));
  let forced = select(special, vec2u(), is_finite);
//#if LOW
  let high = rounded(scaled);
  let low = pack2x16float(scaled - high);
//#else
  let high = scaled;
  let low = 0u;
//#endif
  return Halves(pack2x16float(high) | forced.x | (forced.y << 16u), low);
}

// Eight values of a vector, of k from 8 · chunk on.
fn store_chunk(vector: u32, chunk: u32, x: vec4f, y: vec4f, scale: f32) {
  let blocks = (params.k + K_BLOCK - 1u) / K_BLOCK;
  let at = ((chunk / CHUNKS) * params.padded + vector) * CHUNKS + chunk % CHUNKS;
  let first = halves_of(x.xy, scale);
  let second = halves_of(x.zw, scale);
  let third = halves_of(y.xy, scale);
  let fourth = halves_of(y.zw, scale);
  out[at] = vec4u(first.high, second.high, third.high, fourth.high);
//#if LOW
  out[blocks * params.padded * CHUNKS + at] = vec4u(first.low, second.low, third.low, fourth.low);
//#endif
}

// Chunks of a vector, with those of zeros at its end.
fn chunk_count() -> u32 { return (params.k + K_BLOCK - 1u) / K_BLOCK * CHUNKS; }

//#if ACROSS
var<workgroup> tops: array<vec4u, THREADS>;

fn column_values(row: u32, column: u32) -> vec4f {
  if (row >= params.k || column >= params.vectors) { return vec4f(); }
  return stored_values(row, column);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
//#if NF4_TABLE
  prepare_weight_values(lane);
  workgroupBarrier();
//#endif
  // Eight threads across, with four columns each.
  let column = 32u * (group.x + group.y * groups.x) + 4u * (lane % 8u);
  var top = vec4u();
  for (var row = lane / 8u; row < params.k; row += THREADS / 8u) { top = max(top, finite_magnitude(column_values(row, column))); }
  tops[lane] = top;
  for (var half = THREADS / 2u; half >= 8u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { tops[lane] = max(tops[lane], tops[lane + half]); }
  }
  workgroupBarrier();
  top = tops[lane % 8u];
  let shift = vec4i(shift_of(top.x), shift_of(top.y), shift_of(top.z), shift_of(top.w));
  let count = chunk_count();
  for (var chunk = lane / 8u; chunk < count; chunk += THREADS / 8u) {
//#for R 8
    let row${R} = column_values(8u * chunk + ${R}u, column);
//#endfor
    if (column < params.vectors) {
//#for J 4
      store_chunk(column + ${J}u, chunk, vec4f(row0[${J}], row1[${J}], row2[${J}], row3[${J}]),
        vec4f(row4[${J}], row5[${J}], row6[${J}], row7[${J}]), scale_of(shift[${J}]));
//#endfor
    }
  }
  if (lane < 8u && column < params.vectors) {
//#for J 4
    exponents[column + ${J}u] = -shift[${J}];
//#endfor
  }
}
//#else
var<workgroup> tops: array<u32, THREADS>;

fn row_values(row: u32, column: u32) -> vec4f {
  if (column >= params.k) { return vec4f(); }
  return stored_values(row, column);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.vectors) { return; }
//#if NF4_TABLE
  prepare_weight_values(lane);
  workgroupBarrier();
//#endif
  var top = vec4u();
  for (var column = 4u * lane; column < params.k; column += 4u * THREADS) { top = max(top, finite_magnitude(row_values(row, column))); }
  tops[lane] = max(max(top.x, top.y), max(top.z, top.w));
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { tops[lane] = max(tops[lane], tops[lane + half]); }
  }
  workgroupBarrier();
  let shift = shift_of(tops[0]);
  let count = chunk_count();
  for (var chunk = lane; chunk < count; chunk += THREADS) {
    store_chunk(row, chunk, row_values(row, 8u * chunk), row_values(row, 8u * chunk + 4u), scale_of(shift));
  }
  if (lane == 0u) { exponents[row] = -shift; }
}
//#endif
