// out = softmax(scale · q·kᵀ)·v by segment and head without the score matrix: a workgroup owns a tile of query rows and
// passes over the keys that they see, with a running maximum and sum by row. lse [heads, rows] is log2 Σ 2^s of the scores
// s = scale · log2(e) · q·k. work: (first row, end of the segment's rows, its first key, end of its keys) of each tile.
// Launch: (heads, tiles).
//#include attention-tiles.wgsl

struct Params { heads: u32, kv_heads: u32, rows: u32, is_causal: u32, score_scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> work: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> q: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> k: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

const QUERY = 0u;
const KEY = 1u;
const VALUE = 2u;
var<private> query_head: u32;
var<private> key_head: u32;

fn fetch(source: u32, row: u32, column: u32) -> vec4f {
  if (source == QUERY) { return q[(row * params.heads + query_head) * HEAD4 + column]; }
  let at = (row * params.kv_heads + key_head) * HEAD4 + column;
  if (source == KEY) { return k[at]; }
  return v[at];
}

@compute @workgroup_size(16 * ${GROUPS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let item = work[id.y];
  query_head = id.x;
  key_head = id.x * params.kv_heads / params.heads;
  let own_end = min(item.x + OWN, item.y);
  let own_row = item.x + thread / 16u * ${ROWS}u;
  // A row sees keys below its own limit: `shift` + row + 1 with `causal`.
  let shift = i32(item.w) - i32(item.y);
  var end = item.w;
  var full_end = i32(item.w);
  if (params.is_causal != 0u) {
    end = u32(max(shift + i32(own_end), i32(item.z)));
    full_end = shift + i32(item.x) + 1;
  }
  var sums: Sums;
  var peaks: array<f32, ${ROWS}>;
  var totals: array<f32, ${ROWS}>;
//#for i ${ROWS}
  peaks[${i}] = LOWEST;
//#endfor
  for (var first = item.z; first < end; first += STREAM) {
    var s = scores(QUERY, item.x, own_end, KEY, first, end, thread);
    var rows_peaks = array<f32, ${ROWS}>();
//#for i ${ROWS}
    s[${i}] *= params.score_scale;
//#endfor
    if (i32(first + STREAM) > full_end) {
      let keys = vec4i(i32(first + 4u * (thread % 16u))) + vec4i(0, 1, 2, 3);
//#for i ${ROWS}
      {
        let limit = select(i32(end), min(i32(end), shift + i32(own_row) + ${i} + 1), params.is_causal != 0u);
        s[${i}] = select(vec4f(LOWEST), s[${i}], keys < vec4i(limit));
      }
//#endfor
    }
//#for i ${ROWS}
    rows_peaks[${i}] = max(max(s[${i}].x, s[${i}].y), max(s[${i}].z, s[${i}].w));
//#endfor
    rows_peaks = across_lanes(rows_peaks, false, thread);
//#for i ${ROWS}
    {
      let peak = max(peaks[${i}], rows_peaks[${i}]);
      let factor = exp2(peaks[${i}] - peak);
      let p = select(exp2(s[${i}] - peak), vec4f(), s[${i}] == vec4f(LOWEST));
      peaks[${i}] = peak;
      totals[${i}] = totals[${i}] * factor + ((p.x + p.y) + (p.z + p.w));
      s[${i}] = p;
//#for c ${COLUMNS}
      sums[${i} * ${COLUMNS} + ${c}] *= factor;
//#endfor
    }
//#endfor
    keep_weights(s, thread);
    accumulate(&sums, VALUE, first, end, thread);
  }
  totals = across_lanes(totals, true, thread);
//#for i ${ROWS}
  if (own_row + ${i}u < own_end) {
    let row = own_row + ${i}u;
    // A row that sees no key gives zeros.
    let inverse = 1.0 / select(totals[${i}], 1.0, totals[${i}] == 0.0);
//#for c ${COLUMNS}
    if (thread % 16u + 16u * ${c}u < HEAD4) {
      out[(row * params.heads + query_head) * HEAD4 + thread % 16u + 16u * ${c}u] = sums[${i} * ${COLUMNS} + ${c}] * inverse;
    }
//#endfor
    if (thread % 16u == 0u) { lse[query_head * params.rows + row] = peaks[${i}] + log2(totals[${i}]); }
  }
//#endfor
}
