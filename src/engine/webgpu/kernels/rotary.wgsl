// Rotates half-split the heads of q and, with BOTH, of k: element i of a head with element i + half, by cos and sin
// [rows, half]; q is then multiplied by scale [rows] with SCALED. `sign` is -1 for the gradient. n and kv_n are the pairs
// of q and k. Launch: a workgroup for every 1024 of n + kv_n (`blocks`).
struct Params { n: u32, kv_n: u32, half: u32, heads: u32, kv_heads: u32, sign: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> q: array<f32>;
@group(0) @binding(3) var<storage, read_write> cosines: array<f32>;
@group(0) @binding(4) var<storage, read_write> sines: array<f32>;
//#if BOTH
@group(0) @binding(5) var<storage, read_write> k_out: array<f32>;
@group(0) @binding(6) var<storage, read_write> k: array<f32>;
//#endif
//#if SCALED
@group(0) @binding(7) var<storage, read_write> scale: array<f32>;
//#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = first; i < min(first + 1024u - lane, params.n + params.kv_n); i += 256u) {
    let is_query = i < params.n;
    let pair = select(i - params.n, i, is_query);
    let head = pair / params.half;
    let column = pair % params.half;
    let row = head / select(params.kv_heads, params.heads, is_query);
    let cosine = cosines[row * params.half + column];
    let sine = params.sign * sines[row * params.half + column];
    let at = 2u * head * params.half + column;
    if (is_query) {
      let low = q[at];
      let high = q[at + params.half];
      var factor = 1.0;
//#if SCALED
      factor = scale[row];
//#endif
      q_out[at] = factor * (low * cosine - high * sine);
      q_out[at + params.half] = factor * (high * cosine + low * sine);
    } else {
//#if BOTH
      let low = k[at];
      let high = k[at + params.half];
      k_out[at] = low * cosine - high * sine;
      k_out[at + params.half] = high * cosine + low * sine;
//#endif
    }
  }
}
