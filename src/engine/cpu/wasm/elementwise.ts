/**
 * Element by element. A kernel's row is a block of 4096 elements; slot 0 holds the number of elements.
 * Activations are written as x·g(x): silu has g = sigmoid(x), gelu g = Φ(x), gelu_tanh g = sigmoid(2u), relu g = [x > 0].
 */
import { madd } from './simd';
import { address, bell4, float, integer, normalCdf4, sigmoid4 } from './vector-math';

const BLOCK: i32 = 4096;

const SILU: i32 = 0;
const GELU: i32 = 1;
const GELU_TANH: i32 = 2;

const TANH_SCALE: f32 = 0.7978845608; // √(2/π)
const TANH_CUBE: f32 = 0.044715;

// @ts-ignore: decorator
@inline
function gate(kind: i32, x: v128): v128 {
  if (kind == SILU) return sigmoid4(x);
  if (kind == GELU) return normalCdf4(x);
  if (kind == GELU_TANH) {
    const cubic = madd(f32x4.mul(x, x), f32x4.splat(TANH_CUBE), f32x4.splat(1.0));
    return sigmoid4(f32x4.mul(f32x4.mul(x, f32x4.splat(2.0 * TANH_SCALE)), cubic));
  }
  return v128.and(f32x4.gt(x, f32x4.splat(0.0)), f32x4.splat(1.0));
}

/** d(x·g)/dx, given g. */
// @ts-ignore: decorator
@inline
function slope(kind: i32, x: v128, g: v128): v128 {
  const one = f32x4.splat(1.0);
  if (kind == SILU) return f32x4.mul(g, madd(x, f32x4.sub(one, g), one));
  if (kind == GELU) return madd(x, f32x4.mul(bell4(x), f32x4.splat(0.3989422804)), g);
  if (kind == GELU_TANH) {
    const inner = madd(f32x4.mul(x, x), f32x4.splat(3.0 * TANH_CUBE), one);
    const rise = f32x4.mul(f32x4.mul(x, f32x4.splat(2.0 * TANH_SCALE)), inner);
    return madd(f32x4.mul(g, f32x4.sub(one, g)), rise, g);
  }
  return g;
}

// @ts-ignore: decorator
@inline
function loadSome(at: usize, whole: bool): v128 {
  return whole ? v128.load(at) : v128.load32_zero(at);
}
// @ts-ignore: decorator
@inline
function storeSome(at: usize, value: v128, whole: bool): void {
  if (whole) v128.store(at, value);
  else v128.store32_lane(at, value, 0);
}

/** [n, a, b, out]: out = a + b. out may be a. */
export function add(args: usize, start: i32, end: i32): void {
  const n = integer(args, 0);
  const a = address(args, 1);
  const b = address(args, 2);
  const out = address(args, 3);
  const last = min(end * BLOCK, n);
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const at = <usize>i << 2;
    storeSome(out + at, f32x4.add(loadSome(a + at, whole), loadSome(b + at, whole)), whole);
    i += whole ? 4 : 1;
  }
}

/** [n, x, out, kind]: out = activation(x). */
export function activate(args: usize, start: i32, end: i32): void {
  const n = integer(args, 0);
  const x = address(args, 1);
  const out = address(args, 2);
  const kind = integer(args, 3);
  const last = min(end * BLOCK, n);
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const at = <usize>i << 2;
    const value = loadSome(x + at, whole);
    storeSome(out + at, f32x4.mul(value, gate(kind, value)), whole);
    i += whole ? 4 : 1;
  }
}

/** [n, x, dy, dx, kind]: dx = dy·activation'(x). */
export function activateBackward(args: usize, start: i32, end: i32): void {
  const n = integer(args, 0);
  const x = address(args, 1);
  const dy = address(args, 2);
  const dx = address(args, 3);
  const kind = integer(args, 4);
  const last = min(end * BLOCK, n);
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const at = <usize>i << 2;
    const value = loadSome(x + at, whole);
    const rise = slope(kind, value, gate(kind, value));
    storeSome(dx + at, f32x4.mul(loadSome(dy + at, whole), rise), whole);
    i += whole ? 4 : 1;
  }
}

/** [n, gate, up, out, kind]: out = activation(gate)·up. */
export function gatedActivate(args: usize, start: i32, end: i32): void {
  const n = integer(args, 0);
  const x = address(args, 1);
  const up = address(args, 2);
  const out = address(args, 3);
  const kind = integer(args, 4);
  const last = min(end * BLOCK, n);
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const at = <usize>i << 2;
    const value = loadSome(x + at, whole);
    const active = f32x4.mul(value, gate(kind, value));
    storeSome(out + at, f32x4.mul(active, loadSome(up + at, whole)), whole);
    i += whole ? 4 : 1;
  }
}

/** [n, gate, up, dy, dgate or 0, dup or 0, kind]: dgate = dy·up·activation'(gate), dup = dy·activation(gate). */
export function gatedActivateBackward(args: usize, start: i32, end: i32): void {
  const n = integer(args, 0);
  const x = address(args, 1);
  const up = address(args, 2);
  const dy = address(args, 3);
  const dx = address(args, 4);
  const dup = address(args, 5);
  const kind = integer(args, 6);
  const last = min(end * BLOCK, n);
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const at = <usize>i << 2;
    const value = loadSome(x + at, whole);
    const gradient = loadSome(dy + at, whole);
    const g = gate(kind, value);
    if (dup) storeSome(dup + at, f32x4.mul(gradient, f32x4.mul(value, g)), whole);
    if (dx) {
      const rise = f32x4.mul(slope(kind, value, g), loadSome(up + at, whole));
      storeSome(dx + at, f32x4.mul(gradient, rise), whole);
    }
    i += whole ? 4 : 1;
  }
}

/** counterHash of random.ts on four counters. */
// @ts-ignore: decorator
@inline
function counterHash4(seed: v128, mixedSeed: v128, counter: v128): v128 {
  const first = i32x4.splat(0x7feb352d);
  const second = i32x4.splat(0x846ca68b);
  let x = v128.xor(counter, mixedSeed);
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 16)), first);
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 15)), second);
  x = v128.xor(v128.xor(x, i32x4.shr_u(x, 16)), seed);
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 16)), first);
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 15)), second);
  return v128.xor(x, i32x4.shr_u(x, 16));
}

/**
 * [n, x, out, seed, threshold (u32), add, keepScale (f32)]: out = mask·x·keepScale, or out += that. The element's index
 * is its counter; it is kept where its hash reaches the threshold.
 */
export function dropout(args: usize, start: i32, end: i32): void {
  const n = integer(args, 0);
  const x = address(args, 1);
  const out = address(args, 2);
  const seed = integer(args, 3);
  const threshold = i32x4.splat(integer(args, 4));
  const keepScale = f32x4.splat(float(args, 6));
  const accumulate = integer(args, 5) != 0;
  const seeds = i32x4.splat(seed);
  const mixed = i32x4.splat(seed * 0x9e3779b9);
  // Element counts stay below 2³⁰ (a wasm32 heap), so a counter never wraps here.
  const last = min(end * BLOCK, n);
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const at = <usize>i << 2;
    const counter = i32x4.add(i32x4.splat(i), i32x4(0, 1, 2, 3));
    const keep = i32x4.ge_u(counterHash4(seeds, mixed, counter), threshold);
    let value = v128.and(f32x4.mul(loadSome(x + at, whole), keepScale), keep);
    if (accumulate) value = f32x4.add(value, loadSome(out + at, whole));
    storeSome(out + at, value, whole);
    i += whole ? 4 : 1;
  }
}

/** [y, bias, columns], by row: y += bias. */
export function addBias(args: usize, start: i32, end: i32): void {
  const bias = address(args, 1);
  const columns = integer(args, 2);
  for (let row = start; row < end; row++) {
    const y = address(args, 0) + (<usize>row * columns << 2);
    let i = 0;
    for (; i + 4 <= columns; i += 4) {
      const at = <usize>i << 2;
      v128.store(y + at, f32x4.add(v128.load(y + at), v128.load(bias + at)));
    }
    for (; i < columns; i++) {
      const at = <usize>i << 2;
      store<f32>(y + at, load<f32>(y + at) + load<f32>(bias + at));
    }
  }
}

/** [n, x, out, factor]: out = factor·x. */
export function multiply(args: usize, start: i32, end: i32): void {
  const n = integer(args, 0);
  const x = address(args, 1);
  const out = address(args, 2);
  const factor = f32x4.splat(float(args, 3));
  const last = min(end * BLOCK, n);
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const at = <usize>i << 2;
    storeSome(out + at, f32x4.mul(loadSome(x + at, whole), factor), whole);
    i += whole ? 4 : 1;
  }
}
