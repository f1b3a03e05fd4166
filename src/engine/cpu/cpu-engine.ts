/** The `cpu` engine: float32 on all cores through WebAssembly, nothing to install. The oracle of the other engines. */

import { copyInTurns } from '../../async/event-loop.js';
import { EngineError } from '../../errors.js';
import type { WeightSource } from '../../formats/weight-source.js';
import { CountingEngine } from '../counted-tensors.js';
import {
  type Deferred,
  type EngineMemory,
  learningRateOf,
  type OptimizerArrays,
  type OptimizerState,
  type OptimizerStep,
  type StorageCosts,
} from '../engine.js';
import type { Operations } from '../operations.js';
import { layOut, requireOwnSet, requireValues, sizeOfAll } from '../parameter-layout.js';
import { noteChange, requireIdleEngine, requireNotTraining, requireOwnCall } from '../parameter-lease.js';
import { checkDistinctRows } from '../row-lists.js';
import type { PartEngine, SquaredGradients } from '../split/part-engine.js';
import {
  type Parameter,
  type ParameterSet,
  type ParameterSpec,
  requireFilled,
  type Tensor,
  type Weight,
} from '../tensor.js';
import { CpuRuntime, type CpuRuntimeOptions } from './cpu-runtime.js';
import { MAX_LOGITS } from './operations/cross-entropy.js';
import { scatter } from './operations/rows.js';
import { cpuOperations } from './operations.js';
import { AdamW8bitState, adamFactors, applyAdamW8bit, clipScale, requireArrays } from './optimizer.js';
import { CpuTensor, ELEMENTWISE_BLOCK, TensorStore } from './tensor-store.js';

/** The two flat buffers lie in the heap, values first; parameters are views into them. */
class CpuParameterSet implements ParameterSet {
  readonly parameters: readonly (Parameter & { readonly value: CpuTensor; readonly grad: CpuTensor })[];
  readonly size: number;
  readonly values: CpuTensor;
  readonly gradients: CpuTensor;

  constructor(parameters: CpuParameterSet['parameters'], values: CpuTensor, gradients: CpuTensor) {
    this.parameters = parameters;
    this.size = values.size;
    this.values = values;
    this.gradients = gradients;
  }

  get isReleased(): boolean {
    return this.values.isFreed;
  }
}

/** The float32 moments lie in the heap, where every thread reaches them; those of 8 bits in ordinary memory. */
type CpuOptimizerState = {
  /** For each parameter how many steps it has taken part in. */
  readonly steps: Float32Array;
} & (
  | { readonly kind: 'adamw'; readonly m: CpuTensor; readonly v: CpuTensor }
  | { readonly kind: 'adamw8bit'; readonly moments: AdamW8bitState }
);

/** Sums of squares by blocks of the gradients. */
class CpuSquares implements SquaredGradients {
  readonly sums: Float64Array;

  constructor(sums: Float64Array) {
    this.sums = sums;
  }

  get count(): number {
    return this.sums.length;
  }

  /** L2 norm: all blocks in order. @throws EngineError for sums of another engine */
  static norm(parts: readonly SquaredGradients[]): number {
    let total = 0;
    for (const part of parts) {
      if (!(part instanceof CpuSquares))
        throw new EngineError('optimizerStep: sums of squares of another kind of engine');
      for (const sum of part.sums) total += sum;
    }
    return Math.sqrt(total);
  }
}

/** Ranges of parameters with equal values, and equal factors where there are any. */
function runs(values: Float32Array, factors: ArrayLike<number> | undefined): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (let i = 0; i < values.length; i++) {
    const last = found.at(-1);
    const isSame = last && values[i] === values[i - 1] && (!factors || factors[i] === factors[i - 1]);
    if (isSame) last.end = i + 1;
    else found.push({ start: i, end: i + 1 });
  }
  return found;
}

export class CpuEngine extends CountingEngine implements PartEngine {
  readonly name = 'cpu';
  readonly tokensPerPass = 0;
  readonly heldFormats = ['nf4', 'f8_e4m3'] as const;
  readonly storage: StorageCosts;
  readonly description: string;
  readonly operations: Operations;
  readonly #runtime: CpuRuntime;
  readonly #store: TensorStore;
  /** Live optimizer states and the set that each is of. */
  readonly #states = new WeakMap<OptimizerState, CpuParameterSet>();
  /** Sets and states whose optimizer step did not come to its end: some values are of before it, some of after. */
  readonly #torn = new WeakSet<CpuParameterSet | OptimizerState>();

  constructor(options: CpuRuntimeOptions = {}) {
    const runtime = new CpuRuntime(options);
    const store = new TensorStore(runtime);
    super(store);
    this.#runtime = runtime;
    this.#store = store;
    this.operations = cpuOperations(this.#store);
    this.storage = {
      elementBytes: 4,
      rematerializes: false,
      keepsMasks: false,
      logits: { most: MAX_LOGITS, bytes: 4 },
      temporaries: 1,
      scratchBytes: 1 << 17,
      rowTile: 1,
      reserveBytes: Math.round(0.08 * this.#runtime.heap.limitBytes),
    };
    const { threads, relaxedSimd } = this.#runtime;
    const kernels = relaxedSimd ? 'WebAssembly relaxed SIMD' : 'WebAssembly SIMD';
    this.description = `cpu: float32, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${kernels}`;
  }

  fromArray(data: Float32Array, shape: readonly number[]): Tensor {
    requireFilled(data, shape, 'fromArray');
    const tensor = this.#store.create(shape);
    this.#store.values(tensor).set(data);
    return tensor;
  }

  zeros(shape: readonly number[]): Tensor {
    return this.#store.zeros(shape);
  }

  /** @throws EngineError for a tensor of another kind of engine */
  receive(tensor: Tensor, from: PartEngine): Tensor {
    if (!(from instanceof CpuEngine)) throw new EngineError('receive: the tensor is of another kind of engine');
    const values = from.#store.values(from.#store.use(tensor, 'receive'));
    return this.fromArray(values, tensor.shape);
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    return this.#store.values(this.#store.use(tensor, 'read')).slice();
  }

  addInPlace(target: Tensor, source: Tensor): void {
    const to = this.#store.use(target, 'addInPlace');
    const from = this.#store.like(source, target, 'addInPlace', 'source');
    to.isTouched = true;
    this.#store.elementwise('add', to.size, [to.ptr, from.ptr, to.ptr]);
  }

  writeRows(target: Tensor, source: Tensor, rows: Int32Array): void {
    const to = this.#store.matrix(target, 'writeRows', 'target');
    const from = this.#store.matrix(source, 'writeRows', 'source', { rows: rows.length, columns: to.shape[1]! });
    checkDistinctRows(rows, to.shape[0]!, 'writeRows');
    scatter(this.#store, from, rows, to);
  }

  weightBytes({ byteLength }: WeightSource): number {
    return byteLength;
  }

  loadWeight(source: WeightSource): Promise<Weight> {
    return this.#store.loadWeight(source);
  }

  async readWeight(weight: Weight): Promise<Float32Array> {
    const known = this.#store.weights.use(weight, 'readWeight');
    const wide = new Float32Array(known.rows * known.columns);
    // A block of rows at a time: an embedding table is larger than the room that the heap may have left.
    const block = Math.max(1, Math.min(known.rows, Math.floor((1 << 22) / known.columns)));
    const rows = this.#store.create([block, known.columns]);
    for (let row = 0; row < known.rows; row += block) {
      const end = Math.min(known.rows, row + block);
      known.widenRows(row, end, rows.ptr);
      const count = (end - row) * known.columns;
      wide.set(this.#store.values(rows).subarray(0, count), row * known.columns);
    }
    this.#store.release(rows);
    return wide;
  }

  releaseWeight(weight: Weight): void {
    this.#store.weights.take(weight, 'releaseWeight').release();
  }

  createParameters(specs: readonly ParameterSpec[]): ParameterSet {
    const size = sizeOfAll(specs);
    const values = this.#store.createLasting([size]);
    let gradients: CpuTensor;
    try {
      gradients = this.#store.createLasting([size]);
    } catch (error) {
      this.#store.release(values);
      throw error;
    }
    const parameters = layOut(specs, ({ shape, initial }, offset) => {
      const [value, grad] = [values, gradients].map(
        (flat) => new CpuTensor([...shape], flat.ptr + 4 * offset, true),
      ) as [CpuTensor, CpuTensor];
      this.#store.values(value).set(initial);
      return { value, grad };
    });
    return new CpuParameterSet(parameters, values, gradients);
  }

  async readParameters(set: ParameterSet, inTurns = false): Promise<Float32Array> {
    const known = this.#set(set);
    this.#requireWhole(known);
    const values = this.#store.values(known.values);
    if (!inTurns) return values.slice();
    const [copy] = await copyInTurns([values]);
    // They may have been freed meanwhile, or a step may have failed half-way.
    this.#set(set);
    this.#requireWhole(known);
    return copy!;
  }

  writeParameters(set: ParameterSet, values: Float32Array): void {
    const known = this.#set(set);
    requireValues(known, values);
    noteChange(set);
    this.#store.values(known.values).set(values);
    this.#torn.delete(known);
  }

  async readGradients(set: ParameterSet): Promise<Float32Array> {
    return this.#store.values(this.#set(set).gradients).slice();
  }

  zeroGradients(set: ParameterSet): void {
    noteChange(set);
    const { parameters, gradients } = this.#set(set);
    this.#store.values(gradients).fill(0);
    for (const { grad } of parameters) grad.isTouched = false;
  }

  releaseParameters(set: ParameterSet): void {
    requireNotTraining(set, 'releaseParameters: the set');
    const { parameters, values, gradients } = this.#set(set);
    for (const { value, grad } of parameters) {
      value.isFreed = true;
      grad.isFreed = true;
    }
    this.#store.release(values);
    this.#store.release(gradients);
  }

  createOptimizerState(set: ParameterSet, kind: OptimizerStep['kind']): OptimizerState {
    const known = this.#set(set);
    const { parameters, size } = known;
    const steps = new Float32Array(parameters.length);
    const states: { readonly [K in OptimizerStep['kind']]: () => CpuOptimizerState } = {
      adamw: () => ({ kind: 'adamw', steps, ...this.#newMoments(size) }),
      adamw8bit: () => ({
        ...{ kind: 'adamw8bit', steps },
        moments: new AdamW8bitState(parameters.map((parameter) => parameter.size)),
      }),
    };
    const state = states[kind]();
    this.#states.set(state, known);
    return state;
  }

  releaseOptimizerState(_set: ParameterSet, state: OptimizerState): void {
    if (!this.#states.delete(state)) return;
    const own = state as CpuOptimizerState;
    // Ordinary memory goes with the state.
    if (own.kind === 'adamw') for (const moment of [own.m, own.v]) this.#store.release(moment);
  }

  squaredGradients(set: ParameterSet): CpuSquares {
    return new CpuSquares(this.#squares(this.#set(set).gradients));
  }

  optimizerStep(
    set: ParameterSet,
    state: OptimizerState,
    options: OptimizerStep,
    parts?: readonly SquaredGradients[],
  ): Deferred<number> {
    requireOwnCall(set, options, 'optimizerStep');
    const known = this.#set(set);
    const own = this.#state(known, state);
    if (own.kind !== options.kind) {
      throw new EngineError(`optimizerStep: the state is of ${own.kind}, the step of ${options.kind}`);
    }
    this.#requireWhole(known);
    this.#requireWhole(own);
    const norm = CpuSquares.norm(parts ?? [this.squaredGradients(set)]);
    this.#torn.add(known).add(own);
    const scale = clipScale(norm, options.maxGradNorm);
    const steps = new Float32Array(own.steps.length);
    if (!Number.isNaN(scale)) {
      for (const [i, { grad }] of known.parameters.entries()) {
        if (grad.isTouched) steps[i] = ++own.steps[i]!;
      }
    }
    if (own.kind === 'adamw8bit') {
      const [values, gradients] = [known.values, known.gradients].map((flat) => this.#store.values(flat));
      applyAdamW8bit(values!, gradients!, own.moments, { ...options, step: 0 }, scale, steps);
    } else {
      const flat = [known.values, known.gradients, own.m, own.v].map((tensor) =>
        this.#store.use(tensor, 'optimizerStep'),
      );
      // Neighbours that have taken as many steps at the same rate are one range, as a rule all parameters.
      for (const { start, end } of runs(steps, options.learningRateFactors)) {
        const value = steps[start]!;
        if (value === 0) continue;
        const first = known.parameters[start]!.offset;
        const last = known.parameters[end - 1]!;
        const n = last.offset + last.size - first;
        const { decay, keep2, take1, take2, eps, stepSize, correction2 } = adamFactors({
          ...options,
          learningRate: learningRateOf(options, start),
          step: value,
        });
        const pointers = flat.map(({ ptr }) => ptr + 4 * first);
        const factors = [scale, decay, keep2, take1, take2, eps, stepSize, correction2];
        this.#store.byBlocks('adamW', n, [...pointers, n], factors);
      }
    }
    this.#torn.delete(known);
    this.#torn.delete(own);
    return () => Promise.resolve(norm);
  }

  async readOptimizerState(set: ParameterSet, state: OptimizerState): Promise<OptimizerArrays> {
    const own = this.#state(this.#set(set), state);
    this.#requireWhole(own);
    const moments = own.kind === 'adamw' ? this.#moments(own) : own.moments.toArrays();
    const arrays: OptimizerArrays = { steps: own.steps, ...moments };
    const copies = await copyInTurns(Object.values(arrays));
    this.#state(this.#set(set), state);
    this.#requireWhole(own);
    return Object.fromEntries(Object.keys(arrays).map((name, i) => [name, copies[i]!]));
  }

  writeOptimizerState(set: ParameterSet, state: OptimizerState, arrays: OptimizerArrays): void {
    const own = this.#state(this.#set(set), state);
    const targets = own.kind === 'adamw' ? { steps: own.steps, ...this.#moments(own) } : { steps: own.steps };
    requireArrays(arrays, targets);
    if (own.kind === 'adamw8bit') own.moments.fromArrays(arrays);
    for (const [name, target] of Object.entries(targets)) target.set(arrays[name]!);
    this.#torn.delete(own);
  }

  memory(): EngineMemory {
    const { heap, weightBytes } = this.#runtime;
    const [bytesInUse, peakBytes, limitBytes] = [heap.bytesInUse, heap.peakBytes, heap.limitBytes].map(
      (bytes) => bytes + weightBytes,
    ) as [number, number, number];
    return { bytesInUse, peakBytes, limitBytes };
  }

  resetPeak(): void {
    this.#runtime.heap.resetPeak();
  }

  async dispose(): Promise<void> {
    requireIdleEngine(this, 'engine.dispose');
    await this.#runtime.dispose();
  }

  #newMoments(size: number): { m: CpuTensor; v: CpuTensor } {
    const m = this.#store.createLasting([size]);
    try {
      return { m, v: this.#store.createLasting([size]) };
    } catch (error) {
      this.#store.release(m);
      throw error;
    }
  }

  #moments({ m, v }: { m: CpuTensor; v: CpuTensor }): { m: Float32Array; v: Float32Array } {
    const [first, second] = [m, v].map((moment) => this.#store.values(this.#store.use(moment, 'optimizer state')));
    return { m: first!, v: second! };
  }

  /** Of each block, summed in double on all threads. */
  #squares(gradients: CpuTensor): Float64Array {
    const sums = this.#runtime.alloc(8 * Math.ceil(gradients.size / ELEMENTWISE_BLOCK));
    try {
      this.#store.byBlocks('sumOfSquares', gradients.size, [gradients.ptr, sums, gradients.size]);
      const count = Math.ceil(gradients.size / ELEMENTWISE_BLOCK);
      return this.#runtime.f64(sums, count).slice();
    } finally {
      this.#runtime.free(sums);
    }
  }

  #set(set: ParameterSet): CpuParameterSet {
    return requireOwnSet(set, CpuParameterSet);
  }

  /** @throws EngineError for values that no step of training has: they must not be saved */
  #requireWhole(one: CpuParameterSet | OptimizerState): void {
    if (!this.#torn.has(one)) return;
    throw new EngineError('an optimizer step failed half-way: parameters and moments are of no whole step', {
      hint: 'Go on from the last checkpoint (`resumeFromCheckpoint`).',
    });
  }

  #state(set: CpuParameterSet, state: OptimizerState): CpuOptimizerState {
    if (this.#states.get(state) === set) return state as CpuOptimizerState;
    throw new EngineError('the optimizer state is released, or belongs to another parameter set or engine');
  }
}

/**
 * @param options.threads threads, with the calling one; default what the machine offers
 * @throws ConfigError for another number of threads than 1 to 512, EngineError if the memory cannot be reserved
 */
export function createCpuEngine(options: CpuRuntimeOptions = {}): CpuEngine {
  return new CpuEngine(options);
}
