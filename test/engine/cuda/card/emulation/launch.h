// Calls a kernel for each block of a grid, one after the other, as launches of the driver pass its parameters.
#pragma once
#include <utility>
template <class... P, size_t... I> void call(void (*kernel)(P...), void** values, std::index_sequence<I...>) { kernel(*(P*)values[I]...); }
template <class... P> void launch(void (*kernel)(P...), unsigned x, unsigned y, unsigned z, unsigned block, void** values) {
  gridDim = {x, y, z};
  blockDim = {block, 1, 1};
  body = [=] { call(kernel, values, std::index_sequence_for<P...>()); };
  for (unsigned k = 0; k < z; k++) for (unsigned j = 0; j < y; j++) for (unsigned i = 0; i < x; i++) {
    blockIdx = {i, j, k};
    run_block((int)block);
  }
}
