enable f16;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
// C = alpha · A · Bᵀ + beta · C + bias on subgroup matrices, for operands of matrix-operand.wgsl: A [m, k] and B [n, k] in
// halves, packed, each with its high plane and, as A_PLANES and B_PLANES say, the low one. The product of two low planes is
// below what float32 holds. Sums are float32.
//
// Launch: BN columns by BM rows a workgroup, `splits` of the blocks of k in z: each computes `steps` of them and writes its
// own C, split_size further on (sum-splits.wgsl adds them up). n, c_first and c_stride are multiples of 4.
//
// A subgroup computes SM x SN of them in matrices of M x N. STAGED: a step's tiles lie in workgroup memory, rows a chunk of 8
// halves further apart than they are long, which spreads them over the banks; else matrices are read where they are packed.
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
//#if STAGED
const TILES = B_START + ${B_PLANES}u * BN * PITCH;
//#else
const TILES = 0u;
//#endif
const SUM_PITCH = SN / 4u + 1u;
const SUMS = SUBGROUPS * M * SUM_PITCH;

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

  let first = group.z * params.steps;
  let end = min(first + params.steps, params.k_blocks);
//#if STAGED
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
//#endif
  for (var step = first; step < end; step++) {
//#if STAGED
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
//#endif
//#for J ${K_MATRICES}
    {
//#for P ${A_PLANES}
//#for R ${ROWS}
//#if STAGED
      let left${P}_${R} = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(
        &tiles, (${P}u * BM + sm + ${R}u * M) * PITCH + ${J}u * (K / 8u), PITCH);
//#else
      let left${P}_${R} = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(
        &a, ${P}u * a_plane + (step * params.a_padded + m0 + sm + ${R}u * M) * CHUNKS + ${J}u * (K / 8u), CHUNKS);
//#endif
//#endfor
//#endfor
//#for C ${COLUMNS}
//#for P ${B_PLANES}
//#if STAGED
      let right${P}_${C} = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, col_major>(
        &tiles, B_START + (${P}u * BN + sn + ${C}u * N) * PITCH + ${J}u * (K / 8u), PITCH);
//#else
      let right${P}_${C} = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, col_major>(
        &b, ${P}u * b_plane + (step * params.b_padded + n0 + sn + ${C}u * N) * CHUNKS + ${J}u * (K / 8u), CHUNKS);
//#endif
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
  }

  // Through workgroup memory, as elements of a matrix have no names: a row of matrices at a time, each subgroup in its own part.
//#for R ${ROWS}
  workgroupBarrier();
//#for C ${COLUMNS}
  subgroupMatrixStore<row_major>(&tiles, subgroup * M * SUM_PITCH + ${C}u * (N / 4u), sum${R}_${C}, SUM_PITCH);
//#endfor
  workgroupBarrier();
//#for I ${STORES}
  {
    let place = lane % SUBGROUP + ${I}u * SUBGROUP;
    let row = place / (SN / 4u);
    let column = place % (SN / 4u);
    let values = bitcast<vec4f>(tiles[(subgroup * M + row) * SUM_PITCH + column]);
    store_values(m0 + sm + ${R}u * M + row, n0 + sn + 4u * column, values, group.z);
  }
//#endfor
//#endfor
}
