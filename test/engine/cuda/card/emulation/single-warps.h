// What the attention kernels without warpgroup products need besides warpgroups.h, after which it is put.
#pragma once
static void load_matrices_transposed(u32 (&r)[4], u32 address) {
  const Slot* all = exchange({0, address});
  const int lane = current % 32;
  for (int m = 0; m < 4; m++) {
    bf16 e[2];
    for (int j = 0; j < 2; j++) memcpy(&e[j], at(all[m * 8 + lane % 4 * 2 + j].address, 16) + lane / 4 * 2, 2);
    r[m] = e[0] | (u32)e[1] << 16;
  }
  meet(0);
}
static float half_of(u32 packed, int j) { return to_float(packed >> (16 * j)); }
static void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  Slot mine{};
  for (int i = 0; i < 4; i++) mine.a[i] = a[i];
  mine.b[0] = b0, mine.b[1] = b1;
  const Slot* all = exchange(mine);
  const int g = current % 32 / 4, t = current % 4;
  for (int i = 0; i < 4; i++) {
    const int row = g + i / 2 * 8, column = t * 2 + i % 2;
    float sum = 0;
    for (int k = 0; k < 16; k++) {
      sum += half_of(all[row % 8 * 4 + k % 8 / 2].a[k / 8 * 2 + row / 8], k % 2) * half_of(all[column * 4 + k % 8 / 2].b[k / 8], k % 2);
    }
    c[i] += sum;
  }
}
static void __threadfence() {}
template <class V> V __ldcg(const V* p) { return *p; }
static u32 atomicInc(u32* p, u32 last) { const u32 was = *p; *p = was >= last ? 0 : was + 1; return was; }
