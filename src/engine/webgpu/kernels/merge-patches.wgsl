// Merged rows [n / (columns · block), columns · block] of patches [.., columns]: merged[i][c · block + j] and
// patches[order[i · block + j]][c] are one element, copied from patches to merged, or with BACKWARD the other way.
// Launch: a workgroup for every 1024 elements of the merged rows (`blocks`).
struct Params { n: u32, columns: u32, block: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = first; i < min(first + 1024u - lane, params.n); i += 256u) {
    let flat = i / params.block;
    let j = i - flat * params.block;
    let row = flat / params.columns;
    let patch_at = order[row * params.block + j] * params.columns + (flat - row * params.columns);
//#if BACKWARD
    out[patch_at] = x[i];
//#else
    out[i] = x[patch_at];
//#endif
  }
}
