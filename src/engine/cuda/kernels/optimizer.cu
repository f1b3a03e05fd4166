// Gradient norm, clipping and AdamW over flat fp32 buffers, each one launch for all parameters. A chunk is up to 2048
// elements of one parameter: {parameter, first element, elements, quantised, first element of the state, first block of
// scales, 0, 0}. Settings are four floats a parameter, made new each step; the last is 0 where torch would skip it.
// Roundings are written out, since the compiler's fast maths would change them.
// Launch: grid [chunks].

#define CHUNK_WORDS 8
#define BLOCK 256  // consecutive elements with one scale

/** Sum of squares of what this block sees, in double. Launch: grid [G], G = min(1024, ceil(n/1024)). */
KERNEL __launch_bounds__(256) squared_norm(double* partials, const float* grads, i64 n) {
  __shared__ double sums[256];
  double sum = 0.0;
  for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < n; i += (i64)gridDim.x * 256)
    sum += (double)grads[i] * grads[i];
  sums[threadIdx.x] = sum;
  for (int half = 128; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partials[blockIdx.x] = sums[0];
}

/** largest[chunk] = max |x|, NaN if one is: a number's bits without the sign are in the order of its magnitude. */
KERNEL __launch_bounds__(256) largest_magnitude(float* largest, const float* x, const int* chunks) {
  __shared__ u32 tops[256];
  const int* chunk = chunks + (i64)blockIdx.x * CHUNK_WORDS;
  const u32 first = chunk[1], count = chunk[2];
  u32 top = 0;
  for (u32 i = threadIdx.x; i < count; i += 256) {
    const u32 bits = __float_as_uint(x[first + i]) & 0x7fffffffu;
    if (bits > top) top = bits;
  }
  tops[threadIdx.x] = top;
  for (int half = 128; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half && tops[threadIdx.x + half] > tops[threadIdx.x])
      tops[threadIdx.x] = tops[threadIdx.x + half];
  }
  if (threadIdx.x == 0) ((u32*)largest)[blockIdx.x] = tops[0];
}

/**
 * norm[0] = √Σ partials; norm[1] = what gradients are multiplied with, NaN if the norm is not finite.
 * Launch: grid [1].
 */
KERNEL __launch_bounds__(256) clip_scale(float* norm, const double* partials, int count, float max_norm) {
  __shared__ double sums[256];
  double sum = 0.0;
  for (int i = threadIdx.x; i < count; i += 256) sum += partials[i];
  sums[threadIdx.x] = sum;
  for (int half = 128; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x != 0) return;
  const double total = sqrt(sums[0]);
  double clip = 1.0;
  if (max_norm != 0.0f) clip = fmin(1.0, (double)max_norm / (total + 1e-6));
  const bool finite = total - total == 0.0;
  norm[0] = (float)total;
  norm[1] = finite ? (float)clip : __int_as_float(0x7fc00000);
}

DEVICE bool is_nan(float x) { return (__float_as_uint(x) & 0x7fffffffu) > 0x7f800000u; }
DEVICE bool is_finite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

/** torch.optim.AdamW: decay first. take1 and take2 are 1 - beta, rounded once: 1 - (float)beta is off by 1e-5. */
DEVICE void adamw_element(float& value, float gradient, float& m, float& v, float4 setting, float take1, float beta2,
                          float take2, float eps) {
  m = __fmaf_rn(take1, __fsub_rn(gradient, m), m);
  v = __fmaf_rn(__fmul_rn(take2, gradient), gradient, __fmul_rn(v, beta2));
  const float divisor = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), setting.y), eps);
  value = __fadd_rn(__fmul_rn(value, setting.z), __fdiv_rn(__fmul_rn(setting.x, m), divisor));
}

KERNEL __launch_bounds__(256)
    adamw(float* values, const float* grads, float* m, float* v, const int* chunks, const float* settings,
          const float* norm, float take1, float beta2, float take2, float eps) {
  const int* chunk = chunks + (i64)blockIdx.x * CHUNK_WORDS;
  const float4 setting = ((const float4*)settings)[chunk[0]];
  const float clip = norm[1];
  if (setting.w == 0.0f || is_nan(clip)) return;
  const u32 first = chunk[1];
  const int count = chunk[2];
  if (first % 4 == 0 && count % 4 == 0) {
    for (int i = threadIdx.x; i < count / 4; i += 256) {
      float4* at[3] = {(float4*)(values + first) + i, (float4*)(m + first) + i, (float4*)(v + first) + i};
      float4 value = *at[0], one = *at[1], two = *at[2];
      const float4 g = ((const float4*)(grads + first))[i];
      adamw_element(value.x, __fmul_rn(g.x, clip), one.x, two.x, setting, take1, beta2, take2, eps);
      adamw_element(value.y, __fmul_rn(g.y, clip), one.y, two.y, setting, take1, beta2, take2, eps);
      adamw_element(value.z, __fmul_rn(g.z, clip), one.z, two.z, setting, take1, beta2, take2, eps);
      adamw_element(value.w, __fmul_rn(g.w, clip), one.w, two.w, setting, take1, beta2, take2, eps);
      *at[0] = value;
      *at[1] = one;
      *at[2] = two;
    }
    return;
  }
  for (u32 i = first + threadIdx.x; i < first + count; i += 256) {
    adamw_element(values[i], __fmul_rn(grads[i], clip), m[i], v[i], setting, take1, beta2, take2, eps);
  }
}

/**
 * bitsandbytes' AdamW: decay after the update. A gradient that is not finite keeps the value and clears the moments.
 */
DEVICE void adamw8bit_element(float& value, float gradient, float& m, float& v, float4 setting, float beta1,
                              float take1, float beta2, float take2) {
  if (!is_finite(gradient)) {
    m = 0.0f;
    v = 0.0f;
    return;
  }
  m = __fmaf_rn(beta1, m, __fmul_rn(take1, gradient));
  v = __fmaf_rn(beta2, v, __fmul_rn(__fmul_rn(take2, gradient), gradient));
  const float update = __fdiv_rn(__fmul_rn(setting.x, m), __fadd_rn(__fsqrt_rn(v), setting.y));
  value = __fmul_rn(__fadd_rn(value, update), setting.z);
}

/**
 * The code nearest to x as `nearest_code` has it, by midpoints in the order of a search tree: node i is followed by 2i
 * and 2i + 1. Lanes that are at one level read neighbours, where those of the sorted list would meet in a few banks.
 */
DEVICE int code_in_tree(const float* tree, float x) {
  int node = 1;
#pragma unroll
  for (int level = 0; level < 8; level++) node = 2 * node + (x > tree[node] ? 1 : 0);
  return node - 256;
}
/** Index of the midpoint at node i >= 1. */
DEVICE int midpoint_of(int i) {
  const int level = 31 - __clz(i);
  return (i - (1 << level)) * (256 >> level) + (128 >> level) - 1;
}

/** A warp has 256 elements, a lane every 32nd of them. maps: signed values, midpoints, unsigned values, midpoints. */
KERNEL __launch_bounds__(256) adamw8bit(float* values, const float* grads, u8* codes_m, u8* codes_v, float* scales_m,
                                        float* scales_v, float* m, float* v, const float* maps, const int* chunks,
                                        const float* settings, const float* norm, float beta1, float beta2) {
  __shared__ float map[1024];
  const int* chunk = chunks + (i64)blockIdx.x * CHUNK_WORDS;
  const float4 setting = ((const float4*)settings)[chunk[0]];
  const float clip = norm[1];
  if (setting.w == 0.0f || is_nan(clip)) return;
  const float take1 = (float)(1.0 - (double)beta1), take2 = (float)(1.0 - (double)beta2);
  const u32 first = chunk[1], state = chunk[4];
  const int count = chunk[2];
  if (chunk[3] == 0) {
    for (int i = threadIdx.x; i < count; i += 256) {
      adamw8bit_element(values[first + i], __fmul_rn(grads[first + i], clip), m[state + i], v[state + i], setting,
                        beta1, take1, beta2, take2);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 1024; i += 256) {
    const bool is_tree = i % 512 != 0 && threadIdx.x > 0;
    map[i + threadIdx.x] = maps[i + (is_tree ? midpoint_of(threadIdx.x) : threadIdx.x)];
  }
  __syncthreads();
  const int begin = (threadIdx.x >> 5) * BLOCK + (threadIdx.x & 31);
  const u32 block = chunk[5] + (threadIdx.x >> 5);
  if (begin - (int)(threadIdx.x & 31) >= count) return;
  const float scale_m = scales_m[block], scale_v = scales_v[block];
  float one[8], two[8];
  float top_m = 0.0f, top_v = 0.0f;
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const int i = begin + 32 * j;
    one[j] = two[j] = 0.0f;
    if (i >= count) continue;
    one[j] = __fmul_rn(map[codes_m[state + i]], scale_m);
    two[j] = __fmul_rn(map[512 + codes_v[state + i]], scale_v);
    float value = values[first + i];
    adamw8bit_element(value, __fmul_rn(grads[first + i], clip), one[j], two[j], setting, beta1, take1, beta2, take2);
    values[first + i] = value;
    top_m = fmaxf(top_m, fabsf(one[j]));
    top_v = fmaxf(top_v, two[j]);
  }
  top_m = warp_max(top_m);
  top_v = warp_max(top_v);
  if ((threadIdx.x & 31) == 0) {
    scales_m[block] = top_m;
    scales_v[block] = top_v;
  }
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const int i = begin + 32 * j;
    // No `continue` here: NVRTC then keeps the loop, and one and two in memory.
    if (i < count && top_m > 0.0f) {
      int code = code_in_tree(map + 256, __fdiv_rn(one[j], top_m));
      // A moment keeps its sign: below zero it takes the smallest negative value.
      if (one[j] < 0.0f && map[code] == 0.0f) code--;
      codes_m[state + i] = (u8)code;
    }
    if (i < count && top_v > 0.0f) codes_v[state + i] = (u8)code_in_tree(map + 768, __fdiv_rn(two[j], top_v));
  }
}
