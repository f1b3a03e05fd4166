// Dropout masks of the low-rank path, as random.ts defines them, for up to four parts that share x. Bits are
// [part][row][kb bytes], bit i of byte b for column 8b + i, 1 = kept. The noise of embeddings is made of the same bits.

/** `mix` of random.ts. */
DEVICE u32 mix_bits(u32 x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

/**
 * A thread makes 32 columns of a row, zero from K on. Thresholds are in the upper half, so that 16 bits are compared
 * without a shift: the lower half of the other side cannot change the outcome.
 * Launch: block B = min(256, 32·ceil(ceil(K/32)/32)), grid [ceil(ceil(K/32)/B), min(ceil(rows/4), 65535), parts].
 */
KERNEL __launch_bounds__(256)
    dropout_bits(u8* bits, const u32* row_keys, int rows, int K, int kb, u32 seed0, u32 seed1, u32 seed2, u32 seed3,
                 u32 threshold0, u32 threshold1, u32 threshold2, u32 threshold3) {
  const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 32;
  if (c >= K) return;
  const int part = blockIdx.z;
  const u32 seed = part == 0 ? seed0 : part == 1 ? seed1 : part == 2 ? seed2 : seed3;
  const u32 threshold = part == 0 ? threshold0 : part == 1 ? threshold1 : part == 2 ? threshold2 : threshold3;
  const u32 valid = c + 32 <= K ? 0xffffffffu : (1u << (K - c)) - 1;
  for (int row = blockIdx.y; row < rows; row += gridDim.y) {
    const u32 row_key = row_keys[row];
    const u32 key = mix_bits(row_key ^ seed);
    const u32 step = (key * 0x9e3779b9u ^ row_key) | 1u;
    u32 z = key + (u32)(c / 2) * step;
    u32 word = 0;
#pragma unroll
    for (int i = 0; i < 32; i += 2, z += step) {
      const u32 h = (z ^ (z >> 15)) * 0x846ca68bu;
      if (h >= threshold) word |= 1u << i;
      if (h * 0x10001u >= threshold) word |= 2u << i;
    }
    *(u32*)(bits + ((i64)part * rows + row) * kb + c / 8) = word & valid;
  }
}

/**
 * x += bound · (2·bits - 65535) / 65536 of the row: `uniformNoise` of random.ts. A thread does 8 columns.
 * Launch: grid2(rows, K).
 */
KERNEL __launch_bounds__(128)
    add_noise(bf16* x, const u32* row_keys, const float* bounds, int rows, int K, int ld, u32 seed) {
  const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (c >= K) return;
  for (int row = blockIdx.y; row < rows; row += gridDim.y) {
    const u32 row_key = row_keys[row];
    const u32 key = mix_bits(row_key ^ seed);
    const u32 step = (key * 0x9e3779b9u ^ row_key) | 1u;
    const float unit = bounds[row] / 65536.0f;
    u32 z = key + (u32)(c / 2) * step;
    float v[8];
    load8(row_of(x, row, ld), c, K, v);
#pragma unroll
    for (int i = 0; i < 8; i += 2, z += step) {
      const u32 h = (z ^ (z >> 15)) * 0x846ca68bu;
      v[i] += unit * (float)(2 * (int)(h >> 16) - 65535);
      v[i + 1] += unit * (float)(2 * (int)(h * 0x10001u >> 16) - 65535);
    }
    store8(row_of(x, row, ld), c, K, v);
  }
}
