/**
 * The `tfjs` engine: every operation composed from a TensorFlow.js namespace that the caller brings
 * (`@tensorflow/tfjs-node`, `tfjs-node-gpu` or `tfjs`). float32 throughout; frozen weights are widened when they are
 * loaded, so a model takes 4 bytes a parameter (docs/engines.md has the table), and one that cannot fit is refused
 * before its first weight is read.
 * On NVIDIA cards from Ampere on, TensorFlow rounds the factors of its products to TF32 unless the environment
 * variable NVIDIA_TF32_OVERRIDE is 0.
 */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions } from '../../config.js';
import { EngineError, reasonOf } from '../../errors.js';
import type { WeightSource } from '../../formats/weight-source.js';
import { CountingEngine } from '../counted-tensors.js';
import type {
  Deferred,
  Engine,
  EngineMemory,
  ModelShapes,
  OptimizerArrays,
  OptimizerState,
  OptimizerStep,
  StorageCosts,
} from '../engine.js';
import { freeHostMemory, hostMemory } from '../host-memory.js';
import { memoryBudgetSchema } from '../memory-budget.js';
import type { Operations } from '../operations.js';
import { layOut, requireOwnSet, requireValues, sizeOfAll } from '../parameter-layout.js';
import { noteChange, requireIdleEngine, requireNotTraining, requireOwnCall } from '../parameter-lease.js';
import { checkDistinctRows } from '../row-lists.js';
import {
  type Parameter,
  type ParameterSet,
  type ParameterSpec,
  requireFilled,
  type Tensor,
  type Weight,
} from '../tensor.js';
import { float32Needs, requireFloat32Room } from './float32-needs.js';
import { HostOptimizer } from './host-optimizer.js';
import { replaceRows } from './operations/rows.js';
import { tfjsOperations } from './operations.js';
import { TensorStore, type TfjsTensor } from './tensor-store.js';
import { asTfNamespace, type TfNamespace } from './tf-namespace.js';

/** The wasm backend's heap ends at 4 GiB, and past it tensors overlap without an error: stop well before. */
const WASM_BYTES = 3 * 2 ** 30;
/** 64 MiB an array: the logits of 128 rows of Ministral's vocabulary. */
const BLOCK_ELEMENTS = 1 << 24;
/** Options of the `tfjs` engine: `createEngine('tfjs', { tf, tfjs: … })`. */
export interface TfjsEngineOptions {
  /**
   * What `import * as tf from '@tensorflow/tfjs-node'` gives; another backend is chosen with `tf.setBackend` before.
   * Required.
   */
  tf: TfNamespace;
  /**
   * Most bytes that weights, tensors and temporaries may take. Default: 3 GiB on wasm, on a CPU what the host has, on a
   * GPU no bound, because TensorFlow.js does not know what the card has.
   */
  memoryBudget?: number;
  /**
   * LoRA rank, on every linear layer, that must have room beside a model's weights; 0 if nothing is trained.
   * Default: 16.
   */
  adapterRank?: number;
  /** Most attention scores or logits in one array; about four such arrays live at a time. Default: 2^24. */
  blockElements?: number;
}

const optionsSchema = z.strictObject({
  memoryBudget: memoryBudgetSchema().optional(),
  adapterRank: z.int().nonnegative().optional(),
  blockElements: z.int().positive().optional(),
} satisfies Record<Exclude<keyof TfjsEngineOptions, 'tf'>, z.ZodType>);
type _Input = NoMismatch<Mismatch<Given<z.input<typeof optionsSchema>>, Given<Omit<TfjsEngineOptions, 'tf'>>>>;

/** Values live on the host as well: the optimizer runs there, and uploads what it changed. */
class TfjsParameterSet implements ParameterSet {
  readonly parameters: readonly (Parameter & { readonly value: TfjsTensor; readonly grad: TfjsTensor })[];
  readonly size: number;
  readonly values: Float32Array;
  isReleased = false;

  constructor(parameters: TfjsParameterSet['parameters'], values: Float32Array) {
    this.parameters = parameters;
    this.size = values.length;
    this.values = values;
  }
}

/** Where TensorFlow.js computes, by what that means for memory. */
type Place = 'host' | 'wasm' | 'device';

interface Settings {
  readonly place: Place;
  readonly memoryBudget: number;
  /** Whether the user gave the budget: then what is free at the moment does not count. */
  readonly isBudgetGiven: boolean;
  readonly adapterRank: number;
  readonly blockElements: number;
}

export class TfjsEngine extends CountingEngine implements Engine {
  readonly name = 'tfjs';
  readonly tokensPerPass = 0;
  readonly storage: StorageCosts;
  readonly description: string;
  readonly operations: Operations;
  readonly #store: TensorStore;
  readonly #settings: Settings;

  constructor(tf: TfNamespace, settings: Settings) {
    const store = new TensorStore(tf, settings.memoryBudget);
    super(store);
    this.#store = store;
    this.#settings = settings;
    this.operations = tfjsOperations(this.#store, settings.blockElements);
    this.storage = {
      elementBytes: 4,
      rematerializes: false,
      keepsMasks: false,
      logits: { most: settings.blockElements, bytes: 16 },
      temporaries: 4,
      // About four arrays of attention scores live at a time.
      scratchBytes: 16 * settings.blockElements,
      rowTile: 1,
      // A tenth of no bound is none either, and would leave no room to any pass.
      reserveBytes: Number.isFinite(settings.memoryBudget) ? Math.round(0.1 * settings.memoryBudget) : 0,
    };
    const { version } = tf as { version?: { tfjs?: string; 'tfjs-core'?: string } };
    const release = version?.tfjs ?? version?.['tfjs-core'];
    const backend = `backend ${tf.getBackend()}${whereOf(tf)}`;
    const budget = Number.isFinite(settings.memoryBudget)
      ? `up to ${(settings.memoryBudget / 1e9).toFixed(1)} GB`
      : 'memory unknown: set memoryBudget for an error before it runs out';
    this.description = `tfjs: float32, TensorFlow.js${release ? ` ${release}` : ''}, ${backend}, ${budget}`;
  }

  fromArray(data: Float32Array, shape: readonly number[]): Tensor {
    requireFilled(data, shape, 'fromArray');
    return this.#store.fromArray(data, shape);
  }

  zeros(shape: readonly number[]): Tensor {
    return this.#store.one('zeros', (tf) => tf.zeros([...shape]));
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    return new Float32Array(await this.#store.use(tensor, 'read').data.data());
  }

  addInPlace(target: Tensor, source: Tensor): void {
    const to = this.#store.use(target, 'addInPlace', 'target');
    const from = this.#store.like(source, to, 'addInPlace', 'source');
    this.#store.replace(to, (tf, old) => tf.add(old, from.data), 'addInPlace');
    to.isTouched = true;
  }

  /** Copies the whole target: TensorFlow.js has no writing in place. */
  writeRows(target: Tensor, source: Tensor, rows: Int32Array): void {
    const to = this.#store.matrix(target, 'writeRows', 'target');
    const from = this.#store.matrix(source, 'writeRows', 'source', { rows: rows.length, columns: to.shape[1]! });
    checkDistinctRows(rows, to.shape[0]!, 'writeRows');
    this.#store.replace(to, (tf, old) => replaceRows(tf, old, from.data, rows), 'writeRows');
  }

  /** @throws OutOfMemoryError if a model of these shapes cannot fit as float32 */
  requireRoom(model: ModelShapes): void {
    const { place, memoryBudget, isBudgetGiven, adapterRank, blockElements } = this.#settings;
    const needs = float32Needs(model, { rank: adapterRank, blockElements, onHost: place === 'host' });
    const budgeted = memoryBudget - this.#store.bytesInUse;
    const free = isBudgetGiven || place !== 'host' ? Number.POSITIVE_INFINITY : freeHostMemory();
    if (free < budgeted) requireFloat32Room(needs, free, 'the host has free', adapterRank);
    else requireFloat32Room(needs, budgeted, 'the memory budget leaves', adapterRank);
  }

  /**
   * Widens the weight to float32.
   * @throws EngineError with the arithmetic if it does not fit beside what is held
   */
  async loadWeight(source: WeightSource): Promise<Weight> {
    return this.#store.loadWeight(source);
  }

  async readWeight(weight: Weight): Promise<Float32Array> {
    return new Float32Array(await this.#store.weights.use(weight, 'readWeight').values().data());
  }

  releaseWeight(weight: Weight): void {
    this.#store.releaseWeight(weight);
  }

  createParameters(specs: readonly ParameterSpec[]): ParameterSet {
    const values = new Float32Array(sizeOfAll(specs));
    const parameters = layOut(specs, ({ shape, initial }, offset) => {
      values.set(initial, offset);
      const value = this.#store.fromArray(initial, shape, true);
      return { value, grad: this.#store.fromArray(new Float32Array(initial.length), shape, true) };
    });
    return new TfjsParameterSet(parameters, values);
  }

  async readParameters(set: ParameterSet): Promise<Float32Array> {
    return this.#set(set).values.slice();
  }

  writeParameters(set: ParameterSet, values: Float32Array): void {
    const known = this.#set(set);
    requireValues(known, values);
    noteChange(set);
    known.values.set(values);
    for (const { value, offset, size } of known.parameters) this.#upload(value, values.subarray(offset, offset + size));
  }

  /** What has been read TensorFlow.js also gives synchronously, which its backend webgpu else does in browsers alone. */
  async readGradients(set: ParameterSet): Promise<Float32Array> {
    const { size, parameters } = this.#set(set);
    const flat = new Float32Array(size);
    const read = async ({ grad, offset }: TfjsParameterSet['parameters'][number]): Promise<void> => {
      if (grad.isTouched) flat.set(await grad.data.data(), offset);
    };
    await Promise.all(parameters.map(read));
    return flat;
  }

  zeroGradients(set: ParameterSet): void {
    noteChange(set);
    for (const { grad } of this.#set(set).parameters) {
      if (!grad.isTouched) continue;
      this.#store.replace(grad, (tf) => tf.zeros([...grad.shape]), 'zeroGradients');
      grad.isTouched = false;
    }
  }

  releaseParameters(set: ParameterSet): void {
    requireNotTraining(set, 'releaseParameters: the set');
    const known = this.#set(set);
    known.isReleased = true;
    for (const { value, grad } of known.parameters) {
      this.#store.free(value);
      this.#store.free(grad);
    }
  }

  createOptimizerState(set: ParameterSet, kind: OptimizerStep['kind']): OptimizerState {
    return new HostOptimizer(kind, this.#set(set).parameters);
  }

  releaseOptimizerState(): void {
    // Ordinary memory: it goes with the state.
  }

  optimizerStep(set: ParameterSet, state: OptimizerState, options: OptimizerStep): Deferred<number> {
    requireOwnCall(set, options, 'optimizerStep');
    const known = this.#set(set);
    const touched = known.parameters.map(({ grad }) => grad.isTouched);
    const { norm, changed } = this.#state(known, state).step(known.values, this.#gradients(known), touched, options);
    for (const [i, { value, offset, size }] of known.parameters.entries()) {
      if (changed && touched[i]) this.#upload(value, known.values.subarray(offset, offset + size));
    }
    return () => Promise.resolve(norm);
  }

  async readOptimizerState(set: ParameterSet, state: OptimizerState): Promise<OptimizerArrays> {
    return this.#state(this.#set(set), state).toArrays();
  }

  writeOptimizerState(set: ParameterSet, state: OptimizerState, arrays: OptimizerArrays): void {
    this.#state(this.#set(set), state).fromArrays(arrays);
  }

  memory(): EngineMemory {
    const { bytesInUse, peakBytes, memoryBudget } = this.#store;
    return { bytesInUse, peakBytes, limitBytes: memoryBudget };
  }

  resetPeak(): void {
    this.#store.peakBytes = this.#store.bytesInUse;
  }

  /** Frees what the engine made; the namespace stays usable. */
  async dispose(): Promise<void> {
    requireIdleEngine(this, 'engine.dispose');
    this.#store.dispose();
  }

  #upload(target: TfjsTensor, values: Float32Array): void {
    this.#store.replace(target, (tf) => tf.tensor(values.slice(), [...target.shape], 'float32'), 'upload');
  }

  #gradients(set: TfjsParameterSet): Float32Array {
    const flat = new Float32Array(set.size);
    try {
      for (const { grad, offset } of set.parameters) if (grad.isTouched) flat.set(grad.data.dataSync(), offset);
    } catch (cause) {
      throw new EngineError(`optimizerStep: TensorFlow.js cannot read gradients synchronously: ${reasonOf(cause)}`, {
        hint: 'its backend webgpu cannot outside of a browser: await engine.readGradients(set) before, or take another backend',
        cause,
      });
    }
    return flat;
  }

  #state(set: TfjsParameterSet, state: OptimizerState): HostOptimizer {
    if (state instanceof HostOptimizer && state.parameters === set.parameters) return state;
    throw new EngineError('the optimizer state belongs to another parameter set or engine');
  }

  #set(set: ParameterSet): TfjsParameterSet {
    return requireOwnSet(set, TfjsParameterSet);
  }
}

/**
 * @throws ConfigError for options that are wrong
 * @throws EngineError if `tf` is not the namespace, or none of its backends can be used
 */
export async function createTfjsEngine(options: TfjsEngineOptions): Promise<TfjsEngine> {
  const { tf: namespace, ...others } = options;
  const given = parseOptions(optionsSchema, others, 'tfjs engine');
  const tf = asTfNamespace(namespace);
  await tf.ready();
  const place = placeOf(tf);
  const known = { host: hostMemory(), wasm: WASM_BYTES, device: Number.POSITIVE_INFINITY };
  const { memoryBudget = known[place], adapterRank = 16, blockElements = BLOCK_ELEMENTS } = given;
  const isBudgetGiven = given.memoryBudget !== undefined;
  return new TfjsEngine(tf, { place, memoryBudget, isBudgetGiven, adapterRank, blockElements });
}

/** What the backend of tfjs-node and tfjs-node-gpu reports. */
function nativeBackend(tf: TfNamespace): { isGPUPackage?: boolean; isUsingGpuDevice?: boolean } {
  return tf.backend?.() ?? {};
}

function placeOf(tf: TfNamespace): Place {
  const name = tf.getBackend();
  if (name === 'wasm') return 'wasm';
  const isHost = name === 'cpu' || (name === 'tensorflow' && !nativeBackend(tf).isUsingGpuDevice);
  return isHost ? 'host' : 'device';
}

function whereOf(tf: TfNamespace): string {
  if (tf.getBackend() !== 'tensorflow') return '';
  const { isGPUPackage, isUsingGpuDevice } = nativeBackend(tf);
  if (isUsingGpuDevice) return ' on a GPU';
  // It falls back silently where a card or a library is missing.
  return isGPUPackage ? ' on the CPU, because it found no GPU or not the libraries of CUDA 11.2' : ' on the CPU';
}
