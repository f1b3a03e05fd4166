// Attention, backward, the key side, with warpgroup products, pipelined: what attention-warpgroup-backward-key-value.cu
// does, where registers hold the scores of two steps (head size 64). All products of a step run behind the exponentials of
// one:
//
//   step j:  dv += p_(j-1)·do_(j-1),  dk += ds_(j-1)·q_(j-1),  s_(j+1) = k·q_(j+1)ᵀ,  dp_(j+1) = v·do_(j+1)ᵀ  in the
//            background of  p_j = exp part of s_j,  ds_j = p_j ⊙ (dp_j - delta)
//
// So a warpgroup waits once a step, for products that had the whole step to run. Query rows and their gradients pass
// through STAGES stages: with 4 the warps meet at the end of a step, with 5 those that are early go on, up to a step.
//
// Launch: grid (K, work items), block 32 · WARPS · TEAMS, dynamic shared bytes
// own_tile · 4 · D + TEAMS · STAGES · STREAM_TILE · (4 · D + 8). H/K must be a multiple of GROUP.
// work: as in attention-backward-key-value.cu with own_tile key rows a tile. Macros: see warpgroup-tiles.cuh.

static_assert(STAGES == 4 || STAGES == 5,
              "rows of three steps in use, of one that are copied, and one for early warps");
constexpr int stream_positions = stream_tile / GROUP;
static_assert(TEAMS == 1 || TEAMS == 2, "the sums of two teams are exchanged");
static_assert(TEAMS == 1 || own_tile * 4 * HEAD_DIM + TEAMS * STAGES * stream_tile * (4 * HEAD_DIM + 8) >=
                                own_tile * 8 * HEAD_DIM,
              "a team's sums must fit where the tiles were");

// Compile-time choices: whether a step is the first or the last one, and which of the two sets of scores it takes.
struct Yes {
  static constexpr int value = 1;
};
struct No {
  static constexpr int value = 0;
};

extern "C" __global__ void __launch_bounds__(threads* TEAMS, MIN_BLOCKS)
    attention_backward_key_value(bf16* __restrict__ key_gradient, bf16* __restrict__ value_gradient,
                                 const bf16* __restrict__ output_gradient, const bf16* __restrict__ query,
                                 const bf16* __restrict__ key, const bf16* __restrict__ value,
                                 const float* __restrict__ log_sum, const float* __restrict__ delta,
                                 const int4* __restrict__ work, int key_gradient_stride, int value_gradient_stride,
                                 int output_gradient_stride, int query_stride, int key_stride, int value_stride,
                                 int heads, int query_rows, float scale, int causal) {
  __shared__ Arrivals arrivals[TEAMS];
  const int4 item = work[blockIdx.y];
  const int key_first = item.x, key_end = item.y, query_end = item.w;
  const int kv_head = blockIdx.x, group_heads = heads / (int)gridDim.x;
  const int team = TEAMS == 1 ? 0 : __shfl_sync(0xffffffffu, threadIdx.x / threads, 0);
  const int thread = threadIdx.x % threads, lane = thread % 32, warp = __shfl_sync(0xffffffffu, thread / 32, 0);
  // Row r sees the keys up to and including r + diagonal, so these keys are seen from row key_first - diagonal on.
  const int diagonal = key_end - query_end;
  const int query_first = causal ? max(item.z, key_first - diagonal) : item.z;
  const int head_tiles = max(0, (query_end - query_first + stream_positions - 1) / stream_positions);
  const int steps = (group_heads / GROUP * head_tiles - team + TEAMS - 1) / TEAMS;

  constexpr u32 own_bytes = own_tile * HEAD_DIM * 2;
  constexpr u32 half_stage = stream_tile * HEAD_DIM * 2;  // query rows, then their gradients
  constexpr u32 statistics_bytes = 8 * stream_tile;       // lse, delta
  const u32 key_tile = shared_address(shared_memory);
  const u32 stages = key_tile + 2 * own_bytes + team * (STAGES * 2 * half_stage);
  constexpr u32 all_statistics = 2 * own_bytes + TEAMS * STAGES * 2 * half_stage;
  const u32 statistics_offset = all_statistics + team * (STAGES * statistics_bytes);
  // A step's place among the heads' query tiles; the copies are ahead of the products and keep their own.
  auto advance = [&](int& row) {
    row += TEAMS * stream_positions;
    int heads_on = 0;
    while (row >= query_end) {
      row -= head_tiles * stream_positions;
      heads_on += GROUP;
    }
    return heads_on;
  };
  auto following = [](int stage) { return stage == STAGES - 1 ? 0 : stage + 1; };
  auto preceding = [](int stage) { return stage == 0 ? STAGES - 1 : stage - 1; };
  int load_row = query_first + (team - TEAMS) * stream_positions, load_head = kv_head * group_heads;
  auto load_step = [&](int step, int stage) {
    if (step < steps) {
      load_head += advance(load_row);
      const u32 rows = stages + stage * (2 * half_stage);
      const int valid = query_end - load_row;
      copy_rows<stream_tile, GROUP, threads>(rows, query + (long long)load_row * query_stride + load_head * HEAD_DIM,
                                             query_stride, valid, thread);
      copy_rows<stream_tile, GROUP, threads>(
          rows + half_stage, output_gradient + (long long)load_row * output_gradient_stride + load_head * HEAD_DIM,
          output_gradient_stride, valid, thread);
      const u32 statistics = key_tile + statistics_offset + stage * statistics_bytes;
      const long long first = (long long)load_head * query_rows + load_row;
#pragma unroll
      for (int i = 0; i < (2 * stream_tile + threads - 1) / threads; i++) {
        const int index = i * threads + thread, m = index % stream_tile;
        if (2 * stream_tile % threads == 0 || index < 2 * stream_tile) {
          copy_4_bytes(
              statistics + 4 * index,
              (index < stream_tile ? log_sum : delta) + first + (long long)(m % GROUP) * query_rows + m / GROUP,
              m / GROUP < valid);
        }
      }
    }
    close_copy_group();
  };
  const int valid_keys = key_end - key_first;
  copy_rows<own_tile, 1, threads * TEAMS>(key_tile, key + (long long)key_first * key_stride + kv_head * HEAD_DIM,
                                          key_stride, valid_keys, threadIdx.x);
  copy_rows<own_tile, 1, threads * TEAMS>(key_tile + own_bytes,
                                          value + (long long)key_first * value_stride + kv_head * HEAD_DIM,
                                          value_stride, valid_keys, threadIdx.x);
  load_step(0, 0);
  load_step(1, 1);
  if (thread == 0) prepare(arrivals[team], WARPS);

  const int group_first = key_first + warp / 4 * 64;
  const int row_first = key_first + warp * 16 + lane / 4;  // and eight rows on
  const float factor = scale * LOG2_E;
  float key_sum[HEAD_DIM / 8][4], value_sum[HEAD_DIM / 8][4];
  float scores[2][stream_tile / 8][4], slopes[2][stream_tile / 8][4];
  u32 packed_p[stream_tile / 16][4], packed_ds[stream_tile / 16][4];
  clear(key_sum);
  clear(value_sum);
  // Not read; without it the compiler would not leave products under way.
  clear(scores[0]);
  clear(scores[1]);
  clear(slopes[0]);
  clear(slopes[1]);
  const u64 rows = describe_rows(stages, stream_tile * 128);
  auto queries_of = [&](int stage) { return rows + stage * (2 * half_stage / 16); };

  wait_copy_groups<0>();
  publish_rows();
  __syncthreads();
#if OWN_IN_REGISTERS
  u32 key_left[head_steps][4], value_left[head_steps][4];
  load_left<own_tile>(key_left, key_tile, warp * 16, lane);
  load_left<own_tile>(value_left, key_tile + own_bytes, warp * 16, lane);
  auto multiply_own = [&](int to, int stage) {
    multiply_transposed(scores[to], key_left, queries_of(stage));
    multiply_transposed(slopes[to], value_left, queries_of(stage) + half_stage / 16);
  };
#else
  const u64 keys = describe_rows(key_tile + warp / 4 * (64 * 128), own_tile * 128);
  auto multiply_own = [&](int to, int stage) {
    multiply_transposed<own_tile>(scores[to], keys, queries_of(stage));
    multiply_transposed<own_tile>(slopes[to], keys + own_bytes / 16, queries_of(stage) + half_stage / 16);
  };
#endif
  auto multiply_sums = [&](int stage) {
    multiply_packed(value_sum, packed_p, queries_of(stage) + half_stage / 16);
    multiply_packed(key_sum, packed_ds, queries_of(stage));
  };
  int tile_row = query_first + (team - TEAMS) * stream_positions, stage = 0;
  auto announce = [&]() {
    wait_copy_groups<0>();
    publish_rows();
    __syncwarp();
    if (lane == 0) arrive(arrivals[team]);
  };
  // A step: scores and slopes are there; the products of the step before and of the next one run meanwhile.
  auto take = [&](auto first, auto last, auto from, int step) {
    constexpr int here = decltype(from)::value, there = 1 - here;
    float(&p)[stream_tile / 8][4] = scores[here];
    float(&ds)[stream_tile / 8][4] = slopes[here];
    if (!first.value) {
      if (STAGES == 4) announce();
      await(arrivals[team], step - 1);
    }
    if (!last.value) load_step(step + 2, following(following(stage)));
    hold(packed_p);
    hold(packed_ds);
    hold(key_sum);
    hold(value_sum);
    hold(scores[there]);
    hold(slopes[there]);
    fence_products();
    if (!first.value) multiply_sums(preceding(stage));
    if (!last.value) multiply_own(there, following(stage));
    close_products();
    const float* statistics =
        (const float*)(shared_memory + statistics_offset + stage * statistics_bytes) + lane % 4 * 2;
    advance(tile_row);
#pragma unroll
    for (int n = 0; n < stream_tile / 8; n++) {
      const float2 log_sums = *(const float2*)(statistics + n * 8);
      const float even = log_sums.x * LOG2_E, odd = log_sums.y * LOG2_E;
      p[n][0] = exp2_fast(p[n][0] * factor - even);
      p[n][1] = exp2_fast(p[n][1] * factor - odd);
      p[n][2] = exp2_fast(p[n][2] * factor - even);
      p[n][3] = exp2_fast(p[n][3] * factor - odd);
    }
    if (causal && group_first + 63 > tile_row + diagonal) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        // The first column of this tile that sees the key of this row.
        const int limit = (row_first + half * 8 - diagonal - tile_row) * GROUP - lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < stream_tile / 8; n++) {
          if (n * 8 < limit) p[n][2 * half] = 0.0f;
          if (n * 8 + 1 < limit) p[n][2 * half + 1] = 0.0f;
        }
      }
    }
#pragma unroll
    for (int n = 0; n < stream_tile / 8; n++) {
      const float2 means = *(const float2*)(statistics + stream_tile + n * 8);
      ds[n][0] = p[n][0] * (ds[n][0] - means.x);
      ds[n][1] = p[n][1] * (ds[n][1] - means.y);
      ds[n][2] = p[n][2] * (ds[n][2] - means.x);
      ds[n][3] = p[n][3] * (ds[n][3] - means.y);
    }
    if (STAGES > 4) announce();
    wait_products<0>();
    hold(packed_p);
    hold(packed_ds);
    hold(key_sum);
    hold(value_sum);
    hold(scores[there]);
    hold(slopes[there]);
    pack_tiles(packed_p, p);
    pack_tiles(packed_ds, ds);
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
    hold(packed_p);
    hold(packed_ds);
    fence_products();
    multiply_sums(stage);
    close_products();
    wait_products<0>();
    hold(key_sum);
    hold(value_sum);
  }
  // Nothing is under way and nobody reads the tiles any more.
  wait_copy_groups<0>();
  __syncthreads();

  const float key_factor[2] = {scale, scale}, value_factor[2] = {1.0f, 1.0f};
  const int warp_first = key_first + warp * 16;
  unsigned char* staging = shared_memory + (TEAMS == 1 ? 0 : team * own_bytes) + warp * 16 * HEAD_DIM * 2;
  auto store_keys = [&]() {
    store_rows<1>(key_gradient + (long long)warp_first * key_gradient_stride + kv_head * HEAD_DIM, key_gradient_stride,
                  key_end - warp_first, key_sum, key_factor, staging, lane);
  };
  auto store_values = [&]() {
    store_rows<1>(value_gradient + (long long)warp_first * value_gradient_stride + kv_head * HEAD_DIM,
                  value_gradient_stride, key_end - warp_first, value_sum, value_factor, staging, lane);
  };
  if constexpr (TEAMS == 1) {
    store_keys();
    store_values();
  } else {
    // The first team finishes dk, the second dv: each gives the other its sums, lane by lane.
    float* exchange = (float*)shared_memory + thread;
    constexpr int other = HEAD_DIM / 2 * threads;
    if (team == 0) {
      visit_results(value_sum, [&](int i, float& x) { exchange[i * threads] = x; });
    } else {
      visit_results(key_sum, [&](int i, float& x) { exchange[other + i * threads] = x; });
    }
    __syncthreads();
    if (team == 0) {
      visit_results(key_sum, [&](int i, float& x) { x += exchange[other + i * threads]; });
    } else {
      visit_results(value_sum, [&](int i, float& x) { x = exchange[i * threads] + x; });
    }
    __syncthreads();
    if (team == 0) {
      store_keys();
    } else {
      store_values();
    }
  }
}
