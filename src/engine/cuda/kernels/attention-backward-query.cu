// Attention, backward, the query side: the row sums delta, then dq with one block for a tile of query rows of one head.
//
//   delta = rowsum(do ⊙ o) by head
//   p = exp(scale · s - lse),  dp = do·vᵀ,  ds = p ⊙ (dp - delta),  dq = scale · ds·k      with s = q·kᵀ recomputed
//
// s and dp are made here a second time (3 products of 7, where one kernel with fp32 atomics on dq would need 5): the
// price of a result that does not depend on timing, and of dq without an fp32 buffer and its conversion.
//
// Memory rule: as in attention-forward.cu. delta is fp32 [H, Tq], written before both gradient kernels run.
//
// Launch of attention_backward_delta: grid ceil(Tq · H · delta_lanes / 256), block 256, no dynamic shared memory;
// delta_lanes = D / 8 rounded up to a power of two.
// Launch of attention_backward_query: grid (H, work items), block 32 · WARPS, dynamic shared bytes
// (2 · own_tile + 4 · STREAM_TILE) · row_bytes; own_tile counts query rows, STREAM_TILE key rows. work as in the
// forward.

constexpr int delta_lanes = HEAD_DIM > 64 ? 16 : HEAD_DIM > 32 ? 8 : HEAD_DIM > 16 ? 4 : HEAD_DIM > 8 ? 2 : 1;

extern "C" __global__ void __launch_bounds__(256)
    attention_backward_delta(float* __restrict__ delta, const bf16* __restrict__ output_gradient,
                             const bf16* __restrict__ output, int output_gradient_stride, int output_stride, int heads,
                             int query_rows) {
  const long long index = ((long long)blockIdx.x * 256 + threadIdx.x) / delta_lanes;
  const int unit = threadIdx.x % delta_lanes;
  const int head = index % heads;
  const long long row = index / heads;
  float sum = 0.0f;
  if (row < query_rows && unit < HEAD_DIM / 8) {
    const uint4 a = *(const uint4*)(output_gradient + row * output_gradient_stride + head * HEAD_DIM + unit * 8);
    const uint4 b = *(const uint4*)(output + row * output_stride + head * HEAD_DIM + unit * 8);
    sum = bf16_low(a.x) * bf16_low(b.x) + bf16_high(a.x) * bf16_high(b.x);
    sum += bf16_low(a.y) * bf16_low(b.y) + bf16_high(a.y) * bf16_high(b.y);
    sum += bf16_low(a.z) * bf16_low(b.z) + bf16_high(a.z) * bf16_high(b.z);
    sum += bf16_low(a.w) * bf16_low(b.w) + bf16_high(a.w) * bf16_high(b.w);
  }
#pragma unroll
  for (int step = delta_lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (row < query_rows && unit == 0) delta[(long long)head * query_rows + row] = sum;
}

extern "C" __global__ void __launch_bounds__(threads, MIN_BLOCKS)
    attention_backward_query(bf16* __restrict__ query_gradient, const bf16* __restrict__ output_gradient,
                             const bf16* __restrict__ query, const bf16* __restrict__ key,
                             const bf16* __restrict__ value, const float* __restrict__ log_sum,
                             const float* __restrict__ delta, const int4* __restrict__ work, int query_gradient_stride,
                             int output_gradient_stride, int query_stride, int key_stride, int value_stride,
                             int kv_heads, int query_rows, float scale, int causal) {
  const int4 item = work[blockIdx.y];
  const int query_first = item.x, query_end = item.y, key_first = item.z, key_end = item.w;
  const int head = blockIdx.x;
  const int kv_head = head * kv_heads / (int)gridDim.x;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  // Row r sees the keys up to and including r + diagonal.
  const int diagonal = key_end - query_end;
  const int tile_end = min(query_first + own_tile, query_end);
  const int seen_end = causal ? min(key_end, tile_end + diagonal) : key_end;

  constexpr u32 own_bytes = own_tile * row_bytes;
  constexpr u32 half_stage = stream_tile * row_bytes;
  const u32 query_tile = shared_address(shared_memory);
  const u32 stages = query_tile + 2 * own_bytes;
  const bf16* next_key = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;
  const bf16* next_value = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;
  auto load_step = [&](int first, int parity) {
    const u32 stage = stages + parity * 2 * half_stage;
    copy_tile<stream_tile, threads>(stage, next_key, key_stride, key_end - first, thread);
    copy_tile<stream_tile, threads>(stage + half_stage, next_value, value_stride, key_end - first, thread);
    close_copy_group();
    next_key += stream_tile * key_stride;
    next_value += stream_tile * value_stride;
  };
  const int valid_rows = query_end - query_first;
  copy_tile<own_tile, threads>(query_tile, query + (long long)query_first * query_stride + head * HEAD_DIM,
                               query_stride, valid_rows, thread);
  copy_tile<own_tile, threads>(query_tile + own_bytes,
                               output_gradient + (long long)query_first * output_gradient_stride + head * HEAD_DIM,
                               output_gradient_stride, valid_rows, thread);
  if (key_first < seen_end) load_step(key_first, 0);

  const int warp_offset = warp * warp_rows;
  const int warp_first = query_first + warp_offset;
  const u32 query_warp = query_tile + warp_offset * row_bytes + row_major_lane(lane);
  const float factor = scale * LOG2_E;
  float sum[ROW_FRAGMENTS][head_pad / 8][4];
  float offset[ROW_FRAGMENTS][2], mean[ROW_FRAGMENTS][2];
  clear(sum);
#pragma unroll
  for (int f = 0; f < ROW_FRAGMENTS; f++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = warp_first + f * 16 + half * 8 + lane / 4;
      const long long place = (long long)head * query_rows + row;
      offset[f][half] = row < query_end ? log_sum[place] * LOG2_E : 0.0f;
      mean[f][half] = row < query_end ? delta[place] : 0.0f;
    }
  }

  int parity = 0;
#pragma unroll 1
  for (int step_first = key_first; step_first < seen_end; step_first += stream_tile, parity ^= 1) {
    // The barrier makes this step's rows visible and says that all warps are through with the other stage.
    wait_copy_groups<0>();
    __syncthreads();
    if (step_first + stream_tile < seen_end) load_step(step_first + stream_tile, parity ^ 1);
    if (causal && step_first > warp_first + warp_rows - 1 + diagonal) continue;
    const u32 key_tile = stages + parity * 2 * half_stage;
    const u32 value_tile = key_tile + half_stage;

    float p[ROW_FRAGMENTS][stream_tile / 8][4], ds[ROW_FRAGMENTS][stream_tile / 8][4];
    clear(p);
    multiply_transposed<ROW_FRAGMENTS, stream_tile>(p, query_warp, key_tile + column_major_lane(lane));
    clear(ds);
    multiply_transposed<ROW_FRAGMENTS, stream_tile>(ds, query_warp + own_bytes, value_tile + column_major_lane(lane));
    // Keys past the end or not seen: their exp could overflow, so p is set, not multiplied.
    const bool partial =
        step_first + stream_tile > key_end || (causal && step_first + stream_tile - 1 > warp_first + diagonal);
#pragma unroll
    for (int f = 0; f < ROW_FRAGMENTS; f++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = warp_first + f * 16 + half * 8 + lane / 4;
        const int limit =
            partial ? (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2 : stream_tile;
#pragma unroll
        for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
          for (int j = 0; j < 2; j++) {
            const int c = 2 * half + j;
            const float seen = n * 8 + j < limit ? exp2_fast(p[f][n][c] * factor - offset[f][half]) : 0.0f;
            ds[f][n][c] = seen * (ds[f][n][c] - mean[f][half]);
          }
        }
      }
    }
    u32 packed[ROW_FRAGMENTS][stream_tile / 16][4];
    pack_tiles<ROW_FRAGMENTS, stream_tile>(packed, ds);
    multiply_packed<ROW_FRAGMENTS, stream_tile>(sum, packed, key_tile + row_major_lane(lane));
  }

  if (key_first >= seen_end) {
    wait_copy_groups<0>();
    __syncthreads();
  }
  float result_factor[ROW_FRAGMENTS][2];
#pragma unroll
  for (int f = 0; f < ROW_FRAGMENTS; f++) result_factor[f][0] = result_factor[f][1] = scale;
  store_rows<ROW_FRAGMENTS>(query_gradient + (long long)warp_first * query_gradient_stride + head * HEAD_DIM,
                            query_gradient_stride, query_end - warp_first, sum, result_factor,
                            shared_memory + warp_offset * row_bytes, lane);
}
