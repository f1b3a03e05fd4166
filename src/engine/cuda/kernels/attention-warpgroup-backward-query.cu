// Attention, backward, the query side, with warpgroup products: what attention-backward-query.cu does after the row
// sums delta, for head sizes 64 and 128 on sm_90a. The parameters and the formulas are the same; the order of the work
// is not:
//
//   step j:  dp = do·v_jᵀ in the background of  p = exp part of s_j;  ds = p ⊙ (dp - delta);
//            then, one behind the other:  dq += ds·k_j,  s_(j+1) = q·k_(j+1)ᵀ
//
// Keys and values pass through STAGES stages. With 2 the warps meet twice a step; with more they report at its start
// what they have read and copied, and early ones go on until the products that need it.
//
// Launch: grid (H / GROUP, work items), block 32 · WARPS, dynamic shared bytes (own_tile + STAGES · STREAM_TILE) · 4 ·
// D. work: as in attention-forward.cu with own_tile / GROUP query rows a tile. Macros: see warpgroup-tiles.cuh.

constexpr int own_positions = own_tile / GROUP;

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
  // A warpgroup may see less than the block, or have no rows at all.
  const int group_first = query_first + warp / 4 * (64 / GROUP);
  const int group_seen = causal ? min(seen_end, group_first + 64 / GROUP + diagonal) : seen_end;
  const int group_steps =
      group_first < query_end ? max(0, (group_seen - key_first + stream_tile - 1) / stream_tile) : 0;

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
  auto following = [](int stage) { return STAGES == 2 ? stage ^ 1 : stage == STAGES - 1 ? 0 : stage + 1; };
  copy_rows<own_tile, GROUP, threads>(query_tile, query + (long long)query_first * query_stride + head_first * HEAD_DIM,
                                      query_stride, query_end - query_first, thread);
  copy_rows<own_tile, GROUP, threads>(
      query_tile + own_bytes, output_gradient + (long long)query_first * output_gradient_stride + head_first * HEAD_DIM,
      output_gradient_stride, query_end - query_first, thread);
#pragma unroll
  for (int step = 0; step < STAGES - 1; step++) load_step(step, step);
  if (STAGES > 2 && thread == 0) prepare(arrivals, WARPS);

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
  float sum[HEAD_DIM / 8][4], p[stream_tile / 8][4];
  clear(sum);
  const u64 rows = describe_rows(stages, stream_tile * 128);

  wait_copy_groups<STAGES - 2>();
  publish_rows();
  __syncthreads();
  const u64 queries = describe_rows(query_tile + warp / 4 * (64 * 128), own_tile * 128);
  auto multiply_queries = [&](u64 keys) { multiply_transposed<own_tile>(p, queries, keys); };
  auto multiply_gradients = [&](float(&ds)[stream_tile / 8][4], u64 values) {
    multiply_transposed<own_tile>(ds, queries + own_bytes / 16, values);
  };
  if (group_steps > 0) {
    fence_products();
    multiply_queries(rows);
    close_products();
    wait_products<0>();
    hold(p);
  }

  int stage = 0;
#pragma unroll 1
  for (int step = 0; step < steps; step++) {
    const u64 keys = rows + stage * (2 * half_stage / 16);
    u32 packed[stream_tile / 16][4];
    if (STAGES == 2) {
      // The last step's rows are not read any more once every warp is here.
      __syncthreads();
      load_step(step + 1, stage ^ 1);
    } else {
      // The last step's rows are not read any more by this warp, and what it copied of the next step's has come.
      wait_copy_groups<(STAGES > 2 ? STAGES - 3 : 0)>();
      publish_rows();
      __syncwarp();
      if (lane == 0) arrive(arrivals);
    }
    if (step < group_steps) {
      float ds[stream_tile / 8][4];
      fence_products();
      multiply_gradients(ds, keys + half_stage / 16);
      close_products();
      const int step_first = key_first + step * stream_tile;
      if (step_first + stream_tile > key_end ||
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
        for (int j = 0; j < 4; j++) p[n][j] = exp2_fast(p[n][j] * factor - offset[j / 2]);
      }
      wait_products<0>();
      hold(ds);
#pragma unroll
      for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
        for (int j = 0; j < 4; j++) ds[n][j] = p[n][j] * (ds[n][j] - mean[j / 2]);
      }
      pack_tiles(packed, ds);
    }

    if (STAGES == 2) {
      wait_copy_groups<0>();
      publish_rows();
      __syncthreads();
    } else {
      await(arrivals, step);
      load_step(step + STAGES - 1, stage == 0 ? STAGES - 1 : stage - 1);
    }
    stage = following(stage);
    if (step + 1 < group_steps) {
      hold(packed);
      fence_products();
      multiply_packed(sum, packed, keys);
      multiply_queries(rows + stage * (2 * half_stage / 16));
      close_products();
      wait_products<0>();
      hold(sum);
      hold(p);
    } else if (step < group_steps) {
      hold(packed);
      fence_products();
      multiply_packed(sum, packed, keys);
      close_products();
      wait_products<0>();
      hold(sum);
    }
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
