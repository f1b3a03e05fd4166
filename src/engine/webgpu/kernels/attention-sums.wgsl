// sums[head, row] = (lse, Σ gradient · out over the head's columns), for the backward kernels. A thread adds a row up in
// the order of attention-tiles.wgsl: where a row sees one key, gradient·v is the same sum, and the difference exactly 0.
// Launch: a workgroup for every 64 of rows · heads (`flat`).
struct Params { heads: u32, rows: u32, head4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let pair = (id.x + id.y * groups.x) * 64u + thread;
  if (pair >= params.rows * params.heads) { return; }
  var sum = 0.0;
  for (var i = pair * params.head4; i < (pair + 1u) * params.head4; i++) {
    let a = gradient[i];
    let b = out[i];
    sum = fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
  }
  let at = (pair % params.heads) * params.rows + pair / params.heads;
  sums[at] = vec2f(lse[at], sum);
}
