// Attention for one query row of a sequence over its cached keys, the H/K query heads of a key/value head at once.
//
//   s = q·kᵀ,  p = softmax(scale · s),  o = p·v
//
// The work is reading k and v once: a block takes a range of keys of one (query row, key/value head); its warps take
// turns at tiles of STREAM_TILE keys, each with copies of its own one tile ahead, and never wait for each other until
// their sums are merged at the end. The heads of the group are the rows of the 16-row tensor-core tile. A long range is
// split over several blocks, which leave fp32 partial results; the last one to end adds them, in order.
//
// The same launch may turn q and k by their positions and append k and v to the cache (with a new_key): the block whose
// item ends with the newest key turns it, puts it into its tile and writes it and the value to the last key row.
//
// Memory rule: q, o, k, v as in attention-forward.cu. partial_output fp32 [slots, H, D], partial_log_sum fp32 [slots,
// H] (log2 of the scaled sums). cosine and sine fp32 [query rows, D/2], query_scale fp32 [query rows] or null. arrived:
// u32 [slots, K], zeros before and after every launch.
//
// Launch of attention_decode: grid (K, work items), block 32 · WARPS, dynamic shared bytes
// WARPS · 4 · STREAM_TILE · row_bytes. ROW_FRAGMENTS must be 1, H/K at most 16, H a multiple of K.
// work: int4 (query row, + 2^30 if the range ends with the newest key; first key row; end of key rows; slot or -1): -1
// writes bf16 o (buildDecodeWork). shares: int2 by slot (first slot of the same query row, their number).

static_assert(ROW_FRAGMENTS == 1 && own_tile == 16 * WARPS, "the heads of a group are one fragment of 16 rows");
static_assert(4 * STREAM_TILE * row_bytes >= 16 * (head_pad + 4) * 4, "a warp's sums must fit where its tiles were");

/** Two neighbouring columns of a head, turned: `other` are those half a head away. */
DEVICE u32 turn(u32 own, u32 other, bool upper, float2 cosine, float2 sine, float factor) {
  const float sign = upper ? 1.0f : -1.0f;
  return pack_bf16((bf16_low(own) * cosine.x + bf16_low(other) * (sine.x * sign)) * factor,
                   (bf16_high(own) * cosine.y + bf16_high(other) * (sine.y * sign)) * factor);
}

extern "C" __global__ void __launch_bounds__(threads, MIN_BLOCKS)
    attention_decode(bf16* __restrict__ output, float* partial_output, float* partial_log_sum,
                     const bf16* __restrict__ query, bf16* key, bf16* value, const int4* __restrict__ work,
                     const int2* __restrict__ shares, u32* NULLABLE arrived, const bf16* __restrict__ NULLABLE new_key,
                     const bf16* __restrict__ NULLABLE new_value, const float* __restrict__ NULLABLE cosine,
                     const float* __restrict__ NULLABLE sine, const float* __restrict__ NULLABLE query_scale,
                     int output_stride, int query_stride, int key_stride, int value_stride, int new_key_stride,
                     int new_value_stride, int heads, float scale) {
  constexpr int half_head = HEAD_DIM / 2;
  const int4 item = work[blockIdx.y];
  const int row = item.x & 0x3fffffff, key_first = item.y, key_end = item.z, slot = item.w;
  const bool appends = new_key && item.x >> 30;
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
    // The newest key is not in the cache yet.
    const int valid = key_end - key_first - first - (appends ? 1 : 0);
    const u32 stage = stages + stage_index * 2 * half_stage;
    copy_tile<stream_tile, 32>(stage, key_head + (long long)first * key_stride, key_stride, valid, lane);
    copy_tile<stream_tile, 32>(stage + half_stage, value_head + (long long)first * value_stride, value_stride, valid,
                               lane);
  };
  if (warp < tiles) load_tile(warp, 0);
  close_copy_group();

  // The newest key and value in pairs of columns: lane i has columns 2i and those half a head on.
  const bool owns_newest = appends && warp == (tiles - 1) % WARPS && lane * 2 < half_head;
  u32 newest[4];
  if (owns_newest) {
    const bf16* from_key = new_key + (long long)row * new_key_stride + kv_head * HEAD_DIM + lane * 2;
    const bf16* from_value = new_value + (long long)row * new_value_stride + kv_head * HEAD_DIM + lane * 2;
    const u32 lower = *(const u32*)from_key, upper = *(const u32*)(from_key + half_head);
    const float2 c = *(const float2*)(cosine + row * half_head + lane * 2),
                 s = *(const float2*)(sine + row * half_head + lane * 2);
    newest[0] = turn(lower, upper, false, c, s, 1.0f);
    newest[1] = turn(upper, lower, true, c, s, 1.0f);
    newest[2] = *(const u32*)from_value;
    newest[3] = *(const u32*)(from_value + half_head);
    bf16* to_key = key + (long long)(key_end - 1) * key_stride + kv_head * HEAD_DIM + lane * 2;
    bf16* to_value = value + (long long)(key_end - 1) * value_stride + kv_head * HEAD_DIM + lane * 2;
    *(u32*)to_key = newest[0];
    *(u32*)(to_key + half_head) = newest[1];
    *(u32*)to_value = newest[2];
    *(u32*)(to_value + half_head) = newest[3];
  }

  // The left operand straight from global memory: row g of the fragment is head g of the group.
  u32 query_fragments[head_pad / 16][4];
#pragma unroll
  for (int d = 0; d < head_pad / 16; d++) {
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const int head = lane / 4 + part % 2 * 8;
      const int column = d * 16 + lane % 4 * 2 + part / 2 * 8;
      query_fragments[d][part] =
          head < group && column < HEAD_DIM
              ? *(const u32*)(query + (long long)row * query_stride + (head_first + head) * HEAD_DIM + column)
              : 0u;
    }
  }
  if (new_key) {
    const float* c_row = cosine + row * half_head;
    const float* s_row = sine + row * half_head;
    const float stretch = query_scale ? query_scale[row] : 1.0f;
    if constexpr (half_head % 16 == 0) {
      constexpr int apart = half_head / 16;  // a lane has both columns of every pair
#pragma unroll
      for (int d = 0; d < apart; d++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
          const int column = d * 16 + lane % 4 * 2 + part / 2 * 8;
          const float2 c = *(const float2*)(c_row + column), s = *(const float2*)(s_row + column);
          const u32 lower = query_fragments[d][part], upper = query_fragments[d + apart][part];
          query_fragments[d][part] = turn(lower, upper, false, c, s, stretch);
          query_fragments[d + apart][part] = turn(upper, lower, true, c, s, stretch);
        }
      }
    } else {
#pragma unroll
      for (int d = 0; d < head_pad / 16; d++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
          const int head = lane / 4 + part % 2 * 8;
          const int column = d * 16 + lane % 4 * 2 + part / 2 * 8;
          if (head >= group || column >= HEAD_DIM) continue;
          const bool upper = column >= half_head;
          const int i = upper ? column - half_head : column;
          const u32 other = *(const u32*)(query + (long long)row * query_stride + (head_first + head) * HEAD_DIM +
                                          (upper ? i : i + half_head));
          query_fragments[d][part] = turn(query_fragments[d][part], other, upper, *(const float2*)(c_row + i),
                                          *(const float2*)(s_row + i), stretch);
        }
      }
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
    if (appends && tile == tiles - 1) {
      if (owns_newest) {
        unsigned char* place = warp_memory + stage_index * 2 * half_stage +
                               (key_end - 1 - key_first - tile * stream_tile) * row_bytes + lane * 4;
        *(u32*)place = newest[0];
        *(u32*)(place + 2 * half_head) = newest[1];
        *(u32*)(place + half_stage) = newest[2];
        *(u32*)(place + half_stage + 2 * half_head) = newest[3];
      }
      __syncwarp();
    }
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
      const float share =
          first[w * half_stage + head_pad + 1] > 0.0f ? exp2_fast(first[w * half_stage + head_pad] - largest) : 0.0f;
      all += share * first[w * half_stage + head_pad + 1];
      result += share * first[w * half_stage + column];
    }
    result = all > 0.0f ? result / all : 0.0f;
    const int target_head = head_first + head;
    if (slot < 0) {
      output[(long long)row * output_stride + target_head * HEAD_DIM + column] = (bf16)pack_bf16(result, 0.0f);
    } else {
      partial_output[((long long)slot * heads + target_head) * HEAD_DIM + column] = result;
      if (column == 0)
        partial_log_sum[(long long)slot * heads + target_head] =
            all > 0.0f ? largest + log2_fast(all) : NEGATIVE_INFINITY;
    }
  }
  if (slot < 0) return;

  // The last block of a query row to come here adds the shares, in the order of their slots.
  __shared__ bool is_last;
  const int2 share = shares[slot];
  __threadfence();
  __syncthreads();
  if (thread == 0) is_last = atomicInc(arrived + share.x * (int)gridDim.x + kv_head, share.y - 1) == (u32)share.y - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  for (int index = thread; index < group * HEAD_DIM; index += threads) {
    const int head = head_first + index / HEAD_DIM;
    const int column = index % HEAD_DIM;
    float largest = NEGATIVE_INFINITY, all = 0.0f, result = 0.0f;
    for (int i = 0; i < share.y; i++)
      largest = fmaxf(largest, __ldcg(partial_log_sum + (long long)(share.x + i) * heads + head));
    for (int i = 0; i < share.y; i++) {
      const long long place = (long long)(share.x + i) * heads + head;
      const float part = largest == NEGATIVE_INFINITY ? 0.0f : exp2_fast(__ldcg(partial_log_sum + place) - largest);
      all += part;
      result += part * __ldcg(partial_output + place * HEAD_DIM + column);
    }
    output[(long long)row * output_stride + head * HEAD_DIM + column] =
        (bf16)pack_bf16(all > 0.0f ? result / all : 0.0f, 0.0f);
  }
}
