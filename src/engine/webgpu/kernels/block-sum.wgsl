// Sum of a value over the 256 lanes of a workgroup, in a fixed order, for all lanes. To be called in uniform control flow,
// and once in a kernel.
var<workgroup> lane_values: array<f32, 256>;
var<workgroup> lane_sums: array<f32, 16>;

fn block_sum(value: f32, lane: u32) -> f32 {
  lane_values[lane] = value;
  workgroupBarrier();
  if (lane < 16u) {
    var sum = 0.0;
    for (var i = lane; i < 256u; i += 16u) { sum += lane_values[i]; }
    lane_sums[lane] = sum;
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < 16u; i++) { sum += lane_sums[i]; }
  return sum;
}
