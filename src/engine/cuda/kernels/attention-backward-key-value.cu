// Attention, backward, the key side: one block for a tile of key rows of one key/value head. It passes over all query
// tiles that see the keys, of all H/K query heads of the group, so dk and dv are each written once, with no atomics.
//
//   p = exp(scale · s - lse),  dv = pᵀ·do,  dp = do·vᵀ,  ds = p ⊙ (dp - delta),  dk = scale · dsᵀ·q
//   with s = q·kᵀ recomputed and delta = rowsum(do ⊙ o) from attention_backward_delta.
//
// Everything is computed transposed (keys are the rows): pᵀ and dsᵀ come out of the tensor cores in the layout in which
// they go in again as left operands, so neither passes through shared memory. 4 products of the 7 of this backward.
// Query rows past the end are zeros in q and do and add nothing; key rows past the end are not stored.
//
// Memory rule: as in attention-forward.cu. lse and delta are fp32 [H, Tq]. Key ranges of the segments must not overlap
// (each would write its own dk, dv); key rows outside every segment are not written.
//
// HEAD_SPLIT > 1: the warps form that many teams, each with all key rows of the tile and every HEAD_SPLIT-th part of
// the group's heads; the teams' sums are added in order at the end. So the longest block is that much shorter.
//
// Launch: grid (K, work items), block 32 · WARPS · HEAD_SPLIT, dynamic shared bytes
// 2 · own_tile · row_bytes + HEAD_SPLIT · (4 · row_bytes + 16) · STREAM_TILE; own_tile counts key rows, STREAM_TILE
// query rows. H/K must be a multiple of HEAD_SPLIT.
// work: int4 (first key row of the tile, end of its segment's key rows, first query row, end of its query rows),
// heaviest first (buildAttentionKeyWork). H must be a multiple of K.

static_assert(HEAD_SPLIT == 1 ||
                  2 * own_tile * row_bytes + HEAD_SPLIT * (4 * row_bytes + 16) * STREAM_TILE >= own_tile * head_pad * 8,
              "a team's sums must fit where the tiles were");

constexpr int sums_of_lane = ROW_FRAGMENTS * head_pad / 2;

template <class F>
DEVICE void visit_sums(float (&sum)[ROW_FRAGMENTS][head_pad / 8][4], F visit) {
#pragma unroll
  for (int f = 0; f < ROW_FRAGMENTS; f++) {
#pragma unroll
    for (int n = 0; n < head_pad / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) visit((f * (head_pad / 8) + n) * 4 + i, sum[f][n][i]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(threads* HEAD_SPLIT, MIN_BLOCKS)
    attention_backward_key_value(bf16* __restrict__ key_gradient, bf16* __restrict__ value_gradient,
                                 const bf16* __restrict__ output_gradient, const bf16* __restrict__ query,
                                 const bf16* __restrict__ key, const bf16* __restrict__ value,
                                 const float* __restrict__ log_sum, const float* __restrict__ delta,
                                 const int4* __restrict__ work, int key_gradient_stride, int value_gradient_stride,
                                 int output_gradient_stride, int query_stride, int key_stride, int value_stride,
                                 int heads, int query_rows, float scale, int causal) {
  const int4 item = work[blockIdx.y];
  const int key_first = item.x, key_end = item.y, query_end = item.w;
  const int kv_head = blockIdx.x;
  const int team_heads = heads / (int)gridDim.x / HEAD_SPLIT;
  const int team = threadIdx.x / threads;
  const int thread = threadIdx.x % threads, lane = thread % 32, warp = thread / 32;
  // Row r sees the keys up to and including r + diagonal, so these keys are seen from row key_first - diagonal on.
  const int diagonal = key_end - query_end;
  const int query_first = causal ? max(item.z, key_first - diagonal) : item.z;
  const int head_steps = query_end > query_first ? (query_end - query_first + stream_tile - 1) / stream_tile : 0;
  const int steps = team_heads * head_steps;

  constexpr u32 own_bytes = own_tile * row_bytes;
  constexpr u32 half_stage = stream_tile * row_bytes;
  constexpr u32 stage_bytes = 2 * half_stage + 8 * stream_tile;  // q, do, lse, delta
  const u32 key_tile = shared_address(shared_memory);
  const u32 value_tile = key_tile + own_bytes;
  constexpr u32 team_bytes = 2 * stage_bytes;
  const u32 stages = value_tile + own_bytes + team * team_bytes;
  // The copies run one step ahead of the products and keep their own place in (head, query tile).
  int load_head = (kv_head * HEAD_SPLIT + team) * team_heads, load_row = query_first;
  auto load_step = [&](int step) {
    const u32 stage = stages + (step & 1) * stage_bytes;
    const int valid = query_end - load_row;
    copy_tile<stream_tile, threads>(stage, query + (long long)load_row * query_stride + load_head * HEAD_DIM,
                                    query_stride, valid, thread);
    copy_tile<stream_tile, threads>(
        stage + half_stage, output_gradient + (long long)load_row * output_gradient_stride + load_head * HEAD_DIM,
        output_gradient_stride, valid, thread);
    const long long statistics = (long long)load_head * query_rows + load_row;
    for (int i = thread; i < 2 * stream_tile; i += threads) {
      const int row = i % stream_tile;
      copy_4_bytes(stage + 2 * half_stage + 4 * i, (i < stream_tile ? log_sum : delta) + statistics + row, row < valid);
    }
    close_copy_group();
    load_row += stream_tile;
    if (load_row >= query_end) {
      load_row = query_first;
      load_head++;
    }
  };
  const int valid_keys = key_end - key_first;
  copy_tile<own_tile, threads * HEAD_SPLIT>(key_tile, key + (long long)key_first * key_stride + kv_head * HEAD_DIM,
                                            key_stride, valid_keys, threadIdx.x);
  copy_tile<own_tile, threads * HEAD_SPLIT>(value_tile,
                                            value + (long long)key_first * value_stride + kv_head * HEAD_DIM,
                                            value_stride, valid_keys, threadIdx.x);
  if (steps > 0) load_step(0);

  const int warp_offset = warp * warp_rows;
  const int warp_first = key_first + warp_offset;
  const u32 key_warp = key_tile + warp_offset * row_bytes + row_major_lane(lane);
  const float factor = scale * LOG2_E;
  float key_sum[ROW_FRAGMENTS][head_pad / 8][4], value_sum[ROW_FRAGMENTS][head_pad / 8][4];
  clear(key_sum);
  clear(value_sum);
  int tile_row = query_first;

#pragma unroll 1
  for (int step = 0; step < steps; step++) {
    // The barrier makes this step's rows visible and says that all warps are through with the other stage.
    wait_copy_groups<0>();
    __syncthreads();
    if (step + 1 < steps) load_step(step + 1);
    const int step_first = tile_row;
    tile_row = tile_row + stream_tile < query_end ? tile_row + stream_tile : query_first;
    if (causal && warp_first > step_first + stream_tile - 1 + diagonal) continue;
    const u32 stage = (step & 1) * stage_bytes;
    const u32 query_tile = stages + stage;
    const u32 gradient_tile = query_tile + half_stage;
    const float* statistics =
        (const float*)(shared_memory + 2 * own_bytes + team * team_bytes + stage + 2 * half_stage) + lane % 4 * 2;

    float p[ROW_FRAGMENTS][stream_tile / 8][4];
    clear(p);
    multiply_transposed<ROW_FRAGMENTS, stream_tile>(p, key_warp, query_tile + column_major_lane(lane));
#pragma unroll
    for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const float offset = statistics[n * 8 + j] * LOG2_E;
#pragma unroll
        for (int f = 0; f < ROW_FRAGMENTS; f++) {
          p[f][n][j] = exp2_fast(p[f][n][j] * factor - offset);
          p[f][n][j + 2] = exp2_fast(p[f][n][j + 2] * factor - offset);
        }
      }
    }
    if (causal && warp_first + warp_rows - 1 > step_first + diagonal) {
#pragma unroll
      for (int f = 0; f < ROW_FRAGMENTS; f++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          // The first column of this tile that sees the key of this row.
          const int limit = warp_first + f * 16 + half * 8 + lane / 4 - diagonal - step_first - lane % 4 * 2;
#pragma unroll
          for (int n = 0; n < stream_tile / 8; n++) {
            if (n * 8 < limit) p[f][n][2 * half] = 0.0f;
            if (n * 8 + 1 < limit) p[f][n][2 * half + 1] = 0.0f;
          }
        }
      }
    }
    u32 packed[ROW_FRAGMENTS][stream_tile / 16][4];
    pack_tiles<ROW_FRAGMENTS, stream_tile>(packed, p);
    multiply_packed<ROW_FRAGMENTS, stream_tile>(value_sum, packed, gradient_tile + row_major_lane(lane));

    float ds[ROW_FRAGMENTS][stream_tile / 8][4];
    clear(ds);
    multiply_transposed<ROW_FRAGMENTS, stream_tile>(ds, key_warp + own_bytes, gradient_tile + column_major_lane(lane));
#pragma unroll
    for (int n = 0; n < stream_tile / 8; n++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const float mean = statistics[stream_tile + n * 8 + j];
#pragma unroll
        for (int f = 0; f < ROW_FRAGMENTS; f++) {
          ds[f][n][j] = p[f][n][j] * (ds[f][n][j] - mean);
          ds[f][n][j + 2] = p[f][n][j + 2] * (ds[f][n][j + 2] - mean);
        }
      }
    }
    pack_tiles<ROW_FRAGMENTS, stream_tile>(packed, ds);
    multiply_packed<ROW_FRAGMENTS, stream_tile>(key_sum, packed, query_tile + row_major_lane(lane));
  }

  if (steps == 0) {
    wait_copy_groups<0>();
    __syncthreads();
  }
  if constexpr (HEAD_SPLIT > 1) {
    // Lane by lane, so that what a thread adds are the same elements of another team.
    float* exchange = (float*)shared_memory + thread;
#pragma unroll 1
    for (int from = 1; from < HEAD_SPLIT; from++) {
      __syncthreads();
      if (team == from) {
        visit_sums(key_sum, [&](int i, float& x) { exchange[i * threads] = x; });
        visit_sums(value_sum, [&](int i, float& x) { exchange[(sums_of_lane + i) * threads] = x; });
      }
      __syncthreads();
      if (team == 0) {
        visit_sums(key_sum, [&](int i, float& x) { x += exchange[i * threads]; });
        visit_sums(value_sum, [&](int i, float& x) { x += exchange[(sums_of_lane + i) * threads]; });
      }
    }
    // All are through with the sums before the first team lays its rows over them.
    __syncthreads();
    if (team != 0) return;
  }
  float key_factor[ROW_FRAGMENTS][2], value_factor[ROW_FRAGMENTS][2];
#pragma unroll
  for (int f = 0; f < ROW_FRAGMENTS; f++) {
    key_factor[f][0] = key_factor[f][1] = scale;
    value_factor[f][0] = value_factor[f][1] = 1.0f;
  }
  unsigned char* staging = shared_memory + warp_offset * row_bytes;
  store_rows<ROW_FRAGMENTS>(key_gradient + (long long)warp_first * key_gradient_stride + kv_head * HEAD_DIM,
                            key_gradient_stride, key_end - warp_first, key_sum, key_factor, staging, lane);
  store_rows<ROW_FRAGMENTS>(value_gradient + (long long)warp_first * value_gradient_stride + kv_head * HEAD_DIM,
                            value_gradient_stride, key_end - warp_first, value_sum, value_factor, staging + own_bytes,
                            lane);
}
