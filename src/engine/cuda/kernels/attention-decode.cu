// Attention for one query row of a sequence over its cached keys, the H/K query heads of a key/value head at once.
//
//   s = q·kᵀ,  p = softmax(scale · s),  o = p·v
//
// The work is reading k and v once: a block takes a range of keys of one (query row, key/value head); its warps take
// turns at tiles of STREAM_TILE keys, each with copies of its own one tile ahead, and never wait for each other until
// their sums are merged at the end. The heads of the group are the rows of the 16-row tensor-core tile. A long range is
// split over several blocks, which leave fp32 partial results for attention_decode_combine; it adds them in order.
//
// Memory rule: q, o, k, v as in attention-forward.cu. partial_output fp32 [slots, H, D], partial_log_sum fp32 [slots, H]
// (log2 of the scaled sums); both may be null if no item has a slot. An item with an empty range writes
// zeros (slot -1) or a zero share; to fill up a fixed grid, give such items a slot of their own that nothing reads.
//
// Launch of attention_decode: grid (K, work items), block 32 · WARPS, dynamic shared bytes
// WARPS · 4 · STREAM_TILE · row_bytes. ROW_FRAGMENTS must be 1, H/K at most 16, H a multiple of K.
// work: int4 (query row, first key row, end of key rows, slot or -1): -1 writes bf16 o (buildDecodeWork).
// Launch of attention_decode_combine: grid (H, split rows), block 128, no dynamic shared memory.
// splits: int4 (query row, first slot, slot count, unused).

static_assert(ROW_FRAGMENTS == 1 && own_tile == 16 * WARPS, "the heads of a group are one fragment of 16 rows");
static_assert(4 * STREAM_TILE * row_bytes >= 16 * (head_pad + 4) * 4, "a warp's sums must fit where its tiles were");

extern "C" __global__ void __launch_bounds__(threads, MIN_BLOCKS)
attention_decode(bf16* __restrict__ output, float* __restrict__ partial_output, float* __restrict__ partial_log_sum,
                 const bf16* __restrict__ query, const bf16* __restrict__ key, const bf16* __restrict__ value,
                 const int4* __restrict__ work, int output_stride, int query_stride, int key_stride, int value_stride,
                 int heads, float scale) {
  const int4 item = work[blockIdx.y];
  const int row = item.x, key_first = item.y, key_end = item.z, slot = item.w;
  const int kv_head = blockIdx.x;
  const int group = heads / (int)gridDim.x;
  const int head_first = kv_head * group;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int tiles = key_end > key_first ? (key_end - key_first + stream_tile - 1) / stream_tile : 0;

  constexpr u32 half_stage = stream_tile * row_bytes;
  unsigned char* warp_memory = shared_memory + warp * 4 * half_stage;
  const u32 stages = shared_address(warp_memory);
  const bf16* key_head = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;
  const bf16* value_head = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;
  auto load_tile = [&](int tile, int stage_index) {
    const int first = tile * stream_tile;
    const int valid = key_end - key_first - first;
    const u32 stage = stages + stage_index * 2 * half_stage;
    copy_tile<stream_tile, 32>(stage, key_head + (long long)first * key_stride, key_stride, valid, lane);
    copy_tile<stream_tile, 32>(stage + half_stage, value_head + (long long)first * value_stride, value_stride, valid, lane);
  };
  if (warp < tiles) load_tile(warp, 0);
  close_copy_group();

  // The left operand straight from global memory: row g of the fragment is head g of the group.
  u32 query_fragments[head_pad / 16][4];
#pragma unroll
  for (int d = 0; d < head_pad / 16; d++) {
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const int head = lane / 4 + part % 2 * 8;
      const int column = d * 16 + lane % 4 * 2 + part / 2 * 8;
      query_fragments[d][part] = head < group && column < HEAD_DIM ? *(const u32*)(query + (long long)row * query_stride + (head_first + head) * HEAD_DIM + column) : 0u;
    }
  }
  const float factor = scale * LOG2_E;
  float sum[1][head_pad / 8][4];
  float maximum[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, total[2] = {0.0f, 0.0f};
  clear(sum);

  int stage_index = 0;
#pragma unroll 1
  for (int tile = warp; tile < tiles; tile += WARPS, stage_index ^= 1) {
    // All lanes are through with the other stage before it is filled again.
    __syncwarp();
    if (tile + WARPS < tiles) load_tile(tile + WARPS, stage_index ^ 1);
    close_copy_group();
    wait_copy_groups<1>();
    __syncwarp();
    const u32 key_tile = stages + stage_index * 2 * half_stage + column_major_lane(lane);
    const u32 value_tile = stages + stage_index * 2 * half_stage + half_stage + row_major_lane(lane);
    float score[1][stream_tile / 8][4];
    clear(score);
#pragma unroll
    for (int d = 0; d < head_pad / 16; d++) {
#pragma unroll
      for (int n = 0; n < stream_tile / 16; n++) {
        u32 b[4];
        load_matrices(b, key_tile + n * 16 * row_bytes + d * 32);
        multiply_add(score[0][2 * n], query_fragments[d], b[0], b[1]);
        multiply_add(score[0][2 * n + 1], query_fragments[d], b[2], b[3]);
      }
    }
    const int limit = key_end - key_first - tile * stream_tile - lane % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float largest = NEGATIVE_INFINITY;
#pragma unroll
      for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
          if (n * 8 + j >= limit) score[0][n][2 * half + j] = NEGATIVE_INFINITY;
          largest = fmaxf(largest, score[0][n][2 * half + j]);
        }
      }
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
      // A tile has at least one key, so the new maximum is finite.
      largest = fmaxf(largest, maximum[half]);
      const float correction = exp2_fast((maximum[half] - largest) * factor);
      maximum[half] = largest;
      total[half] *= correction;
#pragma unroll
      for (int n = 0; n < head_pad / 8; n++) {
        sum[0][n][2 * half] *= correction;
        sum[0][n][2 * half + 1] *= correction;
      }
#pragma unroll
      for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
        for (int j = 2 * half; j < 2 * half + 2; j++) {
          score[0][n][j] = exp2_fast(score[0][n][j] * factor - largest * factor);
          total[half] += score[0][n][j];
        }
      }
    }
    u32 probability[1][stream_tile / 16][4];
    pack_tiles<1, stream_tile>(probability, score);
    multiply_packed<1, stream_tile>(sum, probability, value_tile);
  }

  // Merge: each warp leaves its rows [16][head_pad + 4] in fp32 (the sums, then maximum and total) over its own tiles.
  wait_copy_groups<0>();
  __syncwarp();
  constexpr int merge_stride = head_pad + 4;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float all = total[half];
    all += __shfl_xor_sync(0xffffffffu, all, 1);
    all += __shfl_xor_sync(0xffffffffu, all, 2);
    float* target = (float*)warp_memory + (lane / 4 + half * 8) * merge_stride;
#pragma unroll
    for (int n = 0; n < head_pad / 8; n++) {
      target[n * 8 + lane % 4 * 2] = sum[0][n][2 * half];
      target[n * 8 + lane % 4 * 2 + 1] = sum[0][n][2 * half + 1];
    }
    if (lane % 4 == 0) {
      target[head_pad] = maximum[half] * factor;
      target[head_pad + 1] = all;
    }
  }
  __syncthreads();
  for (int index = thread; index < group * HEAD_DIM; index += threads) {
    const int head = index / HEAD_DIM;
    const int column = index % HEAD_DIM;
    const float* first = (const float*)shared_memory + head * merge_stride;
    float largest = NEGATIVE_INFINITY, all = 0.0f, result = 0.0f;
    for (int w = 0; w < WARPS; w++) largest = fmaxf(largest, first[w * half_stage + head_pad]);
    for (int w = 0; w < WARPS; w++) {
      const float share = first[w * half_stage + head_pad + 1] > 0.0f ? exp2_fast(first[w * half_stage + head_pad] - largest) : 0.0f;
      all += share * first[w * half_stage + head_pad + 1];
      result += share * first[w * half_stage + column];
    }
    result = all > 0.0f ? result / all : 0.0f;
    const int target_head = head_first + head;
    if (slot < 0) {
      output[(long long)row * output_stride + target_head * HEAD_DIM + column] = (bf16)pack_bf16(result, 0.0f);
    } else {
      partial_output[((long long)slot * heads + target_head) * HEAD_DIM + column] = result;
      if (column == 0) partial_log_sum[(long long)slot * heads + target_head] = all > 0.0f ? largest + log2_fast(all) : NEGATIVE_INFINITY;
    }
  }
}

extern "C" __global__ void __launch_bounds__(128)
attention_decode_combine(bf16* __restrict__ output, const float* __restrict__ partial_output, const float* __restrict__ partial_log_sum,
                         const int4* __restrict__ splits, int output_stride) {
  const int4 item = splits[blockIdx.y];
  const int head = blockIdx.x, heads = gridDim.x;
  const int column = threadIdx.x;
  if (column >= HEAD_DIM) return;
  float largest = NEGATIVE_INFINITY, all = 0.0f, result = 0.0f;
  for (int i = 0; i < item.z; i++) largest = fmaxf(largest, partial_log_sum[(long long)(item.y + i) * heads + head]);
  for (int i = 0; i < item.z; i++) {
    const long long place = (long long)(item.y + i) * heads + head;
    const float share = largest == NEGATIVE_INFINITY ? 0.0f : exp2_fast(partial_log_sum[place] - largest);
    all += share;
    result += share * partial_output[place * HEAD_DIM + column];
  }
  output[(long long)item.x * output_stride + head * HEAD_DIM + column] = (bf16)pack_bf16(all > 0.0f ? result / all : 0.0f, 0.0f);
}
