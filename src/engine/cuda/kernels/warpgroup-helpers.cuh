// Thin wrappers around the warpgroup matrix products of Hopper (sm_90a). All inline PTX that the warpgroup kernels need
// beyond mma-helpers.cuh is here, so that a CPU emulation can replace the two files. Prepended as text after
// mma-helpers.cuh.
//
// A warpgroup is four warps; warp w has rows 16·w .. 16·w + 15 of a product of 64 rows, in the lane layout of
// mma.m16n8k16 (mma-helpers.cuh): left operands a[4] by 16 depths, results c[N / 8][4]. The products run in the
// background: fence_products() before the first (after all writes to their registers), close_products() after the last,
// and nothing of their registers and shared rows may be touched before wait_products(), after which hold() keeps the
// compiler from having read the results earlier.

typedef unsigned long long u64;

DEVICE void fence_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void close_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/** Waits until at most PENDING of the newest closed groups are still under way. */
template <int PENDING>
DEVICE void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
/** Rows that this thread wrote or copied become visible to products, after the next barrier those of all threads. */
DEVICE void publish_rows() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/** Waits for all threads of a team; the number says which one of the block's. */
template <int THREADS>
DEVICE void synchronize_threads(int team) {
  asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "n"(THREADS) : "memory");
}

/** A barrier in two halves, in shared memory: who has arrived goes on, and waits for the others later. */
struct Arrivals {
  u64 state;
};
DEVICE void prepare(Arrivals& arrivals, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&arrivals)), "r"(count) : "memory");
}
/** What this thread wrote, copied and published is seen by all after await(). */
DEVICE void arrive(Arrivals& arrivals) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&arrivals)) : "memory");
}
/** Waits for all arrivals of a round; rounds count from 0, and nobody may be more than one behind. */
DEVICE void await(Arrivals& arrivals, int round) {
  asm volatile("{.reg .pred p; AGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @!p bra AGAIN;}" ::"r"(
                   shared_address(&arrivals)),
               "r"(round & 1)
               : "memory");
}

/** Results are read after this point, and written before. */
template <int TILES>
DEVICE void hold(float (&c)[TILES][4]) {
#pragma unroll
  for (int n = 0; n < TILES; n++)
    asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}
template <int STEPS>
DEVICE void hold(u32 (&a)[STEPS][4]) {
#pragma unroll
  for (int d = 0; d < STEPS; d++)
    asm volatile("" : "+r"(a[d][0]), "+r"(a[d][1]), "+r"(a[d][2]), "+r"(a[d][3])::"memory");
}

// Operands of the assembler text: the N / 2 results first, what follows counts on from there.
#define FOUR(n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define SIXTEEN(n) FOUR(n), FOUR(n + 1), FOUR(n + 2), FOUR(n + 3)
#define RESULTS_32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define RESULTS_64 RESULTS_32 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define RESULTS_96 RESULTS_64 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define RESULTS_128 RESULTS_96 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

#define DEFINE_MULTIPLY(N, R0, R1, R2, R3, R4, R5, R6, ...)                                                          \
  template <int TRANSPOSED>                                                                                          \
  DEVICE void multiply(float(&c)[N / 8][4], const u32(&a)[4], u64 b, int add) {                                      \
    asm volatile("{.reg .pred p; setp.ne.b32 p, %" #R5                                                               \
                 ", 0; "                                                                                             \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" RESULTS_##N                            \
                 "}, {%" #R0 ",%" #R1 ",%" #R2 ",%" #R3 "}, %" #R4 ", p, 1, 1, %" #R6 ";}"                           \
                 : __VA_ARGS__                                                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(TRANSPOSED));                   \
  }                                                                                                                  \
  template <int TRANSPOSED>                                                                                          \
  DEVICE void multiply(float(&c)[N / 8][4], u64 a, u64 b, int add) {                                                 \
    asm volatile("{.reg .pred p; setp.ne.b32 p, %" #R2                                                               \
                 ", 0; "                                                                                             \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" RESULTS_##N "}, %" #R0 ", %" #R1       \
                                                                                          ", p, 1, 1, 0, %" #R3 ";}" \
                 : __VA_ARGS__                                                                                       \
                 : "l"(a), "l"(b), "r"(add), "n"(TRANSPOSED));                                                       \
  }

// c [64 x N] = (add ? c : 0) + a [64 x 16] · b [16 x N]. The left operand is in registers or in shared memory, there
// stored [row][depth]. TRANSPOSED 1: the right operand is stored [depth][column], 0: [column][depth].
DEFINE_MULTIPLY(32, 16, 17, 18, 19, 20, 21, 22, SIXTEEN(0))
DEFINE_MULTIPLY(64, 32, 33, 34, 35, 36, 37, 38, SIXTEEN(0), SIXTEEN(4))
DEFINE_MULTIPLY(96, 48, 49, 50, 51, 52, 53, 54, SIXTEEN(0), SIXTEEN(4), SIXTEEN(8))
DEFINE_MULTIPLY(128, 64, 65, 66, 67, 68, 69, 70, SIXTEEN(0), SIXTEEN(4), SIXTEEN(8), SIXTEEN(12))
