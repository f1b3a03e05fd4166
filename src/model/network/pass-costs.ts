/**
 * Costs of a packed pass: peak bytes, and time of what is chosen about it; and the operations of a training step. Counted
 * from shapes, not measured: a plan is then a pure function of window and budget, the same after a resume. The engine
 * says how it stores tensors (`Engine.storage`); tests compare the figures with the engines' own counts.
 */
import type { PackedSize } from '../../batch/packed-window.js';
import type { StorageCosts } from '../../engine/engine.js';
import type { Precision } from '../../engine/operations.js';
import type { Weight } from '../../engine/tensor.js';
import type { LinearModule } from '../linear-module.js';
import type { ModelConfig } from '../model-config.js';
import type { RecomputedLayers } from './layers.js';
import { type LayerModules, type ModelModules, modulesOf } from './modules.js';

/** Bytes and operations for each row of one layer. */
interface LayerCosts {
  /** Kept for backward; 0 where none is needed. */
  readonly saved: number;
  /** Kept if the layer is recomputed: its input. */
  readonly input: number;
  /** Alive at the end of its forward run, what it keeps included. */
  readonly forward: number;
  /** Temporaries of its backward run. */
  readonly backward: number;
  /** Time of its forward run. */
  readonly time: number;
  /** Operations of its products in that. */
  readonly operations: number;
}

/** Parts of what a pass takes at its worst moment. */
export interface PeakParts {
  /** Logits with their gradients; 0 where the worst moment is not in the output head. */
  readonly headBytes: number;
  /** Scratch of products, and copies of adapters in the number format of products. */
  readonly workspaceBytes: number;
}

/** What a pass computes and moves, for estimates of its time on a given card. */
export interface PassWork {
  /** Operations of the decoder's products, forward and backward, recomputation included. */
  readonly textOperations: number;
  /** The same of the vision tower. */
  readonly visionOperations: number;
  /** Bytes that layers keep, or would if they were not recomputed. */
  readonly savedBytes: number;
}

/**
 * Time is counted in operations of matrix products. Beside them a layer reads and writes what it keeps a few times
 * over, and memory is slower than arithmetic: on large cards about 250 operations pass in the time of a byte.
 */
const OPERATIONS_PER_SAVED_BYTE = 1000;
/** A pass more costs about as much as this many tokens: weights are read and kernels launched once more. */
const TOKENS_PER_PASS_START = 140;
/** Operations that a card computes while a byte arrives from the host: 4,000 on small cards to 12,000 on large ones. */
export const OPERATIONS_PER_STREAMED_BYTE = 8000;
/** Offloaded inputs that are on the device at once: of the running layer, and of the next one. */
const INPUTS_ON_DEVICE = 2;
/** Copies of the hidden state, and of its gradient, where a pass goes from one device to the next: a pair on each side. */
const CROSSING_ROWS = 4;
/** Ranks are padded to a multiple of this by engines that pad at all. */
const RANK_MULTIPLE = 16;
/** Alignment, lists. */
const SLACK = 1.01;

interface LayerWidths {
  readonly hidden: number;
  readonly query: number;
  readonly keyValue: number;
  readonly inner: number;
  readonly heads: number;
}

/** What of a model lies on one of several devices. */
interface DeviceShare {
  /** Of each layer of the tower. */
  readonly vision: readonly boolean[];
  readonly text: readonly boolean[];
  readonly hasProjector: boolean;
  readonly hasHead: boolean;
}

function shareOf(
  { visionFeatureLayer }: ModelConfig,
  { visionLayers, textLayers, linear1, lmHead }: ModelModules,
  isHeld: (weight: Weight) => boolean,
): DeviceShare {
  const held = (layers: readonly LayerModules[]): boolean[] => layers.map(({ attentionNorm }) => isHeld(attentionNorm));
  return {
    vision: held(visionLayers.slice(0, visionFeatureLayer)),
    text: held(textLayers),
    hasProjector: isHeld(linear1.weight),
    hasHead: isHeld(lmHead),
  };
}

export class PassCosts {
  readonly #storage: StorageCosts;
  readonly #config: ModelConfig;
  readonly #text: readonly LayerCosts[];
  readonly #vision: readonly LayerCosts[];
  readonly #towers: { readonly text: TowerCosts[]; readonly vision: TowerCosts[] } = { text: [], vision: [] };
  /** Kept for each image feature by the projector. */
  readonly #projectorSaved: number;
  /** Copies of A in the number format of the products, which engines may make at the first pass. */
  readonly #adapterBytes: number;
  /** Of one of several devices; undefined for all of a pass. */
  readonly #share: DeviceShare | undefined;

  /**
   * @param modules with their adapters: what has no gradient keeps nothing
   * @param isHeld for the costs on one of several devices: whether a weight lies there. Default: all do
   */
  constructor(
    config: ModelConfig,
    modules: ModelModules,
    storage: StorageCosts,
    precision: Precision = 'bf16',
    isHeld?: (weight: Weight) => boolean,
  ) {
    this.#config = config;
    this.#share = isHeld && shareOf(config, modules, isHeld);
    this.#storage = storage;
    const { text, vision, visionFeatureLayer } = config;
    const b = storage.elementBytes;
    const visionWidths = { ...vision, hidden: vision.hiddenSize, inner: vision.intermediateSize };
    const tower = modules.visionLayers.slice(0, visionFeatureLayer);
    const [query, keyValue] = [text.heads * text.headDim, text.kvHeads * text.headDim];
    const first = layersCosts(
      tower,
      { ...visionWidths, query: vision.hiddenSize, keyValue: vision.hiddenSize },
      storage,
      false,
    );
    this.#vision = first.costs.filter((_, i) => this.#share?.vision[i] ?? true);
    const projector = [modules.mergingLayer, modules.linear1, modules.linear2];
    const merged = vision.hiddenSize * config.spatialMergeSize ** 2;
    const inputs = [merged, vision.hiddenSize, text.hiddenSize];
    let needs = first.needs;
    let projectorSaved = 0;
    for (const [i, module] of projector.entries()) {
      if (module.lora) {
        projectorSaved += inputs[i]! * b + lowRank([module], inputs[i]!, storage);
        needs = true;
      }
      if (i === 1 && needs) projectorSaved += text.hiddenSize * b;
    }
    this.#projectorSaved = projectorSaved;
    this.#adapterBytes = modules.linear.reduce(
      (sum, { lora, weight }) => (lora && (isHeld?.(weight) ?? true) ? sum + b * padded(lora) * lora.a.shape[1]! : sum),
      0,
    );
    const widths = { query, keyValue, hidden: text.hiddenSize, inner: text.intermediateSize, heads: text.heads };
    const all = layersCosts(modules.textLayers, widths, storage, needs).costs;
    const costs = all.filter((_, i) => this.#share?.text[i] ?? true);
    this.#text = precision === 'bf16' ? costs : costs.map((cost) => withOperands(cost, text.intermediateSize));
  }

  get layers(): RecomputedLayers {
    return { vision: this.#vision.length, text: this.#text.length };
  }

  /** Bytes on the device above what is held between passes, at the worst moment of a pass. */
  peakBytes(size: PackedSize, recompute: RecomputedLayers): number {
    const { moments } = this.#moments(size, recompute);
    return SLACK * Math.max(...moments) + this.#storage.scratchBytes + this.#adapterBytes;
  }

  /** What `peakBytes` has in it beside activations. */
  partsOf(size: PackedSize, recompute: RecomputedLayers): PeakParts {
    const { moments, head, headBytes } = this.#moments(size, recompute);
    const isHead = Math.max(...moments) <= head;
    return {
      headBytes: isHead ? SLACK * headBytes : 0,
      workspaceBytes: this.#storage.scratchBytes + this.#adapterBytes,
    };
  }

  /** What a pass of this size computes and moves. */
  workOf({ tokens, patches }: PackedSize, { text, vision }: RecomputedLayers): PassWork {
    const operations = (layers: readonly LayerCosts[], recomputed: number): number => {
      const once = (of: readonly LayerCosts[]): number =>
        of.reduce((sum, { saved, operations: own }) => (saved > 0 ? sum + own : sum), 0);
      const unsaved = layers.reduce((sum, { saved, operations: own }) => (saved > 0 ? sum : sum + own), 0);
      return 2 * once(layers) + unsaved + once(layers.slice(0, recomputed));
    };
    const bytes = (layers: readonly LayerCosts[], recomputed: number): number =>
      layers.reduce((sum, { saved }, i) => sum + (i < recomputed ? 1.5 : 1) * saved, 0);
    return {
      textOperations: operations(this.#text, text) * tokens,
      visionOperations: operations(this.#vision, vision) * patches,
      savedBytes: bytes(this.#text, text) * tokens + bytes(this.#vision, vision) * patches,
    };
  }

  /** Bytes at the moments of a pass of which one is the worst; scratch, adapters and alignment are not in them. */
  #moments(whole: PackedSize, allRecomputed: RecomputedLayers) {
    const { size, recompute, crossing } = this.#shareOf(whole, allRecomputed);
    const { text, vision, spatialMergeSize } = this.#config;
    const { elementBytes: b, logits } = this.#storage;
    const { tokens: T, patches: P, features: M, labels: L, keys = T } = size;
    const [C, Cv] = [text.hiddenSize * b, vision.hiddenSize * b];
    const inputs = recompute.offloadInputs ? INPUTS_ON_DEVICE : Number.POSITIVE_INFINITY;
    const onText = this.#tower('text', recompute.text, inputs);
    const onVision = this.#tower('vision', recompute.vision, inputs);
    const tables = 4 * text.headDim * T + 4 * vision.headDim * P;
    const copies = keys > T ? this.#keyCopies(keys, T, recompute.text) : { kept: 0, running: 0 };
    const around = tables + copies.kept + crossing;
    const kept = onText.kept * T + onVision.kept * P + this.#projectorSaved * M + around;
    const pixels = 3 * vision.patchSize ** 2 * b;
    const blocks = Math.ceil(L / Math.max(1, Math.floor(logits.most / text.vocabSize)));
    const rowsOfLogits = blocks > 0 ? Math.ceil(L / blocks) : 0;
    const headBytes = 5 * C * L + logits.bytes * text.vocabSize * rowsOfLogits;
    const head = kept + headBytes;
    const moments = [
      // Forward: the last vision layer, the projector, the last decoder layer, the head.
      onVision.kept * P - onVision.last * P + (onVision.forward + pixels + 2 * Cv) * P + C * T + crossing,
      onVision.kept * P + (pixels + 4 * Cv) * P + (Cv * (spatialMergeSize ** 2 + 1) + 3 * C) * M + C * T + crossing,
      kept - onText.last * T + onText.forward * T + copies.running + 2 * C * T + C * M,
      head,
      // Backward: the last decoder layer, the last vision layer.
      kept + onText.backward * T + 2 * copies.running + 2 * C * T + 2 * C * L,
      onVision.kept * P + onVision.backward * P + 3 * C * T + tables + crossing,
    ];
    return { moments, head, headBytes };
  }

  /** What of a pass a device computes, and the bytes of what comes there from others. */
  #shareOf(size: PackedSize, recompute: RecomputedLayers) {
    const share = this.#share;
    if (!share) return { size, recompute, crossing: 0 };
    const among = (held: readonly boolean[], first: number): number => held.slice(0, first).filter(Boolean).length;
    const hasVision = share.vision.some(Boolean);
    return {
      size: {
        ...size,
        patches: hasVision || share.hasProjector ? size.patches : 0,
        features: share.hasProjector ? size.features : 0,
        labels: share.hasHead ? size.labels : 0,
      },
      recompute: {
        ...recompute,
        vision: among(share.vision, recompute.vision),
        text: among(share.text, recompute.text),
      },
      crossing: CROSSING_ROWS * this.#storage.elementBytes * this.#config.text.hiddenSize * size.tokens,
    };
  }

  /** Bytes of copies of k and v where segments share rows: kept for backward by all layers, and of a running one. */
  #keyCopies(keys: number, tokens: number, recomputed: number): { readonly kept: number; readonly running: number } {
    const { elementBytes, rematerializes } = this.#storage;
    const { kvHeads, headDim } = this.#config.text;
    const running = 2 * elementBytes * kvHeads * headDim * keys;
    const layers = this.#text.filter(({ saved }, i) => saved > 0 && i >= recomputed).length;
    return { kept: rematerializes ? 0 : (running * layers * (keys - tokens)) / keys, running };
  }

  /** What decides how evenly samples are spread over passes: the bytes that one keeps. */
  weight({ tokens, patches }: PackedSize): number {
    return this.#tower('text', 0).kept * tokens + this.#tower('vision', 0).kept * patches + tokens;
  }

  /** A plan asks for the same towers again and again. */
  #tower(name: 'text' | 'vision', recomputed: number, inputs = Number.POSITIVE_INFINITY): TowerCosts {
    const known = this.#towers[name];
    const at = 2 * recomputed + (inputs === Number.POSITIVE_INFINITY ? 0 : 1);
    known[at] ??= tower(name === 'text' ? this.#text : this.#vision, recomputed, inputs);
    return known[at];
  }

  /** Time of recomputing the first layers of each tower, in operations, and of moving their inputs out and back. */
  recomputeTime(size: PackedSize, recompute: RecomputedLayers): number {
    const { text, vision } = recompute;
    const { tokens, patches } = size;
    const moved = 2 * this.hostBytes(size, recompute) * OPERATIONS_PER_STREAMED_BYTE;
    return timeOf(this.#text.slice(0, text)) * tokens + timeOf(this.#vision.slice(0, vision)) * patches + moved;
  }

  /** Bytes in host memory at the end of a pass's forward run. */
  hostBytes({ tokens, patches }: PackedSize, { text, vision, offloadInputs = false }: RecomputedLayers): number {
    if (!offloadInputs) return 0;
    return inputsOf(this.#text.slice(0, text)) * tokens + inputsOf(this.#vision.slice(0, vision)) * patches;
  }

  /** Time that a pass of this size loses because products take whole tiles of rows, in operations. */
  tileTime({ tokens, patches }: PackedSize): number {
    const { rowTile } = this.#storage;
    const empty = (rows: number): number => Math.ceil(rows / rowTile) * rowTile - rows;
    return timeOf(this.#text) * empty(tokens) + timeOf(this.#vision) * empty(patches);
  }

  /** Time that one more pass costs, in operations. */
  get passTime(): number {
    const streamed = 2 * (this.#storage.streamedBytes ?? 0) * OPERATIONS_PER_STREAMED_BYTE;
    return TOKENS_PER_PASS_START * 2 * timeOf(this.#text) + streamed;
  }
}

/**
 * Operations of a training step, the "4N" count: for each frozen linear weight and each row (token, patch, merged patch,
 * labelled row) 2 forward, and 2 for the row's gradient where one flows. Attention, norms, adapters and recomputation
 * are left out.
 */
export function trainingFlops(
  config: ModelConfig,
  modules: ModelModules,
  { tokens, patches, features, labels }: PackedSize,
): number {
  const visionLinears = modules.visionLayers.slice(0, config.visionFeatureLayer).flatMap(modulesOf);
  const projector = [modules.mergingLayer, modules.linear1, modules.linear2];
  const count = (linears: readonly LinearModule[], flows: boolean): number =>
    (flows ? 4 : 2) * linears.reduce((sum, { weight }) => sum + weight.shape[0]! * weight.shape[1]!, 0);
  const isTrained = (linears: readonly LinearModule[]): boolean => linears.some(({ lora }) => lora !== undefined);
  const throughVision = isTrained(visionLinears);
  const throughProjector = throughVision || isTrained(projector);
  const textLinears = modules.textLayers.flatMap(modulesOf);
  const [vocabulary, hidden] = modules.lmHead.shape as [number, number];
  return (
    count(visionLinears, throughVision) * patches +
    count(projector, throughProjector) * features +
    count(textLinears, throughProjector || isTrained(textLinears)) * tokens +
    4 * vocabulary * hidden * labels
  );
}

/** Adds the e4m3 copies of a product's input: gated rows in forward, gradients of gate and up in backward. */
function withOperands(costs: LayerCosts, inner: number): LayerCosts {
  return { ...costs, forward: costs.forward + inner, backward: costs.backward + 2 * inner };
}

/** Of the layers that keep anything: others are never run again. */
function timeOf(layers: readonly LayerCosts[]): number {
  return layers.reduce((sum, { saved, time }) => (saved > 0 ? sum + time : sum), 0);
}

/** Of the layers that keep anything. */
function inputsOf(layers: readonly LayerCosts[]): number {
  return layers.reduce((sum, { saved, input }) => (saved > 0 ? sum + input : sum), 0);
}

type TowerCosts = ReturnType<typeof tower>;

/** Bytes for each row of a whole tower whose first layers are recomputed. @param most of their inputs that are on the device */
function tower(layers: readonly LayerCosts[], recomputed: number, most = Number.POSITIVE_INFINITY) {
  let kept = 0;
  let inputs = 0;
  for (const [i, { saved, input }] of layers.entries()) {
    if (saved === 0) continue;
    if (i >= recomputed) kept += saved;
    else if (inputs++ < most) kept += input;
  }
  const largest = (value: (layer: LayerCosts) => number) =>
    layers.reduce((max, layer) => Math.max(max, value(layer)), 0);
  const last = layers.at(-1);
  const isRecomputed = recomputed >= layers.length;
  return {
    kept,
    /** Kept by the last layer: part of its forward run. */
    last: last && !isRecomputed ? last.saved : 0,
    forward: largest(({ forward }) => forward),
    // Backward begins with everything kept; where no layer is kept whole, the first one is recomputed on top.
    backward: largest(({ backward }) => backward) + (isRecomputed ? largest(({ saved }) => saved) : 0),
  };
}

/** Costs of a tower's layers, and whether a gradient flows into what comes behind them. */
function layersCosts(
  layers: readonly LayerModules[],
  widths: LayerWidths,
  storage: StorageCosts,
  inputNeeds: boolean,
): { costs: LayerCosts[]; needs: boolean } {
  let needs = inputNeeds;
  const costs = layers.map((layer) => {
    needs ||= modulesOf(layer).some((module) => module.lora !== undefined);
    return layerCosts(layer, widths, storage, needs);
  });
  return { costs, needs };
}

function layerCosts(
  layer: LayerModules,
  { hidden: C, query: Q, keyValue: K, inner: F, heads }: LayerWidths,
  storage: StorageCosts,
  isRecorded: boolean,
): LayerCosts {
  const { elementBytes: b, rematerializes, temporaries } = storage;
  const { attention, gate, up, down } = layer;
  const groups: [readonly LinearModule[], number][] = [
    [[attention.q, attention.k, attention.v], C],
    [[attention.o], Q],
    [[gate, up], C],
    [[down], F],
  ];
  const low = groups.reduce((sum, [modules, input]) => sum + lowRank(modules, input, storage), 0);
  const has = (i: number): boolean => groups[i]![0].some(({ lora }) => lora !== undefined);
  // Inputs of adapted linears that are nowhere else: the two norms and the gated activation.
  const inputs = rematerializes ? 0 : (has(0) ? C : 0) + (has(2) ? C : 0) + (has(3) ? F : 0);
  const weights = C * (2 * Q + 2 * K) + 3 * C * F;
  // Two sums of the residual stream with 1/rms; q, k, v and output of attention with its log-sum-exp; gate and up.
  const saved = b * (2 * C + 2 * Q + 2 * K + 2 * F + inputs) + 8 + 4 * heads + low;
  const beside = b * temporaries * Math.max(F, Q, C);
  return {
    saved: isRecorded ? saved : 0,
    input: C * b,
    forward: b * (8 * C + 3 * Q + 4 * K + 3 * F) + low + beside,
    backward: b * Math.max(C + 3 * F, 4 * C + 2 * F, 3 * C + 3 * Q + 3 * K) + low + 4 * heads + beside,
    time: 2 * weights + OPERATIONS_PER_SAVED_BYTE * saved,
    operations: 2 * weights,
  };
}

/** Bytes that the adapters of linears with one input keep for a row of it: u, the room for it beside x, masks. */
function lowRank(modules: readonly LinearModule[], input: number, storage: StorageCosts): number {
  const { elementBytes: b, keepsMasks } = storage;
  const adapted = modules.flatMap(({ lora }) => (lora ? [lora] : []));
  const columns = adapted.reduce((sum, lora) => sum + padded(lora), 0);
  const masks =
    keepsMasks && adapted.some(({ dropout }) => dropout > 0) ? modules.length * 4 * Math.ceil(input / 32) : 0;
  return 2 * columns * b + masks;
}

function padded({ a }: { readonly a: { readonly shape: readonly number[] } }): number {
  return RANK_MULTIPLE * Math.ceil(a.shape[0]! / RANK_MULTIPLE);
}
