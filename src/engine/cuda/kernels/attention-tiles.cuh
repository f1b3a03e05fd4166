// Tiles of the attention kernels: rows of one head in shared memory, products of tiles, rows back to global memory.
// Prepended as text after mma-helpers.cuh.
//
// Macros (attention-work.ts has the tested table):
//   HEAD_DIM       D, a multiple of 8 up to 128
//   WARPS          warps a block
//   ROW_FRAGMENTS  16-row fragments a warp: the block's own tile has WARPS · ROW_FRAGMENTS · 16 rows
//   STREAM_TILE    rows of the other side that a step of the loop brings in, a multiple of 16
//   MIN_BLOCKS     blocks that should fit on a multiprocessor (the register budget)
//   HEAD_SPLIT     teams of warps that share the query heads of a key head (backward, key side); default 1
//
// Memory rule: a tile row takes 2 · HEAD_PAD + 16 bytes, an odd number of 16-byte units, so that the eight rows of an
// ldmatrix fall into different banks with no swizzle and every offset is a constant. Columns D..HEAD_PAD are zeros.

#if HEAD_DIM % 8 != 0 || HEAD_DIM > 128
#error HEAD_DIM must be a multiple of 8 up to 128
#endif

#ifndef HEAD_SPLIT
#define HEAD_SPLIT 1
#endif

constexpr int head_pad = (HEAD_DIM + 15) / 16 * 16;
constexpr int row_bytes = 2 * head_pad + 16;
constexpr int threads = 32 * WARPS;
constexpr int warp_rows = 16 * ROW_FRAGMENTS;
constexpr int own_tile = WARPS * warp_rows;
constexpr int stream_tile = STREAM_TILE;

extern __shared__ __align__(16) unsigned char shared_memory[];

/** This lane's byte offset for a left operand [row][depth], or, transposed, a right operand stored [depth][column]. */
DEVICE u32 row_major_lane(int lane) { return (lane & 15) * row_bytes + (lane >> 4) * 16; }
/** This lane's byte offset for a right operand stored [column][depth]. */
DEVICE u32 column_major_lane(int lane) { return ((lane & 7) + (lane >> 4) * 8) * row_bytes + ((lane >> 3) & 1) * 16; }

/** Starts the copy of ROWS rows, of which `valid` exist; the others become zeros. LOADERS threads take part. */
template <int ROWS, int LOADERS>
DEVICE void copy_tile(u32 target, const bf16* source, int stride, int valid, int loader) {
  constexpr int units = head_pad / 8;
  if constexpr (LOADERS % units == 0 && ROWS % (LOADERS / units) == 0) {
    // A loader keeps its column and walks down the rows.
    constexpr int step = LOADERS / units;
    const int row = loader / units, unit = loader % units;
    const bool column = HEAD_DIM == head_pad || unit < HEAD_DIM / 8;
    const bf16* place = source + (long long)row * stride + unit * 8;
    target += row * row_bytes + unit * 16;
#pragma unroll
    for (int i = 0; i < ROWS / step; i++) {
      copy_16_bytes(target + i * step * row_bytes, place, column && row + i * step < valid);
      place += step * stride;
    }
  } else {
    for (int index = loader; index < ROWS * units; index += LOADERS) {
      const int row = index / units, unit = index % units;
      copy_16_bytes(target + row * row_bytes + unit * 16, source + (long long)row * stride + unit * 8,
                    row < valid && unit < HEAD_DIM / 8);
    }
  }
}

/** c [16·FRAGMENTS × COLUMNS] += rows [16·FRAGMENTS × D] · tile [COLUMNS × D]ᵀ, both in shared memory. */
template <int FRAGMENTS, int COLUMNS>
DEVICE void multiply_transposed(float (&c)[FRAGMENTS][COLUMNS / 8][4], u32 rows, u32 tile) {
#pragma unroll
  for (int depth = 0; depth < head_pad / 16; depth++) {
    u32 a[FRAGMENTS][4];
#pragma unroll
    for (int f = 0; f < FRAGMENTS; f++) load_matrices(a[f], rows + f * 16 * row_bytes + depth * 32);
#pragma unroll
    for (int n = 0; n < COLUMNS / 16; n++) {
      u32 b[4];
      load_matrices(b, tile + n * 16 * row_bytes + depth * 32);
#pragma unroll
      for (int f = 0; f < FRAGMENTS; f++) {
        multiply_add(c[f][2 * n], a[f], b[0], b[1]);
        multiply_add(c[f][2 * n + 1], a[f], b[2], b[3]);
      }
    }
  }
}

/** sum [16·FRAGMENTS × D] += left [16·FRAGMENTS × DEPTH], packed in registers, · tile [DEPTH × D] in shared memory. */
template <int FRAGMENTS, int DEPTH>
DEVICE void multiply_packed(float (&sum)[FRAGMENTS][head_pad / 8][4], const u32 (&left)[FRAGMENTS][DEPTH / 16][4],
                            u32 tile) {
#pragma unroll
  for (int depth = 0; depth < DEPTH / 16; depth++) {
#pragma unroll
    for (int n = 0; n < head_pad / 16; n++) {
      u32 b[4];
      load_matrices_transposed(b, tile + depth * 16 * row_bytes + n * 32);
#pragma unroll
      for (int f = 0; f < FRAGMENTS; f++) {
        multiply_add(sum[f][2 * n], left[f][depth], b[0], b[1]);
        multiply_add(sum[f][2 * n + 1], left[f][depth], b[2], b[3]);
      }
    }
  }
}

/** Result tiles to a left operand in bf16. */
template <int FRAGMENTS, int COLUMNS>
DEVICE void pack_tiles(u32 (&packed)[FRAGMENTS][COLUMNS / 16][4], const float (&c)[FRAGMENTS][COLUMNS / 8][4]) {
#pragma unroll
  for (int f = 0; f < FRAGMENTS; f++) {
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++) {
      packed[f][n / 2][n % 2 * 2] = pack_bf16(c[f][n][0], c[f][n][1]);
      packed[f][n / 2][n % 2 * 2 + 1] = pack_bf16(c[f][n][2], c[f][n][3]);
    }
  }
}

template <int FRAGMENTS, int TILES>
DEVICE void clear(float (&c)[FRAGMENTS][TILES][4]) {
#pragma unroll
  for (int f = 0; f < FRAGMENTS; f++) {
#pragma unroll
    for (int n = 0; n < TILES; n++) c[f][n][0] = c[f][n][1] = c[f][n][2] = c[f][n][3] = 0.0f;
  }
}

/**
 * A warp's rows to global memory as bf16, each multiplied by its factor, by way of the warp's own rows of a tile in
 * shared memory that no other warp reads: 16-byte stores of whole rows.
 */
template <int FRAGMENTS>
DEVICE void store_rows(bf16* target, int stride, int valid, const float (&sum)[FRAGMENTS][head_pad / 8][4],
                       const float (&factor)[FRAGMENTS][2], unsigned char* staging, int lane) {
  __syncwarp();
#pragma unroll
  for (int f = 0; f < FRAGMENTS; f++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      unsigned char* row = staging + (f * 16 + half * 8 + lane / 4) * row_bytes + lane % 4 * 4;
#pragma unroll
      for (int n = 0; n < head_pad / 8; n++) {
        *(u32*)(row + n * 16) =
            pack_bf16(sum[f][n][2 * half] * factor[f][half], sum[f][n][2 * half + 1] * factor[f][half]);
      }
    }
  }
  __syncwarp();
  constexpr int units = HEAD_DIM / 8;
  for (int index = lane; index < FRAGMENTS * 16 * units; index += 32) {
    const int row = index / units;
    const int unit = index % units;
    if (row < valid)
      *(uint4*)(target + (long long)row * stride + unit * 8) = *(const uint4*)(staging + row * row_bytes + unit * 16);
  }
}
