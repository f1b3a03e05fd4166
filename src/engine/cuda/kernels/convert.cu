// Prepended: common.cu, stored-values.cuh
// Copies between number formats over [rows, columns], and flat fills. Sources (and fp32 targets) may have any stride
// and alignment: rows of a file lie where they lie. bf16 targets are aligned as everywhere.
// Launch: grid2(rows, columns).

DEVICE bool aligned16(const void* p) { return ((u64)p & 15) == 0; }

/** Elements c .. c+7 of a row in any format; one wide load for each 16 bytes where aligned. */
template <class S>
DEVICE void load8_any(const S* row, int c, int columns, float (&v)[8]) {
  const S* p = row + c;
  if (c + 8 <= columns && aligned16(p) && sizeof(S) > 1) {
    S held[8];
#pragma unroll
    for (int i = 0; i < (int)sizeof(held) / 16; i++) ((uint4*)held)[i] = ((const uint4*)p)[i];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = widen(held[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = c + i < columns ? widen(p[i]) : 0.0f;
}

template <class S>
DEVICE void to_bf16_rows(bf16* out, const S* x, int rows, int columns, int ldo, int ldx) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float v[8];
    load8_any(row_of(x, row, ldx), c, columns, v);
    store8(row_of(out, row, ldo), c, columns, v);
  }
}

KERNEL __launch_bounds__(128) copy_bf16(bf16* out, const bf16* x, int rows, int columns, int ldo, int ldx) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    const bf16* from = row_of(x, row, ldx);
    bf16* to = row_of(out, row, ldo);
    if (aligned16(from) && c + 8 <= columns) {
      store8(to, c, columns, load8(from, c, columns));
    } else {
      for (int i = c; i < min(columns, c + 8); i++) to[i] = from[i];
    }
  }
}

KERNEL __launch_bounds__(128) f32_to_bf16(bf16* out, const float* x, int rows, int columns, int ldo, int ldx) {
  to_bf16_rows(out, x, rows, columns, ldo, ldx);
}
/**
 * Patches of an image x [columns / size^2, rows / across * size, across * size], `across` of them side by side: row r
 * of out is patch r by channel, row and column.
 */
KERNEL __launch_bounds__(128)
    image_patches(bf16* out, const float* x, int rows, int columns, int ldo, int size, int across) {
  const int c = COLUMN;
  if (c >= columns) return;
  const int area = size * size;
  const int width = across * size;
  i64 places[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int channel = (c + i) / area;
    const int y = (c + i) % area / size;
    places[i] = (i64)channel * rows * area + y * width + (c + i) % size;
  }
  FOR_ROWS(row, rows) {
    const float* corner = x + (i64)(row / across) * size * width + row % across * size;
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = c + i < columns ? corner[places[i]] : 0.0f;
    store8(row_of(out, row, ldo), c, columns, v);
  }
}
KERNEL __launch_bounds__(128) f16_to_bf16(bf16* out, const Half* x, int rows, int columns, int ldo, int ldx) {
  to_bf16_rows(out, x, rows, columns, ldo, ldx);
}
/** Each number times the factor of its block of block_rows × block_columns; row 0 of x is row `first` of the matrix. */
KERNEL __launch_bounds__(128)
    e4m3_to_bf16(bf16* out, const E4M3* x, int rows, int columns, int ldo, int ldx, const float* factors, int first,
                 int block_rows, int block_columns, int across, int* flag) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    const float* line = factors + (i64)((first + row) / block_rows) * across;
    float v[8];
    load8_any(row_of(x, row, ldx), c, columns, v);
    bool whole = true;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      whole &= (__float_as_uint(v[i]) & 0x7fffffffu) <= 0x7f800000u;
      if (c + i < columns) v[i] *= line[(c + i) / block_columns];
    }
    if (!whole) *flag = 1;
    store8(row_of(out, row, ldo), c, columns, v);
  }
}

KERNEL __launch_bounds__(128) bf16_to_f32(float* out, const bf16* x, int rows, int columns, int ldo, int ldx) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float v[8];
    load8_any(row_of(x, row, ldx), c, columns, v);
    float* to = row_of(out, row, ldo) + c;
    if (c + 8 <= columns && aligned16(to)) {
      ((float4*)to)[0] = make_float4(v[0], v[1], v[2], v[3]);
      ((float4*)to)[1] = make_float4(v[4], v[5], v[6], v[7]);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (c + i < columns) to[i] = v[i];
      }
    }
  }
}

#define FOR_FLAT(i, n) for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x)

/** Launch: grid [min(4096, ceil(n/1024))]. */
KERNEL __launch_bounds__(256) add_f32(float* out, const float* a, const float* b, i64 n) {
  FOR_FLAT(i, n) out[i] = a[i] + b[i];
}
