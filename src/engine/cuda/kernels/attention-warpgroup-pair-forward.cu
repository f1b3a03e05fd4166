// Attention, forward, with warpgroup products: what attention-forward.cu does, for head sizes 64 and 128 on sm_90a. The
// parameters, the statistics and the rescaling rule are the same; the order of the work is not. A warpgroup has ROW_TILES
// tiles of 64 rows, and for each in turn:
//
//   step j:  p = softmax part of s_j;  then in the background, one behind the other:  o += p·v_j,  s_(j+1) = q·k_(j+1)ᵀ
//
// so the tensor cores are fed by the tiles, of this warpgroup and of others, that are not in their exponentials. Keys run
// one step ahead of values, each through STAGES stages of its own.
//
// Launch: grid (H / GROUP, work items), block 32 · WARPS, dynamic shared bytes (own_tile + 2 · STAGES · STREAM_TILE) · 2
// · D. work: as in attention-forward.cu with own_tile / GROUP query rows a tile. Macros: see warpgroup-tiles.cuh.

constexpr float rescale_threshold = 8.0f;
constexpr int own_positions = own_tile / GROUP;
// Steps that copies are ahead: the first tile of a step starts while the last one of the step before is under way.
constexpr bool announced_early = STAGES > 2;
constexpr int ahead = announced_early ? STAGES - 2 : STAGES - 1;
static_assert(ahead >= 1, "a stage for each tile, and one that is filled");

/** Scores of 64 rows to probabilities; where a maximum has grown, what was summed up is scaled down. */
DEVICE void soften(float (&score)[stream_tile / 8][4], float (&sum)[HEAD_DIM / 8][4], float (&maximum)[2],
                   float (&total)[2], float factor) {
  float correction[2] = {1.0f, 1.0f};
  bool moved = false;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float even = NEGATIVE_INFINITY, odd = NEGATIVE_INFINITY;
#pragma unroll
    for (int n = 0; n < stream_tile / 8; n++) {
      even = fmaxf(even, score[n][2 * half]);
      odd = fmaxf(odd, score[n][2 * half + 1]);
    }
    float largest = fmaxf(even, odd);
    // The four lanes of a row hold its columns between them.
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
    // False for -infinity against -infinity (their difference is NaN): a row without keys so far.
    if ((largest - maximum[half]) * factor > rescale_threshold) {
      correction[half] = exp2_fast((maximum[half] - largest) * factor);
      maximum[half] = largest;
      moved = true;
    }
  }
  if (__any_sync(0xffffffffu, moved)) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      total[half] *= correction[half];
#pragma unroll
      for (int n = 0; n < HEAD_DIM / 8; n++) {
        sum[n][2 * half] *= correction[half];
        sum[n][2 * half + 1] *= correction[half];
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float offset = maximum[half] == NEGATIVE_INFINITY ? 0.0f : maximum[half] * factor;
#pragma unroll
    for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
      for (int j = 2 * half; j < 2 * half + 2; j++) {
        score[n][j] = exp2_fast(score[n][j] * factor - offset);
        total[half] += score[n][j];
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(threads, MIN_BLOCKS)
    attention_forward(bf16* __restrict__ output, float* __restrict__ NULLABLE log_sum, const bf16* __restrict__ query,
                      const bf16* __restrict__ key, const bf16* __restrict__ value, const int4* __restrict__ work,
                      int output_stride, int query_stride, int key_stride, int value_stride, int kv_heads,
                      int query_rows, float scale, int causal) {
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
  // The first row of a tile of this warpgroup; those of this warp come 16 · (warp % 4) later.
  auto tile_first = [&](int tile) { return (warp / 4 * ROW_TILES + tile) * 64; };
  const int warp_rows = warp % 4 * 16;

  constexpr u32 stage_bytes = stream_tile * HEAD_DIM * 2;
  const u32 query_tile = shared_address(shared_memory);
  const u32 key_stages = query_tile + own_tile * HEAD_DIM * 2;
  const u32 value_stages = key_stages + STAGES * stage_bytes;
  const bf16* next_key = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;
  const bf16* next_value = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;
  auto following = [](int stage, int by) {
    if (STAGES == 2) return (stage + by) & 1;
    return stage + by % STAGES >= STAGES ? stage + by % STAGES - STAGES : stage + by % STAGES;
  };
  auto load_keys = [&](int step, int stage) {
    if (step < steps)
      copy_rows<stream_tile, 1, threads>(key_stages + stage * stage_bytes, next_key, key_stride,
                                         key_end - key_first - step * stream_tile, thread);
    next_key += (long long)stream_tile * key_stride;
  };
  auto load_values = [&](int step, int stage) {
    if (step < steps)
      copy_rows<stream_tile, 1, threads>(value_stages + stage * stage_bytes, next_value, value_stride,
                                         key_end - key_first - step * stream_tile, thread);
    next_value += (long long)stream_tile * value_stride;
  };
  copy_rows<own_tile, GROUP, threads>(query_tile, query + (long long)query_first * query_stride + head_first * HEAD_DIM,
                                      query_stride, query_end - query_first, thread);
  load_keys(0, 0);
  close_copy_group();
#pragma unroll
  for (int step = 0; step < ahead; step++) {
    load_values(step, step);
    load_keys(step + 1, following(step, 1));
    close_copy_group();
  }
  if (thread == 0) prepare(arrivals, WARPS);

  const u64 keys = describe_rows(key_stages, stream_tile * 128);
  const u64 values = describe_rows(value_stages, stream_tile * 128);
  const float factor = scale * LOG2_E;
  float score[ROW_TILES][stream_tile / 8][4], sum[ROW_TILES][HEAD_DIM / 8][4];
  u32 probability[ROW_TILES][stream_tile / 16][4];
  float maximum[ROW_TILES][2], total[ROW_TILES][2];  // rows g and g + 8
#pragma unroll
  for (int tile = 0; tile < ROW_TILES; tile++) {
    maximum[tile][0] = maximum[tile][1] = NEGATIVE_INFINITY;
    total[tile][0] = total[tile][1] = 0.0f;
    clear(sum[tile]);
    clear(score[tile]);  // not read; without it the compiler would not leave products under way
  }

  wait_copy_groups<ahead>();
  publish_rows();
  __syncthreads();
#if OWN_IN_REGISTERS
  u32 query_left[ROW_TILES][head_steps][4];
#pragma unroll
  for (int tile = 0; tile < ROW_TILES; tile++)
    load_left<own_tile>(query_left[tile], query_tile, tile_first(tile) + warp_rows, lane);
  auto multiply_keys = [&](int tile, int stage) {
    multiply_transposed(score[tile], query_left[tile], keys + stage * (stage_bytes / 16));
  };
#else
  const u64 query_left = describe_rows(query_tile + tile_first(0) * 128, own_tile * 128);
  auto multiply_keys = [&](int tile, int stage) {
    multiply_transposed<own_tile>(score[tile], query_left + tile * (64 * 128 / 16),
                                  keys + stage * (stage_bytes / 16));
  };
#endif
  auto announce = [&]() {
    wait_copy_groups<ahead - 1>();
    publish_rows();
    __syncwarp();
    if (lane == 0) arrive(arrivals);
  };
  auto mask = [&](int tile, int step_first) {
    const int first = query_first + (tile_first(tile) + warp_rows) / GROUP;
    if (step_first + stream_tile <= key_end && !(causal && step_first + stream_tile - 1 > first + diagonal)) return;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = query_first + (tile_first(tile) + warp_rows + half * 8 + lane / 4) / GROUP;
      const int limit = (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < stream_tile / 8; n++) {
        if (n * 8 >= limit) score[tile][n][2 * half] = NEGATIVE_INFINITY;
        if (n * 8 + 1 >= limit) score[tile][n][2 * half + 1] = NEGATIVE_INFINITY;
      }
    }
  };
  // One product at a time is under way across a softmax part: that of the other tile.
  auto start = [&](int tile, int stage, int next_stage) {
    hold(probability[tile]);
    hold(sum[tile]);
    hold(score[tile]);
    fence_products();
    multiply_packed(sum[tile], probability[tile], values + stage * (stage_bytes / 16));
    multiply_keys(tile, next_stage);
    close_products();
  };
  auto finish = [&](int tile) {
    wait_products<0>();
    hold(sum[tile]);
    hold(score[tile]);
    hold(probability[tile]);
  };
  auto start_last = [&](int tile, int stage) {
    hold(probability[tile]);
    hold(sum[tile]);
    fence_products();
    multiply_packed(sum[tile], probability[tile], values + stage * (stage_bytes / 16));
    close_products();
  };
  auto close = [&](int tile) {
    soften(score[tile], sum[tile], maximum[tile], total[tile], factor);
    pack_tiles(probability[tile], score[tile]);
  };

  if (steps > 0) {
    fence_products();
    multiply_keys(0, 0);
    close_products();
    wait_products<0>();
    hold(score[0]);
    fence_products();
    multiply_keys(1, 0);
    close_products();
    if (causal || steps == 1) mask(0, key_first);
    close(0);
    wait_products<0>();
    hold(score[1]);
    announce();
    await(arrivals, 0);
    load_values(ahead, following(0, ahead));
    load_keys(ahead + 1, following(0, ahead + 1));
    close_copy_group();
    int stage = 0;
#pragma unroll 1
    for (int step = 0; step + 1 < steps; step++) {
      const int next_stage = following(stage, 1), step_first = key_first + step * stream_tile;
      start(0, stage, next_stage);
      if (causal) mask(1, step_first);
      close(1);
      finish(0);
      start(1, stage, next_stage);
      if (announced_early) announce();
      if (causal || step + 2 == steps) mask(0, step_first + stream_tile);
      close(0);
      finish(1);
      if (!announced_early) announce();
      await(arrivals, step + 1);
      load_values(step + 1 + ahead, following(next_stage, ahead));
      load_keys(step + 2 + ahead, following(next_stage, ahead + 1));
      close_copy_group();
      stage = next_stage;
    }
    start_last(0, stage);
    mask(1, key_first + (steps - 1) * stream_tile);
    close(1);
    finish(0);
    start_last(1, stage);
    finish(1);
  }
  // The copies of the query tile, which are waited for in the loop where there is one, must not land on the staged
  // rows.
  wait_copy_groups<0>();
  __syncthreads();

#pragma unroll
  for (int tile = 0; tile < ROW_TILES; tile++) {
    hold(sum[tile]);
    hold(probability[tile]);
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float all = total[tile][half];
      all += __shfl_xor_sync(0xffffffffu, all, 1);
      all += __shfl_xor_sync(0xffffffffu, all, 2);
      inverse[half] = all > 0.0f ? 1.0f / all : 0.0f;
      const int m = tile_first(tile) + warp_rows + half * 8 + lane / 4;
      const int row = query_first + m / GROUP;
      if (log_sum != nullptr && lane % 4 == 0 && row < query_end) {
        log_sum[(long long)(head_first + m % GROUP) * query_rows + row] =
            all > 0.0f ? maximum[tile][half] * scale + log2_fast(all) * LN_2 : NEGATIVE_INFINITY;
      }
    }
    const int m = tile_first(tile) + warp_rows, warp_first = query_first + m / GROUP;
    store_rows<GROUP>(output + (long long)warp_first * output_stride + (head_first + m % GROUP) * HEAD_DIM,
                      output_stride, query_end - warp_first, sum[tile], inverse, shared_memory + m * HEAD_DIM * 2,
                      lane);
  }
}
