// Prepended: common.cu, stored-values.cuh
// Quantises stored rows while they are loaded: to NF4 with the roundings of bitsandbytes, and to e4m3 with a scale per
// row. kind of stored values: 0 f32, 1 bf16, 2 half, 3 e4m3 with factors
// as in convert.cu, rounded to bf16.

#define F32 0
#define BF16 1
#define F16 2

/** Stored values by row-major index in the piece. */
struct Stored {
  const void* x;
  int kind;
  const float* factors;
  int first, columns, block_rows, block_columns, across;
  DEVICE float at(i64 i) const {
    if (kind == F32) return ((const float*)x)[i];
    if (kind == BF16) return widen(((const bf16*)x)[i]);
    if (kind == F16) return widen(((const Half*)x)[i]);
    const int row = (int)((u32)i / (u32)columns), c = (int)((u32)i - (u32)row * (u32)columns);
    const float factor = factors[(i64)((first + row) / block_rows) * across + c / block_columns];
    return round_bf16(widen(((const E4M3*)x)[i]) * factor);
  }
};
DEVICE bool is_finite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

/** Number of midpoints between neighbouring values below x. */
DEVICE u32 nf4_code(float x) {
  return (x > -0.8480964004993439f) + (x > -0.6106329262256622f) + (x > -0.4599952697753906f) +
         (x > -0.33967943489551544f) + (x > -0.23460740596055984f) + (x > -0.13791173323988914f) +
         (x > -0.045525018125772476f) + (x > 0.03979014977812767f) + (x > 0.1202552504837513f) +
         (x > 0.2035212516784668f) + (x > 0.2920137718319893f) + (x > 0.3893125355243683f) + (x > 0.5016634166240692f) +
         (x > 0.6427869200706482f) + (x > 0.8614784181118011f);
}

/**
 * Codes of n values, starting at a block boundary, two per byte, the even one high; and the absmax of each block. flag
 * becomes 1 where a value is not finite. A warp has a block.
 * Launch: grid [ceil(blocks/8)].
 */
KERNEL __launch_bounds__(256) nf4_quantize(u8* codes, float* absmax, const void* x, i64 n, int kind, int block_size,
                                           const float* NULLABLE factors, int first, int columns, int block_rows,
                                           int block_columns, int across, int* flag) {
  const Stored stored = {x, kind, factors, first, columns, block_rows, block_columns, across};
  const i64 block = (i64)blockIdx.x * 8 + (threadIdx.x >> 5), begin = block * block_size;
  if (begin >= n) return;
  const int lane = threadIdx.x & 31, count = (int)min((i64)block_size, n - begin);
  float top = 0.0f;
  for (int j = lane; j < count; j += 32) {
    const float value = stored.at(begin + j);
    if (!is_finite(value)) *flag = 1;
    top = fmaxf(top, fabsf(value));
  }
  top = warp_max(top);
  const float inverse = __fdiv_rn(1.0f, top);
  for (int j = 2 * lane; j < count; j += 64) {
    const u32 high = nf4_code(__fmul_rn(stored.at(begin + j), inverse));
    const u32 low = nf4_code(__fmul_rn(j + 1 < count ? stored.at(begin + j + 1) : 0.0f, inverse));
    codes[(begin + j) / 2] = (u8)(high << 4 | low);
  }
  if (lane == 0) absmax[block] = top;
}

/** mean = Σ x / n, summed in double. Launch: grid [1]. */
KERNEL __launch_bounds__(1024) absmax_mean(float* mean, const float* x, int n) {
  __shared__ double sums[1024];
  double sum = 0.0;
  for (int i = threadIdx.x; i < n; i += 1024) sum += x[i];
  sums[threadIdx.x] = sum;
  for (int half = 512; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *mean = (float)(sums[0] / n);
}

/**
 * Quantises absmax - offset to 8 bits, in blocks with a nested absmax each. table: values of the map [256], then the
 * offset; midpoints as in optimizer.cu. A warp has a block.
 * Launch: grid [ceil(blocks/8)].
 */
KERNEL __launch_bounds__(256) absmax_quantize(u8* codes, float* nested, const float* absmax, const float* table,
                                              const float* midpoints, int n, int block_size) {
  __shared__ float middle[256];
  middle[threadIdx.x] = midpoints[threadIdx.x];
  __syncthreads();
  const int block = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  const i64 begin = (i64)block * block_size;
  if (begin >= n) return;
  const int end = (int)min((i64)n, begin + block_size);
  const float offset = table[256];
  float top = 0.0f;
  for (int i = (int)begin + lane; i < end; i += 32) top = fmaxf(top, fabsf(__fsub_rn(absmax[i], offset)));
  top = warp_max(top);
  const float inverse = __fdiv_rn(1.0f, top);
  for (int i = (int)begin + lane; i < end; i += 32)
    codes[i] = (u8)nearest_code(middle, __fmul_rn(__fsub_rn(absmax[i], offset), inverse));
  if (lane == 0) nested[block] = top;
}

/** Rounds to nearest even, saturating; subnormal below 2^-6. */
DEVICE u32 to_e4m3(float x) {
  const u32 bits = __float_as_uint(x), sign = bits >> 24 & 0x80u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7fu;
  if (magnitude < 0x3c800000u) return sign | (u32)rintf(__uint_as_float(magnitude) * 512.0f);
  const u32 rounded = (magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20;
  return sign | min(rounded - (120u << 3), 0x7eu);
}

/**
 * scale = max |row| / 448, 1 for zeros; codes of x / scale. x is contiguous, kind not e4m3. flag becomes 1 where a
 * value is not finite.
 * Launch: grid [rows].
 */
KERNEL __launch_bounds__(256)
    e4m3_quantize(u8* codes, float* scales, const void* x, int kind, int columns, int ldc, int* flag) {
  const Stored stored = {x, kind, nullptr, 0, columns, 1, 1, 0};
  __shared__ float tops[8];
  const i64 begin = (i64)blockIdx.x * columns;
  float top = 0.0f;
  for (int c = threadIdx.x; c < columns; c += 256) {
    const float value = stored.at(begin + c);
    if (!is_finite(value)) *flag = 1;
    top = fmaxf(top, fabsf(value));
  }
  top = warp_max(top);
  if ((threadIdx.x & 31) == 0) tops[threadIdx.x >> 5] = top;
  __syncthreads();
  for (int i = 0; i < 8; i++) top = fmaxf(top, tops[i]);
  const float quotient = __fdiv_rn(top, 448.0f), scale = quotient > 0.0f ? quotient : 1.0f;
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  for (int c = threadIdx.x; c < columns; c += 256)
    codes[(i64)blockIdx.x * ldc + c] = (u8)to_e4m3(__fdiv_rn(stored.at(begin + c), scale));
}

/** Whether one of four codes is NaN. */
DEVICE bool has_nan(u32 codes) {
  // Adding 1 to the seven bits of a magnitude reaches the eighth for 127 alone.
  return (((codes & 0x7f7f7f7fu) + 0x01010101u) & 0x80808080u) != 0;
}

/** flag becomes 1 where a code is NaN. x is contiguous, of any alignment. Launch: grid2(rows, columns). */
KERNEL __launch_bounds__(128) e4m3_copy(u8* out, const u8* x, int rows, int columns, int ldo, int* flag) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    const u8* from = x + (i64)row * columns + c;
    u8* to = out + (i64)row * ldo + c;
    if (c + 8 <= columns && ((u64)from & 7) == 0) {
      const uint2 codes = *(const uint2*)from;
      if (has_nan(codes.x) || has_nan(codes.y)) *flag = 1;
      *(uint2*)to = codes;
    } else {
      for (int i = 0; i < min(8, columns - c); i++) {
        if (has_nan(from[i])) *flag = 1;
        to[i] = from[i];
      }
    }
  }
}

/** The factor of each row from those of blocks of rows. Launch: grid [ceil(rows/256)]. */
KERNEL __launch_bounds__(256) expand_scales(float* scales, const float* factors, int rows, int block_rows) {
  const int row = blockIdx.x * 256 + threadIdx.x;
  if (row < rows) scales[row] = factors[row / block_rows];
}
