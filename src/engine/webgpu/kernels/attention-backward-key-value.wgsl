// dv = Pᵀ·gradient, dk = scale · dSᵀ·q (attention-backward-query.wgsl): a workgroup owns a tile of key rows of one key head
// and passes over the query rows that see them, of all query heads of the key head, in order. With ADD the results are
// added to what is there, for key rows that several segments see. work: (first key, end of the segment's keys, its first
// row, end of its rows) of each tile. Launch: (kv_heads, tiles).
//#include attention-tiles.wgsl
//#include attention-backward-sources.wgsl

struct Params { heads: u32, kv_heads: u32, rows: u32, is_causal: u32, scale: f32, score_scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> work: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dv: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> q: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> k: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> gradient: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> sums: array<vec2f>;

@compute @workgroup_size(16 * ${GROUPS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let item = work[id.y];
  key_head = id.x;
  let own_end = min(item.x + OWN, item.y);
  let own_key = item.x + thread / 16u * ${ROWS}u;
  // Row r sees keys up to `shift` + r with `causal`.
  let shift = i32(item.y) - i32(item.w);
  let is_causal = params.is_causal != 0u;
  let start = select(item.z, u32(max(i32(item.x) - shift, i32(item.z))), is_causal);
  var key_sums: Sums;
  var value_sums: Sums;
  let group = params.heads / params.kv_heads;
  for (var member = 0u; member < group; member++) {
    query_head = key_head * group + member;
    for (var first = start; first < item.w; first += STREAM) {
      var p = scores(KEY, item.x, own_end, QUERY, first, item.w, thread);
      let row = first + 4u * (thread % 16u);
      var lse = vec4f();
      var delta = vec4f();
//#for j 4
      if (row + ${j}u < item.w) {
        let pair = sums[query_head * params.rows + row + ${j}u];
        lse[${j}] = pair.x;
        delta[${j}] = pair.y;
      }
//#endfor
      let rows = vec4i(i32(row)) + vec4i(0, 1, 2, 3);
//#for i ${ROWS}
      {
        let lowest = select(0, i32(own_key) + ${i} - shift, is_causal);
        let limit = select(0, i32(item.w), own_key + ${i}u < own_end);
        let value = exp2(fma(p[${i}], vec4f(params.score_scale), -lse));
        p[${i}] = select(vec4f(), value, (rows >= vec4i(lowest)) & (rows < vec4i(limit)));
      }
//#endfor
      keep_weights(p, thread);
      accumulate(&value_sums, GRADIENT, first, item.w, thread);
      let dp = scores(VALUE, item.x, own_end, GRADIENT, first, item.w, thread);
//#for i ${ROWS}
      p[${i}] *= dp[${i}] - delta;
//#endfor
      keep_weights(p, thread);
      accumulate(&key_sums, QUERY, first, item.w, thread);
    }
  }
//#for i ${ROWS}
  if (own_key + ${i}u < own_end) {
//#for c ${COLUMNS}
    if (thread % 16u + 16u * ${c}u < HEAD4) {
      let at = ((own_key + ${i}u) * params.kv_heads + key_head) * HEAD4 + thread % 16u + 16u * ${c}u;
//#if ADD
      dk[at] += params.scale * key_sums[${i} * ${COLUMNS} + ${c}];
      dv[at] += value_sums[${i} * ${COLUMNS} + ${c}];
//#else
      dk[at] = params.scale * key_sums[${i} * ${COLUMNS} + ${c}];
      dv[at] = value_sums[${i} * ${COLUMNS} + ${c}];
//#endif
    }
//#endfor
  }
//#endfor
}
