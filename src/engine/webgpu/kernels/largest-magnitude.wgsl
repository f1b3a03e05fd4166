// out[chunk] = the bits of the largest |x| of a chunk {parameter, first, count, place}; NaN is larger than all.
// Launch: a workgroup for each chunk (`flat`).
struct Params { chunk_count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<u32>;
@group(0) @binding(3) var<storage, read> chunks: array<vec4u>;

var<workgroup> tops: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  if (index >= params.chunk_count) { return; }
  let chunk = chunks[index];
  var top = 0u;
  for (var i = lane; i < chunk.z; i += 256u) { top = max(top, x[chunk.y + i] & 0x7fffffffu); }
  tops[lane] = top;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { tops[lane] = max(tops[lane], tops[lane + half]); }
  }
  if (lane == 0u) { out[index] = tops[0]; }
}
