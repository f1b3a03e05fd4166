// Moving whole rows: gather, scatter, replace, sums of repeated rows, and the patch merger's blocks. Rows that are
// written are distinct.

/** out[i] = x[index[i]]. Launch: grid2(n, columns). */
KERNEL __launch_bounds__(128)
    gather_rows(bf16* out, const bf16* x, const int* index, int n, int columns, int ldo, int ldx) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(i, n) store8(row_of(out, i, ldo), c, columns, load8(row_of(x, index[i], ldx), c, columns));
}

/** target[index[i]] = source[i], or zeros without a source. Launch: grid2(n, columns). */
KERNEL __launch_bounds__(128)
    scatter_rows(bf16* target, const bf16* NULLABLE source, const int* index, int n, int columns, int ldt, int lds) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(i, n) {
    const uint4 v = source ? load8(row_of(source, i, lds), c, columns) : zero16();
    store8(row_of(target, index[i], ldt), c, columns, v);
  }
}

/** out[r] = map[r] >= 0 ? source[map[r]] : base[r]; zeros for what is missing. Launch: grid2(rows, columns). */
KERNEL __launch_bounds__(128) select_rows(bf16* out, const bf16* NULLABLE base, const bf16* NULLABLE source,
                                          const int* map, int rows, int columns, int ldo, int ldb, int lds) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    const int from = map[row];
    uint4 v = zero16();
    if (from >= 0) {
      if (source) v = load8(row_of(source, from, lds), c, columns);
    } else if (base) {
      v = load8(row_of(base, row, ldb), c, columns);
    }
    store8(row_of(out, row, ldo), c, columns, v);
  }
}

/**
 * key_out[to[i]] = key[from[i]], and the same of the values, of as many columns; without `to` row i.
 * Launch: grid2(n, columns).
 */
KERNEL __launch_bounds__(128) gather_key_value(bf16* key_out, bf16* value_out, const bf16* key, const bf16* value,
                                               const int* from, const int* NULLABLE to, int n, int columns,
                                               int ldkey_out, int ldvalue_out, int ldkey, int ldvalue) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(i, n) {
    const int source = from[i], target = to ? to[i] : i;
    const uint4 k = load8(row_of(key, source, ldkey), c, columns);
    const uint4 v = load8(row_of(value, source, ldvalue), c, columns);
    store8(row_of(key_out, target, ldkey_out), c, columns, k);
    store8(row_of(value_out, target, ldvalue_out), c, columns, v);
  }
}

DEVICE void sum_row(bf16* out, const bf16* x, const int* places, int count, int c, int columns, int ldx) {
  float sum[8] = {};
  for (int i = 0; i < count; i++) {
    float v[8];
    load8(row_of(x, places[i], ldx), c, columns, v);
#pragma unroll
    for (int j = 0; j < 8; j++) sum[j] += v[j];
  }
  store8(out, c, columns, sum);
}

/**
 * out[r] = Σ x[places[i]], i from starts[r] to starts[r + 1], in this order, rounded once; zeros where there is none.
 * The same of a second matrix of as many columns where it is given. Launch: grid2(rows, columns).
 */
KERNEL __launch_bounds__(128)
    sum_rows(bf16* out, bf16* NULLABLE second_out, const bf16* x, const bf16* NULLABLE second, const int* starts,
             const int* places, int rows, int columns, int ldo, int ldsecond_out, int ldx, int ldsecond) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    const int first = starts[row], count = starts[row + 1] - first;
    sum_row(row_of(out, row, ldo), x, places + first, count, c, columns, ldx);
    if (second) sum_row(row_of(second_out, row, ldsecond_out), second, places + first, count, c, columns, ldsecond);
  }
}

/** out[i][c·block + j] = x[order[i·block + j]][c]. Launch: grid2(out_rows, columns). */
KERNEL __launch_bounds__(128) merge_patches_forward(bf16* out, const bf16* x, const int* order, int out_rows,
                                                    int columns, int block, int ldo, int ldx) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(i, out_rows) {
    bf16* to = row_of(out, i, ldo);
    if (block == 4 && c + 8 <= columns) {
      bf16 in[4][8], merged[32];
#pragma unroll
      for (int j = 0; j < 4; j++) *(uint4*)in[j] = *(const uint4*)(row_of(x, order[i * 4 + j], ldx) + c);
#pragma unroll
      for (int e = 0; e < 32; e++) merged[e] = in[e % 4][e / 4];
#pragma unroll
      for (int j = 0; j < 4; j++) ((uint4*)(to + c * 4))[j] = ((uint4*)merged)[j];
      continue;
    }
    for (int j = 0; j < block; j++) {
      const bf16* from = row_of(x, order[i * block + j], ldx);
      for (int e = c; e < min(columns, c + 8); e++) to[e * block + j] = from[e];
    }
  }
}

/** The way back: dx[order[i·block + j]][c] = dy[i][c·block + j]. Launch: grid2(out_rows, columns). */
KERNEL __launch_bounds__(128) merge_patches_backward(bf16* dx, const bf16* dy, const int* order, int out_rows,
                                                     int columns, int block, int lddx, int lddy) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(i, out_rows) {
    const bf16* from = row_of(dy, i, lddy);
    if (block == 4 && c + 8 <= columns) {
      bf16 out[4][8], merged[32];
#pragma unroll
      for (int j = 0; j < 4; j++) ((uint4*)merged)[j] = ((const uint4*)(from + c * 4))[j];
#pragma unroll
      for (int e = 0; e < 32; e++) out[e % 4][e / 4] = merged[e];
#pragma unroll
      for (int j = 0; j < 4; j++) *(uint4*)(row_of(dx, order[i * 4 + j], lddx) + c) = *(uint4*)out[j];
      continue;
    }
    for (int j = 0; j < block; j++) {
      bf16* to = row_of(dx, order[i * block + j], lddx);
      for (int e = c; e < min(columns, c + 8); e++) to[e] = from[e * block + j];
    }
  }
}
