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

/** `mix` of random.ts. */
// @ts-ignore: decorator
@inline
function mix(x: u32): u32 {
  let y = (x ^ (x >> 16)) * 0x7feb352d;
  y = (y ^ (y >> 15)) * 0x846ca68b;
  return y ^ (y >> 16);
}

/** out = mask·x·keepScale, or out += that, on four columns; an element is kept where its bits reach the threshold. */
// @ts-ignore: decorator
@inline
function dropFour(x: usize, out: usize, bits: v128, threshold: v128, keepScale: v128, accumulate: bool): void {
  let value = v128.and(f32x4.mul(v128.load(x), keepScale), i32x4.ge_u(bits, threshold));
  if (accumulate) value = f32x4.add(value, v128.load(out));
  v128.store(out, value);
}

/**
 * [x, out, rowKeys, columns, seed, threshold (of 16 bits), add, keepScale (f32)], by row: out = mask·x·keepScale, or
 * out += that; the mask is that of random.ts. The 16 bits are the upper half of 32, above others that cannot
 * change what a comparison with a threshold in the upper half gives.
 */
export function dropout(args: usize, start: i32, end: i32): void {
  const columns = integer(args, 3);
  const seed = <u32>integer(args, 4);
  const threshold = <u32>integer(args, 5) << 16;
  const accumulate = integer(args, 6) != 0;
  const keepScale = float(args, 7);
  for (let row = start; row < end; row++) {
    const rowKey = load<u32>(address(args, 2) + (<usize>row << 2));
    const key = mix(rowKey ^ seed);
    const step = ((key * 0x9e3779b9) ^ rowKey) | 1;
    const x = address(args, 0) + ((<usize>row * columns) << 2);
    const out = address(args, 1) + ((<usize>row * columns) << 2);
    let z = i32x4.add(i32x4.splat(key), i32x4.mul(i32x4.splat(step), i32x4(0, 1, 2, 3)));
    let i = 0;
    // Four hashes for eight columns.
    for (; i + 8 <= columns; i += 8) {
      const even = i32x4.mul(v128.xor(z, i32x4.shr_u(z, 15)), i32x4.splat(0x846ca68b));
      const odd = i32x4.add(even, i32x4.shl(even, 16));
      const first = v128.shuffle<i32>(even, odd, 0, 4, 1, 5);
      const second = v128.shuffle<i32>(even, odd, 2, 6, 3, 7);
      const at = <usize>i << 2;
      dropFour(x + at, out + at, first, i32x4.splat(threshold), f32x4.splat(keepScale), accumulate);
      dropFour(x + at + 16, out + at + 16, second, i32x4.splat(threshold), f32x4.splat(keepScale), accumulate);
      z = i32x4.add(z, i32x4.splat(4 * step));
    }
    for (; i < columns; i++) {
      const state = key + <u32>(i >> 1) * step;
      const even = (state ^ (state >> 15)) * 0x846ca68b;
      const bits = i & 1 ? even + (even << 16) : even;
      const at = <usize>i << 2;
      const value: f32 = bits >= threshold ? load<f32>(x + at) * keepScale : 0;
      store<f32>(out + at, accumulate ? load<f32>(out + at) + value : value);
    }
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
