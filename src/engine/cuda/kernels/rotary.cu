// Rotary position embedding, half-split, of queries and keys in one launch: (a, b) → (a·cos - b·sin, b·cos + a·sin)
// with b half a head away; sign -1 turns back (the gradient). Queries are multiplied by query_scale. fp32, one
// rounding.
// Launch: grid [rows], block min(256, 32·ceil((heads + kv_heads)·ceil(D/16)/32)).

DEVICE void turn8(bf16* out, const bf16* x, const float* cos, const float* sin, int half, float scale, float sign) {
  float a[8], b[8], c[8], s[8];
  unpack8(*(const uint4*)x, a);
  unpack8(*(const uint4*)(x + half), b);
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    *(float4*)(c + i) = *(const float4*)(cos + i);
    *(float4*)(s + i) = *(const float4*)(sin + i);
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const float near = (a[i] * c[i] - b[i] * (s[i] * sign)) * scale;
    b[i] = (b[i] * c[i] + a[i] * (s[i] * sign)) * scale;
    a[i] = near;
  }
  *(uint4*)out = pack8(a);
  *(uint4*)(out + half) = pack8(b);
}

DEVICE void turn1(bf16* out, const bf16* x, const float* cos, const float* sin, int half, float scale, float sign) {
  const float a = from_bf16(*x), b = from_bf16(x[half]);
  const float c = *cos, s = *sin * sign;
  *out = to_bf16((a * c - b * s) * scale);
  out[half] = to_bf16((b * c + a * s) * scale);
}

KERNEL __launch_bounds__(256)
    rotary(bf16* NULLABLE q_out, bf16* NULLABLE k_out, const bf16* NULLABLE q, const bf16* NULLABLE k, const float* cos,
           const float* sin, const float* NULLABLE query_scale, int rows, int heads, int kv_heads, int D, int ldq_out,
           int ldk_out, int ldq, int ldk, float sign) {
  const int row = blockIdx.x;
  const int half = D / 2;
  const bool fast = half % 8 == 0;
  const int pieces = fast ? half / 8 : half;  // of half a head
  const int query_items = heads * pieces;
  const float scale = query_scale ? query_scale[row] : 1.0f;
  cos = row_of(cos, row, half);
  sin = row_of(sin, row, half);
  for (int item = threadIdx.x; item < query_items + kv_heads * pieces; item += blockDim.x) {
    const bool query = item < query_items;
    const int local = query ? item : item - query_items;
    const int head = local / pieces;
    const int i = (local - head * pieces) * (fast ? 8 : 1);
    const bf16* from = (query ? row_of(q, row, ldq) : row_of(k, row, ldk)) + head * D + i;
    bf16* to = (query ? row_of(q_out, row, ldq_out) : row_of(k_out, row, ldk_out)) + head * D + i;
    if (fast)
      turn8(to, from, cos + i, sin + i, half, query ? scale : 1.0f, sign);
    else
      turn1(to, from, cos + i, sin + i, half, query ? scale : 1.0f, sign);
  }
}
