// CPU stand-in for the CUDA language and for the PTX part of common.cu, to check index maths without a GPU. Each thread
// of a block is a fiber; lanes meet at warp instructions and barriers and otherwise run as far ahead as they can, warps in
// random order, so that a missing barrier shows as a wrong result. Put after fibers.h.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>
using std::max;
using std::min;
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static const
#define __align__(n) __attribute__((aligned(n)))
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct Dim { unsigned x, y, z; };
inline Dim blockIdx, gridDim, blockDim;
struct Fiber { Context context; char* stack; bool done, blocked; unsigned operations; };
struct Slot { const void* pointer; unsigned a[4], b[2]; double number; };
constexpr size_t stack_bytes = 1 << 20;  // touched as far as it is used
inline std::vector<Fiber> fibers;
inline Context scheduler;
inline int current;
inline std::vector<Slot> slots;
inline std::vector<unsigned> arrived;
struct ThreadIndex { struct { operator unsigned() const { return current; } } x; };
inline ThreadIndex threadIdx;
inline void yield() { switch_to(fibers[current].context, scheduler); }
inline Slot* meet(const Slot& mine) {
  Fiber& f = fibers[current];
  const int warp = current / 32;
  const unsigned operation = f.operations++;
  Slot* group = &slots[(warp * 2 + operation % 2) * 32];
  group[current % 32] = mine;
  arrived[warp]++;
  while (arrived[warp] < 32 * (operation + 1)) yield();
  return group;
}
inline void __syncthreads() { fibers[current].blocked = true; while (fibers[current].blocked) yield(); }
template <class V> V __shfl_xor_sync(unsigned, V value, int mask) {
  Slot s{}; s.number = (double)value; const int lane = current % 32;
  return (V)meet(s)[lane ^ mask].number;
}
template <class V> V __shfl_sync(unsigned, V value, int from) {
  Slot s{}; s.number = (double)value;
  return (V)meet(s)[from].number;
}
inline void __threadfence() {}
template <class V> V __ldcg(const V* p) { return *p; }
inline unsigned atomicAdd(unsigned* p, unsigned n) { const unsigned was = *p; *p += n; return was; }
inline unsigned atomicMax(unsigned* p, unsigned n) { const unsigned was = *p; *p = max(was, n); return was; }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline unsigned __float_as_uint(float x) { unsigned b; memcpy(&b, &x, 4); return b; }
inline float __uint_as_float(unsigned b) { float x; memcpy(&x, &b, 4); return x; }
inline float __int_as_float(int b) { return __uint_as_float((unsigned)b); }
inline float __expf(float x) { return expf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
