// Prepended: common.cu, generation-helpers.cuh
// Decoding from weights held in 4 or 8 bits: products with a few rows of x, bound by reading the codes once.
//
// A thread block has 16 rows of a matrix, the rows of the left mma operand; its warps split K in chunks of 64 columns.
// Lane t of a row holds columns 16t .. 16t+15 of a chunk, in both operands. A chunk of NF4 is then one quantised block,
// so absmax multiplies its sums instead of its values.
//   NF4: a byte gives two values, packed bf16, from a table of all 256 bytes in shared memory; each lane has a copy in
//     its own bank. Three instructions for two values, one of them a load, and an mma for eight.
//   e4m3: sign, exponent and mantissa are shifted into a bf16 whose exponent is 120 too small; one exact multiplication
//     corrects two values. The scale of a row multiplies its sum.

#ifndef HELD_THREADS
#define HELD_THREADS 256
#endif
#define HELD_WARPS (HELD_THREADS / 32)
#define HELD_ROWS 16
#define HELD_NORM_COLUMNS 5632  // most columns with a fused norm: the row shares memory with the NF4 table
#define CHUNK 64
#define TABLE_SCALE 1.437006f
#ifndef PREFETCH_BYTES
#define PREFETCH_BYTES 2048u  // of each row, into the second-level cache
#endif
#ifndef E4M3_BATCH
#define E4M3_BATCH 2
#endif
#ifndef E4M3_BLOCKS
#define E4M3_BLOCKS 4
#endif
#ifndef WIDE_BATCH
#define WIDE_BATCH 2
#endif
#ifndef WIDE_BLOCKS
#define WIDE_BLOCKS 4
#endif

/** bf16(value · TABLE_SCALE) by code; this scale minimises the rounding error. */
__constant__ u32 NF4_TABLE[16] = {0xbfb8, 0xbf80, 0xbf41, 0xbf11, 0xbed1, 0xbe88, 0xbe06, 0x0000,
                                  0x3dea, 0x3e6d, 0x3eb5, 0x3ef9, 0x3f22, 0x3f4f, 0x3f85, 0x3fb8};

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

/** Layout of widen_nf4, blocks of 64, K a multiple of 64. Row 0 of the product is row `first` of the matrix. */
struct Nf4 {
  const u8* codes;
  const u8* absmax_codes;
  const float* absmax;
  const float* table0;
  const float* table1;
  const float* table2;
  const float* table3;
  int first, nested_shift, part_row1, part_row2, part_row3, part_block0, part_block1, part_block2, part_block3;

  /** First block of a row of the product. */
  DEVICE int block(int of, int K) const {
    const int row = first + of;
    int from = 0, block = part_block0;
    if (row >= part_row1) from = part_row1, block = part_block1;
    if (row >= part_row2) from = part_row2, block = part_block2;
    if (row >= part_row3) from = part_row3, block = part_block3;
    return block + (row - from) * (K / CHUNK);
  }
  DEVICE const float* table(int of) const {
    const int row = first + of;
    return row >= part_row3 ? table3 : row >= part_row2 ? table2 : row >= part_row1 ? table1 : table0;
  }
};
struct E4m3 {
  const u8* codes;
  const float* scales;  // [rows]
  int ld;
};

/** A lane's two rows in NF4. */
struct Nf4Lane {
  typedef Nf4 Format;
  typedef uint2 Piece;              // the codes of a lane in a chunk
  static constexpr int width = 64;  // columns of a chunk
  static constexpr int batch = 4;   // chunks in flight per warp
  static constexpr bool is_split = false;
  static constexpr bool has_table = true;
  const Format& format;
  const u8* from[2];
  // absmax of a batch: lanes 0 and 1 decode two chunks each of the upper row, 2 and 3 of the lower one.
  int block;
  const float* table;
  float raw[2], nested[2], scales[2];
  int lane;

  DEVICE Nf4Lane(const Nf4& format) : format(format), lane(threadIdx.x & 31) {}
  DEVICE void start(const int (&rows)[2], int K) {
    const int blocks[2] = {format.block(rows[0], K), format.block(rows[1], K)};
#pragma unroll
    for (int i = 0; i < 2; i++) from[i] = format.codes + (u64)(u32)blocks[i] * (CHUNK / 2) + lane % 4 * 8;
    block = (lane % 4 < 2 ? blocks[0] : blocks[1]) + lane % 2 * 2;
    table = format.table(lane % 4 < 2 ? rows[0] : rows[1]);
  }
  static DEVICE u32 row_bytes(int K) { return K / 2; }
  DEVICE const u8* row_codes(bool lower) const { return (lower ? from[1] : from[0]) - lane % 4 * 8; }
  DEVICE void load(Piece (&pieces)[2], int chunk) const {
#pragma unroll
    for (int j = 0; j < 2; j++) pieces[j] = load_once8(from[j] + chunk * (CHUNK / 2));
  }
  /** Loads absmax of the batch that starts at `chunk`. */
  DEVICE void load_scales(int chunk, int last) {
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const int own = min(chunk + j, last - lane % 2 * 2);
      if (format.absmax_codes) {
        raw[j] = __uint_as_float(format.absmax_codes[block + own]);
        nested[j] = format.absmax[(block + own) >> format.nested_shift];
      } else {
        raw[j] = format.absmax[block + own];
      }
    }
  }
  /** Decodes what load_scales loaded, for the current batch. */
  DEVICE void take_scales() {
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const float absmax = format.absmax_codes ? table[__float_as_uint(raw[j])] * nested[j] + table[256] : raw[j];
      scales[j] = absmax * (1.0f / TABLE_SCALE);
    }
  }
  static DEVICE u32 pair(const u32* pairs, u32 bytes) { return *(const u32*)((const u8*)pairs + bytes); }
  /** Values 4i .. 4i+3 of a piece. `pairs` has 128 bytes per code byte, one word per lane. */
  DEVICE void expand(const Piece& piece, int i, const u32* pairs, u32& first, u32& second) const {
    const u32 word = i < 2 ? piece.x : piece.y;
    const u32 left = i % 2 == 0 ? word << 7 : word >> 9, right = i % 2 == 0 ? word >> 1 : word >> 17;
    first = pair(pairs, (left & 0x7f80u) | (u32)lane * 4);
    second = pair(pairs, (right & 0x7f80u) | (u32)lane * 4);
  }
  DEVICE void add(float (&sums)[4], const float (&own)[4], int i) const {
    const float upper = __shfl_sync(0xffffffffu, scales[i % 2], (lane & ~3) + i / 2);
    const float lower = __shfl_sync(0xffffffffu, scales[i % 2], (lane & ~3) + 2 + i / 2);
    sums[0] += own[0] * upper;
    sums[1] += own[1] * upper;
    sums[2] += own[2] * lower;
    sums[3] += own[3] * lower;
  }
  DEVICE void finish(float (&)[4]) const {}
};

/**
 * A lane's two rows in NF4 for at most 4 rows of x. A chunk is two blocks: lanes 0 and 1 of a row have the first,
 * 2 and 3 the second, 32 codes each. Columns 2m and 2m + 1 of the right operand are row m of x, the one with zeros in
 * place of the second block, the other in place of the first, so that a sum belongs to one block.
 */
struct Nf4Wide {
  typedef Nf4 Format;
  typedef uint4 Piece;
  static constexpr int width = 128;
  static constexpr int batch = WIDE_BATCH;
  static constexpr bool has_table = true;
  static constexpr bool is_split = true;
  const Format& format;
  const u8* from[2];
  // absmax of two chunks: lane 2r + i has both blocks of chunk i of row r of the 16.
  int block, last_block, last_code;
  const float* table;
  u32 raw[2];
  float nested[2], scales[2];
  int lane;

  DEVICE Nf4Wide(const Format& format) : format(format), lane(threadIdx.x & 31) {}
  DEVICE void start(const int (&rows)[2], int K) {
    last_block = K / 64 - 1;
    last_code = K / 2 - 16;
#pragma unroll
    for (int i = 0; i < 2; i++) from[i] = format.codes + (u64)(u32)format.block(rows[i], K) * 32;
    const int of = lane / 2 % 8 * 4;
    const int upper = __shfl_sync(0xffffffffu, rows[0], of), lower = __shfl_sync(0xffffffffu, rows[1], of);
    const int row = lane < 16 ? upper : lower;
    block = format.block(row, K);
    table = format.table(row);
  }
  static DEVICE u32 row_bytes(int K) { return K / 2; }
  DEVICE const u8* row_codes(bool lower) const { return lower ? from[1] : from[0]; }
  DEVICE void load(Piece (&pieces)[2], int chunk) const {
    const int code = min(chunk * 64 + lane % 4 * 16, last_code);
#pragma unroll
    for (int j = 0; j < 2; j++) pieces[j] = load_once(from[j] + code);
  }
  /** Loads absmax of the two chunks from `chunk` on. */
  DEVICE void load_scales(int chunk, int last) {
    const int own = min(chunk + lane % 2, last) * 2;
    const int first = block + own, second = block + min(own + 1, last_block);
    if (format.absmax_codes) {
      if (last_block % 2) {
        const u32 both = *(const unsigned short*)(format.absmax_codes + first);
        raw[0] = both & 0xffu;
        raw[1] = both >> 8;
      } else {
        raw[0] = format.absmax_codes[first];
        raw[1] = format.absmax_codes[second];
      }
      nested[0] = format.absmax[first >> format.nested_shift];
      nested[1] = format.absmax[second >> format.nested_shift];
    } else {
      raw[0] = __float_as_uint(format.absmax[first]);
      raw[1] = __float_as_uint(format.absmax[second]);
    }
  }
  DEVICE void take_scales() {
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const float absmax = format.absmax_codes ? table[raw[j]] * nested[j] + table[256] : __uint_as_float(raw[j]);
      scales[j] = absmax * (1.0f / TABLE_SCALE);
    }
  }
  DEVICE void expand(const Piece& piece, int i, const u32* pairs, u32& first, u32& second) const {
    const u32 word = i < 2 ? piece.x : i < 4 ? piece.y : i < 6 ? piece.z : piece.w;
    const u32 left = i % 2 == 0 ? word << 7 : word >> 9, right = i % 2 == 0 ? word >> 1 : word >> 17;
    first = Nf4Lane::pair(pairs, (left & 0x7f80u) | (u32)lane * 4);
    second = Nf4Lane::pair(pairs, (right & 0x7f80u) | (u32)lane * 4);
  }
  DEVICE void add(float (&sums)[4], const float (&own)[4], int i) const {
    const int of = lane / 4 * 2 + i % 2;
#pragma unroll
    for (int j = 0; j < 2; j++) {
      sums[0] += own[j] * __shfl_sync(0xffffffffu, scales[j], of);
      sums[2] += own[2 + j] * __shfl_sync(0xffffffffu, scales[j], of + 16);
    }
  }
  DEVICE void finish(float (&)[4]) const {}
};

/** A lane's two rows in e4m3; K a multiple of 16. */
struct E4m3Lane {
  typedef E4m3 Format;
  typedef uint4 Piece;
  static constexpr int width = 64;
  static constexpr int batch = E4M3_BATCH;
  static constexpr bool is_split = false;
  static constexpr bool has_table = false;
  const Format& format;
  const u8* from[2];
  float scales[2];
  int K, column;

  DEVICE E4m3Lane(const E4m3& format) : format(format), column((threadIdx.x & 3) * 16) {}
  DEVICE void start(const int (&rows)[2], int columns) {
    K = columns;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      from[i] = format.codes + (i64)rows[i] * format.ld;
      scales[i] = format.scales[rows[i]];
    }
  }
  static DEVICE u32 row_bytes(int K) { return K; }
  DEVICE const u8* row_codes(bool lower) const { return lower ? from[1] : from[0]; }
  DEVICE void load(Piece (&pieces)[2], int chunk) const {
    const int c = chunk * CHUNK + column;
#pragma unroll
    for (int j = 0; j < 2; j++) pieces[j] = c < K ? load_once(from[j] + c) : zero16();
  }
  DEVICE void load_scales(int, int) {}
  DEVICE void take_scales() {}
  static DEVICE u32 widen2(u32 spread) {
    return multiply_bf16((spread & 0x80008000u) | ((spread >> 4) & 0x07f007f0u), 0x7b807b80u);
  }
  DEVICE void expand(const Piece& piece, int i, const u32*, u32& first, u32& second) const {
    const u32 word = i == 0 ? piece.x : i == 1 ? piece.y : i == 2 ? piece.z : piece.w;
    first = widen2(permute_bytes(word, 0, 0x1404));
    second = widen2(permute_bytes(word, 0, 0x3424));
  }
  DEVICE void add(float (&sums)[4], const float (&own)[4], int) const {
#pragma unroll
    for (int j = 0; j < 4; j++) sums[j] += own[j];
  }
  DEVICE void finish(float (&sums)[4]) const {
    sums[0] *= scales[0];
    sums[1] *= scales[0];
    sums[2] *= scales[1];
    sums[3] *= scales[1];
  }
};

/** Fills the table: the two values of each byte, once per lane. */
DEVICE void fill_table(uint4* pairs) {
  const u32 own = NF4_TABLE[threadIdx.x & 15];
#pragma unroll
  for (int i = threadIdx.x; i < 2048; i += HELD_THREADS) {
    const int byte = i / 8;
    const u32 both = __shfl_sync(0xffffffffu, own, byte >> 4) | __shfl_sync(0xffffffffu, own, byte & 15) << 16;
    pairs[i] = make_uint4(both, both, both, both);
  }
}

/** Range of columns of x that a block takes for its part of u. */
struct LowShare {
  int begin, end;
  DEVICE LowShare(int K) {
    const int share = ((K + LOW_SPLITS - 1) / LOW_SPLITS + 31) & ~31;
    begin = (int)blockIdx.x % LOW_SPLITS * share;
    end = min(K, begin + share);
  }
};
/** Brings what low_rank_part reads of row g of A into the second-level cache. */
DEVICE void prefetch_low(const Around& p, int g) {
  const LowShare share(p.K);
  const bf16* row = row_of(p.a, blockIdx.x / LOW_SPLITS * 8 + g, p.lda);
  if (share.begin < share.end) prefetch(row + share.begin, 2 * (share.end - share.begin) & ~15);
}

/** Part of u = x·Aᵀ: 8 columns, over K/LOW_SPLITS columns of x. `partial` [warps][8 · HALVES][8]. */
template <int HALVES>
DEVICE void low_rank_part(const Around& p, const bf16* const (&from)[HALVES], float* partial) {
  constexpr int run_count = 4;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int split = blockIdx.x % LOW_SPLITS, first = blockIdx.x / LOW_SPLITS * 8;
  const LowShare share(p.K);
  const int begin = share.begin, end = share.end, last = last8(end);
  const bf16* row = row_of(p.a, first + g, p.lda);
  float sums[4] = {};
  for (int c0 = begin + warp * 32; c0 < end; c0 += HELD_WARPS * run_count * 32) {
    uint4 b[run_count], v[HALVES][run_count];
#pragma unroll
    for (int i = 0; i < run_count; i++) {
      const int c = c0 + i * HELD_WARPS * 32 + t * 8;
      b[i] = first8(load_once(row + min(c, last)), end - c);
#pragma unroll
      for (int h = 0; h < HALVES; h++) v[h][i] = first8(*(const uint4*)(from[h] + min(c, last)), end - c);
    }
#pragma unroll
    for (int i = 0; i < run_count; i++) {
      const uint4 lower = v[0][i], upper = HALVES == 2 ? v[HALVES - 1][i] : zero16();
      multiply_add(sums, lower.x, upper.x, lower.y, upper.y, b[i].x, b[i].y);
      multiply_add(sums, lower.z, upper.z, lower.w, upper.w, b[i].z, b[i].w);
    }
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
    const u32 bytes = min(PREFETCH_BYTES, Lane::row_bytes(p.K)) & ~15u;
    if (warp == 0 && t < 2) prefetch(weights.row_codes(t == 1), bytes);
  };
  if (!is_low) {
    start();
    if (Lane::has_table) fill_table(table);
  } else if (warp == 0 && t == 0) {
    prefetch_low(p, g);
  }
  if (NORM)
    normalize_row<HELD_THREADS>((bf16*)normed, p.x, norm, p.K, norm.sum && (int)blockIdx.x == low_blocks);
  else if (Lane::has_table)
    __syncthreads();
  if (is_low) {
    const bf16* from[HALVES];
#pragma unroll
    for (int h = 0; h < HALVES; h++) from[h] = NORM ? (const bf16*)normed : row_of(p.x, min(g + 8 * h, p.M - 1), p.ldx);
    return low_rank_part<HALVES>(p, from, partial);
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
    if (has_low) {
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
        const bool is_inside = has_x && column + t * (width / 4) < p.K;
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
        if (e >= HELD_WARPS * 16) {
#pragma unroll
          for (int i = 0; i < 2; i++) factors[i] = load_once8(row_of(p.b, own_rows[i], p.ldb) + e);
        }
        if (!is_next || p.E > HELD_WARPS * 16) take_low(e);
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
  KERNEL __launch_bounds__(HELD_THREADS, ROWS == 16 ? 2 : 4) small_linear_nf4_##ROWS(                                 \
      bf16* y, const bf16* x, const u8* codes, const u8* NULLABLE absmax_codes, const float* absmax,                  \
      const float* NULLABLE table0, const float* NULLABLE table1, const float* NULLABLE table2,                       \
      const float* NULLABLE table3, const bf16* NULLABLE a, const bf16* NULLABLE b, float* NULLABLE low,              \
      u32* NULLABLE ready, int first, int nested_shift, int part_row1, int part_row2, int part_row3, int part_block0, \
      int part_block1, int part_block2, int part_block3, int M, int N, int K, int E, int ldy, int ldx, int lda,       \
      int ldb, int activation, u32 target) {                                                                          \
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
KERNEL __launch_bounds__(HELD_THREADS, WIDE_BLOCKS)
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
  KERNEL __launch_bounds__(HELD_THREADS, ROWS == 8 ? E4M3_BLOCKS : 2)                                                 \
      small_linear_e4m3_##ROWS(bf16* y, const bf16* x, const u8* codes, const float* scales, const bf16* NULLABLE a,  \
                               const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, int M, int N, int K, \
                               int E, int ldy, int ldx, int ldc, int lda, int ldb, int activation, u32 target) {      \
    const Around p = {y, x, a, b, low, ready, M, N, K, E, ldy, ldx, lda, ldb, activation, target};                    \
    held_product<E4m3Lane, ROWS / 8, false>(E4m3{codes, scales, ldc}, p, RowNorm());                                  \
  }
SMALL_LINEAR_E4M3(8)
SMALL_LINEAR_E4M3(16)
/** x and residual are one row; sum may be null. Launch: as small_linear_nf4. */
KERNEL __launch_bounds__(HELD_THREADS, E4M3_BLOCKS)
    small_linear_norm_e4m3(bf16* y, const bf16* x, const u8* codes, const float* scales, const bf16* NULLABLE a,
                           const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, bf16* NULLABLE sum,
                           const bf16* NULLABLE residual, const bf16* norm_weight, int N, int K, int E, int ldc,
                           int lda, int ldb, int activation, u32 target, float eps) {
  const Around p = {y, x, a, b, low, ready, 1, N, K, E, N, K, lda, ldb, activation, target};
  held_product<E4m3Lane, 1, true>(E4m3{codes, scales, ldc}, p, RowNorm{sum, residual, norm_weight, eps});
}
