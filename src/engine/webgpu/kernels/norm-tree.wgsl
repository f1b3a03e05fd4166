// Sums of squares in three ranges of magnitude (squared-norm.wgsl), and the bits of the largest magnitude.
struct Squares { sums: vec3f, top: u32 }

var<workgroup> lane_squares: array<Squares, 256>;

fn joined(a: Squares, b: Squares) -> Squares { return Squares(a.sums + b.sums, max(a.top, b.top)); }

// Over the 256 lanes of a workgroup, as a tree: right in lane 0. In uniform control flow; a barrier before it is used again.
fn block_squares(value: Squares, lane: u32) -> Squares {
  var sum = value;
  lane_squares[lane] = sum;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      sum = joined(sum, lane_squares[lane + half]);
      lane_squares[lane] = sum;
    }
  }
  return sum;
}

// Bits of NaN might change as floats.
fn packed(squares: Squares) -> vec4u { return vec4u(bitcast<vec3u>(squares.sums), squares.top); }
fn unpacked(words: vec4u) -> Squares { return Squares(bitcast<vec3f>(words.xyz), words.w); }
