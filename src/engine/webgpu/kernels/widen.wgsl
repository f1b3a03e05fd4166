// out[i] = value first + i of a part of a frozen weight. Launch: a workgroup for every 1024 values (`blocks`).
//#include weight-values.wgsl
struct Params { n: u32, first: u32, weight_columns: u32, block_rows: u32, block_columns: u32, factors_across: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<u32>;
//#if FACTORS
@group(0) @binding(3) var<storage, read> factors: array<f32>;
//#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = first; i < min(first + 1024u - lane, params.n); i += 256u) { out[i] = weight_value(params.first + i); }
}
