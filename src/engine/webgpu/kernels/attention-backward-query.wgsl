// dq = scale · dS·k with P = 2^(s - lse), dS = P ⊙ (gradient·vᵀ - Σ gradient · out): the tiles of attention-forward.wgsl.
// Launch: (heads, tiles).
//#include attention-tiles.wgsl
//#include attention-backward-sources.wgsl

struct Params { heads: u32, kv_heads: u32, rows: u32, is_causal: u32, scale: f32, score_scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> work: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> dq: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> q: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> k: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> gradient: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> sums: array<vec2f>;

@compute @workgroup_size(16 * ${GROUPS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let item = work[id.y];
  query_head = id.x;
  key_head = id.x * params.kv_heads / params.heads;
  let own_end = min(item.x + OWN, item.y);
  let own_row = item.x + thread / 16u * ${ROWS}u;
  let shift = i32(item.w) - i32(item.y);
  var end = item.w;
  if (params.is_causal != 0u) { end = u32(max(shift + i32(own_end), i32(item.z))); }
  var row_sums: array<vec2f, ${ROWS}>;
//#for i ${ROWS}
  if (own_row + ${i}u < own_end) { row_sums[${i}] = sums[query_head * params.rows + own_row + ${i}u]; }
//#endfor
  var results: Sums;
  for (var first = item.z; first < end; first += STREAM) {
    var p = scores(QUERY, item.x, own_end, KEY, first, end, thread);
    let keys = vec4i(i32(first + 4u * (thread % 16u))) + vec4i(0, 1, 2, 3);
//#for i ${ROWS}
    {
      let seen = select(i32(end), min(i32(end), shift + i32(own_row) + ${i} + 1), params.is_causal != 0u);
      let limit = select(0, seen, own_row + ${i}u < own_end);
      let value = exp2(fma(p[${i}], vec4f(params.score_scale), vec4f(-row_sums[${i}].x)));
      p[${i}] = select(vec4f(), value, keys < vec4i(limit));
    }
//#endfor
    let dp = scores(GRADIENT, item.x, own_end, VALUE, first, end, thread);
//#for i ${ROWS}
    p[${i}] *= dp[${i}] - row_sums[${i}].y;
//#endfor
    keep_weights(p, thread);
    accumulate(&results, KEY, first, end, thread);
  }
//#for i ${ROWS}
  if (own_row + ${i}u < own_end) {
//#for c ${COLUMNS}
    if (thread % 16u + 16u * ${c}u < HEAD4) {
      dq[((own_row + ${i}u) * params.heads + query_head) * HEAD4 + thread % 16u + 16u * ${c}u] = params.scale * results[${i} * ${COLUMNS} + ${c}];
    }
//#endfor
  }
//#endfor
}
