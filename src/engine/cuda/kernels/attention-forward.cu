// Attention, forward: one block for a tile of query rows of one head.
//
//   s = q·kᵀ,  p = softmax(scale · s) over the keys of the row's segment,  o = p·v,  lse = ln Σ exp(scale · s)
//
// The keys pass by in tiles with a running maximum m and sum l of each row (online softmax), in powers of two:
// 2^(c·s - c·m) with c = scale · log2(e) is one multiply-add and one ex2. A row's m follows only when the new maximum
// is more than 2^8 times larger: p stays below 256, where bf16 and fp32 lose nothing, and the rescaling of o is rare.
// A row that sees no key (causal, more queries than keys) gives o = 0 and lse = -infinity.
//
// Memory rule: q, k, v, o are bf16 rows with any stride that is a multiple of 8 elements, 16-byte aligned; head h is
// the columns h·D..h·D + D. lse is fp32 [H, Tq]; null means do not save it. Every output element of every row in `work`
// is written once by one thread: the result does not depend on timing.
//
// Launch: grid (H, work items), block 32 · WARPS, dynamic shared bytes (own_tile + 4 · STREAM_TILE) · row_bytes.
// work: int4 (first query row of the tile, end of its segment's query rows, first key row, end of its key rows), in
// absolute rows, heaviest first (buildAttentionWork). Macros: see attention-tiles.cuh.

constexpr float rescale_threshold = 8.0f;

extern "C" __global__ void __launch_bounds__(threads, MIN_BLOCKS)
    attention_forward(bf16* __restrict__ output, float* __restrict__ NULLABLE log_sum, const bf16* __restrict__ query,
                      const bf16* __restrict__ key, const bf16* __restrict__ value, const int4* __restrict__ work,
                      int output_stride, int query_stride, int key_stride, int value_stride, int kv_heads,
                      int query_rows, float scale, int causal) {
  const int4 item = work[blockIdx.y];
  const int query_first = item.x, query_end = item.y, key_first = item.z, key_end = item.w;
  const int head = blockIdx.x;
  const int kv_head = head * kv_heads / (int)gridDim.x;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  // Row r sees the keys up to and including r + diagonal.
  const int diagonal = key_end - query_end;
  const int tile_end = min(query_first + own_tile, query_end);
  const int seen_end = causal ? min(key_end, tile_end + diagonal) : key_end;

  const u32 query_tile = shared_address(shared_memory);
  const u32 stages = query_tile + own_tile * row_bytes;
  constexpr u32 stage_bytes = 2 * stream_tile * row_bytes;
  const bf16* next_key = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;
  const bf16* next_value = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;
  auto load_step = [&](int first, int parity) {
    const u32 stage = stages + parity * stage_bytes;
    copy_tile<stream_tile, threads>(stage, next_key, key_stride, key_end - first, thread);
    copy_tile<stream_tile, threads>(stage + stream_tile * row_bytes, next_value, value_stride, key_end - first, thread);
    close_copy_group();
    next_key += stream_tile * key_stride;
    next_value += stream_tile * value_stride;
  };
  copy_tile<own_tile, threads>(query_tile, query + (long long)query_first * query_stride + head * HEAD_DIM,
                               query_stride, query_end - query_first, thread);
  if (key_first < seen_end) load_step(key_first, 0);

  const int warp_first = query_first + warp * warp_rows;
  const u32 query_warp = query_tile + warp * warp_rows * row_bytes + row_major_lane(lane);
  const float factor = scale * LOG2_E;
  float sum[ROW_FRAGMENTS][head_pad / 8][4];
  float maximum[ROW_FRAGMENTS][2], total[ROW_FRAGMENTS][2];  // rows g and g + 8 of each fragment
  clear(sum);
#pragma unroll
  for (int f = 0; f < ROW_FRAGMENTS; f++) {
    maximum[f][0] = maximum[f][1] = NEGATIVE_INFINITY;
    total[f][0] = total[f][1] = 0.0f;
  }

  int parity = 0;
#pragma unroll 1
  for (int step_first = key_first; step_first < seen_end; step_first += stream_tile, parity ^= 1) {
    // The barrier makes this step's rows visible and says that all warps are through with the other stage.
    wait_copy_groups<0>();
    __syncthreads();
    if (step_first + stream_tile < seen_end) load_step(step_first + stream_tile, parity ^ 1);
    if (causal && step_first > warp_first + warp_rows - 1 + diagonal) continue;
    const u32 key_tile = stages + parity * stage_bytes;
    const u32 value_tile = key_tile + stream_tile * row_bytes;

    float score[ROW_FRAGMENTS][stream_tile / 8][4];
    clear(score);
    multiply_transposed<ROW_FRAGMENTS, stream_tile>(score, query_warp, key_tile + column_major_lane(lane));

    if (step_first + stream_tile > key_end || (causal && step_first + stream_tile - 1 > warp_first + diagonal)) {
#pragma unroll
      for (int f = 0; f < ROW_FRAGMENTS; f++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int row = warp_first + f * 16 + half * 8 + lane / 4;
          const int limit = (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2;
#pragma unroll
          for (int n = 0; n < stream_tile / 8; n++) {
            if (n * 8 >= limit) score[f][n][2 * half] = NEGATIVE_INFINITY;
            if (n * 8 + 1 >= limit) score[f][n][2 * half + 1] = NEGATIVE_INFINITY;
          }
        }
      }
    }

#pragma unroll
    for (int f = 0; f < ROW_FRAGMENTS; f++) {
      float correction[2] = {1.0f, 1.0f};
      bool moved = false;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float largest = NEGATIVE_INFINITY;
#pragma unroll
        for (int n = 0; n < stream_tile / 8; n++)
          largest = fmaxf(largest, fmaxf(score[f][n][2 * half], score[f][n][2 * half + 1]));
        // The four lanes of a row hold its columns between them.
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
        // False for -infinity against -infinity (their difference is NaN): a row without keys so far.
        if ((largest - maximum[f][half]) * factor > rescale_threshold) {
          correction[half] = exp2_fast((maximum[f][half] - largest) * factor);
          maximum[f][half] = largest;
          moved = true;
        }
      }
      if (__any_sync(0xffffffffu, moved)) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          total[f][half] *= correction[half];
#pragma unroll
          for (int n = 0; n < head_pad / 8; n++) {
            sum[f][n][2 * half] *= correction[half];
            sum[f][n][2 * half + 1] *= correction[half];
          }
        }
      }
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float offset = maximum[f][half] == NEGATIVE_INFINITY ? 0.0f : maximum[f][half] * factor;
#pragma unroll
        for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
          for (int j = 2 * half; j < 2 * half + 2; j++) {
            score[f][n][j] = exp2_fast(score[f][n][j] * factor - offset);
            total[f][half] += score[f][n][j];
          }
        }
      }
    }
    u32 probability[ROW_FRAGMENTS][stream_tile / 16][4];
    pack_tiles<ROW_FRAGMENTS, stream_tile>(probability, score);
    multiply_packed<ROW_FRAGMENTS, stream_tile>(sum, probability, value_tile + row_major_lane(lane));
  }

  if (key_first >= seen_end) {
    // The copy of the query tile must not land on the staged rows.
    wait_copy_groups<0>();
    __syncthreads();
  }
  float inverse[ROW_FRAGMENTS][2];
#pragma unroll
  for (int f = 0; f < ROW_FRAGMENTS; f++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float all = total[f][half];
      all += __shfl_xor_sync(0xffffffffu, all, 1);
      all += __shfl_xor_sync(0xffffffffu, all, 2);
      inverse[f][half] = all > 0.0f ? 1.0f / all : 0.0f;
      const int row = warp_first + f * 16 + half * 8 + lane / 4;
      if (log_sum != nullptr && lane % 4 == 0 && row < query_end) {
        log_sum[(long long)head * query_rows + row] =
            all > 0.0f ? maximum[f][half] * scale + log2_fast(all) * LN_2 : NEGATIVE_INFINITY;
      }
    }
  }
  store_rows<ROW_FRAGMENTS>(output + (long long)warp_first * output_stride + head * HEAD_DIM, output_stride,
                            query_end - warp_first, sum, inverse, shared_memory + warp * warp_rows * row_bytes, lane);
}
