// Joins what attention-decode.wgsl gives for the parts of each row's keys, in their order. slots [rows] (first, count);
// a row without parts gives zeros. Launch: (heads, rows).
struct Params { heads: u32, head4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> slots: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2f>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  if (thread >= params.head4) { return; }
  let slot = slots[id.y];
  var peak = -3.0e38;
  for (var i = slot.x; i < slot.x + slot.y; i++) { peak = max(peak, stats[i * params.heads + id.x].x); }
  var total = 0.0;
  var sum = vec4f();
  for (var i = slot.x; i < slot.x + slot.y; i++) {
    let part = stats[i * params.heads + id.x];
    let factor = exp2(part.x - peak);
    total += factor * part.y;
    sum += factor * partial[(i * params.heads + id.x) * params.head4 + thread];
  }
  out[(id.y * params.heads + id.x) * params.head4 + thread] = sum / select(total, 1.0, total == 0.0);
}
