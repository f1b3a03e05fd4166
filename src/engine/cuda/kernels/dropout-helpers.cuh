// The bits of random.ts, by row and layer. Prepended as text after common.cu: NVRTC sees no #include.

/** `mix` of random.ts. */
DEVICE u32 mix_bits(u32 x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

struct RowHash {
  u32 key, step;
};

DEVICE RowHash row_hash(u32 row_key, u32 seed) {
  const u32 key = mix_bits(row_key ^ seed);
  return {key, (key * 0x9e3779b9u ^ row_key) | 1u};
}

/**
 * Bits of columns c .. c+7, 1 = kept; c is even. The threshold, round(p·2¹⁶), is in the upper half, so that 16 bits are
 * compared without a shift: the lower half of the other side cannot change the outcome.
 */
DEVICE u32 keep_byte(RowHash hash, int c, u32 threshold) {
  u32 z = hash.key + (u32)(c / 2) * hash.step, byte = 0;
#pragma unroll
  for (int i = 0; i < 8; i += 2, z += hash.step) {
    const u32 h = (z ^ (z >> 15)) * 0x846ca68bu;
    if (h >= threshold) byte |= 1u << i;
    if (h * 0x10001u >= threshold) byte |= 2u << i;
  }
  return byte;
}
