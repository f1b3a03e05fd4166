// Operands of e4m3 products: rows of bf16 to one byte each with a float32 scale, and what weights need beside.
// value = code · scale, scale = amax / 448; columns, rows of codes and their strides are multiples of 16.

#define E4M3_MAX 448.0f
// Rows below this lose precision instead of overflowing: 448 / amax must be finite.
#define LEAST_AMAX 1e-30f

#if __CUDA_ARCH__ >= 890 && (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ > 0))
/** Two floats to e4m3, nearest even, saturating; NaN stays NaN. The first in the low byte. */
DEVICE u32 pack_e4m3(float low, float high) {
  unsigned short packed;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
  return packed;
}
#else
DEVICE u32 to_e4m3(float x) {
  const u32 bits = __float_as_uint(x), sign = bits >> 24 & 0x80u;
  if ((bits & 0x7fffffffu) > 0x7f800000u) return sign | 0x7fu;
  const float magnitude = fminf(fabsf(x), E4M3_MAX);
  if (magnitude < 0.015625f) return sign | (u32)rintf(magnitude * 512.0f);
  const u32 b = __float_as_uint(magnitude);
  return sign | ((b + 0x7ffffu + (b >> 20 & 1u)) >> 20) - 960u;
}
DEVICE u32 pack_e4m3(float low, float high) { return to_e4m3(low) | to_e4m3(high) << 8; }
#endif

/** Largest value over the block, in every thread; whole warps, at most 32. */
DEVICE float block_max(float x) {
  __shared__ float partial[32];
  const int lane = threadIdx.x & 31;
  x = warp_max(x);
  __syncthreads();
  if (lane == 0) partial[threadIdx.x >> 5] = x;
  __syncthreads();
  return warp_max(lane < (int)(blockDim.x >> 5) ? partial[lane] : 0.0f);
}

/** Elements c .. c+7, times the factors of their columns. */
DEVICE void factored8(uint4 packed, const float* factors, int c, float (&v)[8]) {
  unpack8(packed, v);
  if (!factors) return;
  const float4 a = *(const float4*)(factors + c), b = *(const float4*)(factors + c + 4);
  v[0] *= a.x, v[1] *= a.y, v[2] *= a.z, v[3] *= a.w;
  v[4] *= b.x, v[5] *= b.y, v[6] *= b.z, v[7] *= b.w;
}
DEVICE float largest8(uint4 packed, const float* factors, int c, float most) {
  float v[8];
  factored8(packed, factors, c, v);
#pragma unroll
  for (int j = 0; j < 8; j++) most = fmaxf(most, fabsf(v[j]));
  return most;
}
DEVICE void quantize8(u8* codes, uint4 packed, const float* factors, int c, float inverse) {
  float v[8];
  factored8(packed, factors, c, v);
#pragma unroll
  for (int j = 0; j < 8; j++) v[j] *= inverse;
  *(uint2*)(codes + c) = make_uint2(pack_e4m3(v[0], v[1]) | pack_e4m3(v[2], v[3]) << 16,
                                    pack_e4m3(v[4], v[5]) | pack_e4m3(v[6], v[7]) << 16);
}

/** VECTORS of 8 elements of a row stay in a thread's registers between the passes; what is beyond is read again. */
template <int VECTORS>
DEVICE void quantize_row(u8* codes, float* scales, const bf16* x, const float* factors, const u32* most, int columns) {
  const int row = blockIdx.x, step = blockDim.x * 8, first = threadIdx.x * 8;
  // Rows are read past L1, where the factors of all rows stay.
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
 * codes [rows, columns] of x ⊙ factors, with a scale for each row; with `most` (the bits of the largest magnitude, of
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

/** out = activation(gate) ⊙ up as gated_activation_forward has it, and its codes. columns <= 4096·VECTORS. */
template <int VECTORS>
DEVICE void quantize_gated_row(bf16* out, u8* codes, float* scales, const bf16* gate, const bf16* up, int columns,
                               int kind) {
  uint4 held[VECTORS];
  float amax = 0.0f;
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    float g[8], u[8];
    unpack8(load_once(gate + c), g);
    unpack8(load_once(up + c), u);
#define CALL(KIND) gated_forward<KIND>(g, u)
    BY_KIND(CALL)
#undef CALL
    held[i] = pack8(g);
    *(uint4*)(out + c) = held[i];
    amax = largest8(held[i], nullptr, c, amax);
  }
  amax = fmaxf(block_max(amax), LEAST_AMAX);
  if (threadIdx.x == 0) *scales = __fdiv_rn(amax, E4M3_MAX);
  const float inverse = __fdiv_rn(E4M3_MAX, amax);
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c < columns) quantize8(codes, held[i], nullptr, c, inverse);
  }
}

/**
 * gated_activation_forward, with the codes of out and a scale for each row. columns <= 4096·W.
 * Launch: grid [rows], block min(512, 32·ceil(columns/(256·W))).
 */
#define GATED_ACTIVATION_E4M3(W)                                                                                       \
  KERNEL __launch_bounds__(512)                                                                                        \
      gated_activation_e4m3_##W(bf16* out, u8* codes, float* scales, const bf16* gate, const bf16* up, int rows,       \
                                int columns, int ldo, int ldcodes, int ldgate, int ldup, int kind) {                   \
    const int row = blockIdx.x;                                                                                        \
    quantize_gated_row<W>(row_of(out, row, ldo), row_of(codes, row, ldcodes), scales + row, row_of(gate, row, ldgate), \
                          row_of(up, row, ldup), columns, kind);                                                       \
  }
GATED_ACTIVATION_E4M3(2)
GATED_ACTIVATION_E4M3(4)
GATED_ACTIVATION_E4M3(8)

/**
 * Raises *most, the bits of a float that is not negative, to the largest magnitude of x ⊙ factors.
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
