// Attention, forward, with warpgroup products: what attention-forward.cu does, for head sizes 64 and 128 on sm_90a. The
// parameters, the statistics and the rescaling rule are the same; the order of the work is not:
//
//   step j:  p = softmax part of s_j;  then in the background, one behind the other:  o += p·v_j,  s_(j+1) = q·k_(j+1)ᵀ
//
// so a warpgroup waits once a step, and the tensor cores are fed by the warpgroups that are not in their exponentials.
// Keys run one step ahead of values, each through STAGES stages of its own. With 2 stages warps meet before the
// products; with more they report at the start of a step what they have read and copied, and early ones go on for
// half a step.
//
// Launch: grid (H / GROUP, work items), block 32 · WARPS, dynamic shared bytes
// (own_tile + 2 · STAGES · STREAM_TILE) · 2 · D. work: as in attention-forward.cu with own_tile / GROUP query rows a
// tile. Macros: see warpgroup-tiles.cuh.

constexpr float rescale_threshold = 8.0f;
constexpr int own_positions = own_tile / GROUP;
constexpr int ahead = STAGES - 1;  // steps that copies of values are ahead, those of keys one more

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
  // A warpgroup may see less than the block, or have no rows at all.
  const int group_first = query_first + warp / 4 * (64 / GROUP);
  const int group_seen = causal ? min(seen_end, group_first + 64 / GROUP + diagonal) : seen_end;
  const int group_steps =
      group_first < query_end ? max(0, (group_seen - key_first + stream_tile - 1) / stream_tile) : 0;

  constexpr u32 stage_bytes = stream_tile * HEAD_DIM * 2;
  const u32 query_tile = shared_address(shared_memory);
  const u32 key_stages = query_tile + own_tile * HEAD_DIM * 2;
  const u32 value_stages = key_stages + STAGES * stage_bytes;
  const bf16* next_key = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;
  const bf16* next_value = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;
  auto following = [](int stage) { return STAGES == 2 ? stage ^ 1 : stage == STAGES - 1 ? 0 : stage + 1; };
  auto preceding = [](int stage) { return STAGES == 2 ? stage ^ 1 : stage == 0 ? STAGES - 1 : stage - 1; };
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
    load_keys(step + 1, following(step));
    close_copy_group();
  }
  if (STAGES > 2 && thread == 0) prepare(arrivals, WARPS);

  const u64 keys = describe_rows(key_stages, stream_tile * 128);
  const u64 values = describe_rows(value_stages, stream_tile * 128);
  const float factor = scale * LOG2_E;
  float score[stream_tile / 8][4], sum[HEAD_DIM / 8][4];
  float maximum[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, total[2] = {0.0f, 0.0f};  // rows g and g + 8
  clear(sum);

  wait_copy_groups<ahead>();
  publish_rows();
  __syncthreads();
#if OWN_IN_REGISTERS
  u32 query_left[head_steps][4];
  load_left<own_tile>(query_left, query_tile, warp * 16, lane);
  auto multiply_keys = [&](int stage) { multiply_transposed(score, query_left, keys + stage * (stage_bytes / 16)); };
#else
  const u64 query_left = describe_rows(query_tile + warp / 4 * (64 * 128), own_tile * 128);
  auto multiply_keys = [&](int stage) {
    multiply_transposed<own_tile>(score, query_left, keys + stage * (stage_bytes / 16));
  };
#endif
  if (group_steps > 0) {
    fence_products();
    multiply_keys(0);
    close_products();
    wait_products<0>();
    hold(score);
  }

  int stage = 0;
#pragma unroll 1
  for (int step = 0; step < steps; step++) {
    if (STAGES > 2) {
      wait_copy_groups<ahead - 1>();
      publish_rows();
      __syncwarp();
      if (lane == 0) arrive(arrivals);
    }
    u32 probability[stream_tile / 16][4];
    if (step < group_steps) {
      const int step_first = key_first + step * stream_tile;
      if (step_first + stream_tile > key_end ||
          (causal && step_first + stream_tile - 1 > query_first + warp * 16 / GROUP + diagonal)) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int row = query_first + (warp * 16 + half * 8 + lane / 4) / GROUP;
          const int limit = (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2;
#pragma unroll
          for (int n = 0; n < stream_tile / 8; n++) {
            if (n * 8 >= limit) score[n][2 * half] = NEGATIVE_INFINITY;
            if (n * 8 + 1 >= limit) score[n][2 * half + 1] = NEGATIVE_INFINITY;
          }
        }
      }
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
      pack_tiles(probability, score);
    }

    // After the barrier the next keys and these values have arrived; no warpgroup still reads the last values or keys.
    if (STAGES > 2) {
      await(arrivals, step);
    } else {
      wait_copy_groups<0>();
      publish_rows();
      __syncthreads();
    }
    load_values(step + ahead, preceding(stage));
    load_keys(step + ahead + 1, stage);
    close_copy_group();
    if (step + 1 < group_steps) {
      hold(probability);
      hold(sum);
      fence_products();
      multiply_packed(sum, probability, values + stage * (stage_bytes / 16));
      multiply_keys(following(stage));
      close_products();
      wait_products<0>();
      hold(sum);
      hold(score);
    } else if (step < group_steps) {
      hold(probability);
      hold(sum);
      fence_products();
      multiply_packed(sum, probability, values + stage * (stage_bytes / 16));
      close_products();
      wait_products<0>();
      hold(sum);
    }
    stage = following(stage);
  }

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float all = total[half];
    all += __shfl_xor_sync(0xffffffffu, all, 1);
    all += __shfl_xor_sync(0xffffffffu, all, 2);
    inverse[half] = all > 0.0f ? 1.0f / all : 0.0f;
    const int m = warp * 16 + half * 8 + lane / 4;
    const int row = query_first + m / GROUP;
    if (log_sum != nullptr && lane % 4 == 0 && row < query_end) {
      log_sum[(long long)(head_first + m % GROUP) * query_rows + row] =
          all > 0.0f ? maximum[half] * scale + log2_fast(all) * LN_2 : NEGATIVE_INFINITY;
    }
  }
  // The copies of the query tile, which are waited for in the loop where there is one, must not land on the staged
  // rows.
  wait_copy_groups<0>();
  __syncthreads();
  const int warp_first = query_first + warp * 16 / GROUP;
  store_rows<GROUP>(output + (long long)warp_first * output_stride + (head_first + warp * 16 % GROUP) * HEAD_DIM,
                    output_stride, query_end - warp_first, sum, inverse, shared_memory + warp * 16 * HEAD_DIM * 2,
                    lane);
}
