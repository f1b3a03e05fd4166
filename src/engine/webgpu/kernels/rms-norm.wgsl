// By row of [rows, columns]: sum = x + residual (without RESIDUAL x), y = sum·rstd·weight, rstd = 1/√(mean(sum²) + eps). In
// units of T; a lane holds its UNITS of a row, so that it is read once. sum is written with RESIDUAL, rstd with RECORD.
// Launch: a workgroup for each row (`flat`).
//#include block-sum.wgsl
//#include total.wgsl
struct Params { rows: u32, columns: u32, elements: f32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<${T}>;
@group(0) @binding(2) var<storage, read_write> x: array<${T}>;
@group(0) @binding(3) var<storage, read> weight: array<${T}>;
//#if RESIDUAL
@group(0) @binding(4) var<storage, read_write> residual: array<${T}>;
@group(0) @binding(5) var<storage, read_write> sum: array<${T}>;
//#endif
//#if RECORD
@group(0) @binding(6) var<storage, read_write> rstd: array<f32>;
//#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let first = row * params.columns;
  var held: array<${T}, ${UNITS}>;
  var squares = ${T}();
  for (var u = 0u; u < ${UNITS}u; u++) {
    let column = lane + 256u * u;
    if (column < params.columns) {
      var value = x[first + column];
//#if RESIDUAL
      value += residual[first + column];
      sum[first + column] = value;
//#endif
      held[u] = value;
      squares += value * value;
    }
  }
  let mean = block_sum(total(squares), lane) / params.elements + params.eps;
  // WGSL allows 2 ULP, by which a whole row would be off; large attention scores multiply that error.
  let rough = inverseSqrt(mean);
  let scale = fma(0.5 * rough, fma(-mean * rough, rough, 1.0), rough);
//#if RECORD
  if (lane == 0u) { rstd[row] = scale; }
//#endif
  for (var u = 0u; u < ${UNITS}u; u++) {
    let column = lane + 256u * u;
    if (column < params.columns) { y[first + column] = held[u] * scale * weight[column]; }
  }
}
