// Attention, backward, the query side, with warpgroup products, pipelined: what attention-warpgroup-backward-query.cu
// does, where registers hold the scores of two steps (head size 64). All products of a step run behind the exponentials of
// one:
//
//   step j:  dq += ds_(j-1)·k_(j-1),  s_(j+1) = q·k_(j+1)ᵀ,  dp_(j+1) = do·v_(j+1)ᵀ  in the background of
//            ds_j = (exp part of s_j) ⊙ (dp_j - delta)
//
// So a warpgroup waits once a step, for products that had the whole step to run. Keys and values pass through STAGES
// stages: with 4 the warps meet at the end of a step, with 5 those that are early go on, up to a step.
//
// Launch: grid (H / GROUP, work items), block 32 · WARPS, dynamic shared bytes (own_tile + STAGES · STREAM_TILE) · 4 ·
// D. work: as in attention-forward.cu with own_tile / GROUP query rows a tile. Macros: see warpgroup-tiles.cuh.

static_assert(STAGES == 4 || STAGES == 5,
              "rows of three steps in use, of one that are copied, and one for early warps");
constexpr int own_positions = own_tile / GROUP;

// Compile-time choices: whether a step is the first or the last one, and which of the two sets of scores it takes.
struct Yes {
  static constexpr int value = 1;
};
struct No {
  static constexpr int value = 0;
};

extern "C" __global__ void __launch_bounds__(threads, MIN_BLOCKS)
    attention_backward_query(bf16* __restrict__ query_gradient, const bf16* __restrict__ output_gradient,
                             const bf16* __restrict__ query, const bf16* __restrict__ key,
                             const bf16* __restrict__ value, const float* __restrict__ log_sum,
                             const float* __restrict__ delta, const int4* __restrict__ work, int query_gradient_stride,
                             int output_gradient_stride, int query_stride, int key_stride, int value_stride,
                             int kv_heads, int query_rows, float scale, int causal) {
  __shared__ Arrivals arrivals;
  const int4 item = work[blockIdx.y];
  const int query_first = item.x, query_end = item.y, key_first = item.z, key_end = item.w;
  const int head_first = blockIdx.x * GROUP;
  const int kv_head = blockIdx.x * kv_heads / (int)gridDim.x;
  const int thread = threadIdx.x, lane = thread % 32, warp = __shfl_sync(0xffffffffu, thread / 32, 0);
  // Row r sees the keys up to and including r + diagonal.
  const int diagonal = key_end - query_end;
  const int seen_end = causal ? min(key_end, min(query_first + own_positions, query_end) + diagonal) : key_end;
  const int steps = max(0, (seen_end - key_first + stream_tile - 1) / stream_tile);

  constexpr u32 own_bytes = own_tile * HEAD_DIM * 2;
  constexpr u32 half_stage = stream_tile * HEAD_DIM * 2;  // keys, then values
  const u32 query_tile = shared_address(shared_memory);
  const u32 stages = query_tile + 2 * own_bytes;
  auto load_step = [&](int step, int stage) {
    if (step < steps) {
      const int first = key_first + step * stream_tile;
      const u32 rows = stages + stage * (2 * half_stage);
      copy_rows<stream_tile, 1, threads>(rows, key + (long long)first * key_stride + kv_head * HEAD_DIM, key_stride,
                                         key_end - first, thread);
      copy_rows<stream_tile, 1, threads>(rows + half_stage,
                                         value + (long long)first * value_stride + kv_head * HEAD_DIM, value_stride,
                                         key_end - first, thread);
    }
    close_copy_group();
  };
  auto following = [](int stage) { return stage == STAGES - 1 ? 0 : stage + 1; };
  auto preceding = [](int stage) { return stage == 0 ? STAGES - 1 : stage - 1; };
  copy_rows<own_tile, GROUP, threads>(query_tile, query + (long long)query_first * query_stride + head_first * HEAD_DIM,
                                      query_stride, query_end - query_first, thread);
  copy_rows<own_tile, GROUP, threads>(
      query_tile + own_bytes, output_gradient + (long long)query_first * output_gradient_stride + head_first * HEAD_DIM,
      output_gradient_stride, query_end - query_first, thread);
  load_step(0, 0);
  load_step(1, 1);
  if (thread == 0) prepare(arrivals, WARPS);

  float offset[2], mean[2];  // rows g and g + 8
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int m = warp * 16 + half * 8 + lane / 4, row = query_first + m / GROUP;
    const long long place = (long long)(head_first + m % GROUP) * query_rows + row;
    const float sum = row < query_end ? log_sum[place] : 0.0f;
    // A row without keys has only scores of -infinity.
    offset[half] = sum == NEGATIVE_INFINITY ? 0.0f : sum * LOG2_E;
    mean[half] = row < query_end ? delta[place] : 0.0f;
  }
  const float factor = scale * LOG2_E;
  float sum[HEAD_DIM / 8][4], scores[2][stream_tile / 8][4], slopes[2][stream_tile / 8][4];
  u32 packed[stream_tile / 16][4];
  clear(sum);
  // Not read; without it the compiler would not leave products under way.
  clear(scores[0]);
  clear(scores[1]);
  clear(slopes[0]);
  clear(slopes[1]);
  const u64 rows = describe_rows(stages, stream_tile * 128);
  auto keys_of = [&](int stage) { return rows + stage * (2 * half_stage / 16); };

  wait_copy_groups<0>();
  publish_rows();
  __syncthreads();
#if OWN_IN_REGISTERS
  u32 query_left[head_steps][4], gradient_left[head_steps][4];
  load_left<own_tile>(query_left, query_tile, warp * 16, lane);
  load_left<own_tile>(gradient_left, query_tile + own_bytes, warp * 16, lane);
  auto multiply_own = [&](int to, int stage) {
    multiply_transposed(scores[to], query_left, keys_of(stage));
    multiply_transposed(slopes[to], gradient_left, keys_of(stage) + half_stage / 16);
  };
#else
  const u64 queries = describe_rows(query_tile + warp / 4 * (64 * 128), own_tile * 128);
  auto multiply_own = [&](int to, int stage) {
    multiply_transposed<own_tile>(scores[to], queries, keys_of(stage));
    multiply_transposed<own_tile>(slopes[to], queries + own_bytes / 16, keys_of(stage) + half_stage / 16);
  };
#endif
  int stage = 0;
  auto announce = [&]() {
    wait_copy_groups<0>();
    publish_rows();
    __syncwarp();
    if (lane == 0) arrive(arrivals);
  };
  // A step: scores and slopes are there; the products of the step before and of the next one run meanwhile.
  auto take = [&](auto first, auto last, auto from, int step) {
    constexpr int here = decltype(from)::value, there = 1 - here;
    float(&p)[stream_tile / 8][4] = scores[here];
    float(&ds)[stream_tile / 8][4] = slopes[here];
    if (!first.value) {
      if (STAGES == 4) announce();
      await(arrivals, step - 1);
    }
    if (!last.value) load_step(step + 2, following(following(stage)));
    hold(packed);
    hold(sum);
    hold(scores[there]);
    hold(slopes[there]);
    fence_products();
    if (!first.value) multiply_packed(sum, packed, keys_of(preceding(stage)));
    if (!last.value) multiply_own(there, following(stage));
    close_products();
    const int step_first = key_first + step * stream_tile;
    if ((last.value && step_first + stream_tile > key_end) ||
        (causal && step_first + stream_tile - 1 > query_first + warp * 16 / GROUP + diagonal)) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = query_first + (warp * 16 + half * 8 + lane / 4) / GROUP;
        const int limit = (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < stream_tile / 8; n++) {
          if (n * 8 >= limit) p[n][2 * half] = NEGATIVE_INFINITY;
          if (n * 8 + 1 >= limit) p[n][2 * half + 1] = NEGATIVE_INFINITY;
        }
      }
    }
#pragma unroll
    for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
      for (int j = 0; j < 4; j++) ds[n][j] = exp2_fast(p[n][j] * factor - offset[j / 2]) * (ds[n][j] - mean[j / 2]);
    }
    if (STAGES > 4) announce();
    wait_products<0>();
    hold(packed);
    hold(sum);
    hold(scores[there]);
    hold(slopes[there]);
    pack_tiles(packed, ds);
    if (!last.value) stage = following(stage);
  };
  if (steps > 0) {
    fence_products();
    multiply_own(0, 0);
    close_products();
    wait_products<0>();
    hold(scores[0]);
    hold(slopes[0]);
    if (steps == 1) {
      take(Yes(), Yes(), No(), 0);
    } else {
      take(Yes(), No(), No(), 0);
#pragma unroll 1
      for (int step = 1;; step += 2) {
        if (step + 1 == steps) {
          take(No(), Yes(), Yes(), step);
          break;
        }
        take(No(), No(), Yes(), step);
        if (step + 2 == steps) {
          take(No(), Yes(), No(), step + 1);
          break;
        }
        take(No(), No(), No(), step + 1);
      }
    }
    hold(packed);
    fence_products();
    multiply_packed(sum, packed, keys_of(stage));
    close_products();
    wait_products<0>();
    hold(sum);
  }
  // Nothing is under way and nobody reads the tiles any more.
  wait_copy_groups<0>();
  __syncthreads();
  const float result_factor[2] = {scale, scale};
  const int warp_first = query_first + warp * 16 / GROUP;
  store_rows<GROUP>(
      query_gradient + (long long)warp_first * query_gradient_stride + (head_first + warp * 16 % GROUP) * HEAD_DIM,
      query_gradient_stride, query_end - warp_first, sum, result_factor, shared_memory + warp * 16 * HEAD_DIM * 2,
      lane);
}
