// Shared helpers, put before every kernel file as text: NVRTC sees no #include. Data are bf16, arithmetic is fp32.
//
// Lane layout (g = lane / 4, t = lane % 4) of mma.m16n8k16, from the PTX reference:
//   a[0..3]: rows g, g+8, g, g+8; depths 2t, 2t, 2t+8, 2t+8 (two neighbours a register)
//   b[0..1]: depths 2t, 2t+8 of column g
//   c[0..3]: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)

typedef unsigned char u8;
typedef unsigned short bf16;  // the bits of a bfloat16
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define DEVICE __device__ __forceinline__
#define NULLABLE  // marks the pointers of a kernel that may be null
#define KERNEL extern "C" __global__ void
#define INFINITY_F __int_as_float(0x7f800000)
// A pass over [rows, columns]: the first of a thread's 8 columns, and its rows.
#define COLUMN ((int)(blockIdx.x * blockDim.x + threadIdx.x) * 8)
#define FOR_ROWS(row, rows) for (int row = blockIdx.y; row < rows; row += gridDim.y)

// PTX begin: the CPU emulation replaces what lies up to "PTX end".

/** Two floats to bf16, round to nearest even; the first in the low half. */
DEVICE u32 pack_bf16(float low, float high) {
  u32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
DEVICE bf16 to_bf16(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
DEVICE float half_to_float(unsigned short x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}

/** 16 bytes that are read once: not kept in L1. */
DEVICE uint4 load_once(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

/** Global to shared in the background. Where not valid, the source is not read and zeros are written. */
DEVICE void copy_16_bytes(void* shared, const void* source, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(shared)),
               "l"(__cvta_generic_to_global(source)), "r"(valid ? 16 : 0)
               : "memory");
}
DEVICE void close_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/** Waits until at most PENDING of this thread's newest groups are still under way. */
template <int PENDING>
DEVICE void wait_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/** Loads 8 bytes that are read only once. */
DEVICE uint2 load_once8(const void* p) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}

/** Elementwise product of two packed bf16 pairs. */
DEVICE u32 multiply_bf16(u32 a, u32 b) {
  u32 r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(0x80008000u));
  return r;
}

/** Bytes of a and b picked by the four nibbles of `selector`; a nibble of 8 + i gives byte i's sign eight times. */
DEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) {
  u32 r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(selector));
  return r;
}

/** Four 8 × 8 matrices of bf16, each transposed; lane i gives the address of row i % 8 of matrix i / 8. */
DEVICE void load_matrices_transposed(u32 (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((u32)__cvta_generic_to_shared(shared))
               : "memory");
}

/** c [16 × 8] += a [16 × 16] · b [16 × 8], fp32 sums. */
DEVICE void multiply_add(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
/** Counts up by one after all that this block has written (the caller has synchronised it). */
DEVICE void count_up(u32* count) {
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(count) : "memory");
}
/**
 * Until a count has come to `target`; it may pass through 2^32. What was written before the counts is seen from here
 * on.
 */
DEVICE void await_count(const u32* count, u32 target) {
  u32 now;
  do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(count) : "memory");
  while ((int)(now - target) < 0);
}
/** 16 bytes that other blocks of this kernel wrote. */
DEVICE float4 load_fresh(const float* p) {
  float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p)
               : "memory");
  return v;
}
// PTX end

DEVICE float bf16_low(u32 packed) { return __uint_as_float(packed << 16); }
DEVICE float bf16_high(u32 packed) { return __uint_as_float(packed & 0xffff0000u); }
DEVICE float from_bf16(bf16 x) { return __uint_as_float((u32)x << 16); }
DEVICE float round_bf16(float x) { return from_bf16(to_bf16(x)); }

/** Element (row, 0) of a strided matrix. */
template <class E>
DEVICE E* row_of(E* base, i64 row, int ld) {
  return base + row * ld;
}

DEVICE uint4 zero16() { return make_uint4(0, 0, 0, 0); }

DEVICE void unpack8(uint4 packed, float (&v)[8]) {
  const u32 words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[2 * i] = bf16_low(words[i]);
    v[2 * i + 1] = bf16_high(words[i]);
  }
}
DEVICE uint4 pack8(const float (&v)[8]) {
  return make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
}

/** The first n elements, none if n <= 0; zeros after them. */
DEVICE uint4 first8(uint4 v, int n) {
  const u32 full = 0xffffffffu;
  v.x &= n >= 2 ? full : n > 0 ? 0xffffu : 0;
  v.y &= n >= 4 ? full : n > 2 ? 0xffffu : 0;
  v.z &= n >= 6 ? full : n > 4 ? 0xffffu : 0;
  v.w &= n >= 8 ? full : n > 6 ? 0xffffu : 0;
  return v;
}
/** Elements c .. c+7 of a row of columns > c, zeros from columns on. Rows have room for whole vectors. */
DEVICE uint4 load8(const bf16* row, int c, int columns) {
  const uint4 v = *(const uint4*)(row + c);
  return c + 8 <= columns ? v : first8(v, columns - c);
}
/**
 * Start of the last 16 bytes that hold elements of a row of columns: loads past the end go there and their result is
 * dropped.
 */
DEVICE int last8(int columns) { return (columns - 1) & ~7; }
DEVICE void load8(const bf16* row, int c, int columns, float (&v)[8]) { unpack8(load8(row, c, columns), v); }

DEVICE void store8(bf16* row, int c, int columns, uint4 packed) {
  if (c + 8 <= columns) {
    *(uint4*)(row + c) = packed;
    return;
  }
  const u32 words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (c + i < columns) row[c + i] = (bf16)(words[i / 2] >> (16 * (i % 2)));
  }
}
DEVICE void store8(bf16* row, int c, int columns, const float (&v)[8]) { store8(row, c, columns, pack8(v)); }

DEVICE float warp_sum(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) x += __shfl_xor_sync(0xffffffffu, x, mask);
  return x;
}
DEVICE float warp_max(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, mask));
  return x;
}

/** Sum over the block, in every thread; whole warps, at most 32. */
DEVICE float block_sum(float x) {
  __shared__ float partial[32];
  const int lane = threadIdx.x & 31;
  x = warp_sum(x);
  __syncthreads();
  if (lane == 0) partial[threadIdx.x >> 5] = x;
  __syncthreads();
  return warp_sum(lane < (int)(blockDim.x >> 5) ? partial[lane] : 0.0f);
}

/**
 * Whether this is the last of `count` blocks to come here, which then sees all that they wrote before. The counter is 0
 * before and after. Who is last depends on timing, so what it does must not.
 */
DEVICE bool is_last_block(u32* counter, u32 count) {
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    is_last = atomicAdd(counter, 1u) == count - 1;
    if (is_last) *counter = 0;
  }
  __syncthreads();
  __threadfence();
  return is_last;
}
/** Partial sums that other blocks wrote, `stride` apart, in their order. */
DEVICE float sum_of_splits(const float* partial, int splits, i64 stride) {
  float sum = 0.0f;
#pragma unroll 4
  for (int split = 0; split < splits; split++) sum += __ldcg(partial + split * stride);
  return sum;
}

/** The code nearest to x, the lower at a tie: the number of midpoints below x. */
DEVICE int nearest_code(const float* midpoints, float x) {
  int code = 0;
#pragma unroll
  for (int step = 128; step > 0; step /= 2) {
    if (x > midpoints[code + step - 1]) code += step;
  }
  return code;
}

/** Clears the elements whose bit in `bits` (element 0 lowest) is 0. */
DEVICE uint4 keep8(uint4 v, u32 bits) {
  // Bits 2j and 2j + 1 reach the signs of the two low bytes after a shift by 2j.
  const u32 spread = (bits << 7) | (bits << 14);
  v.x &= permute_bytes(spread, 0, 0x9988);
  v.y &= permute_bytes(spread >> 2, 0, 0x9988);
  v.z &= permute_bytes(spread >> 4, 0, 0x9988);
  v.w &= permute_bytes(spread >> 6, 0, 0x9988);
  return v;
}

// Activations are written as x·g(x): silu has g = sigmoid(x), gelu g = Φ(x), gelu_tanh g = sigmoid(2u), relu g = [x >
// 0].

#define SILU 0
#define GELU 1
#define GELU_TANH 2
#define TANH_SCALE 0.7978845608f  // √(2/π)
#define TANH_CUBE 0.044715f

DEVICE float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

template <int KIND>
DEVICE float gate_of(float x) {
  if (KIND == SILU) return sigmoid(x);
  if (KIND == GELU) return 0.5f * erfcf(-0.7071067812f * x);
  if (KIND == GELU_TANH) return sigmoid(2.0f * TANH_SCALE * x * (1.0f + TANH_CUBE * x * x));
  return x > 0.0f ? 1.0f : 0.0f;
}

/** d(x·g)/dx, given g. */
template <int KIND>
DEVICE float slope_of(float x, float g) {
  if (KIND == SILU) return g * (1.0f + x * (1.0f - g));
  if (KIND == GELU) return g + x * 0.3989422804f * __expf(-0.5f * x * x);
  if (KIND == GELU_TANH) return g + g * (1.0f - g) * 2.0f * TANH_SCALE * x * (1.0f + 3.0f * TANH_CUBE * x * x);
  return g;
}

/** CALL(kind) with the run-time kind as a compile-time one. */
#define BY_KIND(CALL)         \
  if (kind == SILU)           \
    CALL(SILU);               \
  else if (kind == GELU)      \
    CALL(GELU);               \
  else if (kind == GELU_TANH) \
    CALL(GELU_TANH);          \
  else                        \
    CALL(3);

/** g → activation(g) ⊙ u */
template <int KIND>
DEVICE void gated_forward(float (&g)[8], const float (&u)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) g[i] = g[i] * gate_of<KIND>(g[i]) * u[i];
}

/** g → dgate, u → dup, d → the forward's output. */
template <int KIND>
DEVICE void gated_backward(float (&g)[8], float (&u)[8], float (&d)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const float x = g[i], gradient = d[i], opening = gate_of<KIND>(x);
    d[i] = x * opening * u[i];
    g[i] = gradient * u[i] * slope_of<KIND>(x, opening);
    u[i] = gradient * (x * opening);
  }
}
