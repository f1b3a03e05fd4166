// C = alpha · Σ partial + beta · C: the splits of a product [splits, m, n], always in the same order. Rows of C are c_stride
// apart, from c_first on. Launch: a workgroup for every 256 elements of m · n (`flat`).
struct Params { m: u32, n: u32, splits: u32, c_first: u32, c_stride: u32, alpha: f32, beta: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> c: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * 256u + lane;
  let size = params.m * params.n;
  if (i >= size) { return; }
  var sum = 0.0;
  for (var split = 0u; split < params.splits; split++) { sum += partial[split * size + i]; }
  let row = i / params.n;
  let at = params.c_first + row * params.c_stride + (i - row * params.n);
  sum *= params.alpha;
  if (params.beta != 0.0) { sum += params.beta * c[at]; }
  c[at] = sum;
}
