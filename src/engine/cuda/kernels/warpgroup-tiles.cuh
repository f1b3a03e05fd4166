// Tiles of the warpgroup attention kernels: rows of one key head in shared memory, products of tiles, rows back to
// global memory. Prepended as text after warpgroup-helpers.cuh.
//
// Macros (attention-work.ts has the tested table):
//   HEAD_DIM     D, 64 or 128
//   WARPS        warps a block, a multiple of 4; each has 16 rows of the block's own tile
//   STREAM_TILE  rows of the other side that a step of the loop brings in: 32, 64, 96 or 128
//   MIN_BLOCKS   blocks that should fit on a multiprocessor (the register budget)
//   GROUP        query heads of a key head whose rows share a tile: row m of the tile is head m % GROUP of position
//                m / GROUP. A divisor of 64. So a tile covers fewer positions: less is computed beyond the diagonal.
//   OWN_IN_REGISTERS  1: the block's own rows are left operands in registers, 0: in shared memory
//   STAGES       tiles of the other side in shared memory at a time, 2 or more; the key side's backward: 2 or 3
//   TEAMS        backward, key side: teams of WARPS warps that share the steps of a tile
//
// Memory rule: rows in shared memory take 128 bytes (64 columns), eight of them a swizzle atom of 1024 bytes, atoms one
// behind the other from a multiple of 1024; 16-byte unit u of row r lies at place u ^ (r % 8). The same rows serve as a
// right operand stored [column][depth] (depth along the row) and, transposed, as one stored [depth][column]. A tile of
// R rows of D columns is D / 64 parts of R · 128 bytes.

#if HEAD_DIM != 64 && HEAD_DIM != 128
#error HEAD_DIM must be 64 or 128
#endif

constexpr int threads = 32 * WARPS;
constexpr int own_tile = 16 * WARPS;
constexpr int stream_tile = STREAM_TILE;
constexpr int row_units = HEAD_DIM / 8;
constexpr int head_steps = HEAD_DIM / 16;

extern __shared__ __align__(1024) unsigned char shared_memory[];

/** Byte offset of a 16-byte unit. */
DEVICE u32 swizzled(int row, int unit) { return row * 128 + ((unit ^ (row & 7)) << 4); }

/**
 * Descriptor of rows for multiply. As [column][depth] the groups of eight columns are an atom apart. As [depth][column]
 * the groups of eight depths are an atom apart and the parts of 64 columns `part_bytes`, which otherwise has no
 * meaning. The address is in the low bits in units of 16 bytes: to add bytes / 16 is to move on.
 */
DEVICE u64 describe_rows(u32 address, u32 part_bytes) {
  const u32 low = (address & 0x3ffffu) >> 4 | (part_bytes >> 4) << 16;
  const u32 high = 1024u >> 4 | 1u << 30;  // bits 62 and 63: 1 is the 128-byte swizzle
  return (u64)high << 32 | low;
}

/**
 * Starts the copy of ROWS rows, those of `valid` positions; the others become zeros. SHARED heads of a position, one
 * behind the other in memory, are neighbouring rows. LOADERS threads take part.
 */
template <int ROWS, int SHARED, int LOADERS>
DEVICE void copy_rows(u32 target, const bf16* source, int stride, int valid, int loader) {
  constexpr int step = LOADERS / row_units;
  static_assert(LOADERS % row_units == 0 && step % 8 == 0 && step % SHARED == 0,
                "a loader keeps its column and its place in the swizzle");
  const int first = loader / row_units, unit = loader % row_units;
  const bf16* place = source + (long long)(first / SHARED) * stride + first % SHARED * HEAD_DIM + unit * 8;
  target += unit / 8 * (ROWS * 128) + swizzled(first, unit % 8);
#pragma unroll
  for (int i = 0; i < (ROWS + step - 1) / step; i++) {
    const int row = first + i * step;
    if (ROWS % step == 0 || row < ROWS) copy_16_bytes(target + i * step * 128, place, row / SHARED < valid);
    place += (long long)(step / SHARED) * stride;
  }
}

/** A warp's 16 rows of a tile of ROWS rows as left operands. */
template <int ROWS>
DEVICE void load_left(u32 (&a)[head_steps][4], u32 tile, int first, int lane) {
#pragma unroll
  for (int d = 0; d < head_steps; d++) {
    load_matrices(a[d], tile + d / 4 * (ROWS * 128) + swizzled(first + (lane & 15), d % 4 * 2 + (lane >> 4)));
  }
}

/** c [64 x COLUMNS] = left [64 x D] · tile [COLUMNS x D]ᵀ. */
template <int TILES>
DEVICE void multiply_transposed(float (&c)[TILES][4], const u32 (&left)[head_steps][4], u64 tile) {
#pragma unroll
  for (int d = 0; d < head_steps; d++)
    multiply<0>(c, left[d], tile + d / 4 * (TILES * 8 * 128 / 16) + d % 4 * 2, d > 0);
}
/** The same with the left operand in shared memory: rows of a tile of ROWS. */
template <int ROWS, int TILES>
DEVICE void multiply_transposed(float (&c)[TILES][4], u64 left, u64 tile) {
#pragma unroll
  for (int d = 0; d < head_steps; d++) {
    multiply<0>(c, left + d / 4 * (ROWS * 128 / 16) + d % 4 * 2, tile + d / 4 * (TILES * 8 * 128 / 16) + d % 4 * 2,
                d > 0);
  }
}

/** sum [64 x D] += left [64 x DEPTH] · tile [DEPTH x D]. */
template <int STEPS>
DEVICE void multiply_packed(float (&sum)[HEAD_DIM / 8][4], const u32 (&left)[STEPS][4], u64 tile) {
#pragma unroll
  for (int d = 0; d < STEPS; d++) multiply<1>(sum, left[d], tile + d * (16 * 128 / 16), 1);
}

/** Results, from 16 · FIRST columns on, to left operands in bf16. */
template <int FIRST = 0, int STEPS, int TILES>
DEVICE void pack_tiles(u32 (&packed)[STEPS][4], const float (&c)[TILES][4]) {
  static_assert(2 * (FIRST + STEPS) <= TILES, "columns that there are");
#pragma unroll
  for (int n = 0; n < 2 * STEPS; n++) {
    packed[n / 2][n % 2 * 2] = pack_bf16(c[2 * FIRST + n][0], c[2 * FIRST + n][1]);
    packed[n / 2][n % 2 * 2 + 1] = pack_bf16(c[2 * FIRST + n][2], c[2 * FIRST + n][3]);
  }
}

template <int TILES, class F>
DEVICE void visit_results(float (&c)[TILES][4], F visit) {
#pragma unroll
  for (int n = 0; n < TILES; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) visit(n * 4 + i, c[n][i]);
  }
}

template <int TILES>
DEVICE void clear(float (&c)[TILES][4]) {
#pragma unroll
  for (int n = 0; n < TILES; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0.0f;
}

/**
 * A warp's 16 rows to global memory as bf16, each multiplied by its factor, by way of 16 rows of D columns in shared
 * memory, 1024-byte aligned, that nobody else touches. `valid` counts positions of SHARED rows.
 */
template <int SHARED>
DEVICE void store_rows(bf16* target, int stride, int valid, const float (&sum)[HEAD_DIM / 8][4],
                       const float (&factor)[2], unsigned char* staging, int lane) {
  __syncwarp();
#pragma unroll
  for (int half = 0; half < 2; half++) {
#pragma unroll
    for (int n = 0; n < HEAD_DIM / 8; n++) {
      *(u32*)(staging + n / 8 * 2048 + swizzled(half * 8 + lane / 4, n % 8) + lane % 4 * 4) =
          pack_bf16(sum[n][2 * half] * factor[half], sum[n][2 * half + 1] * factor[half]);
    }
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 16 * row_units / 32; i++) {
    const int row = (i * 32 + lane) / row_units, unit = lane % row_units;
    if (row / SHARED < valid) {
      *(uint4*)(target + (long long)(row / SHARED) * stride + row % SHARED * HEAD_DIM + unit * 8) =
          *(const uint4*)(staging + unit / 8 * 2048 + swizzled(row, unit % 8));
    }
  }
}
