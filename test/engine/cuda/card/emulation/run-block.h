#pragma once
inline std::function<void()> body;
inline std::mt19937 order(1);
inline void entry() { body(); fibers[current].done = true; yield(); }
inline void run_block(int threads) {
  if ((int)fibers.size() < threads) { fibers.resize(threads); for (auto& f : fibers) if (!f.stack) f.stack = (char*)malloc(stack_bytes); }
  const int warps = threads / 32;
  slots.assign(warps * 64, Slot());
  arrived.assign(warps, 0);
  for (int i = 0; i < threads; i++) {
    Fiber& f = fibers[i];
    f.done = f.blocked = false; f.operations = 0;
    start(f.context, f.stack, stack_bytes, entry);
  }
  std::vector<int> sequence(warps);
  for (int i = 0; i < warps; i++) sequence[i] = i;
  for (;;) {
    std::shuffle(sequence.begin(), sequence.end(), order);
    bool alive = false;
    for (int warp : sequence) {
      for (;;) {
        bool ran = false;
        for (int i = warp * 32; i < warp * 32 + 32; i++) {
          if (fibers[i].done || fibers[i].blocked) continue;
          current = i; ran = true;
          switch_to(scheduler, fibers[i].context);
        }
        if (!ran) break;
      }
      for (int i = warp * 32; i < warp * 32 + 32; i++) alive |= !fibers[i].done;
    }
    if (!alive) return;
    for (int i = 0; i < threads; i++) fibers[i].blocked = false;
  }
}
