// With g = dy·weight, by row: dx = rstd·(g - s·rstd²·mean(g·s)) + direct, s the saved sum. In units of T; a lane holds its
// UNITS of a row, so that it is read once. Launch: a workgroup for each row (`flat`).
//#include block-sum.wgsl
//#include total.wgsl
struct Params { rows: u32, columns: u32, elements: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dx: array<${T}>;
@group(0) @binding(2) var<storage, read_write> dy: array<${T}>;
@group(0) @binding(3) var<storage, read_write> s: array<${T}>;
@group(0) @binding(4) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<${T}>;
//#if DIRECT
@group(0) @binding(6) var<storage, read_write> direct: array<${T}>;
//#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let first = row * params.columns;
  var gradients: array<${T}, ${UNITS}>;
  var values: array<${T}, ${UNITS}>;
  var products = ${T}();
  for (var u = 0u; u < ${UNITS}u; u++) {
    let column = lane + 256u * u;
    if (column < params.columns) {
      gradients[u] = dy[first + column] * weight[column];
      values[u] = s[first + column];
      products += gradients[u] * values[u];
    }
  }
  let scale = rstd[row];
  let along = scale * scale * (block_sum(total(products), lane) / params.elements);
  for (var u = 0u; u < ${UNITS}u; u++) {
    let column = lane + 256u * u;
    if (column < params.columns) {
      var gradient = scale * (gradients[u] - values[u] * along);
//#if DIRECT
      gradient += direct[first + column];
//#endif
      dx[first + column] = gradient;
    }
  }
}
