// C = alpha · op(A) · op(B) + beta · C + bias, for float32 A and a B in float32 or a frozen weight's part of any FORMAT,
// which is widened on its way into workgroup memory. With LOW_RANK, low_scale · mask ⊙ (U · op(L)) is added to the
// product: its k-steps come first, and what they gave is scaled (and, with DROPOUT, masked) before the rest is added.
//
// op(A) is [m, k]: A as stored, or its transpose with TRANS_A; op(B) [k, n], with TRANS_B stored as [n, k]. U is [m, low_rank];
// L is stored as B is: [n, low_rank] with TRANS_B, else [low_rank, n]. Rows of A and C are a_stride and c_stride apart, from
// a_first and c_first on; the others are contiguous, bias and L with TRANS_B from n_first on. WIDE: all of these and the extents of rows as stored are multiples of 4.
//
// Launch: BN columns by BM rows a workgroup, `splits` of the k-steps in z: each computes `steps` of them and writes its own
// C, split_size further on (sum-splits.wgsl adds them up). A thread holds TM x TN values, in vectors of 4 columns.
//
// Both tiles lie in workgroup memory with k outside, so that a thread reads vectors of 4 rows or columns. LOADER says what
// threads bring at a time: a `vector` of 4 values, stored one by one where k is the contiguous dimension, or a `block` of 4 x 4,
// transposed in registers there. The place within a row is XORed with the number of its 4 k, which spreads those stores over
// the banks. UNROLL of the BK values of k are written out: more need more registers on some drivers, and fewer more indices.
struct Params {
  m: u32, n: u32, k: u32,
  a_first: u32, a_stride: u32, c_first: u32, c_stride: u32, n_first: u32,
  alpha: f32, beta: f32,
  steps: u32, split_size: u32,
  low_rank: u32, low_scale: f32,
  seed: u32, threshold: u32, kept_scale: f32,
  weight_columns: u32, block_rows: u32, block_columns: u32, factors_across: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
//#if FIXED_A
@group(0) @binding(10) var<storage, read> fixed_a: array<${ELEMENT}>;
//#else
@group(0) @binding(1) var<storage, read_write> a: array<${ELEMENT}>;
//#endif
@group(0) @binding(2) var<storage, read_write> c: array<${ELEMENT}>;
//#if FORMAT
@group(0) @binding(4) var<storage, read> weight: array<u32>;
//#if FACTORS
@group(0) @binding(5) var<storage, read> factors: array<f32>;
//#endif
//#include weight-values.wgsl
//#else
@group(0) @binding(3) var<storage, read_write> b: array<${ELEMENT}>;
//#endif
//#if LOW_RANK
@group(0) @binding(6) var<storage, read_write> low: array<${ELEMENT}>;
@group(0) @binding(7) var<storage, read_write> low_b: array<${ELEMENT}>;
//#endif
//#if BIAS
@group(0) @binding(8) var<storage, read> bias: array<f32>;
//#endif
//#if DROPOUT
@group(0) @binding(9) var<storage, read> row_keys: array<u32>;
//#include dropout.wgsl
//#endif

const BM = ${BM}u;
const BN = ${BN}u;
const BK = ${BK}u;
const ROW_GROUPS = ${ROW_GROUPS}u;
const COLUMN_GROUPS = ${COLUMN_GROUPS}u;
const ACROSS = BN / (4u * COLUMN_GROUPS);
const DOWN = BM / (4u * ROW_GROUPS);
const THREADS = ACROSS * DOWN;
const A_BLOCKS = BM * BK / 16u;
const BLOCKS = (BM + BN) * BK / 16u;
const A_SWIZZLE = min(7u, BM / 4u - 1u);
const B_SWIZZLE = min(7u, BN / 4u - 1u);

var<workgroup> a_tile: array<array<array<vec4f, BM / 4u>, BK>, ${STAGES}>;
var<workgroup> b_tile: array<array<array<vec4f, BN / 4u>, BK>, ${STAGES}>;

// Four values along a row as stored, from a multiple of 4 on; zeros outside of `rows` and `columns`.
fn a_values(row: u32, column: u32, rows: u32, columns: u32) -> vec4f {
  if (row >= rows || column >= columns) { return vec4f(); }
  let i = params.a_first + row * params.a_stride + column;
//#if FIXED_A
  let source = &fixed_a;
//#else
  let source = &a;
//#endif
//#if WIDE
  return (*source)[i >> 2u];
//#else
  var values = vec4f((*source)[i], 0.0, 0.0, 0.0);
  if (column + 1u < columns) { values.y = (*source)[i + 1u]; }
  if (column + 2u < columns) { values.z = (*source)[i + 2u]; }
  if (column + 3u < columns) { values.w = (*source)[i + 3u]; }
  return values;
//#endif
}

fn b_values(row: u32, column: u32, rows: u32, columns: u32) -> vec4f {
  if (row >= rows || column >= columns) { return vec4f(); }
  let i = row * columns + column;
//#if FORMAT
//#if WIDE
  return weight_values4(i);
//#else
  var values = vec4f(weight_value(i), 0.0, 0.0, 0.0);
  if (column + 1u < columns) { values.y = weight_value(i + 1u); }
  if (column + 2u < columns) { values.z = weight_value(i + 2u); }
  if (column + 3u < columns) { values.w = weight_value(i + 3u); }
  return values;
//#endif
//#elif WIDE
  return b[i >> 2u];
//#else
  var values = vec4f(b[i], 0.0, 0.0, 0.0);
  if (column + 1u < columns) { values.y = b[i + 1u]; }
  if (column + 2u < columns) { values.z = b[i + 2u]; }
  if (column + 3u < columns) { values.w = b[i + 3u]; }
  return values;
//#endif
}

//#if LOW_RANK
//#for OF 2
//#if OF == 0
fn low_values(row: u32, column: u32, rows: u32, columns: u32) -> vec4f {
//#else
fn low_b_values(row: u32, column: u32, rows: u32, columns: u32) -> vec4f {
//#endif
  if (row >= rows || column >= columns) { return vec4f(); }
//#if OF == 0
  let source = &low;
  let i = row * columns + column;
//#else
  let source = &low_b;
  let i = (params.n_first + row) * columns + column;
//#endif
//#if WIDE
  return (*source)[i >> 2u];
//#else
  var values = vec4f((*source)[i], 0.0, 0.0, 0.0);
  if (column + 1u < columns) { values.y = (*source)[i + 1u]; }
  if (column + 2u < columns) { values.z = (*source)[i + 2u]; }
  if (column + 3u < columns) { values.w = (*source)[i + 3u]; }
  return values;
//#endif
}
//#endfor
//#endif

// The rank in whole steps.
fn padded_rank() -> u32 {
//#if LOW_RANK
  return (params.low_rank + BK - 1u) / BK * BK;
//#else
  return 0u;
//#endif
}

// What the place in a row of the tiles is XORed with, by the number of the 4 k.
fn spread(k4: u32) -> u32 { return k4 * (32u / BK); }

//#if LOADER == block
// Rows 4 · place.y … + 3 of the tile by k from 4 · place.x on: column j holds the values of k + j.
fn a_block(place: vec2u, m0: u32, step: u32) -> mat4x4f {
  let row = m0 + 4u * place.y;
//#if LOW_RANK
  if (step * BK < padded_rank()) {
    let k = step * BK + 4u * place.x;
    return transpose(mat4x4f(
      low_values(row, k, params.m, params.low_rank), low_values(row + 1u, k, params.m, params.low_rank),
      low_values(row + 2u, k, params.m, params.low_rank), low_values(row + 3u, k, params.m, params.low_rank)));
  }
//#endif
  let k = step * BK - padded_rank() + 4u * place.x;
//#if TRANS_A
  return mat4x4f(
    a_values(k, row, params.k, params.m), a_values(k + 1u, row, params.k, params.m),
    a_values(k + 2u, row, params.k, params.m), a_values(k + 3u, row, params.k, params.m));
//#else
  return transpose(mat4x4f(
    a_values(row, k, params.m, params.k), a_values(row + 1u, k, params.m, params.k),
    a_values(row + 2u, k, params.m, params.k), a_values(row + 3u, k, params.m, params.k)));
//#endif
}

fn b_block(place: vec2u, n0: u32, step: u32) -> mat4x4f {
  let column = n0 + 4u * place.y;
//#if LOW_RANK
  if (step * BK < padded_rank()) {
    let k = step * BK + 4u * place.x;
//#if TRANS_B
    return transpose(mat4x4f(
      low_b_values(column, k, params.n, params.low_rank), low_b_values(column + 1u, k, params.n, params.low_rank),
      low_b_values(column + 2u, k, params.n, params.low_rank), low_b_values(column + 3u, k, params.n, params.low_rank)));
//#else
    return mat4x4f(
      low_b_values(k, column, params.low_rank, params.n), low_b_values(k + 1u, column, params.low_rank, params.n),
      low_b_values(k + 2u, column, params.low_rank, params.n), low_b_values(k + 3u, column, params.low_rank, params.n));
//#endif
  }
//#endif
  let k = step * BK - padded_rank() + 4u * place.x;
//#if TRANS_B
  return transpose(mat4x4f(
    b_values(column, k, params.n, params.k), b_values(column + 1u, k, params.n, params.k),
    b_values(column + 2u, k, params.n, params.k), b_values(column + 3u, k, params.n, params.k)));
//#else
  return mat4x4f(
    b_values(k, column, params.k, params.n), b_values(k + 1u, column, params.k, params.n),
    b_values(k + 2u, column, params.k, params.n), b_values(k + 3u, column, params.k, params.n));
//#endif
}

// Which 4 k (x) and which 4 rows or columns (y) a block is: neighbouring threads read what is contiguous.
fn a_place(block: u32) -> vec2u {
//#if TRANS_A
  return vec2u(block / (BM / 4u), block % (BM / 4u));
//#else
  return vec2u(block % (BK / 4u), block / (BK / 4u));
//#endif
}

fn b_place(block: u32) -> vec2u {
//#if TRANS_B
  return vec2u(block % (BK / 4u), block / (BK / 4u));
//#else
  return vec2u(block / (BN / 4u), block % (BN / 4u));
//#endif
}

fn block_values(block: u32, m0: u32, n0: u32, step: u32) -> mat4x4f {
  if (block < A_BLOCKS) { return a_block(a_place(block), m0, step); }
  return b_block(b_place(block - A_BLOCKS), n0, step);
}

fn store_block(block: u32, stage: u32, values: mat4x4f) {
  if (block < A_BLOCKS) {
    let place = a_place(block);
    let at = place.y ^ (spread(place.x) & A_SWIZZLE);
//#for J 4
    a_tile[stage][4u * place.x + ${J}u][at] = values[${J}];
//#endfor
  } else if (block < BLOCKS) {
    let place = b_place(block - A_BLOCKS);
    let at = place.y ^ (spread(place.x) & B_SWIZZLE);
//#for J 4
    b_tile[stage][4u * place.x + ${J}u][at] = values[${J}];
//#endfor
  }
}
//#else
//#if TRANS_A
fn a_vector(unit: u32, m0: u32, step: u32) -> vec4f {
  return a_values(step * BK + unit / (BM / 4u), m0 + 4u * (unit % (BM / 4u)), params.k, params.m);
}

fn store_a(unit: u32, stage: u32, values: vec4f) {
  let k = unit / (BM / 4u);
  a_tile[stage][k][(unit % (BM / 4u)) ^ (spread(k / 4u) & A_SWIZZLE)] = values;
}
//#else
fn a_vector(unit: u32, m0: u32, step: u32) -> vec4f {
  let row = m0 + unit / (BK / 4u);
  let k = step * BK + 4u * (unit % (BK / 4u));
//#if LOW_RANK
  if (step * BK < padded_rank()) { return low_values(row, k, params.m, params.low_rank); }
//#endif
  return a_values(row, k - padded_rank(), params.m, params.k);
}

fn store_a(unit: u32, stage: u32, values: vec4f) {
  let k4 = unit % (BK / 4u);
  let row = unit / (BK / 4u);
  let at = (row / 4u) ^ (spread(k4) & A_SWIZZLE);
//#for J 4
  a_tile[stage][4u * k4 + ${J}u][at][row % 4u] = values[${J}];
//#endfor
}
//#endif

//#if TRANS_B
fn b_vector(unit: u32, n0: u32, step: u32) -> vec4f {
  let column = n0 + unit / (BK / 4u);
  let k = step * BK + 4u * (unit % (BK / 4u));
//#if LOW_RANK
  if (step * BK < padded_rank()) { return low_b_values(column, k, params.n, params.low_rank); }
//#endif
  return b_values(column, k - padded_rank(), params.n, params.k);
}

fn store_b(unit: u32, stage: u32, values: vec4f) {
  let k4 = unit % (BK / 4u);
  let column = unit / (BK / 4u);
  let at = (column / 4u) ^ (spread(k4) & B_SWIZZLE);
//#for J 4
  b_tile[stage][4u * k4 + ${J}u][at][column % 4u] = values[${J}];
//#endfor
}
//#else
fn b_vector(unit: u32, n0: u32, step: u32) -> vec4f {
  let column = n0 + 4u * (unit % (BN / 4u));
  let k = step * BK + unit / (BN / 4u);
//#if LOW_RANK
  if (step * BK < padded_rank()) { return low_b_values(k, column, params.low_rank, params.n); }
//#endif
  return b_values(k - padded_rank(), column, params.k, params.n);
}

fn store_b(unit: u32, stage: u32, values: vec4f) {
  let k = unit / (BN / 4u);
  b_tile[stage][k][(unit % (BN / 4u)) ^ (spread(k / 4u) & B_SWIZZLE)] = values;
}
//#endif
//#endif

fn store_values(row: u32, column: u32, values: vec4f, split: u32) {
  if (row >= params.m || column >= params.n) { return; }
  let i = params.c_first + split * params.split_size + row * params.c_stride + column;
  var sum = params.alpha * values;
//#if BIAS
//#for J 4
  if (column + ${J}u < params.n) { sum[${J}] += bias[params.n_first + column + ${J}u]; }
//#endfor
//#endif
//#if WIDE
  if (params.beta != 0.0) { sum += params.beta * c[i >> 2u]; }
  c[i >> 2u] = sum;
//#else
//#for J 4
  if (column + ${J}u < params.n) {
    if (params.beta != 0.0) { sum[${J}] += params.beta * c[i + ${J}u]; }
    c[i + ${J}u] = sum[${J}];
  }
//#endfor
//#endif
}

//#if LOW_RANK
fn masked(row: u32, column: u32, values: vec4f) -> vec4f {
//#if DROPOUT
  let key = row_keys[min(row, params.m - 1u)];
  return values * params.low_scale * vec4f(
    select(0.0, params.kept_scale, is_kept(key, params.seed, column, params.threshold)),
    select(0.0, params.kept_scale, is_kept(key, params.seed, column + 1u, params.threshold)),
    select(0.0, params.kept_scale, is_kept(key, params.seed, column + 2u, params.threshold)),
    select(0.0, params.kept_scale, is_kept(key, params.seed, column + 3u, params.threshold)));
//#else
  return values * params.low_scale;
//#endif
}
//#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n0 = group.x * BN;
  let m0 = group.y * BM;
  // Neighbouring threads form tiles of 8 columns by 4 rows, so that a subgroup reads few vectors from both tiles.
//#if PATCHED
  let cluster = lane >> 5u;
  let tx = (cluster % (ACROSS / 8u)) * 8u + (lane & 7u);
  let ty = (cluster / (ACROSS / 8u)) * 4u + ((lane >> 3u) & 3u);
//#else
  let tx = lane % ACROSS;
  let ty = lane / ACROSS;
//#endif
//#if FORMAT == nf4
//#if NF4_TABLE
  prepare_weight_values(lane);
  workgroupBarrier();
//#endif
//#endif

//#for G ${ROW_GROUPS}
//#for R 4
//#for H ${COLUMN_GROUPS}
  var sum${G}${R}${H} = vec4f();
//#endfor
//#endfor
//#endfor

  let low_steps = padded_rank() / BK;
  let first = group.z * params.steps;
  let end = min(first + params.steps, low_steps + (params.k + BK - 1u) / BK);
//#if LOADER == block
//#for L ${LOADS}
  var values${L} = block_values(lane + ${L}u * THREADS, m0, n0, first);
//#endfor
//#else
//#for L ${A_LOADS}
  var next_a${L} = a_vector(lane + ${L}u * THREADS, m0, first);
//#endfor
//#for L ${B_LOADS}
  var next_b${L} = b_vector(lane + ${L}u * THREADS, n0, first);
//#endfor
//#endif
  for (var step = first; step < end; step++) {
//#if STAGES == 1
    let stage = 0u;
    workgroupBarrier();
//#else
    let stage = (step - first) & 1u;
//#endif
//#if LOADER == block
//#for L ${LOADS}
    store_block(lane + ${L}u * THREADS, stage, values${L});
//#endfor
//#else
//#for L ${A_LOADS}
    if (lane + ${L}u * THREADS < BM * BK / 4u) { store_a(lane + ${L}u * THREADS, stage, next_a${L}); }
//#endfor
//#for L ${B_LOADS}
    if (lane + ${L}u * THREADS < BN * BK / 4u) { store_b(lane + ${L}u * THREADS, stage, next_b${L}); }
//#endfor
//#endif
    workgroupBarrier();
    if (step + 1u < end) {
//#if LOADER == block
//#for L ${LOADS}
      values${L} = block_values(lane + ${L}u * THREADS, m0, n0, step + 1u);
//#endfor
//#else
//#for L ${A_LOADS}
      next_a${L} = a_vector(lane + ${L}u * THREADS, m0, step + 1u);
//#endfor
//#for L ${B_LOADS}
      next_b${L} = b_vector(lane + ${L}u * THREADS, n0, step + 1u);
//#endfor
//#endif
    }
//#if LOW_RANK
    if (step == low_steps) {
//#for G ${ROW_GROUPS}
//#for R 4
//#for H ${COLUMN_GROUPS}
      sum${G}${R}${H} = masked(m0 + 4u * (ty + ${G}u * DOWN) + ${R}u, n0 + 4u * (tx + ${H}u * ACROSS), sum${G}${R}${H});
//#endfor
//#endfor
//#endfor
    }
//#endif
//#if WRITTEN_OUT
    {
//#else
    for (var k0 = 0u; k0 < BK; k0 += ${UNROLL}u) {
//#endif
//#for K ${UNROLL}
    {
//#if WRITTEN_OUT
      const k = ${K}u;
//#else
      let k = k0 + ${K}u;
//#endif
//#for G ${ROW_GROUPS}
      let a${G} = a_tile[stage][k][(ty + ${G}u * DOWN) ^ (spread(k / 4u) & A_SWIZZLE)];
//#endfor
//#for H ${COLUMN_GROUPS}
      let b${H} = b_tile[stage][k][(tx + ${H}u * ACROSS) ^ (spread(k / 4u) & B_SWIZZLE)];
//#endfor
//#for G ${ROW_GROUPS}
//#for R 4
//#for H ${COLUMN_GROUPS}
      sum${G}${R}${H} = fma(vec4f(a${G}[${R}]), b${H}, sum${G}${R}${H});
//#endfor
//#endfor
//#endfor
    }
//#endfor
    }
  }

//#if LOW_RANK
  // Of a product without k, which is its low-rank part alone.
  if (end == low_steps) {
//#for G ${ROW_GROUPS}
//#for R 4
//#for H ${COLUMN_GROUPS}
    sum${G}${R}${H} = masked(m0 + 4u * (ty + ${G}u * DOWN) + ${R}u, n0 + 4u * (tx + ${H}u * ACROSS), sum${G}${R}${H});
//#endfor
//#endfor
//#endfor
  }
//#endif
//#for G ${ROW_GROUPS}
//#for R 4
//#for H ${COLUMN_GROUPS}
  store_values(m0 + 4u * (ty + ${G}u * DOWN) + ${R}u, n0 + 4u * (tx + ${H}u * ACROSS), sum${G}${R}${H}, group.z);
//#endfor
//#endfor
//#endfor
}
