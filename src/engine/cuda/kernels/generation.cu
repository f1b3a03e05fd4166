// Prepended: common.cu, generation-helpers.cuh
// Decoding: products with a few rows of x, bound by reading the weight once.

#define PRODUCT_THREADS 128
#define PRODUCT_WARPS (PRODUCT_THREADS / 32)
#define NORM_COLUMNS 8192  // most columns of a row that is normalised on the way

/**
 * y [M, N] = x·Wᵀ + u·Bᵀ with u = bf16(x·Aᵀ), for M <= 8·HALVES. B [N, E] lies in the columns of w from roundup(K, 8)
 * on. A block has 8 rows of a matrix (the columns of the matrix instruction); its warps split K. Lane t takes columns
 * 8t .. 8t+7 of a run for both operands: the order of the depths within a run does not matter.
 *
 * The first E/8 · LOW_SPLITS blocks make u: each leaves a part of the sums for 8 of its columns in `low` (fp32
 * [LOW_SPLITS, M, E]) and counts itself in `ready`, which never goes back. The others stream W meanwhile and take u
 * at the end, when `ready` has come to `target`. Blocks start in the order of their indices, so those that are waited
 * for run already.
 *
 * Blocks take rows in turns: the next weights are on their way while sums are added up, and a row is normalised once a
 * block. Nothing is prefetched into the second-level cache: that was measured to be slower.
 *
 * With an activation (>= 0), w has 2N rows, gate above up: a block has 4 of each, and y = bf16(act(gate)·up).
 * With NORM, M is 1 and x is normalised first, by every block for itself while its first weights arrive; one writes the
 * sum.
 */
template <int HALVES, bool NORM>
DEVICE void small_product(bf16* y, const bf16* x, const bf16* w, const bf16* a, float* low, u32* ready,
                          const RowNorm& norm, int M, int N, int K, int E, int ldy, int ldx, int ldw, int lda,
                          int activation, u32 target) {
  constexpr int run_count = 4 / HALVES;  // of 32 columns that a warp has under way, twice
  constexpr int step = PRODUCT_WARPS * run_count * 32;
  __shared__ float partial[PRODUCT_WARPS][HALVES * 8][8];
  __shared__ uint4 normed[NORM ? NORM_COLUMNS / 8 : 1];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int low_blocks = E / 8 * LOW_SPLITS;
  const bool is_low = (int)blockIdx.x < low_blocks, is_gated = activation >= 0 && !is_low;
  const int split = is_low ? blockIdx.x % LOW_SPLITS : 0;
  const int share = is_low ? ((K + LOW_SPLITS - 1) / LOW_SPLITS + 31) & ~31 : K;
  const int begin = split * share, end = min(K, begin + share);
  int first = is_low ? blockIdx.x / LOW_SPLITS * 8 : (blockIdx.x - low_blocks) * (is_gated ? 4 : 8);
  const int last = last8(end);
  const bf16* weight;
  int c0;
  uint4 b[run_count];
  auto start = [&]() {
    // Rows past the end are read from the last one: their results are not written.
    const int own_row = is_gated ? min(first + g % 4, N - 1) + g / 4 * N : min(first + g, N - 1);
    weight = is_low ? row_of(a, first + g, lda) : row_of(w, own_row, ldw);
    c0 = begin + warp * run_count * 32 + t * 8;
#pragma unroll
    for (int i = 0; i < run_count; i++) b[i] = load_once(weight + min(c0 + i * 32, last));
  };
  start();
  if (NORM) normalize_row<PRODUCT_THREADS>((bf16*)normed, x, norm, K, norm.sum && (int)blockIdx.x == low_blocks);

  const bf16* from[HALVES];
#pragma unroll
  for (int h = 0; h < HALVES; h++) from[h] = NORM ? (const bf16*)normed : row_of(x, min(g + 8 * h, M - 1), ldx);
  for (bool is_next = false;; is_next = true) {
    float sums[4] = {};
    // At least once, as any warp may have to wait for u.
    bool is_last;
    do {
      is_last = c0 - t * 8 + step >= end;
      uint4 following[run_count], v[HALVES][run_count];
      if (!is_last) {
#pragma unroll
        for (int i = 0; i < run_count; i++) following[i] = load_once(weight + min(c0 + step + i * 32, last));
      } else if (!is_low && !is_next && warp * 32 < E) {
        // While the last weights arrive.
        await_count(ready, target);
      }
#pragma unroll
      for (int h = 0; h < HALVES; h++) {
#pragma unroll
        for (int i = 0; i < run_count; i++) v[h][i] = *(const uint4*)(from[h] + min(c0 + i * 32, last));
      }
      if (c0 - t * 8 + run_count * 32 > end) {
#pragma unroll
        for (int i = 0; i < run_count; i++) {
          const int left = end - (c0 + i * 32);
          b[i] = first8(b[i], left);
#pragma unroll
          for (int h = 0; h < HALVES; h++) v[h][i] = first8(v[h][i], left);
        }
      }
#pragma unroll
      for (int i = 0; i < run_count; i++) {
        const uint4 lower = v[0][i], upper = HALVES == 2 ? v[HALVES - 1][i] : zero16();
        multiply_add(sums, lower.x, upper.x, lower.y, upper.y, b[i].x, b[i].y);
        multiply_add(sums, lower.z, upper.z, lower.w, upper.w, b[i].z, b[i].w);
        b[i] = following[i];
      }
      c0 += step;
    } while (!is_last);
    if (!is_low) {
      const bf16* narrow = weight + ((K + 7) & ~7);
      for (int e0 = warp * 32; e0 < E; e0 += PRODUCT_THREADS) {
        const int e = e0 + t * 8;
        const uint4 factors = e < E ? load_once(narrow + e) : zero16();
        uint4 u[2] = {zero16(), zero16()};
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
          float total[8] = {};
          const float* part = low + (i64)min(g + 8 * h, M - 1) * E + e;
#pragma unroll 4
          for (int s = 0; s < (e < E ? LOW_SPLITS : 0); s++, part += M * E) {
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
          u[h] = pack8(total);
        }
        multiply_add(sums, u[0].x, u[1].x, u[0].y, u[1].y, factors.x, factors.y);
        multiply_add(sums, u[0].z, u[1].z, u[0].w, u[1].w, factors.z, factors.w);
      }
    }

    const int own_first = first;
    if (!is_low) first += ((int)gridDim.x - low_blocks) * (is_gated ? 4 : 8);
    const bool is_end = is_low || first >= N;
    if (!is_end) start();
    if (is_next) __syncthreads();
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
      partial[warp][h * 8 + g][t * 2] = sums[h * 2];
      partial[warp][h * 8 + g][t * 2 + 1] = sums[h * 2 + 1];
    }
    __syncthreads();
    const int row = threadIdx.x / 8, n = threadIdx.x % 8;
    if (row < M) {
      float sum = 0.0f, up = 0.0f;
#pragma unroll
      for (int i = 0; i < PRODUCT_WARPS; i++) {
        sum += partial[i][row][n];
        up += partial[i][row][n % 4 + 4];
      }
      if (is_low) {
        low[((i64)split * M + row) * E + own_first + n] = sum;
      } else if (is_gated) {
        sum = round_bf16(sum);
        float opening = 0.0f;
#define CALL(KIND) opening = gate_of<KIND>(sum)
        const int kind = activation;
        BY_KIND(CALL)
#undef CALL
        if (n < 4 && own_first + n < N) row_of(y, row, ldy)[own_first + n] = to_bf16(sum * opening * round_bf16(up));
      } else if (own_first + n < N) {
        row_of(y, row, ldy)[own_first + n] = to_bf16(sum);
      }
    }
    if (is_end) break;
  }
  if (!is_low) return;
  __syncthreads();
  if (threadIdx.x == 0) count_up(ready);
}

/**
 * Launch: grid [4·E/8 + ceil(N/8)], N/4 in place of N/8 with an activation, or fewer after the first 4·E/8: they take
 * rows in turns.
 */
#define SMALL_LINEAR(ROWS)                                                                                            \
  KERNEL __launch_bounds__(PRODUCT_THREADS, 6) small_linear_##ROWS(                                                   \
      bf16* y, const bf16* x, const bf16* w, const bf16* NULLABLE a, float* NULLABLE low, u32* NULLABLE ready, int M, \
      int N, int K, int E, int ldy, int ldx, int ldw, int lda, int activation, u32 target) {                          \
    small_product<ROWS / 8, false>(y, x, w, a, low, ready, RowNorm(), M, N, K, E, ldy, ldx, ldw, lda, activation,     \
                                   target);                                                                           \
  }
SMALL_LINEAR(8)
SMALL_LINEAR(16)
/** x and residual are one row; sum may be null. Launch: as small_linear. */
KERNEL __launch_bounds__(PRODUCT_THREADS, 6)
    small_linear_norm(bf16* y, const bf16* x, const bf16* w, const bf16* NULLABLE a, float* NULLABLE low,
                      u32* NULLABLE ready, bf16* NULLABLE sum, const bf16* NULLABLE residual, const bf16* norm_weight,
                      int N, int K, int E, int ldw, int lda, int activation, u32 target, float eps) {
  small_product<1, true>(y, x, w, a, low, ready, RowNorm{sum, residual, norm_weight, eps}, 1, N, K, E, N, K, ldw, lda,
                         activation, target);
}
