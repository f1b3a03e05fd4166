// C = alpha · A · Bᵀ + beta · C + bias for up to 16 rows of A [m, k], with B [n, k] in float32 or a frozen weight's part of any
// FORMAT: B is read once, with the widest loads. With LOW_RANK, low_scale · U · Lᵀ is added, U [m, low_rank], L [n, low_rank].
//
// k is a multiple of 8, and so are a_first, a_stride and blocks of factors. Launch: a workgroup for every 4 columns of C
// (`flat`). ROWS is m, or a power of 2 above it, made of CHUNKS times CHUNK rows: those that are added up together.
struct Params {
  m: u32, n: u32, k: u32,
  a_first: u32, a_stride: u32, c_first: u32, c_stride: u32, n_first: u32,
  alpha: f32, beta: f32,
  low_rank: u32, low_scale: f32,
  weight_columns: u32, block_rows: u32, block_columns: u32, factors_across: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> a: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
//#if FORMAT
//#if FORMAT == nf4
@group(0) @binding(4) var<storage, read> weight: array<u32>;
//#elif FORMAT == e4m3
@group(0) @binding(4) var<storage, read> weight: array<vec2u>;
//#else
@group(0) @binding(4) var<storage, read> weight: array<vec4u>;
//#endif
//#if FACTORS
@group(0) @binding(5) var<storage, read> factors: array<f32>;
//#endif
//#include weight-decoding.wgsl
//#else
@group(0) @binding(3) var<storage, read_write> b: array<vec4f>;
//#endif
//#if LOW_RANK
@group(0) @binding(6) var<storage, read_write> low: array<f32>;
@group(0) @binding(7) var<storage, read_write> low_b: array<f32>;
//#endif
//#if BIAS
@group(0) @binding(8) var<storage, read> bias: array<f32>;
//#endif

const LANES = 128u;
var<workgroup> sums: array<array<vec4f, LANES>, ${CHUNK}>;

struct Eight { low: vec4f, high: vec4f }

// Values i … i + 7 of B, i a multiple of 8.
fn b_values(i: u32) -> Eight {
//#if FORMAT == nf4
  let word = weight[i >> 3u];
  let factor = weight_factor(i);
  return Eight(round_to_bf16(decoded4(word) * factor), round_to_bf16(decoded4(word >> 16u) * factor));
//#elif FORMAT == e4m3
  let words = weight[i >> 3u];
  let factor = weight_factor(i);
  return Eight(round_to_bf16(decoded4(words.x) * factor), round_to_bf16(decoded4(words.y) * factor));
//#elif FORMAT == f32
  return Eight(decoded4(weight[i >> 2u]), decoded4(weight[(i >> 2u) + 1u]));
//#elif FORMAT
  let words = weight[i >> 3u];
  return Eight(decoded4(words.xy), decoded4(words.zw));
//#else
  return Eight(b[i >> 2u], b[(i >> 2u) + 1u]);
//#endif
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n0 = 4u * (group.x + group.y * groups.x);
  if (n0 >= params.n) { return; }
//#if NF4_TABLE
  prepare_weight_values(lane);
  workgroupBarrier();
//#endif
//#for J 4
  let row${J} = min(n0 + ${J}u, params.n - 1u) * params.k;
//#endfor
//#for C ${CHUNKS}
//#for S ${CHUNK}
  let start${C}_${S} = params.a_first + min(${C}u * ${CHUNK}u + ${S}u, params.m - 1u) * params.a_stride;
  var sum${C}_${S} = vec4f();
//#endfor
//#endfor
  for (var k = 8u * lane; k < params.k; k += 8u * LANES) {
//#for J 4
    let b${J} = b_values(row${J} + k);
//#endfor
//#for C ${CHUNKS}
//#for S ${CHUNK}
    {
      let at = (start${C}_${S} + k) >> 2u;
      let x = Eight(a[at], a[at + 1u]);
      sum${C}_${S} += vec4f(
        dot(x.low, b0.low) + dot(x.high, b0.high), dot(x.low, b1.low) + dot(x.high, b1.high),
        dot(x.low, b2.low) + dot(x.high, b2.high), dot(x.low, b3.low) + dot(x.high, b3.high));
    }
//#endfor
//#endfor
  }
//#for C ${CHUNKS}
//#for S ${CHUNK}
  sums[${S}][lane] = sum${C}_${S};
//#endfor
  for (var half = LANES / 2u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) {
//#for S ${CHUNK}
      sums[${S}][lane] += sums[${S}][lane + half];
//#endfor
    }
  }
  workgroupBarrier();
  if (lane < 4u * ${CHUNK}u) { store_value(${C}u * ${CHUNK}u + lane / 4u, n0 + lane % 4u, sums[lane / 4u][0][lane % 4u]); }
  workgroupBarrier();
//#endfor
}

fn store_value(row: u32, column: u32, value: f32) {
  if (row >= params.m || column >= params.n) { return; }
  var sum = params.alpha * value;
//#if BIAS
  sum += bias[params.n_first + column];
//#endif
//#if LOW_RANK
  var share = 0.0;
  for (var r = 0u; r < params.low_rank; r++) {
    share += low[row * params.low_rank + r] * low_b[(params.n_first + column) * params.low_rank + r];
  }
  sum += params.low_scale * share;
//#endif
  let at = params.c_first + row * params.c_stride + column;
  if (params.beta != 0.0) { sum += params.beta * c[at]; }
  c[at] = sum;
}
