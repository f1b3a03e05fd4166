// Prepended: common.cu, lora-helpers.cuh
// Backward of y = act(gate)·up between adapted linear layers, all that passes over [T, columns] at once: the low-rank
// part of y's gradient is added, dgate and dup are made and written, and the products of the rows that the gradients of
// the adapters need are taken on the way: duᵀ·(mask⊙y) for A behind y, uᵀ·dgate and uᵀ·dup for the two B before it.
// Every number is rounded as the separate kernels round it.

/** The largest magnitude of 8 bf16, each times a factor, and of `most`. */
DEVICE float largest_factored(uint4 packed, const float* factors, float most) {
  float v[8];
  unpack8(packed, v);
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const float4 by = *(const float4*)(factors + i);
    most = fmaxf(most, fmaxf(fabsf(v[i] * by.x), fabsf(v[i + 1] * by.y)));
    most = fmaxf(most, fmaxf(fabsf(v[i + 2] * by.z), fabsf(v[i + 3] * by.w)));
  }
  return most;
}

/**
 * A block owns 64 columns and a range of rows, 64 at a time. A warp makes 16 rows by 32 columns of them: lane (g, t)
 * has rows g and g + 8, columns 8t .. 8t+7, and fetches the next ones as soon as it has used these. For the products,
 * warps take 16 columns each and half of the rows (rank 16) or of the ranks (rank 32).
 */
template <int TILES, bool AMAX>
DEVICE void gated_backward_lora(bf16* dgate, bf16* dup, float* grad_a, float* partial_a, float* partial_b,
                                u32* counters, const bf16* gate, const bf16* up, const bf16* dy, const bf16* du,
                                const bf16* a, const u8* bits, const bf16* u, int rows, int columns, int lddgate,
                                int lddup, int ldgate, int ldup, int lddy, int lddu, int lda, int kb, int ldu,
                                int split_rows, int rank_a, float keep, int kind, u32* most, const float* factors) {
  constexpr int padded_rank = 16 * TILES, depth_steps = TILES == 1 ? 2 : 4;
  __shared__ __align__(16) bf16 right[3][64][64];  // mask⊙y, dgate, dup: [row][column]
  __shared__ __align__(16)
      bf16 left[64][3 * padded_rank + 8];  // [row][du, u of gate, u of up]: odd multiples of 16 bytes
  __shared__ uint2 fragments[2][4 * TILES][32];
  __shared__ __align__(16) float factor[AMAX ? 2 : 1][AMAX ? 64 : 1];  // of the columns of dgate and dup
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);
  const int local_row = (warp & 3) * 16 + g, vector = (warp >> 2) * 4 + t;
  const int c = blockIdx.x * 64 + vector * 8;
  // Rows and columns past the end are read from the last ones: rows meet zeros on the left, columns are not written.
  const int from = min(c, columns - 8);

  // A as it is multiplied with du: lane g's column n of tile j is the one that lane g / 2 has as its 2j + g % 2 th.
  uint2* matrix = &fragments[warp >> 2][0][lane];
  for (int i = warp & 3; i < 4 * TILES; i += 4) {
    const bf16* at = a + min((int)blockIdx.x * 64 + (warp >> 2) * 32 + (g >> 1) * 8 + i % 4 * 2 + (g & 1), columns - 1);
    const int e = i / 4 * 16 + t * 2;
    matrix[i * 32].x = *row_of(at, e, lda) | (u32)*row_of(at, e + 1, lda) << 16;
    matrix[i * 32].y = *row_of(at, e + 8, lda) | (u32)*row_of(at, e + 9, lda) << 16;
  }
  if (AMAX && threadIdx.x < 128) {
    const int column = blockIdx.x * 64 + threadIdx.x % 64;
    factor[threadIdx.x / 64][threadIdx.x % 64] = column < columns ? factors[threadIdx.x / 64 * columns + column] : 0.0f;
  }
  __syncthreads();

  uint4 held_gate[2], held_up[2], held_gradient[2], held_u[TILES];
  u32 kept[2], low[TILES][4];
  const auto fetch = [&](int i, int r0) {
    const i64 r = min(r0 + local_row + i * 8, end - 1);
    held_gate[i] = load_once(row_of(gate, r, ldgate) + from);
    held_up[i] = load_once(row_of(up, r, ldup) + from);
    held_gradient[i] = load_once(row_of(dy, r, lddy) + from);
    kept[i] = bits ? bits[r * kb + from / 8] : 0xffu;
  };
  const auto fetch_left = [&](int r0) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int r = r0 + local_row + i * 8;
      const u32* source = (const u32*)row_of(du, min(r, end - 1), lddu) + t;
#pragma unroll
      for (int k = 0; k < TILES; k++) {
        low[k][i] = r < end ? source[k * 8] : 0;
        low[k][2 + i] = r < end ? source[k * 8 + 4] : 0;
      }
    }
#pragma unroll
    for (int i = 0; i < TILES; i++) {
      const int at = threadIdx.x + i * 256, r = r0 + at / (4 * TILES);
      held_u[i] = *(const uint4*)(row_of(u, min(r, end - 1), ldu) + at % (4 * TILES) * 8);
      if (r >= end) held_u[i] = zero16();
    }
  };

  float sums[3][2][4] = {};
  fetch_left(begin);
  fetch(0, begin);
  fetch(1, begin);
#pragma unroll 1
  for (int r0 = begin; r0 < end; r0 += 64) {
    const bool is_last = r0 + 64 >= end;
    if (warp < 4) {
#pragma unroll
      for (int k = 0; k < TILES; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) *(u32*)&left[local_row + (i & 1) * 8][k * 16 + (i >> 1) * 8 + t * 2] = low[k][i];
      }
    }
#pragma unroll
    for (int i = 0; i < TILES; i++) {
      const int at = threadIdx.x + i * 256;
      *(uint4*)&left[at / (4 * TILES)][padded_rank + at % (4 * TILES) * 8] = held_u[i];
    }
    float added[4][4] = {};
#pragma unroll
    for (int k = 0; k < TILES; k++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const uint2 b = matrix[(k * 4 + j) * 32];
        multiply_add(added[j], low[k][0], low[k][1], low[k][2], low[k][3], b.x, b.y);
      }
    }
    if (!is_last) fetch_left(r0 + 64);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int local = local_row + i * 8, r = r0 + local;
      const u32 mask = kept[i];
      float x[8], v[8], d[8];
      unpack8(held_gate[i], x);
      unpack8(held_up[i], v);
      unpack8(held_gradient[i], d);
      if (!is_last) fetch(i, r0 + 64);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        if ((mask >> j) & 1) d[j] += __fmul_rn(added[j / 2][i * 2 + j % 2], keep);
      }
      unpack8(pack8(d), d);
#define CALL(KIND) gated_backward<KIND>(x, v, d)
      BY_KIND(CALL)
#undef CALL
      const uint4 d_gate = pack8(x), d_up = pack8(v);
      if (AMAX) {  // of the 32 columns of the warp; a maximum does not depend on the order of the atomics
        float largest = largest_factored(d_gate, &factor[0][vector * 8], 0.0f);
        largest = largest_factored(d_up, &factor[1][vector * 8], largest);
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
        if (t == 0 && r < end) atomicMax(most + r, __float_as_uint(largest));
      }
      const int at = place_of(local, vector);
      *(uint4*)&right[0][local][at] = keep8(pack8(d), mask);
      *(uint4*)&right[1][local][at] = d_gate;
      *(uint4*)&right[2][local][at] = d_up;
      if (r < end && c < columns) {
        *(uint4*)(row_of(dgate, r, lddgate) + c) = d_gate;
        *(uint4*)(row_of(dup, r, lddup) + c) = d_up;
      }
    }
    __syncthreads();
    const int depth = TILES == 1 ? (warp >> 2) * 32 : 0, tile = TILES == 1 ? 0 : (warp >> 2) * 16;
#pragma unroll
    for (int step = 0; step < depth_steps; step++) {
      const int left_row = depth + step * 16 + (lane >> 4) * 8 + (lane & 7),
                right_row = depth + step * 16 + (lane & 15);
      const int at = place_of(right_row, (warp & 3) * 2 + (lane >> 4));
#pragma unroll
      for (int which = 0; which < 3; which++) {
        u32 p[4], q[4];
        load_matrices_transposed(p, &left[left_row][which * padded_rank + tile + (lane & 8)]);
        load_matrices_transposed(q, &right[which][right_row][at]);
        multiply_add(sums[which][0], p[0], p[1], p[2], p[3], q[0], q[1]);
        multiply_add(sums[which][1], p[0], p[1], p[2], p[3], q[2], q[3]);
      }
    }
    __syncthreads();
  }

  if (TILES == 1) {  // the halves of the rows
    float* exchange = (float*)right + (warp & 3) * 24 * 32 + lane;
    if (warp >= 4) {
#pragma unroll
      for (int i = 0; i < 24; i++) exchange[i * 32] = sums[i / 8][i / 4 % 2][i % 4];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 24; i++) sums[i / 8][i / 4 % 2][i % 4] += warp < 4 ? exchange[i * 32] : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < 24; i++) {
    const int which = i / 8, e = (TILES == 1 ? 0 : (warp >> 2) * 16) + i % 4 / 2 * 8 + g;
    const int column = blockIdx.x * 64 + (warp & 3) * 16 + i / 4 % 2 * 8 + t * 2 + i % 2;
    if (column >= columns || (TILES == 1 && warp >= 4)) continue;
    const i64 split = blockIdx.y;
    const float sum = sums[which][i / 4 % 2][i % 4];
    if (which == 0)
      partial_a[(split * padded_rank + e) * columns + column] = sum;
    else
      partial_b[((split * 2 + which - 1) * columns + column) * padded_rank + e] = sum;
  }
  if (!is_last_block(counters + blockIdx.x, gridDim.y)) return;
  for (int i = threadIdx.x; i < rank_a * 64; i += 256) {
    const int e = i / 64, column = blockIdx.x * 64 + i % 64;
    if (column < columns)
      grad_a[(i64)e * columns + column] +=
          keep * sum_of_splits(partial_a + (i64)e * columns + column, gridDim.y, (i64)padded_rank * columns);
  }
}

/** Launch: grid [ceil(columns/64), splits]. */
#define GATED_BACKWARD_LORA(RANK)                                                                                      \
  KERNEL __launch_bounds__(256, 2) gated_backward_lora_##RANK(                                                         \
      bf16* dgate, bf16* dup, float* grad_a, float* partial_a, float* partial_b, u32* counters, const bf16* gate,      \
      const bf16* up, const bf16* dy, const bf16* du, const bf16* a, const u8* NULLABLE bits, const bf16* u, int rows, \
      int columns, int lddgate, int lddup, int ldgate, int ldup, int lddy, int lddu, int lda, int kb, int ldu,         \
      int split_rows, int rank_a, float keep, int kind) {                                                              \
    gated_backward_lora<RANK / 16, false>(dgate, dup, grad_a, partial_a, partial_b, counters, gate, up, dy, du, a,     \
                                          bits, u, rows, columns, lddgate, lddup, ldgate, ldup, lddy, lddu, lda, kb,   \
                                          ldu, split_rows, rank_a, keep, kind, 0, 0);                                  \
  }
GATED_BACKWARD_LORA(16)
GATED_BACKWARD_LORA(32)

/**
 * gated_backward_lora that also raises most[row], the bits of a non-negative float, to the largest magnitude of
 * [dgate | dup] ⊙ factors. Launch: grid [ceil(columns/64), splits].
 */
#define GATED_BACKWARD_AMAX(RANK)                                                                                      \
  KERNEL __launch_bounds__(256, 2) gated_backward_amax_##RANK(                                                         \
      bf16* dgate, bf16* dup, float* grad_a, float* partial_a, float* partial_b, u32* counters, const bf16* gate,      \
      const bf16* up, const bf16* dy, const bf16* du, const bf16* a, const u8* NULLABLE bits, const bf16* u, int rows, \
      int columns, int lddgate, int lddup, int ldgate, int ldup, int lddy, int lddu, int lda, int kb, int ldu,         \
      int split_rows, int rank_a, float keep, int kind, u32* most, const float* factors) {                             \
    gated_backward_lora<RANK / 16, true>(dgate, dup, grad_a, partial_a, partial_b, counters, gate, up, dy, du, a,      \
                                         bits, u, rows, columns, lddgate, lddup, ldgate, ldup, lddy, lddu, lda, kb,    \
                                         ldu, split_rows, rank_a, keep, kind, most, factors);                          \
  }
GATED_BACKWARD_AMAX(16)
GATED_BACKWARD_AMAX(32)
