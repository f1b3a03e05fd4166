/**
 * Bicubic resampling of 8-bit RGB, bit-equal to what torch does with a uint8 image on the CPU
 * (`torchvision.transforms.v2.functional.resize`, bicubic, antialias), which is what transformers' Pixtral image
 * processor calls. Other resizers (sharp, OpenCV, canvas) differ by whole levels.
 *
 * Separable, horizontal pass first, rounded to uint8 between the passes. Weights are cubic with a = -0.5, widened by the
 * scale when shrinking, normalised in double, then fixed point at the finest precision whose largest weight fits int16:
 *
 *   out = clamp((2^(P-1) + Σ W_j · px_j) >> P, 0, 255)
 */
import type { RgbImage } from './types.js';

/** The weights of one axis, `taps` a row, zero after the last one of a position. */
interface AxisWeights {
  /** Weights stored for each output position: the most that any of them needs, rounded up to a multiple of four. */
  readonly taps: number;
  /** [outputSize] first input position of each output position. */
  readonly first: Int32Array;
  /** [outputSize] number of input positions of each output position. */
  readonly count: Int32Array;
  /** [outputSize, taps] fixed-point weights. */
  readonly weights: Int32Array;
  /** Fractional bits of the weights, 0 to 22. */
  readonly precision: number;
}

/** Keys' cubic convolution kernel with a = -0.5, in the order of operations that torch uses. */
function cubic(distance: number): number {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

/** Fixed-point weights for resampling an axis of `inputSize` samples to `outputSize`. */
export function axisWeights(inputSize: number, outputSize: number): AxisWeights {
  const scale = inputSize / outputSize;
  const support = 2 * Math.max(scale, 1);
  const inverse = scale >= 1 ? 1 / scale : 1;
  const capacity = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(outputSize);
  const count = new Int32Array(outputSize);
  const real = new Float64Array(outputSize * capacity);
  let largest = 0;
  let taps = 0;
  for (let i = 0; i < outputSize; i++) {
    const centre = scale * (i + 0.5);
    const low = Math.max(Math.trunc(centre - support + 0.5), 0);
    const high = Math.min(Math.trunc(centre + support + 0.5), inputSize);
    const used = Math.min(Math.max(high - low, 0), capacity);
    const row = i * capacity;
    let total = 0;
    for (let j = 0; j < used; j++) {
      const weight = cubic((j + low - centre + 0.5) * inverse);
      real[row + j] = weight;
      total += weight;
    }
    for (let j = 0; j < used; j++) {
      const weight = total === 0 ? real[row + j]! : real[row + j]! / total;
      real[row + j] = weight;
      if (weight > largest) largest = weight;
    }
    first[i] = low;
    count[i] = used;
    if (used > taps) taps = used;
  }
  taps = Math.ceil(taps / 4) * 4;

  let precision = 0;
  while (precision < 22 && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < 32768) precision++;
  const one = 2 ** precision;
  const weights = new Int32Array(outputSize * taps);
  for (let i = 0; i < outputSize; i++) {
    for (let j = 0; j < count[i]!; j++) {
      const weight = real[i * capacity + j]! * one;
      weights[i * taps + j] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return { taps, first, count, weights, precision };
}

const CACHED_AXES = 256;
const cache = new Map<string, AxisWeights>();

/** `axisWeights`, keeping the last 256 asked for. */
function cachedAxisWeights(inputSize: number, outputSize: number): AxisWeights {
  const key = `${inputSize}>${outputSize}`;
  let axis = cache.get(key);
  if (axis) cache.delete(key);
  else axis = axisWeights(inputSize, outputSize);
  // A Map keeps the order of insertion: the first key is the one that was not used for longest.
  cache.set(key, axis);
  if (cache.size > CACHED_AXES) cache.delete(cache.keys().next().value!);
  return axis;
}

/** [height, inputWidth, 3] to [height, outputWidth, 3]. */
function horizontalPass(input: Uint8Array, height: number, inputWidth: number, outputWidth: number): Uint8Array {
  const axis = cachedAxisWeights(inputWidth, outputWidth);
  const bytes = new Uint8Array(height * outputWidth * 3);
  // Stores into a clamped view clamp to 0..255.
  const output = new Uint8ClampedArray(bytes.buffer);
  if (axis.taps === 4 && inputWidth >= 4) fourTapRows(input, output, height, inputWidth, outputWidth, axis);
  else anyTapRows(input, output, height, inputWidth, outputWidth, axis);
  return bytes;
}

function anyTapRows(
  input: Uint8Array,
  output: Uint8ClampedArray,
  height: number,
  inputWidth: number,
  outputWidth: number,
  { taps, first, count, weights, precision }: AxisWeights,
): void {
  const half = (1 << precision) >> 1;
  let to = 0;
  for (let y = 0; y < height; y++) {
    const rowStart = y * inputWidth * 3;
    for (let x = 0; x < outputWidth; x++) {
      let from = rowStart + first[x]! * 3;
      let w = x * taps;
      const end = w + count[x]!;
      let red = half;
      let green = half;
      let blue = half;
      for (; w < end; w++, from += 3) {
        const weight = weights[w]!;
        red += Math.imul(weight, input[from]!);
        green += Math.imul(weight, input[from + 1]!);
        blue += Math.imul(weight, input[from + 2]!);
      }
      output[to] = red >> precision;
      output[to + 1] = green >> precision;
      output[to + 2] = blue >> precision;
      to += 3;
    }
  }
}

/** Four taps, as in every enlargement, with the inner loop written out: twice as fast. */
function fourTapRows(
  input: Uint8Array,
  output: Uint8ClampedArray,
  height: number,
  inputWidth: number,
  outputWidth: number,
  { first, count, weights, precision }: AxisWeights,
): void {
  const half = (1 << precision) >> 1;
  // At the borders fewer positions count: the window moves inside the row, its weights move with it.
  const starts = new Int32Array(outputWidth);
  const shifted = new Int32Array(outputWidth * 4);
  for (let x = 0; x < outputWidth; x++) {
    const start = Math.min(first[x]!, inputWidth - 4);
    starts[x] = start * 3;
    for (let j = 0; j < count[x]!; j++) shifted[x * 4 + first[x]! - start + j] = weights[x * 4 + j]!;
  }
  let to = 0;
  for (let y = 0; y < height; y++) {
    const rowStart = y * inputWidth * 3;
    for (let x = 0; x < outputWidth; x++) {
      const p = rowStart + starts[x]!;
      const w = x << 2;
      const a = shifted[w]!;
      const b = shifted[w + 1]!;
      const c = shifted[w + 2]!;
      const d = shifted[w + 3]!;
      output[to] =
        (half +
          Math.imul(a, input[p]!) +
          Math.imul(b, input[p + 3]!) +
          Math.imul(c, input[p + 6]!) +
          Math.imul(d, input[p + 9]!)) >>
        precision;
      output[to + 1] =
        (half +
          Math.imul(a, input[p + 1]!) +
          Math.imul(b, input[p + 4]!) +
          Math.imul(c, input[p + 7]!) +
          Math.imul(d, input[p + 10]!)) >>
        precision;
      output[to + 2] =
        (half +
          Math.imul(a, input[p + 2]!) +
          Math.imul(b, input[p + 5]!) +
          Math.imul(c, input[p + 8]!) +
          Math.imul(d, input[p + 11]!)) >>
        precision;
      to += 3;
    }
  }
}

/** [inputHeight, stride] to [outputHeight, stride], whole rows at a time so that memory is read in order. */
function verticalPass(input: Uint8Array, inputHeight: number, outputHeight: number, stride: number): Uint8Array {
  const { taps, first, count, weights, precision } = cachedAxisWeights(inputHeight, outputHeight);
  const bytes = new Uint8Array(outputHeight * stride);
  const output = new Uint8ClampedArray(bytes.buffer);
  const half = (1 << precision) >> 1;
  const sums = new Int32Array(stride);
  const rows = new Int32Array(4);
  for (let y = 0; y < outputHeight; y++) {
    sums.fill(half);
    const to = y * stride;
    // Four input rows at a time. Rows past the window weigh 0, so it does not matter which one stands for them.
    for (let tap = 0; tap < count[y]!; tap += 4) {
      const last = tap + 4 >= count[y]!;
      for (let j = 0; j < 4; j++) rows[j] = Math.min(first[y]! + tap + j, inputHeight - 1) * stride;
      const [a, b, c, d] = rows as unknown as [number, number, number, number];
      const w = y * taps + tap;
      const w0 = weights[w]!;
      const w1 = weights[w + 1]!;
      const w2 = weights[w + 2]!;
      const w3 = weights[w + 3]!;
      for (let x = 0; x < stride; x++) {
        const upper = Math.imul(w0, input[a + x]!) + Math.imul(w1, input[b + x]!);
        const lower = Math.imul(w2, input[c + x]!) + Math.imul(w3, input[d + x]!);
        const sum = sums[x]! + upper + lower;
        if (last) output[to + x] = sum >> precision;
        else sums[x] = sum;
      }
    }
  }
  return bytes;
}

/**
 * Resamples an image to `width` × `height` pixels. An axis whose size does not change is left alone; if neither
 * changes, the input itself is returned.
 */
export function resampleBicubic(image: RgbImage, width: number, height: number): RgbImage {
  let data = image.data;
  if (width !== image.width) data = horizontalPass(data, image.height, image.width, width);
  if (height !== image.height) data = verticalPass(data, image.height, height, width * 3);
  return data === image.data ? image : { width, height, data };
}
