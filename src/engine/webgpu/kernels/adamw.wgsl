// AdamW with float32 moments, as torch has it, or with EIGHT_BIT as bitsandbytes has it for small parameters.
// g gradient · clip, by the settings {step size, second, decay, taking part} of the chunk's parameter:
//   torch:        m += take1·(g - m)   v = beta2·v + take2·g²   value = value·decay + step size·m / (√v / second + eps)
//   bitsandbytes: m = beta1·m + take1·g   likewise              value = (value + step size·m / (√v + second))·decay
// A chunk is {parameter, first element, elements, first element of its moments}, both multiples of 4. Nothing happens where
// a gradient is not finite. Launch: a workgroup for each chunk (`flat`).
struct Params { chunk_count: u32, beta1: f32, take1: f32, beta2: f32, take2: f32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> gradients: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> norm: array<vec4u>;
@group(0) @binding(6) var<storage, read> chunks: array<vec4u>;
@group(0) @binding(7) var<storage, read> settings: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  if (index >= params.chunk_count) { return; }
  let chunk = chunks[index];
  let setting = settings[chunk.x];
  let state = norm[1];
  if (setting.w == 0.0 || state.y == 0u) { return; }
  let clip = bitcast<f32>(state.x);
  for (var i = lane; 4u * i < chunk.z; i += 256u) {
    let at = chunk.y / 4u + i;
    let place = chunk.w / 4u + i;
    let g = gradients[at] * clip;
    let value = values[at];
    var first = m[place];
    let second = v[place] * params.beta2 + params.take2 * g * g;
//#if EIGHT_BIT
    first = first * params.beta1 + params.take1 * g;
    let updated = (value + setting.x * first / (sqrt(second) + setting.y)) * setting.z;
//#else
    first += params.take1 * (g - first);
    let updated = value * setting.z + setting.x * first / (sqrt(second) / setting.y + params.eps);
//#endif
    m[place] = first;
    v[place] = second;
    // Beyond the last element there are zeros, and stay.
    values[at] = select(vec4f(), updated, vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(chunk.z));
  }
}
