// Decoding: products with a few rows of x, bound by reading the weight once, and the largest logit of a row.

#define LOW_SPLITS 4  // parts of K that u = x·Aᵀ is made in, each by a block of its own

/**
 * y [M, N] = x·Wᵀ + u·Bᵀ with u = bf16(x·Aᵀ), for M <= 8·HALVES. B [N, E] stands in the columns of w from roundup(K, 8)
 * on. A block has 8 rows of a matrix (the columns of the matrix instruction); its warps split K. Lane t takes columns
 * 8t .. 8t+7 of a run for both operands: the order of the depths within a run does not matter.
 *
 * The first E/8 · LOW_SPLITS blocks make u: each leaves a part of the sums for 8 of its columns in `low` (fp32
 * [LOW_SPLITS, M, E]) and counts itself in `ready`, which never goes back. The others stream W meanwhile and take u at
 * the end, when `ready` has come to `target`. Blocks start in the order of their indices, so those that are waited for
 * run already.
 */
template <int HALVES>
DEVICE void small_product(void* y, const bf16* x, const bf16* w, const bf16* a, float* low, u32* ready, int M, int N, int K, int E, int ldy, int ldx, int ldw, int lda, int kind, u32 target) {
  constexpr int RUNS = 4 / HALVES;  // of 32 columns that a warp has under way, twice
  __shared__ float partial[32][HALVES * 8][8];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int step = (blockDim.x >> 5) * RUNS * 32;
  const int lowBlocks = E / 8 * LOW_SPLITS;
  const bool isLow = (int)blockIdx.x < lowBlocks;
  const int split = isLow ? blockIdx.x % LOW_SPLITS : 0;
  const int share = isLow ? ((K + LOW_SPLITS - 1) / LOW_SPLITS + 31) & ~31 : K;
  const int begin = split * share, end = min(K, begin + share);
  const int first = (isLow ? blockIdx.x / LOW_SPLITS : blockIdx.x - lowBlocks) * 8;
  const int last = last8(end);
  // Rows past the end are read from the last one: their results are not written.
  const bf16* weight = isLow ? row_of(a, first + g, lda) : row_of(w, min(first + g, N - 1), ldw);
  int c0 = begin + warp * RUNS * 32 + t * 8;
  uint4 b[RUNS];
  // Weights do not depend on earlier kernels: the first ones are under way while those end.
#pragma unroll
  for (int i = 0; i < RUNS; i++) b[i] = load_once(weight + min(c0 + i * 32, last));
  if (warp == 0 && t == 0 && begin + step < end) prefetch(weight + begin + step, 2 * (min(end, begin + 3 * step) - begin - step) & ~15);

  const bf16* from[HALVES];
#pragma unroll
  for (int h = 0; h < HALVES; h++) from[h] = row_of(x, min(g + 8 * h, M - 1), ldx);
  float sums[4] = {};
  for (; c0 - t * 8 < end; c0 += step) {
    uint4 next[RUNS], v[HALVES][RUNS];
    if (c0 - t * 8 + step < end) {
#pragma unroll
      for (int i = 0; i < RUNS; i++) next[i] = load_once(weight + min(c0 + step + i * 32, last));
    }
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
#pragma unroll
      for (int i = 0; i < RUNS; i++) v[h][i] = *(const uint4*)(from[h] + min(c0 + i * 32, last));
    }
    if (c0 - t * 8 + RUNS * 32 > end) {
#pragma unroll
      for (int i = 0; i < RUNS; i++) {
        const int left = end - (c0 + i * 32);
        b[i] = first8(b[i], left);
#pragma unroll
        for (int h = 0; h < HALVES; h++) v[h][i] = first8(v[h][i], left);
      }
    }
#pragma unroll
    for (int i = 0; i < RUNS; i++) {
      const uint4 lower = v[0][i], upper = HALVES == 2 ? v[HALVES - 1][i] : zero16();
      multiply_add(sums, lower.x, upper.x, lower.y, upper.y, b[i].x, b[i].y);
      multiply_add(sums, lower.z, upper.z, lower.w, upper.w, b[i].z, b[i].w);
      b[i] = next[i];
    }
  }
  if (!isLow) {
    const bf16* narrow = weight + ((K + 7) & ~7);
    for (int e0 = warp * 32; e0 < E; e0 += blockDim.x) {
      const int e = e0 + t * 8;
      const uint4 factors = e < E ? load_once(narrow + e) : zero16();
      await_count(ready, target);
      uint4 u[2] = {zero16(), zero16()};
#pragma unroll
      for (int h = 0; h < HALVES; h++) {
        float total[8] = {};
        if (e < E) {
#pragma unroll
          for (int s = 0; s < LOW_SPLITS; s++) {
            const float* part = low + ((i64)s * M + min(g + 8 * h, M - 1)) * E + e;
            const float4 left = load_fresh(part), right = load_fresh(part + 4);
            total[0] += left.x;
            total[1] += left.y;
            total[2] += left.z;
            total[3] += left.w;
            total[4] += right.x;
            total[5] += right.y;
            total[6] += right.z;
            total[7] += right.w;
          }
        }
        u[h] = pack8(total);
      }
      multiply_add(sums, u[0].x, u[1].x, u[0].y, u[1].y, factors.x, factors.y);
      multiply_add(sums, u[0].z, u[1].z, u[0].w, u[1].w, factors.z, factors.w);
    }
  }
#pragma unroll
  for (int h = 0; h < HALVES; h++) {
    partial[warp][h * 8 + g][t * 2] = sums[h * 2];
    partial[warp][h * 8 + g][t * 2 + 1] = sums[h * 2 + 1];
  }
  __syncthreads();
  const int row = threadIdx.x / 8, n = threadIdx.x % 8;
  if (row < M) {
    float sum = 0.0f;
    for (int i = 0; i < (int)(blockDim.x >> 5); i++) sum += partial[i][row][n];
    if (isLow) low[((i64)split * M + row) * E + first + n] = sum;
    else if (first + n < N) {
      if (kind) row_of((float*)y, row, ldy)[first + n] = sum;
      else row_of((bf16*)y, row, ldy)[first + n] = to_bf16(sum);
    }
  }
  if (!isLow) return;
  __syncthreads();
  if (threadIdx.x == 0) count_up(ready);
}

KERNEL __launch_bounds__(1024) small_linear(void* y, const bf16* x, const bf16* w, const bf16* a, float* low, u32* ready, int M, int N, int K, int E, int ldy, int ldx, int ldw, int lda, int kind, u32 target) {
  small_product<1>(y, x, w, a, low, ready, M, N, K, E, ldy, ldx, ldw, lda, kind, target);
}
KERNEL __launch_bounds__(1024) small_linear_16(void* y, const bf16* x, const bf16* w, const bf16* a, float* low, u32* ready, int M, int N, int K, int E, int ldy, int ldx, int ldw, int lda, int kind, u32 target) {
  small_product<2>(y, x, w, a, low, ready, M, N, K, E, ldy, ldx, ldw, lda, kind, target);
}

/** index[row] = the lowest index of the largest logit. */
KERNEL __launch_bounds__(1024) argmax_rows(int* index, const void* logits, int rows, int V, int ld, int kind) {
  __shared__ float values[32];
  __shared__ int places[32];
  const int row = blockIdx.x, lane = threadIdx.x & 31;
  float best = -INFINITY_F;
  int place = 0x7fffffff;
  for (int c = threadIdx.x * 8; c < V; c += blockDim.x * 8) {
    float v[8];
    if (!kind) load8(row_of((const bf16*)logits, row, ld), c, V, v);
    for (int i = 0; i < 8 && c + i < V; i++) {
      const float x = kind ? row_of((const float*)logits, row, ld)[c + i] : v[i];
      if (x > best || place == 0x7fffffff) {
        best = x;
        place = c + i;
      }
    }
  }
  for (int pass = 0; pass < 2; pass++) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) {
      const float otherBest = __shfl_xor_sync(0xffffffffu, best, mask);
      const int otherPlace = __shfl_xor_sync(0xffffffffu, place, mask);
      if (otherBest > best || (otherBest == best && otherPlace < place)) {
        best = otherBest;
        place = otherPlace;
      }
    }
    if (pass == 1) break;
    if (lane == 0) {
      values[threadIdx.x >> 5] = best;
      places[threadIdx.x >> 5] = place;
    }
    __syncthreads();
    if (threadIdx.x >= 32) return;
    const bool used = lane < (int)(blockDim.x >> 5);
    best = used ? values[lane] : -INFINITY_F;
    place = used ? places[lane] : 0x7fffffff;
  }
  if (threadIdx.x == 0) index[row] = place;
}
