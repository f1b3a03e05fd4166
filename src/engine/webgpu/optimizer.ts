/**
 * AdamW on the device, over the flat blocks of a parameter set: the 32-bit optimizer of torch and the block-wise 8-bit one
 * of bitsandbytes, as cpu/optimizer.ts. A step queues the norm, the clipping factor and the update; which parameters take
 * part, and the steps that each has done, are counted here.
 */
import { EngineError } from '../../errors.js';
import { WGSL } from '../../generated/wgsl-kernels.js';
import { requireArray } from '../cpu/optimizer.js';
import {
  type Deferred,
  learningRateOf,
  type OptimizerArrays,
  type OptimizerState,
  type OptimizerStep,
} from '../engine.js';
import type { BufferRange } from './gpu-types.js';
import { flat } from './kernels.js';
import { MomentStore } from './moments.js';
import { CHUNK_WORDS } from './parameter-chunks.js';
import type { WebgpuParameterSet } from './parameters.js';
import { blocks, lanesOf, type TensorStore, type WebgpuTensor } from './tensor-store.js';

/** Vectors of four floats that a workgroup of squared-norm takes. */
const NORM_VECTORS = 1024;
/** Of the norm's two vectors. */
const NORM_WORDS = 8;

export class WebgpuOptimizerState implements OptimizerState {
  readonly kind: OptimizerStep['kind'];
  readonly set: WebgpuParameterSet;
  readonly #store: TensorStore;
  readonly #steps: Float32Array;
  readonly #moments: MomentStore;
  /** As clip-scale.wgsl writes it, and the partial sums that it reads. */
  readonly #norm: WebgpuTensor;
  readonly #partials: WebgpuTensor;
  #isReleased = false;

  /** @throws OutOfMemoryError */
  constructor(store: TensorStore, set: WebgpuParameterSet, kind: OptimizerStep['kind']) {
    this.kind = kind;
    this.set = set;
    this.#store = store;
    this.#steps = new Float32Array(set.parameters.length);
    this.#moments = new MomentStore(store, set, kind);
    try {
      this.#norm = this.#moments.keep(store.createLasting([NORM_WORDS]));
      // A set without parameters has none, but a binding is never empty.
      const count = Math.max(1, Math.ceil(set.gradients.size / 4 / NORM_VECTORS));
      this.#partials = this.#moments.keep(store.createLasting([count, 4]));
    } catch (error) {
      this.#moments.release();
      throw error;
    }
  }

  step(options: OptimizerStep): Deferred<number> {
    if (this.kind !== options.kind)
      throw new EngineError(`optimizerStep: the state is of ${this.kind}, the step of ${options.kind}`);
    this.#requireHeld('optimizerStep');
    this.#queueNorm(options.maxGradNorm);
    const { settings, active } = this.#settings(options);
    this.#store.withTable(settings, (table) => this.#queueUpdate(options, table));
    const arrival = this.#store.queue.download(this.#norm.range, 16);
    const result = async (): Promise<number> => {
      const norm = normOf(await arrival());
      // The device left everything as it was, so these steps did not happen.
      if (!Number.isFinite(norm)) for (const i of active) this.#steps[i]! -= 1;
      return norm;
    };
    let norm: Promise<number> | undefined;
    return () => {
      norm ??= result();
      return norm;
    };
  }

  async read(): Promise<OptimizerArrays> {
    this.#requireHeld('readOptimizerState');
    const steps = this.#steps.slice();
    return { steps, ...(await this.#moments.read()) };
  }

  /** @throws EngineError if an array is missing or has another length: then nothing was written */
  write(arrays: OptimizerArrays): void {
    this.#requireHeld('writeOptimizerState');
    requireArray('steps', arrays.steps, Float32Array, this.#steps.length);
    this.#moments.write(arrays);
    this.#steps.set(arrays.steps!);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#moments.release();
  }

  #requireHeld(operation: string): void {
    if (this.#isReleased) throw new EngineError(`${operation}: the optimizer state is used after it was released`);
  }

  #queueNorm(maxGradNorm: number): void {
    const { kernels } = this.#store;
    const [x, partials] = [this.set.gradients, this.#partials.range];
    const { defines } = lanesOf(4);
    kernels.launch(WGSL.squaredNorm, blocks(x.size / 4), { partials, x: x.range, n: x.size / 4 }, { defines });
    const count = this.#partials.shape[0]!;
    kernels.launch(WGSL.clipScale, [1], { norm: this.#norm.range, partials, count, max_norm: maxGradNorm });
  }

  #queueUpdate({ beta1, beta2, eps }: OptimizerStep, settings: BufferRange): void {
    const { kernels } = this.#store;
    const { values, gradients } = this.set;
    const { chunks, codeChunks, codes, maps } = this.#moments;
    const common = { values: values.range, gradients: gradients.range, norm: this.#norm.range, settings };
    const factors = { beta1, take1: 1 - beta1, beta2, take2: 1 - beta2 };
    if (chunks) {
      const chunk_count = chunks.size / (4 * CHUNK_WORDS);
      const moments = { m: this.#moments.m.range, v: this.#moments.v.range, chunks };
      const parameters = { ...common, ...moments, ...factors, chunk_count, eps };
      kernels.launch(WGSL.adamw, flat(chunk_count), parameters, { defines: { EIGHT_BIT: this.kind === 'adamw8bit' } });
    }
    if (codeChunks) {
      const chunk_count = codeChunks.size / (4 * CHUNK_WORDS);
      const moments = { state: codes!.tensor.range, chunks: codeChunks, maps: maps!, ...codes!.places };
      kernels.launch(WGSL.adamw8bit, flat(chunk_count), { ...common, ...moments, ...factors, chunk_count });
    }
  }

  /** Four values for each parameter (adamw.wgsl), and the parameters that take part. */
  #settings(options: OptimizerStep): { settings: Float32Array; active: number[] } {
    const { beta1, beta2, eps, weightDecay } = options;
    const settings = new Float32Array(4 * this.#steps.length);
    const active: number[] = [];
    for (const [i, { grad }] of this.set.parameters.entries()) {
      if (!grad.isTouched) continue;
      active.push(i);
      const learningRate = learningRateOf(options, i);
      const t = ++this.#steps[i]!;
      const first = 1 - beta1 ** t;
      const second = Math.sqrt(1 - beta2 ** t);
      const factors: Readonly<Record<OptimizerStep['kind'], readonly [number, number]>> = {
        adamw: [-learningRate / first, second],
        adamw8bit: [(-learningRate * second) / first, second * eps],
      };
      settings.set([...factors[this.kind], 1 - learningRate * weightDecay, 1], 4 * i);
    }
    return { settings, active };
  }
}

/** From the sums that squared-norm.wgsl describes: the root of their sum, in double. */
function normOf(bytes: ArrayBuffer): number {
  const [middle, large, small] = new Float32Array(bytes) as unknown as [number, number, number];
  const top = new Uint32Array(bytes)[3]!;
  if (top > 0x7f800000) return Number.NaN;
  if (top === 0x7f800000) return Number.POSITIVE_INFINITY;
  return Math.sqrt(middle + large * 2 ** 168 + small * 2 ** -192);
}
