/**
 * The `webgpu` engine: any GPU that WebGPU reaches (Metal, Vulkan, Direct3D 12), through kernels in WGSL. Weights stay as
 * they are stored and are widened inside the kernels; activations, gradients and moments are float32.
 */

import { EngineError } from '../../errors.js';
import type { WeightSource } from '../../formats/weight-source.js';
import { WGSL } from '../../generated/wgsl-kernels.js';
import { CountingEngine } from '../counted-tensors.js';
import type {
  Deferred,
  Engine,
  EngineMemory,
  OptimizerArrays,
  OptimizerState,
  OptimizerStep,
  RowMaxima,
  StorageCosts,
} from '../engine.js';
import type { ImagePatches } from '../image-patches.js';
import type { Operations } from '../operations.js';
import { requireOwnSet, requireValues } from '../parameter-layout.js';
import { noteChange, requireIdleEngine, requireNotTraining, requireOwnCall } from '../parameter-lease.js';
import { checkDistinctRows } from '../row-lists.js';
import type { ParameterSet, ParameterSpec, Tensor, Weight } from '../tensor.js';
import { CommandQueue } from './command-queue.js';
import { Kernels } from './kernels.js';
import type { OpenDevice } from './load-webgpu.js';
import { WebgpuMemory } from './memory.js';
import type { MemorySize } from './memory-size.js';
import { MAX_LOGITS } from './operations/cross-entropy.js';
import { imagePatches } from './operations/image-patches.js';
import { readWeight } from './operations/read-weight.js';
import { rowMaxima } from './operations/row-maxima.js';
import { writeRows } from './operations/rows.js';
import { webgpuOperations } from './operations.js';
import { WebgpuOptimizerState } from './optimizer.js';
import { zeroParameters } from './parameter-chunks.js';
import { WebgpuParameterSet } from './parameters.js';
import { useMatrices } from './subgroup-matrices.js';
import { blocks, lanesOf, TensorStore } from './tensor-store.js';
import { requireWeightRoom } from './weight-room.js';
import { loadWeight, releaseWeight } from './weights.js';

/** Of a logit: itself and its gradient, which replaces it. */
const LOGIT_BYTES = 4;
const SCRATCH_BYTES = 1 << 20;
const RESERVE_SHARE = 0.1;
const TOKENS_PER_PASS = 4096;
/** Beside the weights of a model, even to answer one question: logits, activations, a cache. */
const SMALLEST_PASS_BYTES = 256 << 20;

export class WebgpuEngine extends CountingEngine implements Engine {
  readonly name = 'webgpu';
  readonly tokensPerPass: number;
  readonly heldFormats = ['nf4', 'f8_e4m3'] as const;
  readonly operations: Operations;
  readonly store: TensorStore;
  readonly #open: OpenDevice;
  readonly #budget: MemorySize;
  /** What products run on, in a few words. */
  products = 'subgroup matrices off';
  #isDisposed = false;

  /** @param budget bytes for everything that the engine keeps on the device, and where that is from */
  constructor(open: OpenDevice, budget: MemorySize, tokensPerPass = TOKENS_PER_PASS) {
    const { device } = open;
    const queue = new CommandQueue(device);
    const memory = new WebgpuMemory(device, queue, budget.bytes);
    const store = new TensorStore(memory, queue, new Kernels(device, queue));
    super(store);
    this.#open = open;
    this.#budget = budget;
    this.store = store;
    this.tokensPerPass = tokensPerPass;
    this.operations = webgpuOperations(store);
  }

  /**
   * For an engine that has computed nothing yet: products run on subgroup matrices where the device has them.
   * @returns false if the device did not survive trying them
   */
  async useMatrices(): Promise<boolean> {
    this.products = await useMatrices(this.store, this.#open.device, this.#open.info);
    this.resetPeak();
    return this.store.queue.failures.isSound;
  }

  get description(): string {
    const { description, device, vendor } = this.#open.info;
    const { bytes, source } = this.#budget;
    const size = Number.isFinite(bytes) ? `up to ${(bytes / 1e9).toFixed(1)} GB` : 'without a limit';
    const name = description || device || vendor || 'unknown GPU';
    return `webgpu: float32 with weights as stored, ${name}, ${this.products}, ${size} (${source})`;
  }

  get storage(): StorageCosts {
    const { budget } = this.store.memory;
    return {
      elementBytes: 4,
      rematerializes: false,
      keepsMasks: false,
      logits: { most: MAX_LOGITS, bytes: LOGIT_BYTES },
      temporaries: 1,
      scratchBytes: SCRATCH_BYTES + 2 * (this.store.matrices?.packedBytes ?? 0),
      rowTile: 1,
      // Free memory lies in holes about as large as the tensors of a pass.
      reserveBytes: Number.isFinite(budget) ? Math.round(RESERVE_SHARE * budget) : 0,
    };
  }

  fromArray(data: Float32Array, shape: readonly number[]): Tensor {
    return this.store.fromArray(data, shape);
  }

  zeros(shape: readonly number[]): Tensor {
    return this.store.zeros(shape);
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    return this.store.download(this.store.use(tensor, 'read'))();
  }

  addInPlace(target: Tensor, source: Tensor): void {
    const to = this.store.use(target, 'addInPlace', 'target');
    const from = this.store.like(source, to, 'addInPlace', 'source');
    to.isTouched = true;
    const { width, defines } = lanesOf(to.size);
    const n = to.size / width;
    this.store.apart([to, from], (out, x) => {
      this.store.kernels.launch(WGSL.addInPlace, blocks(n), { out: out!, x: x!, n }, { defines });
    });
  }

  writeRows(target: Tensor, source: Tensor, rows: Int32Array): void {
    const to = this.store.matrix(target, 'writeRows', 'target');
    const from = this.store.matrix(source, 'writeRows', 'source', { rows: rows.length, columns: to.shape[1]! });
    checkDistinctRows(rows, to.shape[0]!, 'writeRows');
    writeRows(this.store, to, from, rows);
  }

  /** @throws OutOfMemoryError if the weights, as they are to be held, cannot fit */
  placeWeights(sources: readonly WeightSource[]): void {
    const { budget, bytesInUse } = this.store.memory;
    requireWeightRoom(sources, budget - bytesInUse, SMALLEST_PASS_BYTES);
  }

  imagePatches(images: ImagePatches): Tensor {
    return imagePatches(this.store, images);
  }

  async rowMaxima(matrix: Tensor): Promise<RowMaxima> {
    return rowMaxima(this.store, this.store.matrix(matrix, 'rowMaxima', 'the matrix'));
  }

  async areZero(set: ParameterSet, of: 'values' | 'gradients'): Promise<readonly boolean[]> {
    return zeroParameters(this.store, this.#set(set), of);
  }

  loadWeight(source: WeightSource): Promise<Weight> {
    return loadWeight(this.store, source);
  }

  async readWeight(weight: Weight): Promise<Float32Array> {
    return readWeight(this.store, this.store.weights.use(weight, 'readWeight'));
  }

  releaseWeight(weight: Weight): void {
    releaseWeight(this.store, this.store.weights.take(weight, 'releaseWeight'));
  }

  createParameters(specs: readonly ParameterSpec[]): ParameterSet {
    return new WebgpuParameterSet(this.store, specs);
  }

  async readParameters(set: ParameterSet): Promise<Float32Array> {
    const known = this.#set(set);
    return known.packed(await this.store.download(known.values)());
  }

  writeParameters(set: ParameterSet, values: Float32Array): void {
    const known = this.#set(set);
    requireValues(known, values);
    noteChange(set);
    if (values.length > 0) this.store.queue.upload(known.values.range, known.spread(values));
  }

  async readGradients(set: ParameterSet): Promise<Float32Array> {
    const known = this.#set(set);
    return known.packed(await this.store.download(known.gradients)());
  }

  zeroGradients(set: ParameterSet): void {
    noteChange(set);
    const { parameters, gradients } = this.#set(set);
    this.store.queue.clear(gradients.range);
    for (const { grad } of parameters) grad.isTouched = false;
  }

  releaseParameters(set: ParameterSet): void {
    requireNotTraining(set, 'releaseParameters: the set');
    const { parameters, values, gradients } = this.#set(set);
    for (const { value, grad } of parameters) {
      value.isFreed = true;
      grad.isFreed = true;
    }
    this.store.release(values);
    this.store.release(gradients);
  }

  createOptimizerState(set: ParameterSet, kind: OptimizerStep['kind']): OptimizerState {
    return new WebgpuOptimizerState(this.store, this.#set(set), kind);
  }

  releaseOptimizerState(_set: ParameterSet, state: OptimizerState): void {
    if (state instanceof WebgpuOptimizerState) state.release();
  }

  optimizerStep(set: ParameterSet, state: OptimizerState, options: OptimizerStep): Deferred<number> {
    requireOwnCall(set, options, 'optimizerStep');
    return this.#state(set, state).step(options);
  }

  readOptimizerState(set: ParameterSet, state: OptimizerState): Promise<OptimizerArrays> {
    return this.#state(set, state).read();
  }

  writeOptimizerState(set: ParameterSet, state: OptimizerState, arrays: OptimizerArrays): void {
    this.#state(set, state).write(arrays);
  }

  keepPace(): Promise<void> {
    return this.store.queue.keepPace();
  }

  memory(): EngineMemory {
    const { bytesInUse, peakBytes, budget } = this.store.memory;
    return { bytesInUse, peakBytes, limitBytes: budget };
  }

  resetPeak(): void {
    this.store.memory.peakBytes = this.store.memory.bytesInUse;
  }

  async dispose(): Promise<void> {
    requireIdleEngine(this, 'engine.dispose');
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    const { device, isBorrowed } = this.#open;
    this.store.queue.dispose();
    // A process that ends while the driver's threads are at work may crash.
    await device.queue.onSubmittedWorkDone().catch(() => {});
    this.store.memory.dispose();
    if (!isBorrowed) device.destroy();
  }

  #set(set: ParameterSet): WebgpuParameterSet {
    return requireOwnSet(set, WebgpuParameterSet);
  }

  #state(set: ParameterSet, state: OptimizerState): WebgpuOptimizerState {
    if (state instanceof WebgpuOptimizerState && state.set === this.#set(set)) return state;
    throw new EngineError('the optimizer state belongs to another parameter set or engine');
  }
}
