// Patches of one image [channels, rows · size, across · size], whose pixels start at x[first]: out[first + i], where patch
// r = i / columns and within it pixels lie by channel, row and column. Launch: a workgroup for every 1024 (`blocks`).
struct Params { n: u32, first: u32, columns: u32, size: u32, across: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let area = params.size * params.size;
  let width = params.across * params.size;
  // Pixels of a channel.
  let plane = params.n / params.columns * area;
  let begin = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = begin; i < min(begin + 1024u - lane, params.n); i += 256u) {
    let patch_row = i / params.columns;
    let column = i - patch_row * params.columns;
    let channel = column / area;
    let inside = column - channel * area;
    let y = patch_row / params.across * params.size + inside / params.size;
    let pixel = patch_row % params.across * params.size + inside % params.size;
    out[params.first + i] = x[params.first + channel * plane + y * width + pixel];
  }
}
