/**
 * The pre-norm transformer layer of both towers, with other widths, masks and rotary tables. Source:
 * modeling_pixtral.py, modeling_mistral3.py, modeling_ministral3.py.
 */

import { isTurnDue } from '../../async/event-loop.js';
import type { Activation, KeyValueRows, LinearPart, Precision, Segments } from '../../engine/operations.js';
import type { Steps, Tape } from '../../engine/tape.js';
import type { Tensor } from '../../engine/tensor.js';
import { counterHash } from '../../random.js';
import type { LinearModule, LoraWeights } from '../linear-module.js';
import { type LayerModules, modulesOf } from './modules.js';

/** How many of the first layers of each tower keep only their input and are run again in backward. */
export interface RecomputedLayers {
  /** Of the vision tower. */
  readonly vision: number;
  /** Of the decoder. */
  readonly text: number;
  /** Their inputs are offloaded to host memory from forward to backward, if the engine supports it. Default false. */
  readonly offloadInputs?: boolean | undefined;
}

/** How a pass is run, and who may look at what it computes. */
export interface PassOptions {
  /** Keep only the layer's input and run the layer again in backward: all layers, or the first ones. Default: none. */
  readonly recompute?: boolean | RecomputedLayers | undefined;
  /** ε of label smoothing in the loss, a share. Default: 0. */
  readonly labelSmoothing?: number | undefined;
  /**
   * NEFTune: adds noise to the token embeddings, uniform in ± alpha / √(tokens of the sample · C). Only to batches that
   * were packed for training: their rows have keys. Image features take the place of their noisy rows. Default: none.
   */
  readonly neftuneNoiseAlpha?: number | undefined;
  /**
   * Of the decoder's products with frozen weights. The vision tower, whose matrices are too narrow to gain, the projector
   * and the head stay in bf16. Default: `bf16`.
   */
  readonly precision?: Precision | undefined;
  /** The adapter to compute with, whatever becomes of the model's meanwhile. Default: the one that is on now. */
  readonly adapter?: AdapterView | undefined;
  /** Called with every hidden state; the tensor lives only during the call unless retained. Default: none. */
  readonly observe?: ((name: string, tensor: Tensor) => void) | undefined;
}

/** What sits on each linear layer, by the layer's index: an adapter as it was when a computation began. */
export type AdapterView = readonly (LoraWeights | undefined)[];

/** Keeps keys and values from one pass to the next; `KvCache` is one. */
export interface KeyValueStore {
  /** The cache of a layer, with room for the rows of this pass. */
  layer(index: number): KeyValueRows;
}

export interface LayerShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly activation: Activation;
  readonly eps: number;
  readonly causal: boolean;
  readonly segments: Segments;
  /** Row of k and v for each key that the segments count, or that the cache stores. Default: each row once, in order. */
  readonly keyRows?: Int32Array | undefined;
  readonly cos: Tensor;
  readonly sin: Tensor;
  readonly queryScale: Tensor | undefined;
  /** Dropout keys of the rows [T]; undefined switches dropout off. */
  readonly rowKeys: Int32Array | undefined;
  readonly cache?: KeyValueStore | undefined;
  readonly adapter: AdapterView;
  /**
   * The rows of the last layer's result that anyone reads, if not all: what follows its attention is computed for
   * them alone, and the result has only these.
   */
  readonly resultRows?: Int32Array | undefined;
}

/** Seeds the layers' own part of the dropout masks. The step comes in through the row keys. */
const LAYER_SEED = 0xa4093822;

/** A layer's weight and its LoRA as the linear operation takes them, for rows with these dropout keys. */
export function linearPart(
  module: LinearModule,
  rowKeys: Int32Array | undefined,
  adapter?: AdapterView,
  precision?: Precision,
): LinearPart {
  const { weight, bias } = module;
  const lora = adapter ? adapter[module.index] : module.lora;
  if (!lora) return { weight, bias, precision };
  const { a, b, scale } = lora;
  const dropout = rowKeys ? lora.dropout : 0;
  const seed = counterHash(LAYER_SEED, module.index);
  return { weight, bias, precision, lora: { a, b, scale, dropout, seed, rowKeys } };
}

/** The parts of a layer's linear layers, by what is computed together. */
interface LayerParts {
  readonly projections: readonly [LinearPart, LinearPart, LinearPart];
  readonly output: readonly [LinearPart];
  readonly gateUp: readonly [LinearPart, LinearPart];
  readonly down: LinearPart;
}

interface PartOptions {
  readonly rowKeys: Int32Array | undefined;
  /** Those of the rows after attention, of which the last layer may compute only some. */
  readonly keys: Int32Array | undefined;
  readonly precision: Precision | undefined;
}

/** For inference, by adapter view: making these objects again for each generated token would cost the host's time. */
const knownParts = new WeakMap<AdapterView, Map<LayerModules, LayerParts>>();

function partsOf(layer: LayerModules, adapter: AdapterView, { rowKeys, keys, precision }: PartOptions): LayerParts {
  const isKept = !rowKeys && !precision;
  let known = isKept ? knownParts.get(adapter) : undefined;
  let parts = known?.get(layer);
  if (parts) return parts;
  const { q, k, v, o } = layer.attention;
  const before = (module: LinearModule) => linearPart(module, rowKeys, adapter, precision);
  const behind = (module: LinearModule) => linearPart(module, keys, adapter, precision);
  parts = {
    projections: [before(q), before(k), before(v)],
    output: [behind(o)],
    gateUp: [behind(layer.gate), behind(layer.up)],
    down: behind(layer.down),
  };
  if (!isKept) return parts;
  if (!known) {
    known = new Map();
    knownParts.set(adapter, known);
  }
  known.set(layer, parts);
  return parts;
}

export function linear(
  tape: Tape,
  x: Tensor,
  modules: readonly LinearModule[],
  rowKeys: Int32Array | undefined,
  adapter: AdapterView,
  precision?: Precision,
): readonly Tensor[] {
  return tape.apply('linear', [x], { parts: modules.map((module) => linearPart(module, rowKeys, adapter, precision)) });
}

function hasLora(layer: LayerModules, adapter: AdapterView): boolean {
  return modulesOf(layer).some((module) => adapter[module.index] !== undefined);
}

function recomputedLayers({ recompute }: PassOptions, tower: 'vision' | 'text'): number {
  if (typeof recompute === 'object') return recompute[tower];
  return recompute ? Number.POSITIVE_INFINITY : 0;
}

/**
 * Runs the layers over x [T, C]. The residual stream travels as a pair (stream, last layer's addition), so that
 * each addition is done by the norm that follows it.
 * @returns the pair after the last layer; the hidden state is their sum (the second may be absent)
 */
export function* runLayers(
  tape: Tape,
  x: Tensor,
  layers: readonly LayerModules[],
  shape: LayerShape,
  options: PassOptions,
  name: 'vision_tower' | 'language_model',
): Steps<readonly Tensor[]> {
  const recomputed = recomputedLayers(options, name === 'vision_tower' ? 'vision' : 'text');
  const offloads = typeof options.recompute === 'object' && options.recompute.offloadInputs === true;
  let stream: readonly Tensor[] = [x];
  // Named as inputs, so that a second run of a layer still finds them.
  const tables = [shape.cos, shape.sin, ...(shape.queryScale ? [shape.queryScale] : [])];
  for (const [i, layer] of layers.entries()) {
    const trained = hasLora(layer, shape.adapter) || stream.some((tensor) => tape.needsGradient(tensor));
    const recompute = i < recomputed && trained;
    const width = stream.length;
    const before = stream;
    stream = yield* tape.regionSteps(
      [...stream, ...tables],
      (inner, inputs) => {
        const rows = i === layers.length - 1 ? shape.resultRows : undefined;
        return runLayer(inner, inputs.slice(0, width), i, layer, shape, options, name, rows, recompute);
      },
      { recompute, offload: offloads ? before : [] },
    );
    // Without this, every layer's result would live until the last one has run.
    for (const tensor of before) if (tensor !== x && !stream.includes(tensor)) tape.forget(tensor);
  }
  return stream;
}

/**
 * One pre-norm layer: x + O(attention(norm(x))), then x + down(activation(gate) ⊙ up). Pauses after what takes long.
 * docs/engines.md has the kernels that each entry runs on `cuda`.
 */
function* runLayer(
  tape: Tape,
  stream: readonly Tensor[],
  index: number,
  layer: LayerModules,
  shape: LayerShape,
  options: PassOptions,
  name: string,
  rows: Int32Array | undefined,
  recompute: boolean,
): Steps<readonly Tensor[]> {
  const { heads, kvHeads, headDim, causal, segments, keyRows, cos, sin, queryScale } = shape;
  const { rowKeys, adapter, eps, activation } = shape;
  const precision = name === 'language_model' ? options.precision : undefined;
  const keys = rows && rowKeys ? rows.map((row) => rowKeys[row]!) : rowKeys;
  const parts = partsOf(layer, adapter, { rowKeys, keys, precision });
  const [attended, sum = stream[0]!] = (yield* tape.applySteps('attentionBlock', normInputs(stream), {
    norm: { weight: layer.attentionNorm, eps },
    projections: parts.projections,
    rotary: { headDim, cos, sin, queryScale },
    attention: { heads, kvHeads, headDim, scale: headDim ** -0.5, causal, segments },
    cache: shape.cache?.layer(index),
    keyRows,
  })) as [Tensor, Tensor?];
  options.observe?.(`${name}.${index}`, sum);
  if (isTurnDue()) yield 0;
  const chosen = (tensor: Tensor): Tensor => (rows ? tape.apply('gatherRows', [tensor], { rows })[0]! : tensor);
  const x = chosen(sum);
  const [attentionOutput] = tape.apply('linear', [chosen(attended)], { parts: parts.output }) as [Tensor];
  if (isTurnDue()) yield 0;
  const [mlpOutput, middle] = (yield* tape.applySteps('gatedBlock', [attentionOutput, x], {
    norm: { weight: layer.mlpNorm, eps },
    gateUp: parts.gateUp,
    activation,
    down: parts.down,
  })) as [Tensor, Tensor];
  if (isTurnDue()) yield 0;
  // One tensor instead of two is kept for the second run.
  return recompute ? tape.apply('add', [middle, mlpOutput], {}) : [middle, mlpOutput];
}

/** The stream as a norm takes it: the last addition first. */
function normInputs([residual, addition]: readonly Tensor[]): readonly Tensor[] {
  return addition ? [addition, residual!] : [residual!];
}

/** Norm of the stream's sum, and the sum. */
export function addNorm(
  tape: Tape,
  stream: readonly Tensor[],
  weight: LayerModules['mlpNorm'],
  eps: number,
): [Tensor, Tensor] {
  const [normed, sum = stream[0]!] = tape.apply('rmsNorm', normInputs(stream), { weight, eps }) as [Tensor, Tensor?];
  return [normed, sum];
}
