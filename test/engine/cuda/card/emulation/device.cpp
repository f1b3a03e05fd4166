// Memory and matrix products of the emulated card. Device memory is host memory.
#include <cmath>
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
static float from_e4m3(unsigned char x) {
  const int exponent = x >> 3 & 15, mantissa = x & 7;
  if ((x & 127) == 127) return 0.0f / 0.0f;
  const float magnitude = exponent ? ldexpf(1 + mantissa / 8.0f, exponent - 7) : ldexpf(mantissa / 8.0f, -6);
  return x & 128 ? -magnitude : magnitude;
}
/** D [m, n] = Aᵀ·B + beta · D of e4m3 codes, column-major; a scale for each column of A and B, or one. D bf16. */
void card_matmul_e4m3(uint64_t d, uint64_t a, uint64_t b, int m, int n, int k, int ldd, int lda, int ldb, uint64_t scaleA, uint64_t scaleB, int rows, float beta) {
  std::vector<float> left((size_t)m * k), right((size_t)n * k);
  for (int i = 0; i < m; i++) for (int p = 0; p < k; p++) left[(size_t)i * k + p] = from_e4m3(((const unsigned char*)a)[(size_t)i * lda + p]);
  for (int j = 0; j < n; j++) for (int p = 0; p < k; p++) right[(size_t)j * k + p] = from_e4m3(((const unsigned char*)b)[(size_t)j * ldb + p]);
  for (int j = 0; j < n; j++) for (int i = 0; i < m; i++) {
    float sum = 0;
    for (int p = 0; p < k; p++) sum += left[(size_t)i * k + p] * right[(size_t)j * k + p];
    sum *= ((const float*)scaleA)[rows ? i : 0] * ((const float*)scaleB)[rows ? j : 0];
    bf16& at = ((bf16*)d)[(size_t)j * ldd + i];
    at = to_bf16(sum + (beta ? beta * to_float(at) : 0));
  }
}
}
