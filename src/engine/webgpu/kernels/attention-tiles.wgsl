// Tiled products of the attention kernels. A workgroup owns GROUPS · ROWS rows of one side (queries or keys) and passes
// over the other side, the stream, 64 rows at a time. Thread 16 · group + lane computes ROWS own rows by 4 stream rows of
// scores, and ROWS own rows by COLUMNS · 4 head columns of sums (columns lane, lane + 16 in units of vec4).
//
// The including kernel defines fetch(source, row, column): columns 4 · column … + 3 of a row of its head.
// Defines: HEAD4 (head size / 4), ROWS, GROUPS, DEPTH4 (head columns of a chunk of scores / 4, at least 4), STEPS4 (stream
// rows of a chunk of sums / 4), COLUMNS (⌈HEAD4 / 16⌉), PAD (0, or 1 against bank conflicts where memory is not short),
// DEPTH_UNROLL, STEP_UNROLL (divisors of DEPTH4 and STEPS4: how much of a chunk is written out), OWN_LOADS, STREAM_LOADS,
// VALUE_LOADS (vec4 that a thread loads for a chunk), STREAM_SIZE (vec4 of a lane).

const OWN = ${ROWS}u * ${GROUPS}u;
const THREADS = 16u * ${GROUPS}u;
const HEAD4 = ${HEAD4}u;
const DEPTH4 = ${DEPTH4}u;
const CHUNKS = (HEAD4 + DEPTH4 - 1u) / DEPTH4;
const STEPS = 4u * ${STEPS4}u;
const WIDTH = 16u * ${COLUMNS}u;
/// Stream rows of a tile.
const STREAM = 64u;
/// Stands for minus infinity, whose differences would be NaN.
const LOWEST = -3.0e38;

alias Scores = array<vec4f, ${ROWS}>;
alias Sums = array<vec4f, ${ROWS} * ${COLUMNS}>;

// Outer indices are the thread's own, inner ones constants: Dawn clamps an index once, and offsets are immediate.
var<workgroup> own_tile: array<array<vec4f, ${ROWS} * ${DEPTH4}>, ${GROUPS}>;
var<workgroup> stream_tile: array<array<vec4f, ${STREAM_SIZE}>, 16>;
var<workgroup> weight_tile: array<array<array<vec4f, ${ROWS} + ${PAD}>, 16>, ${GROUPS}>;

fn add_product(sum: f32, a: vec4f, b: vec4f) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

/// [i][j]: own row own_first + ROWS · group + i by stream row first + 4 · lane + j; rows from their end on count as zeros.
fn scores(own: u32, own_first: u32, own_end: u32, stream: u32, first: u32, end: u32, thread: u32) -> Scores {
  let group = thread / 16u;
  let lane = thread % 16u;
  var sums = Scores();
  var own_next = array<vec4f, ${OWN_LOADS}>();
  var stream_next = array<vec4f, ${STREAM_LOADS}>();
  // The next chunk is on its way from memory while one is multiplied.
  for (var chunk = 0u; chunk <= CHUNKS; chunk++) {
    if (chunk > 0u) {
      workgroupBarrier();
//#for n ${OWN_LOADS}
      {
        let row = (thread + ${n}u * THREADS) / DEPTH4;
        own_tile[row / ${ROWS}u][(row % ${ROWS}u) * DEPTH4 + thread % DEPTH4] = own_next[${n}];
      }
//#endfor
//#for n ${STREAM_LOADS}
      {
        let row = (thread + ${n}u * THREADS) / DEPTH4;
        stream_tile[row / 4u][(row % 4u) * DEPTH4 + thread % DEPTH4] = stream_next[${n}];
      }
//#endfor
      workgroupBarrier();
    }
    if (chunk < CHUNKS) {
      let column = chunk * DEPTH4 + thread % DEPTH4;
//#for n ${OWN_LOADS}
      {
        let row = own_first + (thread + ${n}u * THREADS) / DEPTH4;
        own_next[${n}] = vec4f();
        if (row < own_end && column < HEAD4) { own_next[${n}] = fetch(own, row, column); }
      }
//#endfor
//#for n ${STREAM_LOADS}
      {
        let row = first + (thread + ${n}u * THREADS) / DEPTH4;
        stream_next[${n}] = vec4f();
        if (row < end && column < HEAD4) { stream_next[${n}] = fetch(stream, row, column); }
      }
//#endfor
    }
    if (chunk > 0u) {
      for (var base = 0u; base < DEPTH4; base += ${DEPTH_UNROLL}u) {
//#for d ${DEPTH_UNROLL}
        {
          let d = base + ${d}u;
          let b0 = stream_tile[lane][d];
          let b1 = stream_tile[lane][DEPTH4 + d];
          let b2 = stream_tile[lane][2u * DEPTH4 + d];
          let b3 = stream_tile[lane][3u * DEPTH4 + d];
//#for i ${ROWS}
          {
            let a = own_tile[group][${i}u * DEPTH4 + d];
            let s = sums[${i}];
            sums[${i}] = vec4f(add_product(s.x, a, b0), add_product(s.y, a, b1), add_product(s.z, a, b2), add_product(s.w, a, b3));
          }
//#endfor
        }
//#endfor
      }
    }
  }
  return sums;
}

/// Keeps the thread's scores for `accumulate`. `scores` must have been called since the last one.
fn keep_weights(weights: Scores, thread: u32) {
//#for i ${ROWS}
  weight_tile[thread / 16u][thread % 16u][${i}] = weights[${i}];
//#endfor
}

/// Adds the products of the kept weights with stream rows first … end - 1, at most 64, to the thread's sums.
fn accumulate(sums: ptr<function, Sums>, source: u32, first: u32, end: u32, thread: u32) {
  let group = thread / 16u;
  let lane = thread % 16u;
  let chunks = (min(STREAM, end - first) + STEPS - 1u) / STEPS;
  var next = array<vec4f, ${VALUE_LOADS}>();
  for (var chunk = 0u; chunk <= chunks; chunk++) {
    if (chunk > 0u) {
      workgroupBarrier();
//#for n ${VALUE_LOADS}
      {
        let element = thread + ${n}u * THREADS;
        let column = element % WIDTH;
        stream_tile[column % 16u][(element / WIDTH) * ${COLUMNS}u + column / 16u] = next[${n}];
      }
//#endfor
      workgroupBarrier();
    }
    if (chunk < chunks) {
//#for n ${VALUE_LOADS}
      {
        let element = thread + ${n}u * THREADS;
        let column = element % WIDTH;
        let row = first + chunk * STEPS + element / WIDTH;
        next[${n}] = vec4f();
        if (row < end && column < HEAD4) { next[${n}] = fetch(source, row, column); }
      }
//#endfor
    }
    if (chunk > 0u) {
      for (var base = 0u; base < ${STEPS4}u; base += ${STEP_UNROLL}u) {
//#for t ${STEP_UNROLL}
        {
          let t = base + ${t}u;
          let step = (chunk - 1u) * ${STEPS4}u + t;
//#for i ${ROWS}
          let w${i} = weight_tile[group][step][${i}];
//#endfor
//#for j 4
//#for c ${COLUMNS}
          {
            let value = stream_tile[lane][(4u * t + ${j}u) * ${COLUMNS}u + ${c}u];
//#for i ${ROWS}
            sums[${i} * ${COLUMNS} + ${c}] = fma(vec4f(w${i}[${j}]), value, sums[${i} * ${COLUMNS} + ${c}]);
//#endfor
          }
//#endfor
//#endfor
        }
//#endfor
      }
    }
  }
}

/// Per own row the largest (or the sum) over the 16 lanes of a group, the same in all of them. Overwrites own_tile.
fn across_lanes(values: array<f32, ${ROWS}>, is_sum: bool, thread: u32) -> array<f32, ${ROWS}> {
  let group = thread / 16u;
  let lane = thread % 16u;
  var results = array<f32, ${ROWS}>();
  workgroupBarrier();
//#for i ${ROWS}
  own_tile[group][${i}u * 4u + lane / 4u][lane % 4u] = values[${i}];
//#endfor
  workgroupBarrier();
//#for i ${ROWS}
  {
    let a = own_tile[group][${i} * 4];
    let b = own_tile[group][${i} * 4 + 1];
    let c = own_tile[group][${i} * 4 + 2];
    let d = own_tile[group][${i} * 4 + 3];
    if (is_sum) {
      let sum = (a + b) + (c + d);
      results[${i}] = (sum.x + sum.y) + (sum.z + sum.w);
    } else {
      let peak = max(max(a, b), max(c, d));
      results[${i}] = max(max(peak.x, peak.y), max(peak.z, peak.w));
    }
  }
//#endfor
  return results;
}
