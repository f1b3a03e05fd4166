// loss[0] = scale · Σ weights · row_loss, in a fixed order. Launch: one workgroup.
struct Params { rows: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> row_loss: array<f32>;
//#if WEIGHTED
@group(0) @binding(3) var<storage, read> weights: array<f32>;
//#endif
//#include block-sum.wgsl

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.rows; i += 256u) {
//#if WEIGHTED
    sum += weights[i] * row_loss[i];
//#else
    sum += row_loss[i];
//#endif
  }
  let total = block_sum(sum, lane);
  if (lane == 0u) { loss[0] = params.scale * total; }
}
