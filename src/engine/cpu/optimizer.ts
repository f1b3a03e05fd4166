/**
 * AdamW on flat float32 arrays: gradient norm and clipping, the 32-bit optimizer of torch and the block-wise 8-bit one
 * of bitsandbytes. Nothing is allocated inside a step, so 70 million parameters take about a second.
 *
 * g gradient, m first moment, v second moment, p value, t step from 1:
 *   m = β1 m + (1-β1) g      v = β2 v + (1-β2) g²      p -= lr/(1-β1^t) · m / (√v / √(1-β2^t) + eps)
 */
import { EngineError } from '../../errors.js';
import { BitView } from '../../formats/bit-view.js';
import { DynamicMap } from '../../formats/dynamic-map.js';
import { learningRateOf, type OptimizerArrays, type OptimizerStep } from '../engine.js';

/** One step of a parameter that has its own count of steps, as torch keeps it. */
export interface AdamStep extends OptimizerStep {
  /** Steps of this parameter, this one included; from 1. */
  readonly step: number;
}

/** L2 norm of all gradients together, summed in double. */
export function gradientNorm(grads: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < grads.length; i++) sum += grads[i]! * grads[i]!;
  return Math.sqrt(sum);
}

/**
 * What the gradients are multiplied with: min(1, maxNorm / (norm + 1e-6)) as `torch.nn.utils.clip_grad_norm_`, or 1 if
 * maxNorm is 0. NaN if the norm is not finite: the update functions then leave everything as it was, so that the
 * values survive a broken step.
 */
export function clipScale(norm: number, maxNorm: number): number {
  if (!Number.isFinite(norm)) return Number.NaN;
  return maxNorm === 0 ? 1 : Math.min(1, maxNorm / (norm + 1e-6));
}

/** The factors of a step that are the same for all elements, in float32. */
interface AdamFactors {
  readonly decay: number;
  readonly keep2: number;
  readonly take1: number;
  readonly take2: number;
  readonly eps: number;
  readonly stepSize: number;
  readonly correction2: number;
}

export function adamFactors({ step, learningRate, beta1, beta2, eps, weightDecay }: AdamStep): AdamFactors {
  return {
    decay: Math.fround(1 - learningRate * weightDecay),
    keep2: Math.fround(beta2),
    take1: Math.fround(1 - beta1),
    take2: Math.fround(1 - beta2),
    eps: Math.fround(eps),
    stepSize: Math.fround(-learningRate / (1 - beta1 ** step)),
    correction2: Math.fround(Math.sqrt(1 - beta2 ** step)),
  };
}

/**
 * One step of `torch.optim.AdamW` (the single-tensor form): decay first, then the update. All arrays have one length.
 * The products that torch fuses with their sum are left unrounded here too. The kernel adamW of wasm/optimizer.ts gives
 * the same bits.
 * @param gradScale from `clipScale`; nothing happens if it is NaN
 */
export function applyAdamW(
  values: Float32Array,
  grads: Float32Array,
  m: Float32Array,
  v: Float32Array,
  options: AdamStep,
  gradScale: number,
): void {
  if (Number.isNaN(gradScale)) return;
  const scale = Math.fround(gradScale);
  const { decay, keep2, take1, take2, eps, stepSize, correction2 } = adamFactors(options);
  for (let i = 0; i < values.length; i++) {
    const g = Math.fround(grads[i]! * scale);
    const first = Math.fround(m[i]! + take1 * Math.fround(g - m[i]!));
    const second = Math.fround(Math.fround(v[i]! * keep2) + Math.fround(take2 * g) * g);
    const divisor = Math.fround(Math.fround(Math.fround(Math.sqrt(second)) / correction2) + eps);
    m[i] = first;
    v[i] = second;
    values[i] = Math.fround(values[i]! * decay) + Math.fround(Math.fround(stepSize * first) / divisor);
  }
}

/** Consecutive elements that share one scale. */
const BLOCK = 256;
/** Smaller parameters keep 32-bit moments (bitsandbytes' `min_8bit_size`). */
const MIN_8BIT_SIZE = 4096;

let signedMap: DynamicMap | undefined;
let unsignedMap: DynamicMap | undefined;

/** Where one parameter's moments lie. */
interface Slot {
  readonly size: number;
  readonly quantised: boolean;
  /** First element in `codesM` and `codesV`, or in `m` and `v`. */
  readonly start: number;
  /** First block in `scalesM` and `scalesV`. */
  readonly firstBlock: number;
}

function slotsOf(parameterSizes: readonly number[]) {
  let codes = 0;
  let blocks = 0;
  let full = 0;
  const slots = parameterSizes.map((size): Slot => {
    const quantised = size >= MIN_8BIT_SIZE;
    const slot = { size, quantised, start: quantised ? codes : full, firstBlock: blocks };
    if (quantised) {
      codes += size;
      blocks += Math.ceil(size / BLOCK);
    } else full += size;
    return slot;
  });
  return { slots, codes, blocks, full };
}

/** Elements of one parameter in an array of a state. */
interface StateRange {
  readonly start: number;
  readonly length: number;
}

/** How a state's arrays are made up of parameters: by name, the array's type and the range of each parameter. */
export function stateLayout(
  kind: OptimizerStep['kind'],
  parameterSizes: readonly number[],
): Record<string, { readonly type: typeof Float32Array | typeof Uint8Array; readonly ranges: readonly StateRange[] }> {
  const { slots } = slotsOf(parameterSizes);
  const floats = (ranges: readonly StateRange[]) => ({ type: Float32Array, ranges });
  const steps = floats(slots.map((_, start) => ({ start, length: 1 })));
  if (kind === 'adamw') {
    let start = 0;
    const flat = floats(
      parameterSizes.map((length) => {
        start += length;
        return { start: start - length, length };
      }),
    );
    return { steps, m: flat, v: flat };
  }
  const none = { start: 0, length: 0 };
  const codes = slots.map(({ size, quantised, start }) => (quantised ? { start, length: size } : none));
  const blocks = slots.map(({ size, quantised, firstBlock }) =>
    quantised ? { start: firstBlock, length: Math.ceil(size / BLOCK) } : none,
  );
  const scales = floats(blocks);
  const full = floats(slots.map(({ size, quantised, start }) => (quantised ? none : { start, length: size })));
  const bytes = { type: Uint8Array, ranges: codes };
  return { steps, codesM: bytes, codesV: bytes, scalesM: scales, scalesV: scales, m: full, v: full };
}

/** Moments of the 8-bit optimizer: one byte each and one float32 scale a block of 256, or float32 if small. */
export class AdamW8bitState {
  readonly slots: readonly Slot[];
  readonly codesM: Uint8Array;
  readonly codesV: Uint8Array;
  /** Largest magnitude of each block. */
  readonly scalesM: Float32Array;
  readonly scalesV: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;

  /** @param parameterSizes elements of each parameter, in the order of the flat buffers */
  constructor(parameterSizes: readonly number[]) {
    const { slots, codes, blocks, full } = slotsOf(parameterSizes);
    this.slots = slots;
    this.codesM = new Uint8Array(codes);
    this.codesV = new Uint8Array(codes);
    this.scalesM = new Float32Array(blocks);
    this.scalesV = new Float32Array(blocks);
    this.m = new Float32Array(full);
    this.v = new Float32Array(full);
  }

  /** Views of everything that a bit-equal resume needs. */
  toArrays(): OptimizerArrays {
    const { codesM, codesV, scalesM, scalesV, m, v } = this;
    return { codesM, codesV, scalesM, scalesV, m, v };
  }

  /**
   * Copies in what `toArrays` gave.
   * @throws EngineError if an array is missing or has another length: then nothing was copied
   */
  fromArrays(arrays: OptimizerArrays): void {
    const own = this.toArrays();
    requireArrays(arrays, own);
    for (const [name, target] of Object.entries(own)) target.set(arrays[name]!);
  }
}

/** @throws EngineError naming the first array of a state that is missing or does not fit */
export function requireArrays(arrays: OptimizerArrays, targets: OptimizerArrays): void {
  for (const [name, target] of Object.entries(targets)) {
    requireArray(name, arrays[name], target.constructor as typeof Float32Array, target.length);
  }
}

/** @throws EngineError if the array of a state is missing or does not fit */
export function requireArray(
  name: string,
  array: OptimizerArrays[string] | undefined,
  type: typeof Float32Array | typeof Uint8Array,
  length: number,
): void {
  if (array instanceof type && array.length === length) return;
  const received = array ? `${array.constructor.name}(${array.length})` : 'nothing';
  throw new EngineError(`writeOptimizerState: expected ${name} as ${type.name}(${length}), got ${received}`);
}

/**
 * One step of bitsandbytes' `AdamW8bit` (block-wise, no percentile clipping). The update uses the moments before they
 * are quantised again; decay comes after the update. An element whose gradient is not finite keeps its value and loses
 * its moments.
 * @param gradScale from `clipScale`; nothing happens if it is NaN
 * @param steps for each parameter its own count of steps instead of `options.step`; 0 leaves the parameter out
 */
export function applyAdamW8bit(
  values: Float32Array,
  grads: Float32Array,
  state: AdamW8bitState,
  options: AdamStep,
  gradScale: number,
  steps?: ArrayLike<number>,
): void {
  if (Number.isNaN(gradScale)) return;
  signedMap ??= new DynamicMap(true);
  unsignedMap ??= new DynamicMap(false);
  const blockM = new Float32Array(BLOCK);
  const blockV = new Float32Array(BLOCK);
  const scaled = new BitView(BLOCK);
  let offset = 0;
  for (const [i, slot] of state.slots.entries()) {
    const end = offset + slot.size;
    const step = { ...options, learningRate: learningRateOf(options, i), step: steps ? steps[i]! : options.step };
    if (step.step === 0) {
      offset = end;
      continue;
    }
    if (slot.quantised) {
      for (let first = offset, scale = slot.firstBlock; first < end; first += BLOCK, scale++) {
        const count = Math.min(BLOCK, end - first);
        const codes = slot.start + first - offset;
        expand(signedMap, state.codesM, codes, state.scalesM[scale]!, blockM, count);
        expand(unsignedMap, state.codesV, codes, state.scalesV[scale]!, blockV, count);
        updateRange(values, grads, first, count, blockM, blockV, 0, step, gradScale);
        state.scalesM[scale] = quantise(signedMap, state.codesM, codes, blockM, count, scaled);
        state.scalesV[scale] = quantise(unsignedMap, state.codesV, codes, blockV, count, scaled);
        keepSigns(signedMap, state.codesM, codes, blockM, count);
      }
    } else updateRange(values, grads, offset, slot.size, state.m, state.v, slot.start, step, gradScale);
    offset = end;
  }
}

/** Adam as bitsandbytes writes it, over values[first, first + count) with moments from index `from` on. */
function updateRange(
  values: Float32Array,
  grads: Float32Array,
  first: number,
  count: number,
  m: Float32Array,
  v: Float32Array,
  from: number,
  options: AdamStep,
  gradScale: number,
): void {
  const { step, learningRate, beta1, beta2, weightDecay } = options;
  const correction2 = Math.sqrt(1 - beta2 ** step);
  const stepSize = (-learningRate * correction2) / (1 - beta1 ** step);
  const eps = correction2 * options.eps;
  const decay = 1 - learningRate * weightDecay;
  for (let i = 0; i < count; i++) {
    const g = Math.fround(grads[first + i]! * gradScale);
    // Infinity - Infinity and NaN - NaN are not 0.
    if (g - g !== 0) {
      m[from + i] = 0;
      v[from + i] = 0;
      continue;
    }
    const moment = Math.fround(beta1 * m[from + i]! + (1 - beta1) * g);
    const second = Math.fround(beta2 * v[from + i]! + (1 - beta2) * g * g);
    m[from + i] = moment;
    v[from + i] = second;
    values[first + i] = (values[first + i]! + (stepSize * moment) / (Math.sqrt(second) + eps)) * decay;
  }
}

function expand(map: DynamicMap, codes: Uint8Array, from: number, scale: number, target: Float32Array, count: number) {
  const { values } = map;
  for (let i = 0; i < count; i++) target[i] = values[codes[from + i]!]! * scale;
}

/** Writes the codes of a block; gives its scale, the largest magnitude. A block of zeros has scale 0 and any codes. */
function quantise(
  map: DynamicMap,
  codes: Uint8Array,
  from: number,
  source: Float32Array,
  count: number,
  scratch: BitView,
): number {
  let scale = 0;
  for (let i = 0; i < count; i++) {
    const magnitude = Math.abs(source[i]!);
    if (magnitude > scale) scale = magnitude;
  }
  if (scale === 0) return 0;
  const { floats } = scratch;
  for (let i = 0; i < count; i++) floats[i] = source[i]! / scale;
  map.encode(scratch, count, codes, from);
  return scale;
}

/** A moment never changes its sign by rounding: below zero it takes the smallest negative value, not zero. */
function keepSigns(map: DynamicMap, codes: Uint8Array, from: number, source: Float32Array, count: number): void {
  const zero = map.values.indexOf(0);
  for (let i = 0; i < count; i++) if (source[i]! < 0 && codes[from + i] === zero) codes[from + i] = zero - 1;
}
