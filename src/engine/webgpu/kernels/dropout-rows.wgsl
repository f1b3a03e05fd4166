// out = mask · x / (1 - p) of [rows, columns], where the mask is that of random.ts. Launch: a workgroup for every 1024
// elements (`blocks`).
struct Params { rows: u32, columns: u32, seed: u32, threshold: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<storage, read> row_keys: array<u32>;
//#include dropout.wgsl

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = first; i < min(first + 1024u - lane, params.rows * params.columns); i += 256u) {
    let row = i / params.columns;
    let kept = is_kept(row_keys[row], params.seed, i - row * params.columns, params.threshold);
    out[i] = select(0.0, x[i] * params.scale, kept);
  }
}
