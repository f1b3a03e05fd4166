// Moving whole rows: gather, scatter, replace, and the patch merger's blocks. Listed rows are distinct.

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
