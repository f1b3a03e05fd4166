// AdamW of bitsandbytes with moments of 8 bits: codes of a dynamic map and one scale, the largest magnitude, for 256
// consecutive elements (a block). By the settings {step size, second, decay, taking part} of the chunk's parameter:
//   m = beta1·m + take1·g   v = beta2·v + take2·g²   value = (value + step size·m / (√v + second))·decay
// which uses the moments before they become codes again. state: 64 words of codes of m for each block, from codes_v on of
// v, from scales_m and scales_v on their scales. maps: values of m's map, midpoints of neighbours in the order of a search
// tree (the root at 1, below node i the nodes 2i and 2i + 1), the same of v's. A chunk is {parameter, first element,
// elements, first block}: 8 blocks at most. A lane has 4 neighbours, twice. Nothing happens where a gradient is not finite.
// Launch: a workgroup for each chunk (`flat`).
struct Params {
  chunk_count: u32, beta1: f32, take1: f32, beta2: f32, take2: f32,
  codes_v: u32, scales_m: u32, scales_v: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> gradients: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> norm: array<vec4u>;
@group(0) @binding(5) var<storage, read> chunks: array<vec4u>;
@group(0) @binding(6) var<storage, read> settings: array<vec4f>;
@group(0) @binding(7) var<storage, read> maps: array<f32>;

var<workgroup> map: array<f32, 1024>;
// Largest m and v of the first four blocks, and of the others, by lane; then by eight lanes.
var<workgroup> tops: array<vec4f, 256>;
var<workgroup> eighths: array<vec4f, 32>;

fn bytes_of(word: u32) -> vec4u { return (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u); }
fn word_of(bytes: vec4u) -> u32 { return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u); }
fn mapped(begin: u32, codes: vec4u) -> vec4f {
  return vec4f(map[begin + codes.x], map[begin + codes.y], map[begin + codes.z], map[begin + codes.w]);
}
fn largest(x: vec4f) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

// The codes of the nearest values, the lower at a tie.
fn codes_of(tree: u32, x: vec4f) -> vec4u {
  var node = vec4u(1u);
  for (var level = 0u; level < 8u; level++) { node = 2u * node + select(vec4u(), vec4u(1u), x > mapped(tree, node)); }
  return node - vec4u(256u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  let is_inside = index < params.chunk_count;
  let chunk = select(vec4u(), chunks[min(index, params.chunk_count - 1u)], is_inside);
  for (var i = lane; i < 1024u; i += 256u) { map[i] = maps[i]; }
  workgroupBarrier();

  let setting = settings[chunk.x];
  let clip = bitcast<f32>(norm[1].x);
  // No early return: what is read from memory does not count as uniform.
  let takes_part = is_inside && setting.w != 0.0 && norm[1].y != 0u;
  var first: array<vec4f, 2>;
  var second: array<vec4f, 2>;
  for (var u = 0u; u < 2u; u++) {
    let element = 1024u * u + 4u * lane;
    if (!takes_part || element >= chunk.z) { continue; }
    let is_own = vec4u(element) + vec4u(0u, 1u, 2u, 3u) < vec4u(chunk.z);
    let block = chunk.w + 4u * u + lane / 64u;
    let word = 64u * block + lane % 64u;
    let at = (chunk.y + element) / 4u;
    let g = gradients[at] * clip;
    let old_first = mapped(0u, bytes_of(state[word])) * bitcast<f32>(state[params.scales_m + block]);
    let old_second = mapped(512u, bytes_of(state[params.codes_v + word])) * bitcast<f32>(state[params.scales_v + block]);
    let new_first = params.beta1 * old_first + params.take1 * g;
    let new_second = params.beta2 * old_second + params.take2 * g * g;
    let updated = (values[at] + setting.x * new_first / (sqrt(new_second) + setting.y)) * setting.z;
    // Beyond the last element there are zeros, and stay.
    values[at] = select(vec4f(), updated, is_own);
    first[u] = select(vec4f(), new_first, is_own);
    second[u] = select(vec4f(), new_second, is_own);
  }

  tops[lane] = vec4f(largest(abs(first[0])), largest(second[0]), largest(abs(first[1])), largest(second[1]));
  workgroupBarrier();
  if (lane < 32u) {
    var top = tops[8u * lane];
    for (var i = 1u; i < 8u; i++) { top = max(top, tops[8u * lane + i]); }
    eighths[lane] = top;
  }
  workgroupBarrier();
  var top = eighths[lane / 64u * 8u];
  for (var i = 1u; i < 8u; i++) { top = max(top, eighths[lane / 64u * 8u + i]); }

  for (var u = 0u; u < 2u; u++) {
    if (!takes_part || 1024u * u + 4u * lane >= chunk.z) { continue; }
    let block = chunk.w + 4u * u + lane / 64u;
    let word = 64u * block + lane % 64u;
    let top_first = select(top.x, top.z, u == 1u);
    let top_second = select(top.y, top.w, u == 1u);
    if (lane % 64u == 0u) {
      state[params.scales_m + block] = bitcast<u32>(top_first);
      state[params.scales_v + block] = bitcast<u32>(top_second);
    }
    if (top_first > 0.0) {
      let codes = codes_of(256u, first[u] / top_first);
      // A moment keeps its sign: below zero it takes the smallest negative value.
      let is_lost = (first[u] < vec4f(0.0)) & (mapped(0u, codes) == vec4f(0.0));
      state[word] = word_of(codes - select(vec4u(), vec4u(1u), is_lost));
    }
    if (top_second > 0.0) { state[params.codes_v + word] = word_of(codes_of(768u, second[u] / top_second)); }
  }
}
