// Prepended: common.cu, e4m3-helpers.cuh
// Operands of e4m3 products: quantises bf16 rows, transposes codes of weights, scales results.
// value = code · scale, scale = amax / 448; columns, rows of codes and their strides are multiples of 16.

/** A thread keeps VECTORS vectors of 8 elements in registers between the two passes; further ones are read again. */
template <int VECTORS>
DEVICE void quantize_row(u8* codes, float* scales, const bf16* x, const float* factors, const u32* most, int columns) {
  const int row = blockIdx.x, step = blockDim.x * 8, first = threadIdx.x * 8;
  // Rows bypass L1, which keeps the factors.
  uint4 held[VECTORS];
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = first + i * step;
    held[i] = c < columns ? load_once(x + c) : zero16();
  }
  float amax = 0.0f;
  if (most) {
    amax = __uint_as_float(*most);
  } else {
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
      const int c = first + i * step;
      if (c < columns) amax = largest8(held[i], factors, c, amax);
    }
    for (int c = first + VECTORS * step; c < columns; c += step) {
      amax = largest8(load_once(x + c), factors, c, amax);
    }
    amax = block_max(amax);
  }
  amax = fmaxf(amax, LEAST_AMAX);
  if (threadIdx.x == 0 && (!most || row == 0)) scales[row] = __fdiv_rn(amax, E4M3_MAX);
  const float inverse = __fdiv_rn(E4M3_MAX, amax);
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = first + i * step;
    if (c < columns) quantize8(codes, held[i], factors, c, inverse);
  }
  for (int c = first + VECTORS * step; c < columns; c += step) {
    quantize8(codes, load_once(x + c), factors, c, inverse);
  }
}

/**
 * codes [rows, columns] of x ⊙ factors with a scale per row; with `most` (bits of the largest magnitude, from
 * tensor_amax) one scale for all. NaN and infinity become NaN. W vectors of 8 elements a thread.
 * Launch: grid [rows], block min(512, 32·ceil(columns/(256·W))).
 */
#define QUANTIZE_E4M3(W)                                                                                             \
  KERNEL __launch_bounds__(512)                                                                                      \
      quantize_e4m3_##W(u8* codes, float* scales, const bf16* x, const float* NULLABLE factors,                      \
                        const u32* NULLABLE most, int rows, int columns, int ldcodes, int ldx) {                     \
    quantize_row<W>(row_of(codes, blockIdx.x, ldcodes), scales, row_of(x, blockIdx.x, ldx), factors, most, columns); \
  }
QUANTIZE_E4M3(2)
QUANTIZE_E4M3(4)
QUANTIZE_E4M3(8)

/**
 * Raises *most, the bits of a non-negative float, to the largest magnitude of x ⊙ factors.
 * Launch: grid [rows], block min(512, 32·ceil(columns/512)).
 */
KERNEL __launch_bounds__(512)
    tensor_amax(u32* most, const bf16* x, const float* NULLABLE factors, int rows, int columns, int ldx) {
  x = row_of(x, blockIdx.x, ldx);
  float amax = 0.0f;
  for (int c = threadIdx.x * 8; c < columns; c += blockDim.x * 8) {
    amax = largest8(load_once(x + c), factors, c, amax);
  }
  amax = block_max(amax);
  if (threadIdx.x == 0) atomicMax(most, __float_as_uint(amax));
}

#define BYTE_TILE 64

/** out [columns, rows] = x [rows, columns]ᵀ, bytes. Launch: grid [ceil(columns/64), ceil(rows/64)]. */
KERNEL __launch_bounds__(256) transpose_bytes(u8* out, const u8* x, int rows, int columns, int ldo, int ldx) {
  __shared__ __align__(16) u8 tile[BYTE_TILE][BYTE_TILE + 4];
  const int column = blockIdx.x * BYTE_TILE, row = blockIdx.y * BYTE_TILE;
  const int across = threadIdx.x % 16 * 4, down = threadIdx.x / 16;
#pragma unroll
  for (int i = down; i < BYTE_TILE; i += 16) {
    if (row + i < rows && column + across < columns) {
      *(u32*)&tile[i][across] = *(const u32*)(row_of(x, row + i, ldx) + column + across);
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = down; i < BYTE_TILE; i += 16) {
    if (column + i >= columns || row + across >= rows) continue;
    u32 word = 0;
#pragma unroll
    for (int j = 0; j < 4; j++) word |= (u32)tile[across + j][i] << (8 * j);
    *(u32*)(row_of(out, column + i, ldo) + row + across) = word;
  }
}

/** y ⊙= factors, by column. Launch: grid2(rows, columns). */
KERNEL __launch_bounds__(128) scale_columns(bf16* y, const float* factors, int rows, int columns, int ldy) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float v[8];
    factored8(*(const uint4*)(row_of(y, row, ldy) + c), factors, c, v);
    store8(row_of(y, row, ldy), c, columns, v);
  }
}
