// Memory and matrix products of the emulated card. Device memory is host memory.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>
typedef unsigned short bf16;
static float to_float(bf16 x) { const uint32_t b = (uint32_t)x << 16; float f; memcpy(&f, &b, 4); return f; }
static bf16 to_bf16(float x) { uint32_t b; memcpy(&b, &x, 4); return x != x ? 0x7fff : (bf16)((b + 0x7fff + (b >> 16 & 1)) >> 16); }
extern "C" {
uint64_t card_allocate(uint64_t bytes) { return (uint64_t)aligned_alloc(4096, (bytes + 4095) / 4096 * 4096); }
void card_free(uint64_t address) { free((void*)address); }
void card_fill(uint64_t target, int value, uint64_t bytes) { memset((void*)target, value, bytes); }
void card_copy(uint64_t target, uint64_t source, uint64_t bytes) { memmove((void*)target, (void*)source, bytes); }
void card_upload(uint64_t target, const void* source, uint64_t bytes) { memcpy((void*)target, source, bytes); }
void card_download(void* target, uint64_t source, uint64_t bytes) { memcpy(target, (void*)source, bytes); }

/** D [m, n] = alpha · op(A)·op(B) + beta · D, column-major as cuBLASLt has it; A and B bf16, sums float32. */
void card_matmul(uint64_t d, uint64_t a, uint64_t b, int m, int n, int k, int ldd, int lda, int ldb, int transA, int transB, int wide, float alpha, float beta) {
  std::vector<float> left((size_t)m * k), right((size_t)n * k);
  for (int i = 0; i < m; i++) for (int p = 0; p < k; p++) left[(size_t)i * k + p] = to_float(((const bf16*)a)[transA ? (size_t)i * lda + p : (size_t)p * lda + i]);
  for (int j = 0; j < n; j++) for (int p = 0; p < k; p++) right[(size_t)j * k + p] = to_float(((const bf16*)b)[transB ? (size_t)p * ldb + j : (size_t)j * ldb + p]);
  for (int j = 0; j < n; j++) for (int i = 0; i < m; i++) {
    float sum = 0;
    for (int p = 0; p < k; p++) sum += left[(size_t)i * k + p] * right[(size_t)j * k + p];
    sum *= alpha;
    const size_t at = (size_t)j * ldd + i;
    if (wide) ((float*)d)[at] = sum + (beta ? beta * ((float*)d)[at] : 0);
    else ((bf16*)d)[at] = to_bf16(sum + (beta ? beta * to_float(((bf16*)d)[at]) : 0));
  }
}
}
