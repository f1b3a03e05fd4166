/**
 * AdamW on the device, over the flat buffers of a parameter set: the 32-bit optimizer of torch and the block-wise 8-bit
 * one of bitsandbytes, as cpu/optimizer.ts. A step queues the norm, the clipping factor and one launch for all values;
 * which parameters take part, and the steps that each has done, are counted here.
 */
import { EngineError } from '../../errors.js';
import { DynamicMap } from '../../formats/dynamic-map.js';
import { KERNELS } from '../../generated/kernel-launchers.js';
import { AdamW8bitState, requireArray } from '../cpu/optimizer.js';
import {
  type Deferred,
  learningRateOf,
  type OptimizerArrays,
  type OptimizerState,
  type OptimizerStep,
} from '../engine.js';
import type { SquaredGradients } from '../split/part-engine.js';
import type { CudaParameterSet } from './adapters.js';
import { type DevicePointer, offset } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';
import type { CudaTensor } from './tensors.js';

/** Elements that a block of adamw and adamw8bit updates. */
const CHUNK = 2048;
const CHUNK_WORDS = 8;
/** Settings of a parameter in a step. */
const SETTING_WORDS = 4;
/** Partial sums of the norm at most, without that of the guard. */
const MAX_NORM_BLOCKS = 1024;
const HOLDER = 'optimizer state';

/** Sums of squares on a card, 8 bytes each. */
class CardSquares implements SquaredGradients {
  readonly store: TensorStore;
  readonly address: DevicePointer;
  readonly count: number;

  constructor(store: TensorStore, address: DevicePointer, count: number) {
    this.store = store;
    this.address = address;
    this.count = count;
  }
}

/** An array of the state: where it lies, and its type on the host. */
interface StateArray {
  readonly block: DeviceBlock;
  readonly length: number;
  readonly type: typeof Float32Array | typeof Uint8Array;
}

export class CudaOptimizerState implements OptimizerState {
  readonly kind: OptimizerStep['kind'];
  readonly set: CudaParameterSet;
  readonly steps: Float32Array;
  readonly arrays: Readonly<Record<string, StateArray>>;
  readonly #store: TensorStore;
  /** The table of chunks, the tables of the 8-bit codes, and room for the norm and its partial sums. */
  readonly #chunks: DeviceBlock;
  readonly #chunkCount: number;
  readonly #maps: DeviceBlock | undefined;
  readonly #norm: DeviceBlock;
  /** Held for all steps: a step that is queued behind sums of other ranks must not need memory that is to be waited for. */
  readonly #settingsTable: DeviceBlock;
  readonly #blocks: DeviceBlock[] = [];
  #isReleased = false;

  constructor(store: TensorStore, set: CudaParameterSet, kind: OptimizerStep['kind']) {
    this.#store = store;
    this.set = set;
    this.kind = kind;
    this.steps = new Float32Array(set.parameters.length);
    // Where each parameter's 8-bit moments lie: as on the cpu, so that a run may change engines.
    const host = kind === 'adamw8bit' ? new AdamW8bitState(set.parameters.map(({ size }) => size)) : undefined;
    const chunks = chunkTable(set, host?.slots);
    this.#chunkCount = chunks.length / CHUNK_WORDS;
    const keep = (block: DeviceBlock): DeviceBlock => {
      this.#blocks.push(block);
      return block;
    };
    const allocate = (bytes: number): DeviceBlock => keep(store.allocator.allocate(bytes, HOLDER));
    try {
      const array = (type: StateArray['type'], length: number): StateArray => {
        const bytes = length * type.BYTES_PER_ELEMENT;
        const block = allocate(bytes);
        store.driver.fillBytes(block.address, 0, bytes);
        return { block, length, type };
      };
      this.arrays = Object.fromEntries(
        host
          ? Object.entries(host.toArrays()).map(([name, own]) => [
              name,
              array(own instanceof Uint8Array ? Uint8Array : Float32Array, own.length),
            ])
          : ['m', 'v'].map((name) => [name, array(Float32Array, set.size)]),
      );
      this.#chunks = keep(store.table(chunks, HOLDER));
      this.#norm = allocate(8 + 8 * (MAX_NORM_BLOCKS + 1));
      this.#settingsTable = allocate(4 * SETTING_WORDS * Math.max(1, set.parameters.length));
      if (kind === 'adamw8bit') {
        const tables = [new DynamicMap(true), new DynamicMap(false)].flatMap(({ values, midpoints }) => [
          values,
          midpoints,
        ]);
        this.#maps = allocate(4 * 1024);
        for (const [i, table] of tables.entries()) store.staging.upload(offset(this.#maps.address, 1024 * i), table);
      }
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Queues the sums of squares of the gradients; where other ranks have a part in these, the guard's is the last. */
  squaredGradients(): CardSquares {
    const { gradients, size, guard } = this.set;
    // The norm and the factor first, then the partial sums, 8 bytes each.
    const partials = offset(this.#norm.address, 8);
    const count = Math.max(1, Math.min(MAX_NORM_BLOCKS, Math.ceil(size / 1024)));
    this.#store.kernels.launch(KERNELS.squaredNorm, [count], { partials, grads: gradients.address, n: size });
    guard?.copyTo(offset(partials, 8 * count));
    return new CardSquares(this.#store, partials, guard ? count + 1 : count);
  }

  /** Norm and factor of all parts together, from their sums in order. */
  #clip({ maxGradNorm }: OptimizerStep, parts: readonly SquaredGradients[]): void {
    const { allocator, kernels } = this.#store;
    const count = parts.reduce((sum, part) => sum + part.count, 0);
    const sums = allocator.allocate(8 * count, HOLDER);
    try {
      let at = 0;
      for (const part of parts) {
        if (!(part instanceof CardSquares)) throw new EngineError('optimizerStep: sums of another kind of engine');
        this.#store.copyFrom(offset(sums.address, at), part.address, 8 * part.count, part.store);
        at += 8 * part.count;
      }
      const parameters = { norm: this.#norm.address, partials: sums.address, count, maxNorm: maxGradNorm };
      kernels.launch(KERNELS.clipScale, [1], parameters);
    } finally {
      allocator.free(sums);
    }
  }

  /** @param parts of a set in parts: what was queued for all of them. Default: the set is whole */
  step(options: OptimizerStep, parts?: readonly SquaredGradients[]): Deferred<number> {
    if (this.kind !== options.kind) {
      throw new EngineError(`optimizerStep: the state is of ${this.kind}, the step of ${options.kind}`);
    }
    const { kernels, staging } = this.#store;
    const { values, gradients } = this.set;
    const norm = this.#norm.address;
    if (parts) this.#clip(options, parts);
    else {
      const { address: partials, count } = this.squaredGradients();
      kernels.launch(KERNELS.clipScale, [1], { norm, partials, count, maxNorm: options.maxGradNorm });
    }
    const { settings, active } = this.#settings(options);
    staging.upload(this.#settingsTable.address, settings);
    const at = (name: string): DevicePointer => this.arrays[name]!.block.address;
    const { beta1, beta2, eps } = options;
    const common = {
      ...{ values: values.address, grads: gradients.address, m: at('m'), v: at('v') },
      ...{ chunks: this.#chunks.address, settings: this.#settingsTable.address, norm, beta2 },
    };
    const grid = [this.#chunkCount] as const;
    const update: Readonly<Record<OptimizerStep['kind'], () => void>> = {
      adamw: () => kernels.launch(KERNELS.adamw, grid, { ...common, take1: 1 - beta1, take2: 1 - beta2, eps }),
      adamw8bit: () =>
        kernels.launch(KERNELS.adamw8bit, grid, {
          ...common,
          ...{ codesM: at('codesM'), codesV: at('codesV'), scalesM: at('scalesM'), scalesV: at('scalesV') },
          ...{ maps: this.#maps!.address, beta1 },
        }),
    };
    update[this.kind]();
    this.set.version++;
    const arrival = staging.download(norm, 4);
    let isCounted = false;
    return async () => {
      const result = new Float32Array(await arrival.arrive())[0]!;
      // The device left everything as it was, so these steps did not happen.
      if (!Number.isFinite(result) && !isCounted) for (const i of active) this.steps[i]! -= 1;
      isCounted = true;
      return result;
    };
  }

  /** Four values for each parameter (kernels/README.md), and the parameters that take part. */
  #settings(options: OptimizerStep): { settings: Float32Array; active: number[] } {
    const { beta1, beta2, eps, weightDecay } = options;
    const settings = new Float32Array(SETTING_WORDS * this.steps.length);
    const active: number[] = [];
    for (const [i, { grad }] of this.set.parameters.entries()) {
      if (!(grad as CudaTensor).isTouched) continue;
      active.push(i);
      const learningRate = learningRateOf(options, i);
      const t = ++this.steps[i]!;
      const first = 1 - beta1 ** t;
      const second = Math.sqrt(1 - beta2 ** t);
      const decay = 1 - learningRate * weightDecay;
      const factors: Readonly<Record<OptimizerStep['kind'], readonly [number, number]>> = {
        adamw: [-learningRate / first, second],
        adamw8bit: [(-learningRate * second) / first, second * eps],
      };
      settings.set([...factors[this.kind], decay, 1], SETTING_WORDS * i);
    }
    return { settings, active };
  }

  async read(): Promise<OptimizerArrays> {
    const entries = Object.entries(this.arrays).map(([name, { block, length, type }]) => {
      const bytes = this.#store.staging.download(block.address, length * type.BYTES_PER_ELEMENT);
      return async () => [name, new type(await bytes.arrive())] as const;
    });
    const steps = this.steps.slice();
    return { steps, ...Object.fromEntries(await Promise.all(entries.map((entry) => entry()))) };
  }

  /** @throws EngineError if an array is missing or has another length: then nothing was written */
  write(arrays: OptimizerArrays): void {
    requireArray('steps', arrays.steps, Float32Array, this.steps.length);
    for (const [name, { length, type }] of Object.entries(this.arrays)) requireArray(name, arrays[name], type, length);
    this.steps.set(arrays.steps!);
    for (const [name, { block }] of Object.entries(this.arrays))
      this.#store.staging.upload(block.address, arrays[name]!);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    for (const block of this.#blocks) this.#store.allocator.free(block);
  }
}

/** {parameter, first element, elements, quantised, first element of the state, first block of scales, 0, 0}. */
function chunkTable(set: CudaParameterSet, slots?: AdamW8bitState['slots']): Int32Array {
  const count = set.parameters.reduce((sum, { size }) => sum + Math.ceil(size / CHUNK), 0);
  const words = new Int32Array(CHUNK_WORDS * count);
  let end = 0;
  for (const [parameter, { offset, size }] of set.parameters.entries()) {
    const slot = slots?.[parameter];
    for (let at = 0; at < size; at += CHUNK) {
      const elements = Math.min(CHUNK, size - at);
      const state = slot ? [slot.quantised ? 1 : 0, slot.start + at, slot.firstBlock + at / 256] : [0, offset + at, 0];
      words.set([parameter, offset + at, elements, ...state], end);
      end += CHUNK_WORDS;
    }
  }
  return words;
}

/**
 * Which parameters are zero throughout, found on the device: reading hundreds of megabytes back would take seconds.
 * @param of the set's values or gradients
 */
export async function zeroParameters(
  store: TensorStore,
  set: CudaParameterSet,
  of: 'values' | 'gradients',
): Promise<boolean[]> {
  const chunks = chunkTable(set);
  const count = chunks.length / CHUNK_WORDS;
  const zero = set.parameters.map(() => true);
  if (count === 0) return zero;
  const largest = store.createF32([count]);
  store.withTable(chunks, (table) => {
    const parameters = { largest: largest.address, x: set[of].address, chunks: table };
    store.kernels.launch(KERNELS.largestMagnitude, [count], parameters);
  });
  const arrival = store.staging.download(largest.address, 4 * count);
  store.release(largest);
  const magnitudes = new Float32Array(await arrival.arrive());
  // The first word of a chunk is its parameter.
  for (let i = 0; i < count; i++) if (magnitudes[i] !== 0) zero[chunks[CHUNK_WORDS * i]!] = false;
  return zero;
}
