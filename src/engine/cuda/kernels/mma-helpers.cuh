// Thin wrappers around the tensor-core instructions of sm_80 and up. All inline PTX of the attention kernels is here,
// so that a CPU emulation can replace this one file. Prepended as text: NVRTC sees no #include.
//
// Lane layout (g = lane / 4, t = lane % 4) of mma.m16n8k16, from the PTX reference:
//   a[0..3]: rows g, g+8, g, g+8; depths 2t, 2t, 2t+8, 2t+8 (two neighbours a register)
//   b[0..1]: depths 2t, 2t+8 of column g
//   c[0..3]: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)
// So a result tile, packed to bf16, is a left operand as it stands: scores never pass through shared memory.

typedef unsigned short bf16;  // the bits of a bfloat16
typedef unsigned int u32;

#define DEVICE __device__ __forceinline__
#define NULLABLE  // marks the pointers of a kernel that may be null
#define NEGATIVE_INFINITY __int_as_float(0xff800000)
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

/** Byte address inside the shared window, as ldmatrix and cp.async want it. */
DEVICE u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

/** Two floats to bf16, round to nearest even; the first in the low half. */
DEVICE u32 pack_bf16(float low, float high) {
  u32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
DEVICE float bf16_low(u32 packed) { return __uint_as_float(packed << 16); }
DEVICE float bf16_high(u32 packed) { return __uint_as_float(packed & 0xffff0000u); }

DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float log2_fast(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/** Four 8 × 8 matrices of bf16; lane i gives the address of row i % 8 of matrix i / 8. */
DEVICE void load_matrices(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
/** The same, each matrix transposed. */
DEVICE void load_matrices_transposed(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/** c [16 × 8] += a [16 × 16] · b [16 × 8], fp32 sums. */
DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/** Global to shared in the background. Where not valid, the source is not read and zeros are written. */
DEVICE void copy_16_bytes(u32 target, const void* source, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(__cvta_generic_to_global(source)),
               "r"(valid ? 16 : 0)
               : "memory");
}
DEVICE void copy_4_bytes(u32 target, const void* source, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(target), "l"(__cvta_generic_to_global(source)),
               "r"(valid ? 4 : 0)
               : "memory");
}
DEVICE void close_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/** Waits until at most PENDING of this thread's newest groups are still under way. */
template <int PENDING>
DEVICE void wait_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
