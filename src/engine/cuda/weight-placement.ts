/**
 * Decides which weights of a model stay on the device and which in host memory, from where decoder layers are streamed
 * and rows of the embedding are uploaded. Pure: sizes in, placement out.
 */
import { OutOfMemoryError } from '../../errors.js';
import { sizeOf, type WeightSource } from '../../formats/weight-source.js';
import { formatBytes } from '../../messages/format-bytes.js';
import { roundUp } from '../arena.js';
import { LESS_MEMORY } from '../reserve.js';
import { ROW_MULTIPLE } from './tensor-store.js';
import { ELEMENT_BYTES } from './tensors.js';

/** What may leave the device; see `CudaEngineOptions.offload`. */
export type Offload =
  | 'auto'
  | 'none'
  | { readonly embedding?: boolean; readonly layers?: number; readonly activations?: boolean };

interface Placement {
  /** Whether lookup-only tables are in host memory. */
  readonly embedding: boolean;
  /** Decoder layers that are streamed. */
  readonly layers: ReadonlySet<number>;
  /** Streamed layers on the device at a time: one is used while the next ones are copied. */
  readonly slots: number;
}

/** One layer is used while the next one is copied. A third slot takes the room of a layer, and gains nothing for it. */
const SLOTS = 2;

/** Layers are streamed only if a pass of so many tokens, fully recomputed, does not fit beside the weights. */
const LEAST_TOKENS = 2560;
/** The same for the embedding; also the pass that streaming makes room for, as further passes stream again. */
const USUAL_TOKENS = 4096;
/** Tokens of a long sample. */
const SAMPLE_TOKENS = 1024;

interface PlacementOptions {
  readonly offload: Offload;
  /** Free bytes for weights and training. */
  readonly roomBytes: number;
  /** Bytes of a budget that are taken already. */
  readonly overheadBytes: number;
  /** Spare columns per adapted weight of a matrix. */
  readonly spareColumns: number;
  /**
   * Bytes of training with a usual adapter, without the weights, in passes of so many tokens; with `offloadInputs` the
   * inputs of recomputed layers are in host memory.
   */
  readonly trainingBytes: (tokens: number, offloadInputs?: boolean) => number;
}

interface Sizes {
  /** Bytes that always stay on the device. */
  fixed: number;
  /** Bytes of lookup-only tables. */
  lookup: number;
  /** Bytes that the largest quantised matrix takes when it is dequantised. */
  scratch: number;
  /** By decoder layer that can be streamed. */
  readonly layers: Map<number, LayerSizes>;
}

interface LayerSizes {
  bytes: number;
  /** Bytes of scale·B, which stays on the device when the layer is streamed. */
  adapters: number;
  /** Bytes by form of a matrix: matrices of one form use the same memory of a slot. */
  readonly forms: Map<string, number>;
}

/** @throws OutOfMemoryError if no placement fits */
export function placeWeights(sources: readonly WeightSource[], options: PlacementOptions): Placement {
  const { offload, roomBytes, overheadBytes, trainingBytes } = options;
  const { fixed, lookup, scratch, layers } = sizesOf(sources, options.spareColumns);
  const order = [...layers.keys()].sort((a, b) => a - b);
  const slot = sum(formsOf([...layers.values()]).values());
  /** Bytes on the device with `streamed` layers streamed. */
  const held = (isLookedUpOnHost: boolean, streamed: number): number => {
    const chosen = spread(order, streamed);
    let bytes = fixed + (isLookedUpOnHost ? 0 : lookup) + Math.min(streamed, SLOTS) * slot;
    for (const [layer, size] of layers) bytes += chosen.has(layer) ? size.adapters : size.bytes;
    return bytes;
  };
  const training = (tokens: number, offloadInputs?: boolean): number => scratch + trainingBytes(tokens, offloadInputs);
  if (offload === 'none') return { embedding: false, layers: new Set(), slots: 0 };
  if (offload !== 'auto') {
    const { embedding = false, layers: count = 0 } = offload;
    const streamed = Math.min(count, order.length);
    return { embedding, layers: spread(order, streamed), slots: Math.min(SLOTS, streamed) };
  }
  const usual = training(USUAL_TOKENS);
  const embedding = held(false, 0) + usual > roomBytes;
  if (held(embedding, 0) + training(LEAST_TOKENS) <= roomBytes) return { embedding, layers: new Set(), slots: 0 };
  // Streaming no more layers than there are slots saves nothing.
  for (let count = SLOTS + 1; count <= order.length; count++) {
    if (held(true, count) + usual <= roomBytes) return { embedding: true, layers: spread(order, count), slots: SLOTS };
  }
  const least = held(true, order.length);
  if (least > roomBytes) {
    const trains = Math.ceil(least + overheadBytes + training(SAMPLE_TOKENS, true));
    throw new OutOfMemoryError(
      `the weights do not fit: they need ${formatBytes(least)} on the card with ` +
        `${order.length === 0 ? 'no layer' : 'every decoder layer'} streamed from host memory, and ` +
        `${formatBytes(roomBytes)} are free`,
      {
        hint:
          `The smallest memoryBudget that loads them is ${formatBytes(least + overheadBytes)}; to train on samples of ` +
          `up to ${SAMPLE_TOKENS} tokens, ${formatBytes(trains)}.`,
        neededBytes: least,
        freeBytes: roomBytes,
        limitBytes: roomBytes,
        details: { smallestBudgetBytes: trains },
      },
    );
  }
  const all = order.length > SLOTS ? order.length : 0;
  return { embedding: true, layers: spread(order, all), slots: Math.min(SLOTS, all) };
}

/** Bytes that would be streamed with the share LESS_MEMORY of the room; undefined if the weights would not fit. */
export function streamedWithLess(sources: readonly WeightSource[], options: PlacementOptions): number | undefined {
  const { roomBytes, overheadBytes } = options;
  const less = LESS_MEMORY * (roomBytes + overheadBytes) - overheadBytes;
  try {
    const { layers } = placeWeights(sources, { ...options, roomBytes: less });
    const sizes = sizesOf(sources, options.spareColumns).layers;
    return sum([...layers].map((layer) => sizes.get(layer)!.bytes - sizes.get(layer)!.adapters));
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    return undefined;
  }
}

/** `count` layers, evenly spread, so that copies overlap with the layers between. */
function spread(order: readonly number[], count: number): Set<number> {
  const share = (i: number): number => Math.floor((i * count) / Math.max(1, order.length));
  return new Set(order.filter((_, i) => share(i + 1) > share(i)));
}

/** Whether the weight may be placed in host memory: matrices of layers in any format, tables as bf16 only. */
export function mayLeave(source: WeightSource): boolean {
  const { shape, usage } = source;
  return usage !== undefined && shape.length > 1 && (usage !== 'lookup' || formatOf(source) === 'bf16');
}

function formatOf({ dtype, hold }: WeightSource): 'bf16' | keyof typeof HELD_BYTES {
  return hold?.format ?? (dtype === 'nf4' ? 'nf4' : 'bf16');
}

function sizesOf(sources: readonly WeightSource[], spareColumns: number): Sizes {
  const sizes: Sizes = { fixed: 0, lookup: 0, scratch: 0, layers: new Map() };
  for (const source of sources) {
    const bytes = bytesOf(source, spareColumns);
    const { usage, shape, stack } = source;
    const format = formatOf(source);
    const rows = sizeOf(shape.slice(0, -1));
    const spare = spareOf(source, spareColumns);
    if (format !== 'bf16' && shape.length > 1) {
      const columns = roundUp(shape.at(-1)!, ROW_MULTIPLE) + spare;
      sizes.scratch = Math.max(sizes.scratch, ELEMENT_BYTES.bf16 * (stack?.rows ?? rows) * columns);
    }
    if (usage === undefined || !mayLeave(source)) sizes.fixed += bytes;
    else if (usage === 'lookup') sizes.lookup += bytes;
    else {
      const layer = sizes.layers.get(usage.layer) ?? { bytes: 0, adapters: 0, forms: new Map() };
      sizes.layers.set(usage.layer, layer);
      const adapters = ELEMENT_BYTES.bf16 * rows * spare;
      layer.bytes += bytes;
      layer.adapters += adapters;
      let form = `${format} ${shape.join('×')}`;
      while (layer.forms.has(form)) form += "'";
      // The slot of a bf16 matrix has the columns of scale·B as well.
      layer.forms.set(form, format === 'bf16' ? bytes : bytes - adapters);
    }
  }
  return sizes;
}

/** The forms of all layers together. */
function formsOf(layers: readonly LayerSizes[]): Map<string, number> {
  return new Map(layers.flatMap(({ forms }) => [...forms]));
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((total, value) => total + value, 0);
}

/** Bytes per value; nf4 with double quantisation in blocks of 64, rounded up. */
const HELD_BYTES = { nf4: 0.5 + 1.1 / 64, f8_e4m3: 1 } as const;

/** Columns of scale·B; a stack reserves them for three weights. */
function spareOf({ stack }: WeightSource, spareColumns: number): number {
  return spareColumns * (stack ? 3 : 1);
}

/** Bytes of a weight on the device. @param spareColumns per adapted weight of a matrix */
export function bytesOf(source: WeightSource, spareColumns: number): number {
  const { shape } = source;
  const columns = shape.at(-1) ?? 1;
  const rows = sizeOf(shape.slice(0, -1));
  if (shape.length < 2) return ELEMENT_BYTES.bf16 * columns;
  const spare = spareOf(source, spareColumns);
  const format = formatOf(source);
  if (format === 'bf16') return ELEMENT_BYTES.bf16 * rows * (roundUp(columns, ROW_MULTIPLE) + spare);
  return HELD_BYTES[format] * rows * columns + ELEMENT_BYTES.bf16 * rows * (spare + 2);
}
