/** Moments of an optimizer on the device, in a layout of its own, and their arrays on the host. */
import { DynamicMap } from '../../formats/dynamic-map.js';
import { requireArray, stateLayout } from '../cpu/optimizer.js';
import type { OptimizerArrays, OptimizerStep } from '../engine.js';
import type { BufferRange } from './gpu-types.js';
import { chunkTable } from './parameter-chunks.js';
import type { WebgpuParameterSet } from './parameters.js';
import type { TensorStore, WebgpuTensor } from './tensor-store.js';

/** Elements that share a scale, and the words of their codes. */
const BLOCK = 256;
const BLOCK_WORDS = BLOCK / 4;

/** Elements of one parameter: where they begin on the host and on the device, in units of the array's type. */
interface Stretch {
  readonly host: number;
  readonly device: number;
  readonly length: number;
}

/** An array of the state on the host, and where it lies on the device. */
interface HostArray {
  readonly name: string;
  readonly type: typeof Float32Array | typeof Uint8Array;
  readonly length: number;
  readonly tensor: WebgpuTensor;
  readonly stretches: readonly Stretch[];
}

/** First words of what the codes' tensor holds, as adamw8bit.wgsl calls them. */
interface CodePlaces {
  readonly codes_v: number;
  readonly scales_m: number;
  readonly scales_v: number;
}

export class MomentStore {
  readonly #store: TensorStore;
  readonly #tensors: WebgpuTensor[] = [];
  readonly #tables: BufferRange[] = [];
  readonly #arrays: readonly HostArray[];
  /** Float32 moments of all parameters, or with 8 bits of the small ones. */
  readonly m: WebgpuTensor;
  readonly v: WebgpuTensor;
  /** Chunks of parameters with float32 moments; undefined if there are none. */
  readonly chunks: BufferRange | undefined;
  /** Of parameters with codes. */
  readonly codeChunks: BufferRange | undefined;
  readonly codes: { readonly tensor: WebgpuTensor; readonly places: CodePlaces } | undefined;
  /** The tables of the 8-bit codes, as adamw8bit.wgsl reads them. */
  readonly maps: BufferRange | undefined;

  /** @throws OutOfMemoryError */
  constructor(store: TensorStore, set: WebgpuParameterSet, kind: OptimizerStep['kind']) {
    this.#store = store;
    const layout = stateLayout(
      kind,
      set.parameters.map(({ size }) => size),
    );
    // With codes, or empty for parameters without.
    const codeRanges = layout.codesM?.ranges;
    const hasCodes = (index: number): boolean => codeRanges !== undefined && codeRanges[index]!.length > 0;
    let floats = 0;
    const places = set.parameters.map(({ size }, i) => {
      if (hasCodes(i)) return 0;
      const at = floats;
      floats += 4 * Math.ceil(size / 4);
      return at;
    });
    const blockCount = layout.scalesM?.ranges.reduce((sum, { length }) => sum + length, 0) ?? 0;
    try {
      this.m = this.keep(store.createLasting([floats]));
      this.v = this.keep(store.createLasting([floats]));
      this.chunks = this.#table(chunkTable(set, (_, i, at) => (hasCodes(i) ? undefined : places[i]! + at)));
      if (blockCount > 0) {
        const firstBlocks = layout.scalesM!.ranges.map(({ start }) => start);
        this.codeChunks = this.#table(
          chunkTable(set, (_, i, at) => (hasCodes(i) ? firstBlocks[i]! + at / BLOCK : undefined)),
        );
        const tensor = this.keep(store.createLasting([2 * (BLOCK_WORDS + 1) * blockCount]));
        const scales = 2 * BLOCK_WORDS * blockCount;
        const codePlaces = { codes_v: BLOCK_WORDS * blockCount, scales_m: scales, scales_v: scales + blockCount };
        this.codes = { tensor, places: codePlaces };
        this.maps = this.#table(codeMaps());
      }
    } catch (error) {
      this.release();
      throw error;
    }
    const firstBlockOf = (i: number): number => layout.scalesM!.ranges[i]!.start;
    const { codes_v, scales_m, scales_v } = this.codes?.places ?? { codes_v: 0, scales_m: 0, scales_v: 0 };
    /** By name: what holds the array, and where each parameter begins in it. */
    const held: Readonly<Record<string, readonly [WebgpuTensor | undefined, (index: number) => number]>> = {
      m: [this.m, (i) => places[i]!],
      v: [this.v, (i) => places[i]!],
      codesM: [this.codes?.tensor, (i) => BLOCK * firstBlockOf(i)],
      codesV: [this.codes?.tensor, (i) => 4 * codes_v + BLOCK * firstBlockOf(i)],
      scalesM: [this.codes?.tensor, (i) => scales_m + firstBlockOf(i)],
      scalesV: [this.codes?.tensor, (i) => scales_v + firstBlockOf(i)],
    };
    this.#arrays = Object.entries(layout)
      .filter(([name]) => name !== 'steps')
      .map(([name, { type, ranges }]) => {
        const [tensor = this.m, placeOf] = held[name]!;
        const stretches = ranges
          .map(({ start, length }, i) => ({ host: start, length, device: length > 0 ? placeOf(i) : 0 }))
          .filter(({ length }) => length > 0);
        const length = stretches.reduce((sum, stretch) => sum + stretch.length, 0);
        return { name, type, length, tensor, stretches };
      });
  }

  /** Is released with the moments. */
  keep(tensor: WebgpuTensor): WebgpuTensor {
    this.#tensors.push(tensor);
    return tensor;
  }

  /** Copies of the arrays. */
  async read(): Promise<OptimizerArrays> {
    const held = new Map<WebgpuTensor, Promise<ArrayBuffer>>();
    for (const { tensor } of this.#arrays) {
      if (!held.has(tensor)) held.set(tensor, this.#store.queue.download(tensor.range, 4 * tensor.size)());
    }
    const arrays: OptimizerArrays = {};
    for (const { name, type, length, tensor, stretches } of this.#arrays) {
      const own = new type(length);
      const all = new type(await held.get(tensor)!);
      for (const { host, device, length } of stretches) own.set(all.subarray(device, device + length), host);
      arrays[name] = own;
    }
    return arrays;
  }

  /** @throws EngineError if an array is missing or does not fit: then nothing was written */
  write(arrays: OptimizerArrays): void {
    for (const { name, type, length } of this.#arrays) requireArray(name, arrays[name], type, length);
    const held = new Map<WebgpuTensor, ArrayBuffer>();
    for (const { name, type, tensor, stretches } of this.#arrays) {
      const bytes = held.get(tensor) ?? new ArrayBuffer(4 * tensor.size);
      held.set(tensor, bytes);
      const all = new type(bytes);
      const own = arrays[name]!;
      for (const { host, device, length } of stretches) all.set(own.subarray(host, host + length), device);
    }
    for (const [tensor, bytes] of held)
      if (tensor.size > 0) this.#store.queue.upload(tensor.range, new Uint8Array(bytes));
  }

  release(): void {
    for (const tensor of this.#tensors.splice(0)) this.#store.release(tensor);
    // What is queued may still read them.
    if (this.#tables.length > 0) this.#store.queue.flush();
    for (const table of this.#tables.splice(0)) this.#store.memory.freeFixed(table);
  }

  /** A table that stays; undefined for one without entries. */
  #table(values: Uint32Array | Float32Array): BufferRange | undefined {
    if (values.length === 0) return undefined;
    const range = this.#store.memory.createFixed(values.byteLength);
    this.#tables.push(range);
    this.#store.queue.upload(range, values);
    return range;
  }
}

/** Values of the signed map, its midpoints as a search tree, and the same of the unsigned map. */
function codeMaps(): Float32Array {
  const maps = new Float32Array(1024);
  for (const [i, { values, midpoints }] of [new DynamicMap(true), new DynamicMap(false)].entries()) {
    maps.set(values, 512 * i);
    for (let node = 1; node < 256; node++) maps[512 * i + 256 + node] = midpoints[midpointOf(node)]!;
  }
  return maps;
}

/** Index of the midpoint at a node of the search tree: level by level from the root, node 1. */
function midpointOf(node: number): number {
  const level = 31 - Math.clz32(node);
  return (node - (1 << level)) * (256 >> level) + (128 >> level) - 1;
}
