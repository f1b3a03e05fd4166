// out[r] = source[index[r]], or where index[r] is negative base[r] (zeros without a base), of [rows, columns] in units of
// T: f32, or vec4f where columns allow. Without a source such rows are zeros.
// Launch: a workgroup for every 1024 units of out (`blocks`).
struct Params { n: u32, columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<${T}>;
//#if BASE
@group(0) @binding(2) var<storage, read_write> base: array<${T}>;
//#endif
//#if SOURCE
@group(0) @binding(3) var<storage, read_write> source: array<${T}>;
//#endif
@group(0) @binding(4) var<storage, read> index: array<i32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = first; i < min(first + 1024u - lane, params.n); i += 256u) {
    let row = i / params.columns;
    let place = index[row];
    var value = ${T}();
    if (place >= 0) {
//#if SOURCE
      value = source[u32(place) * params.columns + (i - row * params.columns)];
//#endif
    } else {
//#if BASE
      value = base[i];
//#endif
    }
    out[i] = value;
  }
}
