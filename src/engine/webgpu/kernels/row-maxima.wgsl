// out[r] = the bits of the largest value of row r of [rows, columns], out[rows + r] its column: the lowest of equal values.
// NaN is larger than all. Values are compared as integers in the same order, which no fast maths changes.
// Launch: a workgroup for each row (`flat`).
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<u32>;

var<workgroup> best: array<vec2u, 256>;

fn order_of(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return 0xffffffffu; }
  return select(0x80000000u + magnitude, 0x80000000u - magnitude, bits > 0x7fffffffu);
}

// The one of two (order, column) that wins.
fn larger(a: vec2u, b: vec2u) -> vec2u { return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y)); }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let first = row * params.columns;
  var own = vec2u(0u, 0xffffffffu);
  for (var column = lane; column < params.columns; column += 256u) {
    let order = order_of(x[first + column]);
    if (order > own.x) { own = vec2u(order, column); }
  }
  best[lane] = own;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { best[lane] = larger(best[lane], best[lane + half]); }
  }
  if (lane == 0u) {
    out[row] = x[first + best[0].y];
    out[params.rows + row] = best[0].y;
  }
}
