// row_loss = log Σ exp(z) - (1 - ε) z[target] - ε mean(z) for a block of rows of logits z. With GRADIENT they become the
// gradient of scale · weight · row_loss: softmax(z) less 1 - ε at the target and ε / columns everywhere, times that factor.
// Launch: a workgroup for each row (`flat`); targets, weights and row_loss are those of all rows, from first_row on.
struct Params { rows: u32, columns: u32, first_row: u32, scale: f32, smoothing: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> row_loss: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
//#if WEIGHTED
@group(0) @binding(4) var<storage, read> weights: array<f32>;
//#endif

// Of the values that a lane has seen: the largest, Σ exp(z - largest) and Σ z.
var<workgroup> parts: array<vec3f, 256>;

fn joined(a: vec3f, b: vec3f) -> vec3f {
  let largest = max(a.x, b.x);
  return vec3f(largest, a.y * exp(a.x - largest) + b.y * exp(b.x - largest), a.z + b.z);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let start = row * params.columns;
  // As low as float32 goes, not -∞: lanes without values would subtract it from itself.
  var part = vec3f(-3.4028234e38, 0.0, 0.0);
  for (var i = lane; i < params.columns; i += 256u) {
    let z = logits[start + i];
    let largest = max(part.x, z);
    part = vec3f(largest, part.y * exp(part.x - largest) + exp(z - largest), part.z + z);
  }
  parts[lane] = part;
  for (var half = 128u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { parts[lane] = joined(parts[lane], parts[lane + half]); }
  }
  workgroupBarrier();
  let all = parts[0];
  let goal = targets[params.first_row + row];
  if (lane == 0u) {
    // From the largest on, as the logarithm is small beside it.
    let to_target = log(all.y) - (logits[start + goal] - all.x);
    let to_mean = log(all.y) - (all.z / f32(params.columns) - all.x);
    row_loss[params.first_row + row] = select(to_target, (1.0 - params.smoothing) * to_target + params.smoothing * to_mean, params.smoothing > 0.0);
  }
//#if GRADIENT
  workgroupBarrier();
  var factor = params.scale;
//#if WEIGHTED
  factor *= weights[params.first_row + row];
//#endif
  let each = factor / all.y;
  let smoothed = factor * params.smoothing / f32(params.columns);
  for (var i = lane; i < params.columns; i += 256u) {
    let share = select(0.0, factor * (1.0 - params.smoothing), i == goal);
    logits[start + i] = exp(logits[start + i] - all.x) * each - smoothed - share;
  }
//#endif
}
