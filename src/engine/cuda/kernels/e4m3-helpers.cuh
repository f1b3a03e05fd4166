// Shared by kernels that make e4m3 operands. Prepended as text after common.cu: NVRTC sees no #include.

#define E4M3_MAX 448.0f
// Lower bound of amax, as 448 / amax must be finite: rows below it lose precision instead of overflowing.
#define LEAST_AMAX 1e-30f

#if __CUDA_ARCH__ >= 890 && (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ > 0))
/** Two floats to e4m3, the first in the low byte: nearest even, saturating, NaN stays NaN. */
DEVICE u32 pack_e4m3(float low, float high) {
  unsigned short packed;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
  return packed;
}
#else
DEVICE u32 to_e4m3(float x) {
  const u32 bits = __float_as_uint(x), sign = bits >> 24 & 0x80u;
  if ((bits & 0x7fffffffu) > 0x7f800000u) return sign | 0x7fu;
  const float magnitude = fminf(fabsf(x), E4M3_MAX);
  if (magnitude < 0.015625f) return sign | (u32)rintf(magnitude * 512.0f);
  const u32 b = __float_as_uint(magnitude);
  return sign | ((b + 0x7ffffu + (b >> 20 & 1u)) >> 20) - 960u;
}
DEVICE u32 pack_e4m3(float low, float high) { return to_e4m3(low) | to_e4m3(high) << 8; }
#endif

/** Maximum over the block, returned to every thread; whole warps, at most 32. */
DEVICE float block_max(float x) {
  __shared__ float partial[32];
  const int lane = threadIdx.x & 31;
  x = warp_max(x);
  __syncthreads();
  if (lane == 0) partial[threadIdx.x >> 5] = x;
  __syncthreads();
  return warp_max(lane < (int)(blockDim.x >> 5) ? partial[lane] : 0.0f);
}

/** Elements c .. c+7 times the factors of their columns. */
DEVICE void factored8(uint4 packed, const float* factors, int c, float (&v)[8]) {
  unpack8(packed, v);
  if (!factors) return;
  const float4 a = *(const float4*)(factors + c), b = *(const float4*)(factors + c + 4);
  v[0] *= a.x, v[1] *= a.y, v[2] *= a.z, v[3] *= a.w;
  v[4] *= b.x, v[5] *= b.y, v[6] *= b.z, v[7] *= b.w;
}
DEVICE float largest8(uint4 packed, const float* factors, int c, float most) {
  float v[8];
  factored8(packed, factors, c, v);
#pragma unroll
  for (int j = 0; j < 8; j++) most = fmaxf(most, fabsf(v[j]));
  return most;
}
DEVICE void store_e4m3(u8* codes, float (&v)[8], float inverse) {
#pragma unroll
  for (int j = 0; j < 8; j++) v[j] *= inverse;
  *(uint2*)codes = make_uint2(pack_e4m3(v[0], v[1]) | pack_e4m3(v[2], v[3]) << 16,
                              pack_e4m3(v[4], v[5]) | pack_e4m3(v[6], v[7]) << 16);
}
DEVICE void quantize8(u8* codes, uint4 packed, const float* factors, int c, float inverse) {
  float v[8];
  factored8(packed, factors, c, v);
  store_e4m3(codes + c, v, inverse);
}
