// From the sums of squared-norm.wgsl: norm[0] = their sum, norm[1].x = the bits of what gradients are multiplied with,
// min(1, max_norm / (√Σx² + 1e-6)), or 1 if max_norm is 0; norm[1].y = 1 if all gradients are finite, else 0.
// Launch: one workgroup.
//#include norm-tree.wgsl
struct Params { count: u32, max_norm: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> norm: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> partials: array<vec4u>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var all = Squares();
  // A tree over 1024 partial sums, which are then added up: four million floats each.
  for (var begin = 0u; begin < params.count; begin += 1024u) {
    var own = array<Squares, 4>();
    for (var u = 0u; u < 4u; u++) {
      let i = begin + lane + 256u * u;
      if (i < params.count) { own[u] = unpacked(partials[i]); }
    }
    all = joined(all, block_squares(joined(joined(own[0], own[1]), joined(own[2], own[3])), lane));
    workgroupBarrier();
  }
  if (lane != 0u) { return; }
  let middle = all.sums.x;
  let large = all.sums.y;
  let small = all.sums.z;
  var length = 0.0;
  if (large > 0.0) { length = sqrt(large + middle * 0x1p-100 * 0x1p-68) * 0x1p84; }
  else if (middle > 0.0) { length = sqrt(middle + small * 0x1p-96 * 0x1p-96); }
  else { length = sqrt(small) * 0x1p-96; }
  var clip = 1.0;
  if (params.max_norm != 0.0) { clip = min(1.0, params.max_norm / (length + 1e-6)); }
  norm[0] = packed(all);
  norm[1] = vec4u(bitcast<u32>(clip), u32(all.top < 0x7f800000u), 0u, 0u);
}
