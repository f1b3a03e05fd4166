// Prepended: common.cu, lora-helpers.cuh
// What the gradient of an adapted layer's input and that of A have in common, in one pass over [T, K]: for each part of
// the layer, dx += keep·mask⊙(du·A) and grad += keep·duᵀ·(mask⊙x). x may be a norm's result, which is recomputed on the
// way.

/** bf16(bf16(s·scale)·weight), as rms_norm_forward makes it. */
DEVICE uint4 normalized(uint4 s, float scale, uint4 weight) {
  const auto pair = [&](u32 values, u32 weights) {
    return multiply_bf16(pack_bf16(bf16_low(values) * scale, bf16_high(values) * scale), weights);
  };
  return make_uint4(pair(s.x, weight.x), pair(s.y, weight.y), pair(s.z, weight.z), pair(s.w, weight.w));
}

/**
 * A block owns 64 columns and a range of rows, 64 at a time. A warp makes 16 rows by 32 columns of dx: lane (g, t) has
 * rows g and g + 8, columns 8t .. 8t+7, and fetches the next ones as soon as it has used these. For dA, warps take 16
 * columns each and half of the rows (16 columns of du) or every other 16 columns of du. At most 3 parts have ranks.
 */
template <int TILES>
DEVICE void lora_backward(float* grad0, float* grad1, float* grad2, float* grad3, float* partial, u32* counters,
                          bf16* dx, const bf16* x, const float* rstd, const bf16* weight, const bf16* du, const bf16* a,
                          const u8* bits, int rows, int K, int lddx, int ldx, int lddu, int lda, int kb, int start1,
                          int start2, int start3, int rank0, int rank1, int rank2, int rank3, int split_rows,
                          float keep0, float keep1, float keep2, float keep3) {
  constexpr int E = 16 * TILES, max_slots = TILES < 3 ? TILES : 3, depth_steps = TILES == 1 ? 2 : 4,
                own_tiles = (TILES + 1) / 2;
  __shared__ __align__(16) bf16 right[max_slots][64][64];  // mask⊙x by part: [row][column]
  __shared__ __align__(16) bf16 left[64][E + 8];           // du: [row][e]
  __shared__ uint2 fragments[2][4 * TILES][32];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);
  const int local_row = (warp & 3) * 16 + g, vector = (warp >> 2) * 4 + t;
  const int first_column = blockIdx.x * 64, c = first_column + vector * 8;
  // Rows and columns past the end are read from the last ones: rows meet zeros on the left, columns are not written.
  const int from = min(c, last8(K));

  // A as it is multiplied with du: lane g's column n of tile j is the one that lane g / 2 has as its 2j + g % 2 th.
  uint2* matrix = &fragments[warp >> 2][0][lane];
  for (int i = warp & 3; i < 4 * TILES; i += 4) {
    const bf16* at = a + min(first_column + (warp >> 2) * 32 + (g >> 1) * 8 + i % 4 * 2 + (g & 1), K - 1);
    const int e = i / 4 * 16 + t * 2;
    matrix[i * 32].x = *row_of(at, e, lda) | (u32)*row_of(at, e + 1, lda) << 16;
    matrix[i * 32].y = *row_of(at, e + 8, lda) | (u32)*row_of(at, e + 9, lda) << 16;
  }
  // Which part the masks of a slot are of, and the slot of each 16 columns of du.
  int slots = 0, previous = -1, mask_part = 0;
  u32 slot_of = 0;
#pragma unroll
  for (int k = 0; k < TILES; k++) {
    const int part = part_of(k * 16, start1, start2, start3);
    if (part != previous) {
      if (slots == min(t, 2)) mask_part = part;
      slots++;
    }
    previous = part;
    slot_of |= (u32)(slots - 1) << (4 * k);
  }
  const bool is_one = bits == 0;  // one copy of x serves all
  if (t >= slots) mask_part = previous;
  const u8* masks = bits + (i64)mask_part * rows * kb + min((first_column + (warp >> 2) * 32) / 8, kb - 4);
  const uint4 scales = rstd ? load8(weight, from, K) : zero16();
  __syncthreads();

  uint4 held_gradient[2], held_x[2];
  u32 words[2], low[TILES][4];
  float held_scale[2];
  const auto fetch = [&](int i, int first) {
    const i64 r = min(first + local_row + i * 8, end - 1);
    held_gradient[i] = *(const uint4*)(row_of(dx, r, lddx) + from);
    held_x[i] = load_once(row_of(x, r, ldx) + from);
    // Lane t of each group of four reads slot t's word, 32 columns.
    words[i] = is_one ? 0xffffffffu : *(const u32*)(masks + r * kb);
    held_scale[i] = rstd ? rstd[r] : 0.0f;
  };
  const auto fetch_left = [&](int first) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int r = first + local_row + i * 8;
      const u32* source = (const u32*)row_of(du, min(r, end - 1), lddu) + t;
#pragma unroll
      for (int k = 0; k < TILES; k++) {
        low[k][i] = r < end ? source[k * 8] : 0;
        low[k][2 + i] = r < end ? source[k * 8 + 4] : 0;
      }
    }
  };

  float sums[own_tiles][2][4] = {};
  fetch_left(begin);
  fetch(0, begin);
  fetch(1, begin);
#pragma unroll 1
  for (int first = begin; first < end; first += 64) {
    const bool is_last = first + 64 >= end;
    if (warp < 4) {
#pragma unroll
      for (int k = 0; k < TILES; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) *(u32*)&left[local_row + (i & 1) * 8][k * 16 + (i >> 1) * 8 + t * 2] = low[k][i];
      }
    }
    u32 kept[2] = {0, 0};  // a byte for each slot
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int slot = 0; slot < max_slots; slot++) {
        kept[i] |= ((__shfl_sync(0xffffffffu, words[i], (lane & 28) | slot) >> (8 * t)) & 0xffu) << (8 * slot);
      }
    }
    float total[2][8] = {}, added[4][4];
#pragma unroll
    for (int k = 0; k < TILES; k++) {
      const int part = part_of(k * 16, start1, start2, start3);
      // Zeros right before the first product cost nothing.
      if (k == 0 || part_of(k * 16 - 16, start1, start2, start3) != part) {
#pragma unroll
        for (int j = 0; j < 16; j++) added[j / 4][j % 4] = 0.0f;
      }
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const uint2 b = matrix[(k * 4 + j) * 32];
        multiply_add(added[j], low[k][0], low[k][1], low[k][2], low[k][3], b.x, b.y);
      }
      if (k + 1 < TILES && part_of(k * 16 + 16, start1, start2, start3) == part) continue;
      const float keep = pick(part, keep0, keep1, keep2, keep3);
      const int shift = 8 * ((slot_of >> (4 * k)) & 15);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const u32 byte = kept[i] >> shift;
#pragma unroll
        for (int j = 0; j < 8; j++) {
          if ((byte >> j) & 1) total[i][j] += added[j / 2][i * 2 + j % 2] * keep;
        }
      }
    }
    if (!is_last) fetch_left(first + 64);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int local = local_row + i * 8, r = first + local;
      float v[8];
      unpack8(held_gradient[i], v);
      const uint4 own = rstd ? normalized(held_x[i], held_scale[i], scales) : held_x[i];
      if (!is_last) fetch(i, first + 64);
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += total[i][j];
      if (r < end && c < K) store8(row_of(dx, r, lddx), c, K, v);
      const int at = place_of(local, vector);
#pragma unroll
      for (int slot = 0; slot < max_slots; slot++) {
        if (slot == 0 || (slot < slots && !is_one)) {
          *(uint4*)&right[slot][local][at] = keep8(own, (kept[i] >> (8 * slot)) & 0xffu);
        }
      }
    }
    __syncthreads();
    const int depth = TILES == 1 ? (warp >> 2) * 32 : 0;
#pragma unroll
    for (int step = 0; step < depth_steps; step++) {
      const int left_row = depth + step * 16 + (lane >> 4) * 8 + (lane & 7),
                right_row = depth + step * 16 + (lane & 15);
      const int at = place_of(right_row, (warp & 3) * 2 + (lane >> 4));
#pragma unroll
      for (int i = 0; i < own_tiles; i++) {
        const int tile = TILES == 1 ? 0 : (warp >> 2) + i * 2;
        if (tile >= TILES) break;
        u32 p[4], q[4];
        load_matrices_transposed(p, &left[left_row][tile * 16 + (lane & 8)]);
        load_matrices_transposed(q, &right[is_one ? 0 : (slot_of >> (4 * tile)) & 15][right_row][at]);
        multiply_add(sums[i][0], p[0], p[1], p[2], p[3], q[0], q[1]);
        multiply_add(sums[i][1], p[0], p[1], p[2], p[3], q[2], q[3]);
      }
    }
    __syncthreads();
  }

  if (TILES == 1) {  // the halves of the rows
    float* exchange = (float*)right + (warp & 3) * 8 * 32 + lane;
    if (warp >= 4) {
#pragma unroll
      for (int i = 0; i < 8; i++) exchange[i * 32] = sums[0][i / 4][i % 4];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 8; i++) sums[0][i / 4][i % 4] += warp < 4 ? exchange[i * 32] : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < own_tiles * 8; i++) {
    const int tile = TILES == 1 ? 0 : (warp >> 2) + i / 8 * 2;
    const int e = tile * 16 + i % 4 / 2 * 8 + g,
              column = first_column + (warp & 3) * 16 + i / 4 % 2 * 8 + t * 2 + i % 2;
    if (e >= E || column >= K || (TILES == 1 && warp >= 4)) continue;
    partial[((i64)blockIdx.y * E + e) * K + column] = sums[i / 8][i / 4 % 2][i % 4];
  }
  if (!is_last_block(counters + blockIdx.x, gridDim.y)) return;
  for (int i = threadIdx.x; i < E * 64; i += 256) {
    const int e = i / 64, column = first_column + i % 64;
    const int part = part_of(e, start1, start2, start3), local = e - pick(part, 0, start1, start2, start3);
    float* grad = pick(part, grad0, grad1, grad2, grad3);
    if (column >= K || !grad || local >= pick(part, rank0, rank1, rank2, rank3)) continue;
    grad[(i64)local * K + column] +=
        pick(part, keep0, keep1, keep2, keep3) * sum_of_splits(partial + (i64)e * K + column, gridDim.y, (i64)E * K);
  }
}

/** Launch: grid [ceil(K/64), splits]. */
#define LORA_BACKWARD(COLUMNS)                                                                                         \
  KERNEL __launch_bounds__(256, 2) lora_backward_##COLUMNS(                                                            \
      float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3, float* partial,      \
      u32* counters, bf16* dx, const bf16* x, const float* NULLABLE rstd, const bf16* NULLABLE weight, const bf16* du, \
      const bf16* a, const u8* NULLABLE bits, int rows, int K, int lddx, int ldx, int lddu, int lda, int kb,           \
      int start1, int start2, int start3, int rank0, int rank1, int rank2, int rank3, int split_rows, float keep0,     \
      float keep1, float keep2, float keep3) {                                                                         \
    lora_backward<COLUMNS / 16>(grad0, grad1, grad2, grad3, partial, counters, dx, x, rstd, weight, du, a, bits, rows, \
                                K, lddx, ldx, lddu, lda, kb, start1, start2, start3, rank0, rank1, rank2, rank3,       \
                                split_rows, keep0, keep1, keep2, keep3);                                               \
  }
LORA_BACKWARD(16)
LORA_BACKWARD(32)
LORA_BACKWARD(48)
LORA_BACKWARD(64)
