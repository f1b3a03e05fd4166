enable f16;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
// C = alpha · A · Bᵀ + beta · C + bias on subgroup matrices, for operands of matrix-operand.wgsl: A [m, k] and B [n, k] in
// halves, packed, each with its high plane and, as A_PLANES and B_PLANES say, the low one. The product of two low planes is
// below what float32 holds.
//
// Tensor cores add up in float32 but cut off what does not fit, instead of rounding it, so that sums of one sign lose a little
// with every matrix of k: after SUM_STEPS steps what they hold goes to totals in registers, which are rounded.
//
// Launch: BN columns by BM rows a workgroup, `splits` of the blocks of k in z: each computes `steps` of them and writes its
// own C, split_size further on (sum-splits.wgsl adds them up). n, c_first and c_stride are multiples of 4.
//
// A subgroup computes SM x SN of them in matrices of M x N. The tiles of a step lie in workgroup memory, rows a chunk of 8
// halves further apart than they are long, which spreads them over the banks.
struct Params {
  m: u32, n: u32, k_blocks: u32, a_padded: u32, b_padded: u32,
  c_first: u32, c_stride: u32, n_first: u32,
  alpha: f32, beta: f32,
  steps: u32, split_size: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> a: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> b: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> a_exponents: array<i32>;
@group(0) @binding(4) var<storage, read_write> b_exponents: array<i32>;
@group(0) @binding(5) var<storage, read_write> c: array<vec4f>;
//#if BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
//#endif

const M = ${M}u;
const N = ${N}u;
const K = ${K}u;
const BM = ${BM}u;
const BN = ${BN}u;
const SM = ${SM}u;
const SN = ${SN}u;
const K_BLOCK = ${K_BLOCK}u;
const SUBGROUP = ${SUBGROUP}u;
const ACROSS = BN / SN;
const SUBGROUPS = (BM / SM) * ACROSS;
const THREADS = SUBGROUPS * SUBGROUP;
// In chunks of 8 halves or 4 sums.
const CHUNKS = K_BLOCK / 8u;
const PITCH = CHUNKS + 1u;
const B_START = ${A_PLANES}u * BM * PITCH;
const TILES = B_START + ${B_PLANES}u * BN * PITCH;
const SUM_PITCH = SN / 4u + 1u;
const SUMS = SUBGROUPS * M * SUM_PITCH;
const LANE_ROWS = SUBGROUP / (SN / 4u);
const SUM_STRIDE = LANE_ROWS * SUM_PITCH;

var<workgroup> tiles: array<vec4u, max(TILES, SUMS)>;

// 2^exponent in two steps: neither of two factors of 2^±126 at most overflows where the result does not.
fn scaled(values: vec4f, exponents: vec4i) -> vec4f {
  let half = exponents / vec4i(2);
  let rest = exponents - half;
  let first = bitcast<vec4f>(vec4u(half + vec4i(127)) << vec4u(23u));
  let second = bitcast<vec4f>(vec4u(rest + vec4i(127)) << vec4u(23u));
  return values * first * second;
}

fn store_values(row: u32, column: u32, values: vec4f, split: u32) {
  if (row >= params.m || column >= params.n) { return; }
  let i = (params.c_first + split * params.split_size + row * params.c_stride + column) >> 2u;
  let exponents = vec4i(b_exponents[column], b_exponents[column + 1u], b_exponents[column + 2u], b_exponents[column + 3u]);
  var sum = params.alpha * scaled(values, vec4i(a_exponents[row]) + exponents);
//#if BIAS
  let at = params.n_first + column;
  sum += vec4f(bias[at], bias[at + 1u], bias[at + 2u], bias[at + 3u]);
//#endif
  if (params.beta != 0.0) { sum += params.beta * c[i]; }
  c[i] = sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n0 = group.x * BN;
  let m0 = group.y * BM;
  let subgroup = lane / SUBGROUP;
  let sm = (subgroup / ACROSS) * SM;
  let sn = (subgroup % ACROSS) * SN;
  let a_plane = params.k_blocks * params.a_padded * CHUNKS;
  let b_plane = params.k_blocks * params.b_padded * CHUNKS;
//#for R ${ROWS}
//#for C ${COLUMNS}
  var sum${R}_${C} = subgroup_matrix_result<f32, N, M>();
//#endfor
//#endfor

  // Of a row of matrices a lane takes four columns, in rows LANE_ROWS apart.
  let row = lane % SUBGROUP / (SN / 4u);
  let column = lane % SUBGROUP % (SN / 4u);
  let sum_start = (subgroup * M + row) * SUM_PITCH + column;
//#for R ${ROWS}
//#for I ${STORES}
  var total${R}_${I} = vec4f();
//#endfor
//#endfor

  let first = group.z * params.steps;
  let end = min(first + params.steps, params.k_blocks);
//#for P ${A_PLANES}
//#for L ${A_LOADS}
  var a${P}_${L} = a[${P}u * a_plane + (first * params.a_padded + m0) * CHUNKS + lane + ${L}u * THREADS];
//#endfor
//#endfor
//#for P ${B_PLANES}
//#for L ${B_LOADS}
  var b${P}_${L} = b[${P}u * b_plane + (first * params.b_padded + n0) * CHUNKS + lane + ${L}u * THREADS];
//#endfor
//#endfor
  for (var step = first; step < end; step++) {
    workgroupBarrier();
//#for P ${A_PLANES}
//#for L ${A_LOADS}
    {
      let chunk = lane + ${L}u * THREADS;
      tiles[(${P}u * BM + chunk / CHUNKS) * PITCH + chunk % CHUNKS] = a${P}_${L};
    }
//#endfor
//#endfor
//#for P ${B_PLANES}
//#for L ${B_LOADS}
    {
      let chunk = lane + ${L}u * THREADS;
      tiles[B_START + (${P}u * BN + chunk / CHUNKS) * PITCH + chunk % CHUNKS] = b${P}_${L};
    }
//#endfor
//#endfor
    workgroupBarrier();
    if (step + 1u < end) {
//#for P ${A_PLANES}
//#for L ${A_LOADS}
      a${P}_${L} = a[${P}u * a_plane + ((step + 1u) * params.a_padded + m0) * CHUNKS + lane + ${L}u * THREADS];
//#endfor
//#endfor
//#for P ${B_PLANES}
//#for L ${B_LOADS}
      b${P}_${L} = b[${P}u * b_plane + ((step + 1u) * params.b_padded + n0) * CHUNKS + lane + ${L}u * THREADS];
//#endfor
//#endfor
    }
//#for J ${K_MATRICES}
    {
//#for P ${A_PLANES}
//#for R ${ROWS}
      let left${P}_${R} = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(
        &tiles, (${P}u * BM + sm + ${R}u * M) * PITCH + ${J}u * (K / 8u), PITCH);
//#endfor
//#endfor
//#for C ${COLUMNS}
//#for P ${B_PLANES}
      let right${P}_${C} = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, col_major>(
        &tiles, B_START + (${P}u * BN + sn + ${C}u * N) * PITCH + ${J}u * (K / 8u), PITCH);
//#endfor
//#for R ${ROWS}
//#if A_PLANES == 2
      sum${R}_${C} = subgroupMatrixMultiplyAccumulate(left1_${R}, right0_${C}, sum${R}_${C});
//#endif
//#if B_PLANES == 2
      sum${R}_${C} = subgroupMatrixMultiplyAccumulate(left0_${R}, right1_${C}, sum${R}_${C});
//#endif
      sum${R}_${C} = subgroupMatrixMultiplyAccumulate(left0_${R}, right0_${C}, sum${R}_${C});
//#endfor
//#endfor
    }
//#endfor
    if ((step - first) % ${SUM_STEPS}u == ${SUM_STEPS}u - 1u || step + 1u == end) {
      // Through workgroup memory, as elements of a matrix have no names: a row of matrices at a time, each subgroup in its part.
//#for R ${ROWS}
      workgroupBarrier();
//#for C ${COLUMNS}
      subgroupMatrixStore<row_major>(&tiles, subgroup * M * SUM_PITCH + ${C}u * (N / 4u), sum${R}_${C}, SUM_PITCH);
      sum${R}_${C} = subgroup_matrix_result<f32, N, M>();
//#endfor
      workgroupBarrier();
//#for I ${STORES}
      total${R}_${I} += bitcast<vec4f>(tiles[sum_start + ${I}u * SUM_STRIDE]);
//#endfor
//#endfor
    }
  }

//#for R ${ROWS}
//#for I ${STORES}
  store_values(m0 + sm + ${R}u * M + row + ${I}u * LANE_ROWS, n0 + sn + 4u * column, total${R}_${I}, group.z);
//#endfor
//#endfor
}
