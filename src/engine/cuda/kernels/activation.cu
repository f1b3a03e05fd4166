// Element by element over [rows, columns]: a thread has 8 columns, blocks step over the rows. fp32, one rounding.
// Launch: grid2(rows, columns).

KERNEL __launch_bounds__(128) gated_activation_forward(bf16* out, const bf16* gate, const bf16* up, int rows,
                                                       int columns, int ldo, int ldgate, int ldup, int kind) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float g[8], u[8];
    const uint4 packed = load8(row_of(gate, row, ldgate), c, columns);
    load8(row_of(up, row, ldup), c, columns, u);
    unpack8(packed, g);
#define CALL(KIND) gated_forward<KIND>(g, u)
    BY_KIND(CALL)
#undef CALL
    store8(row_of(out, row, ldo), c, columns, g);
  }
}

KERNEL __launch_bounds__(128)
    gated_activation_backward(bf16* NULLABLE dgate, bf16* NULLABLE dup, const bf16* gate, const bf16* up,
                              const bf16* dy, int rows, int columns, int lddgate, int lddup, int ldgate, int ldup,
                              int lddy, int kind) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float g[8], u[8], d[8];
    const uint4 packed_gate = load8(row_of(gate, row, ldgate), c, columns);
    const uint4 packed_up = load8(row_of(up, row, ldup), c, columns);
    load8(row_of(dy, row, lddy), c, columns, d);
    unpack8(packed_gate, g);
    unpack8(packed_up, u);
#define CALL(KIND) gated_backward<KIND>(g, u, d)
    BY_KIND(CALL)
#undef CALL
    if (dgate) store8(row_of(dgate, row, lddgate), c, columns, g);
    if (dup) store8(row_of(dup, row, lddup), c, columns, u);
  }
}

template <int KIND>
DEVICE void plain_forward(float (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] *= gate_of<KIND>(x[i]);
}

KERNEL __launch_bounds__(128)
    activation_forward(bf16* out, const bf16* x, int rows, int columns, int ldo, int ldx, int kind) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float v[8];
    load8(row_of(x, row, ldx), c, columns, v);
#define CALL(KIND) plain_forward<KIND>(v)
    BY_KIND(CALL)
#undef CALL
    store8(row_of(out, row, ldo), c, columns, v);
  }
}

template <int KIND>
DEVICE void plain_backward(float (&x)[8], const float (&d)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] = d[i] * slope_of<KIND>(x[i], gate_of<KIND>(x[i]));
}

KERNEL __launch_bounds__(128) activation_backward(bf16* dx, const bf16* x, const bf16* dy, int rows, int columns,
                                                  int lddx, int ldx, int lddy, int kind) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float v[8], d[8];
    load8(row_of(x, row, ldx), c, columns, v);
    load8(row_of(dy, row, lddy), c, columns, d);
#define CALL(KIND) plain_backward<KIND>(v, d)
    BY_KIND(CALL)
#undef CALL
    store8(row_of(dx, row, lddx), c, columns, v);
  }
}

KERNEL __launch_bounds__(128)
    add(bf16* out, const bf16* a, const bf16* b, int rows, int columns, int ldo, int lda, int ldb) {
  const int c = COLUMN;
  if (c >= columns) return;
  FOR_ROWS(row, rows) {
    float v[8], w[8];
    load8(row_of(a, row, lda), c, columns, v);
    load8(row_of(b, row, ldb), c, columns, w);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] += w[i];
    store8(row_of(out, row, ldo), c, columns, v);
  }
}

KERNEL __launch_bounds__(128) add_bias(bf16* y, const bf16* bias, int rows, int columns, int ldy) {
  const int c = COLUMN;
  if (c >= columns) return;
  float w[8];
  load8(bias, c, columns, w);
  FOR_ROWS(row, rows) {
    float v[8];
    load8(row_of(y, row, ldy), c, columns, v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] += w[i];
    store8(row_of(y, row, ldy), c, columns, v);
  }
}

KERNEL __launch_bounds__(128) scale(bf16* out, const bf16* x, const float* NULLABLE factor_pointer, float factor,
                                    int rows, int columns, int ldo, int ldx) {
  const int c = COLUMN;
  if (c >= columns) return;
  if (factor_pointer) factor *= *factor_pointer;
  FOR_ROWS(row, rows) {
    float v[8];
    load8(row_of(x, row, ldx), c, columns, v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] *= factor;
    store8(row_of(out, row, ldo), c, columns, v);
  }
}
