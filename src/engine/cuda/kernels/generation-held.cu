// Prepended: common.cu, generation-helpers.cuh, held-lanes.cuh
// Decoding from weights held in 4 or 8 bits: products with a few rows of x, bound by reading the codes once.
//
// A thread block has 16 rows of a matrix, the rows of the left mma operand; its warps split K in chunks of 64
// columns, of 128 for NF4 and at most 4 rows of x. Lane t of a row holds a quarter of a chunk, in both operands. What
// a lane does with its codes is in held-lanes.cuh.
//   NF4: a byte gives two values, packed bf16, from a table of all 256 bytes in shared memory; each lane has a copy in
//     its own bank. Three instructions for two values, one of them a load, and an mma for eight. absmax multiplies the
//     sums of a quantised block instead of its values. Bound by loads of all kinds: lookups, codes, absmax.
//   e4m3: sign, exponent and mantissa are shifted into a bf16 whose exponent is 120 too small; one exact multiplication
//     corrects two values. The scale of a row multiplies its sum.
// Asking for codes ahead in the second-level cache was measured to be slower.

#define HELD_THREADS 256
#define HELD_WARPS (HELD_THREADS / 32)
#define HELD_ROWS 16
#define HELD_NORM_COLUMNS 5632  // most columns with a fused norm: the row shares memory with the NF4 table

/** Parameters of a product other than the weight. */
struct Around {
  bf16* y;
  const bf16* x;
  const bf16* a;
  const bf16* b;
  float* low;
  u32* ready;
  int M, N, K, E, ldy, ldx, lda, ldb, activation;
  u32 target;
};

/** Range of columns of x that a block takes for its part of u. */
struct LowShare {
  int begin, end;
  DEVICE LowShare(int K) {
    const int share = ((K + LOW_SPLITS - 1) / LOW_SPLITS + 31) & ~31;
    begin = (int)blockIdx.x % LOW_SPLITS * share;
    end = min(K, begin + share);
  }
};

#define LOW_RUNS 4  // 16-byte loads of A under way

/** Columns of A from c0 on, for the 8 rows of a block; what lies after the share is to be dropped. */
DEVICE void load_low(const Around& p, const LowShare& share, int c0, uint4 (&b)[LOW_RUNS]) {
  const int lane = threadIdx.x & 31;
  const bf16* row = row_of(p.a, blockIdx.x / LOW_SPLITS * 8 + lane / 4, p.lda);
#pragma unroll
  for (int i = 0; i < LOW_RUNS; i++)
    b[i] = load_once(row + min(c0 + i * HELD_WARPS * 32 + lane % 4 * 8, last8(share.end)));
}

/** Part of u = x·Aᵀ: 8 columns, over K/LOW_SPLITS columns of x. `partial` [warps][8 · HALVES][8]; `b` are the first. */
template <int HALVES>
DEVICE void low_rank_part(const Around& p, const LowShare& share, uint4 (&b)[LOW_RUNS],
                          const bf16* const (&from)[HALVES], float* partial) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int split = blockIdx.x % LOW_SPLITS, first = blockIdx.x / LOW_SPLITS * 8, last = last8(share.end);
  float sums[4] = {};
  for (int c0 = share.begin + warp * 32; c0 < share.end;) {
#pragma unroll
    for (int i = 0; i < LOW_RUNS; i++) {
      const int c = c0 + i * HELD_WARPS * 32 + t * 8;
      const uint4 factors = first8(b[i], share.end - c);
      uint4 v[2] = {zero16(), zero16()};
#pragma unroll
      for (int h = 0; h < HALVES; h++) v[h] = first8(*(const uint4*)(from[h] + min(c, last)), share.end - c);
      multiply_add(sums, v[0].x, v[1].x, v[0].y, v[1].y, factors.x, factors.y);
      multiply_add(sums, v[0].z, v[1].z, v[0].w, v[1].w, factors.z, factors.w);
    }
    c0 += HELD_WARPS * LOW_RUNS * 32;
    if (c0 < share.end) load_low(p, share, c0, b);
  }
#pragma unroll
  for (int h = 0; h < HALVES; h++) {
    float* own = partial + (warp * HALVES * 8 + h * 8 + g) * 8 + t * 2;
    own[0] = sums[h * 2];
    own[1] = sums[h * 2 + 1];
  }
  __syncthreads();
  const int m = threadIdx.x / 8, n = threadIdx.x % 8;
  if (m < p.M) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < HELD_WARPS; i++) sum += partial[(i * HALVES * 8 + m) * 8 + n];
    p.low[((i64)split * p.M + m) * p.E + first + n] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) count_up(p.ready);
}

/**
 * y [M, N] = x·Wᵀ + u·Bᵀ with u = bf16(x·Aᵀ), for M <= 8·HALVES, and all else as small_product in generation.cu: the
 * first blocks make u, an activation takes gate and up from one block (its upper and its lower 8 rows), NORM
 * normalises the one row of x.
 */
template <class Lane, int HALVES, bool NORM>
DEVICE void held_product(const typename Lane::Format& format, const Around& p, const RowNorm& norm) {
  constexpr int batch = Lane::batch, width = Lane::width;
  __shared__ uint4 table[Lane::has_table ? 2048 : 1];
  __shared__ uint4 normed[NORM ? HELD_NORM_COLUMNS / 8 : 1];
  __shared__ float partial[HELD_WARPS * HALVES * 8 / (Lane::is_split ? 2 : 1) * HELD_ROWS];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int low_blocks = p.E / 8 * LOW_SPLITS;
  const bool is_low = (int)blockIdx.x < low_blocks, is_gated = p.activation >= 0;
  const int own = is_gated ? HELD_ROWS / 2 : HELD_ROWS;
  Lane weights(format);
  const int chunks = (p.K + width - 1) / width, share = (chunks + HELD_WARPS - 1) / HELD_WARPS;
  const int begin = warp * share, end = min(chunks, begin + share);
  typename Lane::Piece pieces[batch][2];
  int first = ((int)blockIdx.x - low_blocks) * own;
  // Rows past the end are read from the last one: their results are not written.
  int rows[2];
  auto start = [&]() {
    rows[0] = min(first + g, p.N - 1);
    rows[1] = is_gated ? rows[0] + p.N : min(first + 8 + g, p.N - 1);
    weights.start(rows, p.K);
#pragma unroll
    for (int i = 0; i < batch; i++) weights.load(pieces[i], min(begin + i, chunks - 1));
    weights.load_scales(min(begin, chunks - 1), chunks - 1);
  };
  const LowShare low_share(p.K);
  uint4 low_rows[LOW_RUNS];
  if (!is_low) {
    start();
    if (Lane::has_table) fill_table<HELD_THREADS>(table);
  } else {
    load_low(p, low_share, low_share.begin + warp * 32, low_rows);
  }
  if (NORM)
    normalize_row<HELD_THREADS>((bf16*)normed, p.x, norm, p.K, norm.sum && (int)blockIdx.x == low_blocks);
  else if (Lane::has_table)
    __syncthreads();
  if (is_low) {
    const bf16* from[HALVES];
#pragma unroll
    for (int h = 0; h < HALVES; h++) from[h] = NORM ? (const bf16*)normed : row_of(p.x, min(g + 8 * h, p.M - 1), p.ldx);
    return low_rank_part<HALVES>(p, low_share, low_rows, from, partial);
  }
  // Row of x in column g of the right operand, and whether this lane has a part of it.
  const bool has_x = !Lane::is_split || (g / 2 < p.M && g % 2 == t / 2);
  const bf16* from[HALVES];
#pragma unroll
  for (int h = 0; h < HALVES; h++) {
    const int row = min(Lane::is_split ? g / 2 : g + 8 * h, p.M - 1);
    from[h] = (NORM ? (const bf16*)normed : row_of(p.x, row, p.ldx)) + t * (width / 4);
  }
  const bool has_low = warp * 16 < p.E;
  // u stays in registers and B comes before the codes, where a lane has registers left.
  constexpr bool keeps_low = Lane::is_split || !Lane::has_table;
  uint2 low[HALVES];
  // Depths e .. e+3 of u.
  auto take_low = [&](int e) {
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
      const int row = Lane::is_split ? g / 2 : g + 8 * h;
      const float* part = p.low + min(row, p.M - 1) * p.E + e;
      float4 u = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
      for (int s = 0; s < LOW_SPLITS; s++, part += p.M * p.E) {
        const float4 share_of_u = load_fresh(part);
        u.x += share_of_u.x;
        u.y += share_of_u.y;
        u.z += share_of_u.z;
        u.w += share_of_u.w;
      }
      low[h] = make_uint2(pack_bf16(u.x, u.y), pack_bf16(u.z, u.w));
      if (Lane::is_split && g % 2) low[h] = make_uint2(0, 0);
    }
  };

  for (bool is_next = false;; is_next = true) {
    // Lane t has depths 4t .. 4t+3 of 16 columns of u and B.
    uint2 factors[2];
    if (keeps_low && has_low) {
#pragma unroll
      for (int i = 0; i < 2; i++) factors[i] = load_once8(row_of(p.b, rows[i], p.ldb) + warp * 16 + t * 4);
    }
    float sums[HALVES][4] = {};
    for (int c = begin; c < end; c += batch) {
      weights.take_scales();
      if (c + batch < end) weights.load_scales(c + batch, end - 1);
#pragma unroll
      for (int i = 0; i < batch; i++) {
        if (c + i >= end) continue;
        const int column = (c + i) * width;
        const bool is_inside = has_x && (Lane::is_split || column + t * (width / 4) < p.K);
        uint4 v[HALVES][width / 32];
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
#pragma unroll
          for (int j = 0; j < width / 32; j++)
            v[h][j] = is_inside ? *(const uint4*)(from[h] + column + j * 8) : zero16();
        }
        float own[HALVES][4] = {};
#pragma unroll
        for (int j = 0; j < width / 16; j++) {
          u32 left[2], right[2];
          weights.expand(pieces[i][0], j, (const u32*)table, left[0], left[1]);
          weights.expand(pieces[i][1], j, (const u32*)table, right[0], right[1]);
#pragma unroll
          for (int h = 0; h < HALVES; h++) {
            const uint4 x = v[h][j / 2];
            multiply_add(own[h], left[0], right[0], left[1], right[1], j % 2 ? x.z : x.x, j % 2 ? x.w : x.y);
          }
        }
#pragma unroll
        for (int h = 0; h < HALVES; h++) weights.add(sums[h], own[h], i);
        if (c + i + batch < end) weights.load(pieces[i], c + i + batch);
      }
    }
#pragma unroll
    for (int h = 0; h < HALVES; h++) weights.finish(sums[h]);
    // The next rows are prefetched while these are reduced.
    const int own_first = first, own_rows[2] = {rows[0], rows[1]};
    first += ((int)gridDim.x - low_blocks) * own;
    const bool is_last = first >= p.N;
    if (!is_last) start();

    if (has_low) {
      if (!is_next) await_count(p.ready, p.target);
#pragma unroll 1
      for (int e = warp * 16 + t * 4; e < p.E; e += HELD_WARPS * 16) {
        if (!keeps_low || e >= HELD_WARPS * 16) {
#pragma unroll
          for (int i = 0; i < 2; i++) factors[i] = load_once8(row_of(p.b, own_rows[i], p.ldb) + e);
        }
        if (!keeps_low || !is_next || p.E > HELD_WARPS * 16) take_low(e);
#pragma unroll
        for (int h = 0; h < HALVES; h++)
          multiply_add(sums[h], factors[0].x, factors[1].x, factors[0].y, factors[1].y, low[h].x, low[h].y);
      }
    }

    // Those of the rows before are added up.
    if (is_next) __syncthreads();
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
      if (Lane::is_split) {
        float* to = partial + (warp * 4 + t) * HELD_ROWS + g;
        to[0] = sums[h][0];
        to[8] = sums[h][2];
      } else {
        float* to = partial + (warp * HALVES * 8 + h * 8 + t * 2) * HELD_ROWS + g;
        to[0] = sums[h][0];
        to[HELD_ROWS] = sums[h][1];
        to[8] = sums[h][2];
        to[HELD_ROWS + 8] = sums[h][3];
      }
    }
    __syncthreads();
    const int m = threadIdx.x / HELD_ROWS, n = threadIdx.x % HELD_ROWS;
    if (m < p.M) {
      float sum = 0.0f, up = 0.0f;
#pragma unroll
      for (int i = 0; i < HELD_WARPS; i++) {
        const float* row = partial + (i * (Lane::is_split ? 4 : HALVES * 8) + m) * HELD_ROWS;
        sum += row[n];
        up += row[n % 8 + 8];
      }
      bf16* y = row_of(p.y, m, p.ldy) + own_first;
      if (is_gated) {
        sum = round_bf16(sum);
        float opening = 0.0f;
#define CALL(KIND) opening = gate_of<KIND>(sum)
        const int kind = p.activation;
        BY_KIND(CALL)
#undef CALL
        if (n < 8 && own_first + n < p.N) y[n] = to_bf16(sum * opening * round_bf16(up));
      } else if (own_first + n < p.N) {
        y[n] = to_bf16(sum);
      }
    }
    if (is_last) return;
  }
}

template <int ROWS>
struct Nf4Choice {
  typedef Nf4Lane Lane;
};
template <>
struct Nf4Choice<4> {
  typedef Nf4Wide Lane;
};
template <int ROWS>
using Nf4For = typename Nf4Choice<ROWS>::Lane;

/** Launch: grid [4·E/8 + ceil(N/16)], N/8 in place of N/16 with an activation, or fewer: they take rows in turns. */
#define SMALL_LINEAR_NF4(ROWS)                                                                                        \
  KERNEL __launch_bounds__(HELD_THREADS, ROWS == 4   ? 3                                                              \
                                         : ROWS == 8 ? 4                                                              \
                                                     : 2)                                                             \
      small_linear_nf4_##ROWS(bf16* y, const bf16* x, const u8* codes, const u8* NULLABLE absmax_codes,               \
                              const float* absmax, const float* NULLABLE table0, const float* NULLABLE table1,        \
                              const float* NULLABLE table2, const float* NULLABLE table3, const bf16* NULLABLE a,     \
                              const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, int first,            \
                              int nested_shift, int part_row1, int part_row2, int part_row3, int part_block0,         \
                              int part_block1, int part_block2, int part_block3, int M, int N, int K, int E, int ldy, \
                              int ldx, int lda, int ldb, int activation, u32 target) {                                \
    const Nf4 format = {codes,       absmax_codes, absmax,       table0,     table1,    table2,                       \
                        table3,      first,        nested_shift, part_row1,  part_row2, part_row3,                    \
                        part_block0, part_block1,  part_block2,  part_block3};                                        \
    const Around p = {y, x, a, b, low, ready, M, N, K, E, ldy, ldx, lda, ldb, activation, target};                    \
    held_product<Nf4For<ROWS>, (ROWS + 7) / 8, false>(format, p, RowNorm());                                          \
  }
SMALL_LINEAR_NF4(4)
SMALL_LINEAR_NF4(8)
SMALL_LINEAR_NF4(16)
/** x and residual are one row; sum may be null. Launch: as small_linear_nf4. */
KERNEL __launch_bounds__(HELD_THREADS, 3)
    small_linear_norm_nf4(bf16* y, const bf16* x, const u8* codes, const u8* NULLABLE absmax_codes, const float* absmax,
                          const float* NULLABLE table0, const float* NULLABLE table1, const float* NULLABLE table2,
                          const float* NULLABLE table3, const bf16* NULLABLE a, const bf16* NULLABLE b,
                          float* NULLABLE low, u32* NULLABLE ready, bf16* NULLABLE sum, const bf16* NULLABLE residual,
                          const bf16* norm_weight, int first, int nested_shift, int part_row1, int part_row2,
                          int part_row3, int part_block0, int part_block1, int part_block2, int part_block3, int N,
                          int K, int E, int lda, int ldb, int activation, u32 target, float eps) {
  const Nf4 format = {codes,       absmax_codes, absmax,       table0,     table1,    table2,
                      table3,      first,        nested_shift, part_row1,  part_row2, part_row3,
                      part_block0, part_block1,  part_block2,  part_block3};
  const Around p = {y, x, a, b, low, ready, 1, N, K, E, N, K, lda, ldb, activation, target};
  held_product<Nf4Wide, 1, true>(format, p, RowNorm{sum, residual, norm_weight, eps});
}

/** Launch: as small_linear_nf4. */
#define SMALL_LINEAR_E4M3(ROWS)                                                                                       \
  KERNEL __launch_bounds__(HELD_THREADS, ROWS == 8 ? 4 : 2)                                                           \
      small_linear_e4m3_##ROWS(bf16* y, const bf16* x, const u8* codes, const float* scales, const bf16* NULLABLE a,  \
                               const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, int M, int N, int K, \
                               int E, int ldy, int ldx, int ldc, int lda, int ldb, int activation, u32 target) {      \
    const Around p = {y, x, a, b, low, ready, M, N, K, E, ldy, ldx, lda, ldb, activation, target};                    \
    held_product<E4m3Lane, ROWS / 8, false>(E4m3{codes, scales, ldc}, p, RowNorm());                                  \
  }
SMALL_LINEAR_E4M3(8)
SMALL_LINEAR_E4M3(16)
/** x and residual are one row; sum may be null. Launch: as small_linear_nf4. */
KERNEL __launch_bounds__(HELD_THREADS, 4)
    small_linear_norm_e4m3(bf16* y, const bf16* x, const u8* codes, const float* scales, const bf16* NULLABLE a,
                           const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, bf16* NULLABLE sum,
                           const bf16* NULLABLE residual, const bf16* norm_weight, int N, int K, int E, int ldc,
                           int lda, int ldb, int activation, u32 target, float eps) {
  const Around p = {y, x, a, b, low, ready, 1, N, K, E, N, K, lda, ldb, activation, target};
  held_product<E4m3Lane, 1, true>(E4m3{codes, scales, ldc}, p, RowNorm{sum, residual, norm_weight, eps});
}
