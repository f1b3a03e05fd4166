// Sums of squares of 4096 floats a workgroup, as a tree: the error grows with the logarithm of their number, whatever the
// compiler makes of it. So that no square overflows or vanishes, values beyond 2⁴⁸ count as x·2⁻⁸⁴ in a sum of their own,
// and values below 2⁻⁴⁸ as x·2⁹⁶. partials[w] = {sum, sum of the large, sum of the small, bits of the largest |x|}.
// Launch: a workgroup for every 1024 vectors of x (`blocks`).
//#include norm-tree.wgsl
//#include total.wgsl
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4f>;

fn squares_of(v: vec4f) -> Squares {
  let magnitude = abs(v);
  let is_large = magnitude > vec4f(0x1p48);
  let is_small = magnitude < vec4f(0x1p-48);
  let middle = select(v, vec4f(), is_large | is_small);
  let large = select(vec4f(), v * 0x1p-84, is_large);
  let small = select(vec4f(), v * 0x1p96, is_small);
  let bits = bitcast<vec4u>(v) & vec4u(0x7fffffffu);
  let sums = vec3f(total(middle * middle), total(large * large), total(small * small));
  return Squares(sums, max(max(bits.x, bits.y), max(bits.z, bits.w)));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  let first = index * 1024u + lane;
  var own: array<Squares, 4>;
  for (var u = 0u; u < 4u; u++) {
    let i = first + 256u * u;
    if (i < params.n) { own[u] = squares_of(x[i]); }
  }
  let sum = block_squares(joined(joined(own[0], own[1]), joined(own[2], own[3])), lane);
  if (lane == 0u && first < params.n) { partials[index] = packed(sum); }
}
