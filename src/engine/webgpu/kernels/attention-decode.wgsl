// Attention of one query row to a part of its keys: a workgroup takes MEMBERS query heads of a key head, so that keys and
// values are read once for them, 64 keys at a time. partial [slots, heads, HEAD4] is Σ p·v with p = 2^(s - peak),
// stats [slots, heads] (peak, Σ p); attention-combine.wgsl joins the parts of a row. work: (row, first key, end, slot).
// Defines: HEAD4, MEMBERS, LANES (a power of two, at least HEAD4), PARTS (256 / LANES).
// Launch: (kv_heads · group / MEMBERS, items).
struct Params { heads: u32, kv_heads: u32, score_scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> work: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> partial: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> q: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> k: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> v: array<vec4f>;

const HEAD4 = ${HEAD4}u;
const BLOCK = 64u;
const LOWEST = -3.0e38;

var<workgroup> queries: array<array<vec4f, ${HEAD4}>, ${MEMBERS}>;
/// Four parts of each score, then its probability in x.
var<workgroup> weights: array<array<vec4f, BLOCK>, ${MEMBERS}>;
/// 32 partial results of each query head; head columns in `joined`.
var<workgroup> row_parts: array<array<f32, 32>, 8>;
var<workgroup> joined: array<vec4f, 256>;

/// Of the 32 threads of each query head the largest value, or the sum, in all of them.
fn across(value: f32, is_sum: bool, thread: u32) -> f32 {
  let row = thread / 32u;
  let i = thread % 32u;
  workgroupBarrier();
  row_parts[row][i] = value;
  for (var half = 16u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (i < half) {
      let other = row_parts[row][i + half];
      row_parts[row][i] = select(max(row_parts[row][i], other), row_parts[row][i] + other, is_sum);
    }
  }
  workgroupBarrier();
  return row_parts[row][0];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let item = work[id.y];
  let first_head = id.x * ${MEMBERS}u;
  let key_head = first_head * params.kv_heads / params.heads;
  for (var i = thread; i < ${MEMBERS}u * HEAD4; i += 256u) {
    queries[i / HEAD4][i % HEAD4] = q[(item.x * params.heads + first_head) * HEAD4 + i];
  }
  let column = thread % ${LANES}u;
  let part = thread / ${LANES}u;
  // In the reductions a thread belongs to query head thread / 32.
  let member = thread / 32u;
  var peak = LOWEST;
  var total = 0.0;
  var sums: array<vec4f, ${MEMBERS}>;
  for (var first = item.y; first < item.z; first += BLOCK) {
    workgroupBarrier();
    {
      let key = first + thread / 4u;
      var products = array<f32, ${MEMBERS}>();
      if (key < item.z) {
        for (var d = thread % 4u; d < HEAD4; d += 4u) {
          let value = k[(key * params.kv_heads + key_head) * HEAD4 + d];
//#for m ${MEMBERS}
          products[${m}] += dot(queries[${m}][d], value);
//#endfor
        }
      }
//#for m ${MEMBERS}
      weights[${m}][thread / 4u][thread % 4u] = products[${m}];
//#endfor
    }
    workgroupBarrier();
    var s = vec2f(LOWEST);
    if (member < ${MEMBERS}u) {
//#for n 2
      {
        let key = thread % 32u + ${n}u * 32u;
        let parts = weights[member][key];
        if (first + key < item.z) { s[${n}] = params.score_scale * ((parts.x + parts.y) + (parts.z + parts.w)); }
      }
//#endfor
    }
    let old_peak = peak;
    peak = max(peak, across(max(s.x, s.y), false, thread));
    let factor = exp2(old_peak - peak);
    let p = select(exp2(s - peak), vec2f(), s == vec2f(LOWEST));
    total = total * factor + (p.x + p.y);
    if (member < ${MEMBERS}u) {
      weights[member][thread % 32u].x = p.x;
      weights[member][thread % 32u + 32u].x = p.y;
    }
    // `across` is done with the first value of each row when all have passed this.
    workgroupBarrier();
    if (thread % 32u == 0u) { row_parts[member][0] = factor; }
    workgroupBarrier();
//#for m ${MEMBERS}
    sums[${m}] *= row_parts[${m}][0];
//#endfor
    if (column < HEAD4) {
      for (var key = part; key < min(BLOCK, item.z - first); key += ${PARTS}u) {
        let value = v[((first + key) * params.kv_heads + key_head) * HEAD4 + column];
//#for m ${MEMBERS}
        sums[${m}] += weights[${m}][key].x * value;
//#endfor
      }
    }
  }
  total = across(total, true, thread);
  if (thread % 32u == 0u && member < ${MEMBERS}u) {
    stats[item.w * params.heads + first_head + member] = vec2f(peak, total);
  }
//#for m ${MEMBERS}
  workgroupBarrier();
  joined[thread] = sums[${m}];
  workgroupBarrier();
  if (thread < HEAD4) {
    var sum = joined[thread];
    for (var other = 1u; other < ${PARTS}u; other++) { sum += joined[thread + other * ${LANES}u]; }
    partial[(item.w * params.heads + first_head + ${m}u) * HEAD4 + thread] = sum;
  }
//#endfor
}
