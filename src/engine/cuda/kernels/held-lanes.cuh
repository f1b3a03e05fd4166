// What a lane does with codes of 4 or 8 bits, for products with a few rows of x: see generation-held.cu.

#define CHUNK 64
#define TABLE_SCALE 1.437006f

/** bf16(value · TABLE_SCALE) by code; this scale minimises the rounding error. */
__constant__ u32 NF4_TABLE[16] = {0xbfb8, 0xbf80, 0xbf41, 0xbf11, 0xbed1, 0xbe88, 0xbe06, 0x0000,
                                  0x3dea, 0x3e6d, 0x3eb5, 0x3ef9, 0x3f22, 0x3f4f, 0x3f85, 0x3fb8};

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
 * A lane's two rows in NF4 for at most 4 rows of x, K a multiple of 128. A chunk is two blocks: lanes 0 and 1 of a
 * row have the first, 2 and 3 the second, 32 codes each. Columns 2m and 2m + 1 of the right operand are row m of x,
 * the one with zeros in place of the second block, the other in place of the first, so that a sum belongs to one block.
 */
struct Nf4Wide {
  typedef Nf4 Format;
  typedef uint4 Piece;
  static constexpr int width = 128;
  static constexpr int batch = 2;
  static constexpr bool has_table = true;
  static constexpr bool is_split = true;
  const Format& format;
  u32 from[2];  // first block of a row
  // absmax of two chunks: lane 2r + i has both blocks of chunk i of row r of the 16.
  int block;
  const float* table;
  u32 raw[2];
  float nested, scales[2];
  int lane;

  DEVICE Nf4Wide(const Format& format) : format(format), lane(threadIdx.x & 31) {}
  DEVICE void start(const int (&rows)[2], int K) {
#pragma unroll
    for (int i = 0; i < 2; i++) from[i] = format.block(rows[i], K);
    const int of = lane / 2 % 8 * 4;
    const int upper = __shfl_sync(0xffffffffu, rows[0], of), lower = __shfl_sync(0xffffffffu, rows[1], of);
    const int row = lane < 16 ? upper : lower;
    block = format.block(row, K);
    table = format.table(row);
  }
  DEVICE void load(Piece (&pieces)[2], int chunk) const {
    const int code = chunk * 64 + lane % 4 * 16;
#pragma unroll
    for (int j = 0; j < 2; j++) pieces[j] = load_once(format.codes + ((u64)from[j] * 32 + code));
  }
  /** Loads absmax of the two chunks from `chunk` on. */
  DEVICE void load_scales(int chunk, int last) {
    const int own = block + min(chunk + lane % 2, last) * 2;
    if (format.absmax_codes) {
      raw[0] = *(const unsigned short*)(format.absmax_codes + own);
      nested = format.absmax[own >> format.nested_shift];
    } else {
      const uint2 both = *(const uint2*)(format.absmax + own);
      raw[0] = both.x;
      raw[1] = both.y;
    }
  }
  DEVICE void take_scales() {
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const float absmax =
          format.absmax_codes ? table[raw[0] >> 8 * j & 0xffu] * nested + table[256] : __uint_as_float(raw[j]);
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
  static constexpr int batch = 2;
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
template <int THREADS>
DEVICE void fill_table(uint4* pairs) {
  const u32 own = NF4_TABLE[threadIdx.x & 15];
#pragma unroll
  for (int i = threadIdx.x; i < 2048; i += THREADS) {
    const int byte = i / 8;
    const u32 both = __shfl_sync(0xffffffffu, own, byte >> 4) | __shfl_sync(0xffffffffu, own, byte & 15) << 16;
    pairs[i] = make_uint4(both, both, both, both);
  }
}
