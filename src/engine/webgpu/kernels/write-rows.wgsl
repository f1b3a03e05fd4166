// out[index[i]] = x[i] of [rows, columns] in units of T: f32, or vec4f where columns allow. The rows are distinct.
// Launch: a workgroup for every 1024 units of x (`blocks`).
struct Params { n: u32, columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<${T}>;
@group(0) @binding(2) var<storage, read_write> x: array<${T}>;
@group(0) @binding(3) var<storage, read> index: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = first; i < min(first + 1024u - lane, params.n); i += 256u) {
    let row = i / params.columns;
    out[index[row] * params.columns + (i - row * params.columns)] = x[i];
  }
}
