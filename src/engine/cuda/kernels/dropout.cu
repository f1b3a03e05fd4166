// Prepended: common.cu, dropout-helpers.cuh
// Noise of embeddings, made of the bits of dropout.

/**
 * x += bound · (2·bits - 65535) / 65536 of the row: `uniformNoise` of random.ts. A thread does 8 columns.
 * Launch: grid2(rows, K).
 */
KERNEL __launch_bounds__(128)
    add_noise(bf16* x, const u32* row_keys, const float* bounds, int rows, int K, int ld, u32 seed) {
  const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (c >= K) return;
  for (int row = blockIdx.y; row < rows; row += gridDim.y) {
    const RowHash hash = row_hash(row_keys[row], seed);
    const float unit = bounds[row] / 65536.0f;
    u32 z = hash.key + (u32)(c / 2) * hash.step;
    float v[8];
    load8(row_of(x, row, ld), c, K, v);
#pragma unroll
    for (int i = 0; i < 8; i += 2, z += hash.step) {
      const u32 h = (z ^ (z >> 15)) * 0x846ca68bu;
      v[i] += unit * (float)(2 * (int)(h >> 16) - 65535);
      v[i + 1] += unit * (float)(2 * (int)(h * 0x10001u >> 16) - 65535);
    }
    store8(row_of(x, row, ld), c, K, v);
  }
}
