// CPU stand-in for the CUDA language, mma-helpers.cuh and warpgroup-helpers.cuh, to check the warpgroup attention kernels
// without a GPU: index maths, descriptors, and that nothing is read or overwritten too early. Each thread is a fiber; warps
// run in random order. What the hardware may do at any time between two points is done at one of them, by chance: copies
// when they start or when they are waited for, products when they are closed or when they are waited for. A product aborts
// if it reads shared rows that were not published, or if its threads disagree. Put after fibers.h.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <type_traits>
#include <vector>
using std::max;
using std::min;
#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define DEVICE static inline
#define NULLABLE
#define NEGATIVE_INFINITY (-INFINITY)
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f
#define FAIL(...) (printf(__VA_ARGS__), printf("\n"), fflush(stdout), abort())
typedef unsigned short bf16;
typedef unsigned u32;
typedef unsigned long long u64;
struct alignas(8) float2 { float x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct Dim { unsigned x, y, z; };
static Dim blockIdx, gridDim, blockDim;

constexpr u32 shared_limit = 232448, shared_base = 1024;
alignas(1024) static unsigned char shared_memory[shared_limit];
static std::mt19937 chance(1);

struct Copy { u32 target; const void* source; int bytes, size; };
struct Product { float* c; int tiles; const u32* a; u64 left, right; bool add, transposed; };
struct Fiber {
  Context context;
  char* stack;
  bool done;
  unsigned meetings[4];
  std::vector<std::vector<Copy>> copies;
  std::vector<u32> written;  // units of 16 bytes that are not published yet
  std::vector<std::vector<Product>> products;
};
constexpr size_t stack_bytes = 1 << 20;  // touched as far as it is used
static std::vector<Fiber> fibers;
static Context scheduler;
static int current, block_threads;
static bool early;
static unsigned arrived[4][64];
static unsigned char unpublished[shared_limit / 16];
struct Slot { double number; u32 address, a[4], b[2]; };
static std::vector<Slot> slots;
struct ThreadIndex { struct { operator unsigned() const { return current; } } x; };
static ThreadIndex threadIdx;

static Fiber& self() { return fibers[current]; }
static void yield() { switch_to(self().context, scheduler); }
/** Waits for all threads of the warp (scope 0), warpgroup (1), block (2) or team (3); returns how many meetings there were before. */
static unsigned meet(int scope, int team_threads = 0) {
  const int size = scope == 0 ? 32 : scope == 1 ? 128 : scope == 2 ? block_threads : team_threads;
  const unsigned before = self().meetings[scope]++;
  unsigned& count = arrived[scope][current / size];
  count++;
  while (count < size * (before + 1)) yield();
  return before;
}
static Slot* exchange(Slot mine) {
  Slot* all = &slots[(current / 32 * 2 + self().meetings[0] % 2) * 32];
  all[current % 32] = mine;
  meet(0);
  return all;
}
static void __syncthreads() { meet(2); }
static void __syncwarp() { meet(0); }
template <int THREADS> void synchronize_threads(int team) {
  if (team != current / THREADS) FAIL("thread %d waits with team %d", current, team);
  meet(3, THREADS);
}
struct Arrivals { unsigned count, arrived; };
static void prepare(Arrivals& arrivals, int count) { arrivals = {(unsigned)count, 0}; }
static void arrive(Arrivals& arrivals) { arrivals.arrived++; }
static void await(Arrivals& arrivals, int round) { while ((arrivals.arrived / arrivals.count & 1) == (round & 1)) yield(); }
template <class V> V __shfl_xor_sync(u32, V value, int mask) { const int lane = current % 32; return (V)exchange({(double)value, 0})[lane ^ mask].number; }
template <class V> V __shfl_sync(u32, V value, int from) { return (V)exchange({(double)value, 0})[from].number; }
static bool __any_sync(u32, bool value) { const Slot* all = exchange({(double)value, 0}); for (int i = 0; i < 32; i++) if (all[i].number) return true; return false; }

static float to_float(bf16 x) { const u32 b = (u32)x << 16; float f; memcpy(&f, &b, 4); return f; }
static bf16 to_bf16(float x) { u32 b; memcpy(&b, &x, 4); return x != x ? 0x7fff : (bf16)((b + 0x7fff + (b >> 16 & 1)) >> 16); }
static u32 pack_bf16(float low, float high) { return to_bf16(low) | (u32)to_bf16(high) << 16; }
static float bf16_low(u32 x) { return to_float(x & 0xffff); }
static float bf16_high(u32 x) { return to_float(x >> 16); }
static float exp2_fast(float x) { return exp2f(x); }
static float log2_fast(float x) { return log2f(x); }

/** Addresses in the shared window start at 1024, as on the card. */
static unsigned char* at(u32 address, int bytes) {
  if (address < shared_base || address + bytes > shared_base + shared_limit || address % bytes) FAIL("shared address %u for %d bytes", address, bytes);
  return shared_memory + address - shared_base;
}
static u32 shared_address(const void* pointer) { return (u32)((const unsigned char*)pointer - shared_memory) + shared_base; }
static void load_matrices(u32 (&r)[4], u32 address) {
  const Slot* all = exchange({0, address});
  for (int m = 0; m < 4; m++) memcpy(&r[m], at(all[m * 8 + current % 32 / 4].address, 16) + current % 4 * 4, 4);
  meet(0);
}
static void perform(const Copy& copy) {
  unsigned char* target = at(copy.target, copy.size);
  memset(target, 0, copy.size);
  memcpy(target, copy.source, copy.bytes);
}
static void copy_bytes(u32 target, const void* source, bool valid, int size) {
  if (valid && (uintptr_t)source % size) FAIL("copy from %p", source);
  const Copy copy{target, source, valid ? size : 0, size};
  if (early) perform(copy);
  auto& groups = self().copies;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back(copy);
  unpublished[(target - shared_base) / 16] = 1;
  self().written.push_back((target - shared_base) / 16);
}
static void copy_16_bytes(u32 target, const void* source, bool valid) { copy_bytes(target, source, valid, 16); }
static void copy_4_bytes(u32 target, const void* source, bool valid) { copy_bytes(target, source, valid, 4); }
static void close_copy_group() {
  auto& groups = self().copies;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}
template <int PENDING> void wait_copy_groups() {
  auto& groups = self().copies;
  while ((int)groups.size() > PENDING + 1) {
    if (!early) for (const Copy& copy : groups.front()) perform(copy);
    groups.erase(groups.begin());
  }
}
static void publish_rows() {
  for (const auto& group : self().copies) for (const Copy& copy : group) {
    // Still under way: not published by this.
    auto& w = self().written;
    w.erase(std::remove(w.begin(), w.end(), (copy.target - shared_base) / 16), w.end());
  }
  for (u32 unit : self().written) unpublished[unit] = 0;
  self().written.clear();
  for (const auto& group : self().copies) for (const Copy& copy : group) self().written.push_back((copy.target - shared_base) / 16);
}

static bf16 element(u64 descriptor, int column, int depth, bool transposed) {
  const u32 start = (descriptor & 0x3fff) << 4, leading = (descriptor >> 16 & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7)) FAIL("descriptor %llx", descriptor);
  u32 address = start + (transposed ? column / 64 * leading + depth / 8 * stride + depth % 8 * 128 + column % 64 * 2
                                    : column / 8 * stride + column % 8 * 128 + depth * 2);
  address ^= (address >> 7 & 7) << 4;
  if (unpublished[(address - shared_base) / 16]) FAIL("product reads shared byte %u, which is not published", address - shared_base);
  bf16 x;
  memcpy(&x, at(address, 2), 2);
  return x;
}
static void perform_products(int first, size_t group) {
  for (size_t i = 0; i < fibers[first].products[group].size(); i++) {
    const Product p = fibers[first].products[group][i];
    const int columns = p.tiles * 8;
    float left[64][16];
    std::vector<float> right(columns * 16);
    for (int k = 0; k < 16; k++) for (int n = 0; n < columns; n++) right[n * 16 + k] = to_float(element(p.right, n, k, p.transposed));
    for (int t = 0; t < 128; t++) {
      const Product& q = fibers[first + t].products[group].at(i);
      if (q.tiles != p.tiles || q.left != p.left || q.right != p.right || q.add != p.add || q.transposed != p.transposed) FAIL("threads disagree on a product");
      const int row = t / 32 * 16 + t % 32 / 4, depth = t % 4 * 2;
      if (q.a) for (int j = 0; j < 8; j++) left[row + j / 2 % 2 * 8][depth + j / 4 * 8 + j % 2] = to_float(q.a[j / 2] >> (j % 2 * 16));
    }
    if (!p.a) for (int r = 0; r < 64; r++) for (int k = 0; k < 16; k++) left[r][k] = to_float(element(p.left, r, k, false));
    for (int t = 0; t < 128; t++) {
      float* c = fibers[first + t].products[group][i].c;
      for (int n = 0; n < p.tiles; n++) for (int j = 0; j < 4; j++) {
        const int row = t / 32 * 16 + t % 32 / 4 + j / 2 * 8, column = n * 8 + t % 4 * 2 + j % 2;
        float sum = p.add ? c[n * 4 + j] : 0.0f;
        for (int k = 0; k < 16; k++) sum += left[row][k] * right[column * 16 + k];
        c[n * 4 + j] = sum;
      }
    }
  }
}
static void fence_products() {}
static void run_products(size_t count) {
  if (!count) return;
  meet(1);
  if (current % 128 == 0) for (size_t g = 0; g < count; g++) perform_products(current, g);
  meet(1);
  self().products.erase(self().products.begin(), self().products.begin() + count);
}
static void close_products() {
  auto& groups = self().products;
  if (groups.empty()) groups.emplace_back();
  if (early) run_products(1);
  groups.emplace_back();
}
template <int PENDING> void wait_products() {
  if (early) self().products.clear();
  else if (self().products.size() > PENDING + 1) run_products(self().products.size() - PENDING - 1);
}
template <class V> void hold(V&) {}
static void queue_product(const Product& p) {
  auto& groups = self().products;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back(p);
}
template <int TRANSPOSED, int TILES> void multiply(float (&c)[TILES][4], const u32 (&a)[4], u64 b, int add) { queue_product({&c[0][0], TILES, a, 0, b, add != 0, TRANSPOSED != 0}); }
template <int TRANSPOSED, int TILES> void multiply(float (&c)[TILES][4], u64 a, u64 b, int add) { queue_product({&c[0][0], TILES, nullptr, a, b, add != 0, TRANSPOSED != 0}); }

static std::function<void()> body;
static void entry() { body(); self().done = true; for (;;) yield(); }
static void run_block(int threads) {
  block_threads = threads;
  if ((int)fibers.size() < threads) { fibers.resize(threads); for (auto& f : fibers) if (!f.stack) f.stack = (char*)malloc(stack_bytes); }
  slots.assign(threads * 2, Slot());
  memset(arrived, 0, sizeof arrived);
  memset(unpublished, 0, sizeof unpublished);
  // Not numbers, so that what was never written shows.
  memset(shared_memory, 0xff, sizeof shared_memory);
  early = chance() % 2;
  for (int i = 0; i < threads; i++) {
    Fiber& f = fibers[i];
    f.done = false;
    memset(f.meetings, 0, sizeof f.meetings);
    f.copies.clear(); f.written.clear(); f.products.clear();
    start(f.context, f.stack, stack_bytes, entry);
  }
  for (long turn = 0;; turn++) {
    if (turn > 4000000) FAIL("the block does not end");
    const int warp = chance() % (threads / 32);
    for (int again = chance() % 4; again >= 0; again--) {
      for (int i = warp * 32; i < warp * 32 + 32; i++) if (!fibers[i].done) { current = i; switch_to(scheduler, fibers[i].context); }
    }
    bool alive = false;
    for (int i = 0; i < threads; i += 32) alive |= !fibers[i].done || !fibers[i + 31].done;
    if (!alive) { for (int i = 0; i < threads; i++) alive |= !fibers[i].done; if (!alive) return; }
  }
}
