// out[t] = row ids[t] of a table, of the ids inside the part first_row .. first_row + part_rows - 1; rows of other ids stay.
// With NOISE uniform noise is added: bounds[t] / 65536 · (2·bits - 65535), bits as dropout masks have them. T is vec4f
// where weight_values4 may be used. Launch: a workgroup for every 1024 units of out (`blocks`).
//#include weight-values.wgsl
//#include dropout.wgsl
struct Params {
  n: u32, columns: u32, first_row: u32, part_rows: u32, noise_seed: u32,
  weight_columns: u32, block_rows: u32, block_columns: u32, factors_across: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<${T}>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read> weight: array<u32>;
//#if FACTORS
@group(0) @binding(4) var<storage, read> factors: array<f32>;
//#endif
//#if NOISE
@group(0) @binding(5) var<storage, read> row_keys: array<u32>;
@group(0) @binding(6) var<storage, read> bounds: array<f32>;
//#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.x + group.y * groups.x) * 1024u + lane;
  for (var i = first; i < min(first + 1024u - lane, params.n); i += 256u) {
    let row = i / params.columns;
    let column = i - row * params.columns;
    let part_row = ids[row] - params.first_row;
    if (part_row >= params.part_rows) { continue; }
    let at = part_row * params.columns + column;
//#if T == vec4f
    var value = weight_values4(4u * at);
//#else
    var value = weight_value(at);
//#endif
//#if NOISE
    let unit = bounds[row] * 0.0000152587890625;
    let mask = mask_row(row_keys[row], params.noise_seed);
//#if T == vec4f
    let bits = vec4u(mask_bits2(mask, 2u * column), mask_bits2(mask, 2u * column + 1u));
    value += unit * vec4f(vec4i(2u * bits) - vec4i(65535));
//#else
    value += unit * f32(i32(2u * mask_bits(mask, column)) - 65535);
//#endif
//#endif
    out[i] = value;
  }
}
