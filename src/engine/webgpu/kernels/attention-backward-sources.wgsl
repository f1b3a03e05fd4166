// What the tiles of both backward kernels are read from: rows of q and of the gradient by query head, of k and v by key head.
const QUERY = 0u;
const GRADIENT = 1u;
const KEY = 2u;
const VALUE = 3u;
var<private> query_head: u32;
var<private> key_head: u32;

fn fetch(source: u32, row: u32, column: u32) -> vec4f {
  if (source <= GRADIENT) {
    let at = (row * params.heads + query_head) * HEAD4 + column;
    if (source == QUERY) { return q[at]; }
    return gradient[at];
  }
  let at = (row * params.kv_heads + key_head) * HEAD4 + column;
  if (source == KEY) { return k[at]; }
  return v[at];
}
