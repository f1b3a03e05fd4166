DEVICE bf16 to_bf16(float x) {
  const u32 b = __float_as_uint(x);
  return x != x ? 0x7fff : (bf16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}
DEVICE u32 pack_bf16(float low, float high) { return to_bf16(low) | (u32)to_bf16(high) << 16; }
DEVICE float half_to_float(unsigned short x) { _Float16 h; memcpy(&h, &x, 2); return (float)h; }
DEVICE uint4 load_once(const void* p) { return *(const uint4*)p; }
// Copies happen as late as they may, so that a missing wait shows.
struct Copy { void* target; const void* source; bool valid; };
inline std::vector<std::vector<Copy>>& copies_of_thread() {
  static std::vector<std::vector<std::vector<Copy>>> all(1024);
  auto& groups = all[current];
  if (groups.empty()) groups.emplace_back();
  return groups;
}
DEVICE void copy_16_bytes(void* shared, const void* source, bool valid) {
  if ((uintptr_t)shared % 16 || (uintptr_t)source % 16) { printf("BAD copy\n"); abort(); }
  copies_of_thread().back().push_back({shared, source, valid});
}
DEVICE void close_copy_group() { copies_of_thread().emplace_back(); }
template <int PENDING> void wait_copy_groups() {
  auto& groups = copies_of_thread();
  while ((int)groups.size() > PENDING + 1) {
    for (const Copy& copy : groups.front()) copy.valid ? memcpy(copy.target, copy.source, 16) : memset(copy.target, 0, 16);
    groups.erase(groups.begin());
  }
}
DEVICE uint2 load_once8(const void* p) { return *(const uint2*)p; }
DEVICE u32 multiply_bf16(u32 a, u32 b) {
  const float low = __uint_as_float(a << 16) * __uint_as_float(b << 16);
  const float high = __uint_as_float(a & 0xffff0000u) * __uint_as_float(b & 0xffff0000u);
  return pack_bf16(low, high);
}
DEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) {
  u32 r = 0;
  for (int i = 0; i < 4; i++) {
    const u32 s = selector >> (4 * i) & 15, byte = (s & 4 ? b : a) >> (8 * (s & 3)) & 255;
    r |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * i);
  }
  return r;
}
DEVICE void load_matrices_transposed(u32 (&r)[4], const void* p) {
  if ((uintptr_t)p % 16) { printf("BAD ldmatrix alignment\n"); abort(); }
  Slot s{}; s.pointer = p;
  Slot* all = meet(s);
  const int lane = current % 32;
  for (int m = 0; m < 4; m++) {
    bf16 e[2];
    for (int j = 0; j < 2; j++) memcpy(&e[j], (const bf16*)all[m * 8 + lane % 4 * 2 + j].pointer + lane / 4, 2);
    r[m] = e[0] | (u32)e[1] << 16;
  }
}
DEVICE float half_of(u32 packed, int j) { return __uint_as_float(j ? packed & 0xffff0000u : packed << 16); }
DEVICE void multiply_add(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  Slot s{}; s.a[0] = a0; s.a[1] = a1; s.a[2] = a2; s.a[3] = a3; s.b[0] = b0; s.b[1] = b1;
  Slot* all = meet(s);
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
DEVICE void count_up(u32* count) { ++*count; }
DEVICE void await_count(const u32* count, u32 target) { if ((int)(*count - target) < 0) { printf("BAD order of blocks\n"); abort(); } }
DEVICE float4 load_fresh(const float* p) { return *(const float4*)p; }
