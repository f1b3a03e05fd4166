// Prepended: common.cu, stored-values.cuh
// Dequantises rows held in 4 or 8 bits to bf16 rows [W | zeros up to a multiple of 8 | scale·B]. Row i of the result is
// row first + i of the matrix, or first + index[i]. A thread computes 16 columns of a row.
// Launch: grid [ceil(rows·(ceil(K/16) + E/16)/256)].

/** The row of a thread, and its first column 16·unit, of W or of scale·B. */
struct Unit {
  int row, unit;
  bool is_low;
};
DEVICE Unit own_unit(int K, int E) {
  const u32 wide = (K + 15) / 16, units = wide + E / 16;
  const u32 i = blockIdx.x * 256u + threadIdx.x, row = i / units, unit = i - row * units;
  return {(int)row, (int)(unit < wide ? unit : unit - wide), unit >= wide};
}
DEVICE void copy_low(bf16* to, const bf16* b) {
  const uint4 left = ((const uint4*)b)[0], right = ((const uint4*)b)[1];
  ((uint4*)to)[0] = left;
  ((uint4*)to)[1] = right;
}
/** Columns c .. c+15 of a row, or the first 8 where the padded row ends with them. */
DEVICE void store16(bf16* row, int c, int padded, const u32 (&words)[8]) {
  uint4* to = (uint4*)(row + c);
  to[0] = make_uint4(words[0], words[1], words[2], words[3]);
  if (c + 8 < padded) to[1] = make_uint4(words[4], words[5], words[6], words[7]);
}

/** The stacked weights of a matrix. Unused parts start after the last row. */
#define PART_OF(row) (((row) >= part_row1) + ((row) >= part_row2) + ((row) >= part_row3))
#define OF_PART(part, name) ((part) == 0 ? name##0 : (part) == 1 ? name##1 : (part) == 2 ? name##2 : name##3)

/**
 * Values of a part lie row-major from block part_block on, 2 codes a byte, the even one high. With absmax_codes, the
 * absmax of a block is map[code]·absmax[block >> nested_shift] + offset, of the part's table {map [256], offset}.
 */
KERNEL __launch_bounds__(256)
    widen_nf4(bf16* out, const u8* codes, const u8* NULLABLE absmax_codes, const float* absmax,
              const float* NULLABLE table0, const float* NULLABLE table1, const float* NULLABLE table2,
              const float* NULLABLE table3, const int* NULLABLE index, const bf16* NULLABLE b, int first, int rows,
              int K, int E, int ldo, int ldb, int block_shift, int nested_shift, int part_row0, int part_row1,
              int part_row2, int part_row3, int part_block0, int part_block1, int part_block2, int part_block3) {
  __shared__ float values[16];
  if (threadIdx.x < 16) values[threadIdx.x] = NF4_VALUES[threadIdx.x];
  __syncthreads();
  const Unit own = own_unit(K, E);
  if (own.row >= rows) return;
  const int padded = (K + 7) & ~7, c = 16 * own.unit;
  const int row = first + (index ? index[own.row] : own.row);
  bf16* to = row_of(out, own.row, ldo);
  if (own.is_low) return copy_low(to + padded + c, row_of(b, row, ldb) + c);
  const int part = PART_OF(row);
  const int part_row = OF_PART(part, part_row);
  const float* table = OF_PART(part, table);
  const i64 flat = ((i64)OF_PART(part, part_block) << block_shift) + (i64)(row - part_row) * K + c;
  auto absmax_of = [&](i64 block) {
    if (!absmax_codes) return absmax[block];
    return __fadd_rn(__fmul_rn(table[absmax_codes[block]], absmax[block >> nested_shift]), table[256]);
  };
  u32 words[8];
  if (K % 16 == 0) {
    const uint2 packed = *(const uint2*)(codes + flat / 2);
    const float factor = absmax_of(flat >> block_shift);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const u32 pair = (i < 4 ? packed.x : packed.y) >> (8 * (i % 4));
      words[i] = pack_bf16(values[pair >> 4 & 15] * factor, values[pair & 15] * factor);
    }
  } else {
    float factor = 0.0f, v[2];
#pragma unroll
    for (int i = 0; i < 16; i++) {
      const i64 at = flat + i;
      if (i == 0 || (at & ((1 << block_shift) - 1)) == 0) factor = c + i < K ? absmax_of(at >> block_shift) : 0.0f;
      v[i % 2] = c + i < K ? values[codes[at / 2] >> (at % 2 ? 0 : 4) & 15] * factor : 0.0f;
      if (i % 2) words[i / 2] = pack_bf16(v[0], v[1]);
    }
  }
  store16(to, c, padded, words);
}

/**
 * codes [rows of the matrix, ldc], zeros after column K, ldc a multiple of 16. Element (r, c) of a part, r counted from
 * its first row, is multiplied by factor[r / block_height · width + c / block_width].
 */
KERNEL __launch_bounds__(256)
    widen_e4m3(bf16* out, const u8* codes, const float* NULLABLE factor0, const float* NULLABLE factor1,
               const float* NULLABLE factor2, const float* NULLABLE factor3, const int* NULLABLE index,
               const bf16* NULLABLE b, int first, int rows, int K, int E, int ldo, int ldc, int ldb, int part_row0,
               int part_row1, int part_row2, int part_row3, int block_height0, int block_height1, int block_height2,
               int block_height3, int block_width0, int block_width1, int block_width2, int block_width3, int width0,
               int width1, int width2, int width3) {
  const Unit own = own_unit(K, E);
  if (own.row >= rows) return;
  const int padded = (K + 7) & ~7, c = 16 * own.unit;
  const int row = first + (index ? index[own.row] : own.row);
  bf16* to = row_of(out, own.row, ldo);
  if (own.is_low) return copy_low(to + padded + c, row_of(b, row, ldb) + c);
  const int part = PART_OF(row);
  const int part_row = OF_PART(part, part_row);
  const int block_width = OF_PART(part, block_width);
  const float* factors =
      OF_PART(part, factor) + (i64)((row - part_row) / OF_PART(part, block_height)) * OF_PART(part, width);
  const uint4 packed = *(const uint4*)(codes + (i64)row * ldc + c);
  const u32 quads[4] = {packed.x, packed.y, packed.z, packed.w};
  const bool is_even = block_width % 16 == 0 || block_width >= K;
  float factor = factors[c / block_width];
  u32 words[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    // Two codes, each shifted into a half whose exponent is 8 too small.
    const u32 pair = permute_bytes(quads[i / 2], 0, i % 2 ? 0x3424 : 0x1404);
    const u32 halves = (pair & 0x80008000u) | ((pair & 0x7f007f00u) >> 1);
    float v[2] = {half_to_float((unsigned short)halves), half_to_float((unsigned short)(halves >> 16))};
#pragma unroll
    for (int j = 0; j < 2; j++) {
      if (!is_even) factor = factors[min(c + 2 * i + j, K - 1) / block_width];
      v[j] = (v[j] * 256.0f) * factor;
    }
    words[i] = pack_bf16(v[0], v[1]);
  }
  store16(to, c, padded, words);
}
