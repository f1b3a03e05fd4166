/** The passes of the model over packed rows, in steps: they may pause between operations for the event loop. */

import { isTurnDue } from '../../async/event-loop.js';
import { imageGroups } from '../../batch/image-groups.js';
import { embeddingNoise, type PackedBatch } from '../../batch/packed-batch.js';
import { type PackedImages, patchesLength, writePatches } from '../../batch/packed-images.js';
import type { Engine } from '../../engine/engine.js';
import type { Segments } from '../../engine/operations.js';
import type { Steps, Tape } from '../../engine/tape.js';
import type { Tensor } from '../../engine/tensor.js';
import { EngineError } from '../../errors.js';
import type { ModelConfig } from '../model-config.js';
import type { KvCache } from './kv-cache.js';
import { type AdapterView, addNorm, type LayerShape, linear, type PassOptions, runLayers } from './layers.js';
import type { ModelModules } from './modules.js';
import { queryScale, textFrequencies, textRotary, visionRotary } from './rope.js';

/**
 * Most patches that go through the tower together in a prefill, some ten photographs: the host writes those of the next
 * group meanwhile.
 */
const PATCHES_AT_ONCE = 16384;

/** transformers hard-codes the vision tower's epsilon. */
const VISION_NORM_EPS = 1e-5;

export class Forward {
  readonly #engine: Engine;
  readonly #config: ModelConfig;
  readonly #modules: ModelModules;
  readonly #frequencies: Float32Array;
  /** Scratch, grown to the largest pass; nothing in it outlives the call that fills it. */
  #patches = new Float32Array(0);

  constructor(engine: Engine, config: ModelConfig, modules: ModelModules) {
    this.#engine = engine;
    this.#config = config;
    this.#modules = modules;
    this.#frequencies = textFrequencies(config.text.rope, config.text.headDim);
  }

  /** What sits on the layers now. */
  adapter(): AdapterView {
    return this.#modules.linear.map(({ lora }) => lora);
  }

  clear(): void {
    this.#patches = new Float32Array(0);
  }

  /** The logits of rows, as a pass of its own takes them. */
  rowLogits(
    packed: PackedBatch,
    rows: Int32Array,
    options: PassOptions,
    cache: KvCache | undefined,
  ): (tape: Tape) => Steps<Tensor> {
    const forward = this;
    const ofHidden = Int32Array.from(rows.keys());
    // While generating, all rows are wanted.
    const isWhole = rows.length === packed.ids.length && rows.every((row, i) => row === i);
    return function* (tape) {
      const hidden = yield* forward.hidden(tape, packed, options, cache, isWhole ? undefined : rows);
      return forward.logits(tape, hidden, ofHidden);
    };
  }

  /** As `VisionLanguageModel.lossSteps`. */
  *loss(tape: Tape, packed: PackedBatch, scale: number, options: PassOptions): Steps<Tensor | undefined> {
    if (packed.labelRows.length === 0) return undefined;
    const labelled = yield* this.hidden(tape, packed, options, undefined, packed.labelRows);
    return tape.apply('crossEntropy', [labelled], {
      head: this.#modules.lmHead,
      targets: packed.labelTargets,
      weights: packed.labelWeights,
      scale,
      smoothing: options.labelSmoothing,
    })[0]!;
  }

  /** -ln p of each label of a batch [L], which has at least one, whatever their weights. */
  rowLosses(packed: PackedBatch, options: PassOptions): (tape: Tape) => Steps<Tensor> {
    const forward = this;
    return function* (tape) {
      const labelled = yield* forward.hidden(tape, packed, options, undefined, packed.labelRows);
      const head = forward.#modules.lmHead;
      return tape.apply('crossEntropy', [labelled], { head, targets: packed.labelTargets, scale: 1 })[1]!;
    };
  }

  /** As `VisionLanguageModel.logits`. */
  logits(tape: Tape, hidden: Tensor, rows: Int32Array): Tensor {
    return tape.region([hidden], (inner, inputs) => {
      const isWhole = rows.length === hidden.shape[0] && rows.every((row, i) => row === i);
      const gathered = isWhole ? inputs : inner.apply('gatherRows', inputs, { rows });
      return inner.apply('linear', gathered, { parts: [{ weight: this.#modules.lmHead }] });
    })[0]!;
  }

  /** As `VisionLanguageModel.hidden`. */
  *hidden(tape: Tape, packed: PackedBatch, options: PassOptions, cache?: KvCache, rows?: Int32Array): Steps<Tensor> {
    const { text } = this.#config;
    const modules = this.#modules;
    const engine = this.#engine;
    const frequencies = this.#frequencies;
    requirePrecision(engine, options);
    const adapter = options.adapter ?? this.adapter();
    const embed = (inner: Tape) => this.#embed(inner, packed, { ...options, adapter }, cache !== undefined);
    const [result] = yield* tape.regionSteps([], function* (inner) {
      const x = yield* embed(inner);
      const { cos, sin } = textRotary(text.rope, frequencies, packed.positions);
      const half = [packed.ids.length, text.headDim / 2];
      const scale = queryScale(text.rope, packed.positions);
      const shape: LayerShape = {
        ...text,
        eps: text.normEps,
        causal: true,
        segments: cache
          ? cache.segments(packed.starts, packed.sharedKeys?.starts)
          : segmentsOf(packed.starts, packed.sharedKeys?.starts),
        keyRows: packed.sharedKeys?.rows,
        cos: inner.own(engine.fromArray(cos, half)),
        sin: inner.own(engine.fromArray(sin, half)),
        queryScale: scale && inner.own(engine.fromArray(scale, [packed.ids.length])),
        rowKeys: packed.rowKeys,
        cache,
        adapter,
        resultRows: rows,
      };
      const stream = yield* runLayers(inner, x, modules.textLayers, shape, options, 'language_model');
      const [normed] = addNorm(inner, stream, modules.norm, text.normEps);
      options.observe?.('language_model.norm', normed);
      return [normed];
    });
    return result!;
  }

  /** Features [M, C] of all images in order, M = Σ height/side · width/side with side = patchSize · spatialMergeSize. */
  *imageFeatures(tape: Tape, images: PackedImages, options: PassOptions): Steps<Tensor> {
    const { vision, text, spatialMergeSize, projectorActivation, visionFeatureLayer } = this.#config;
    const modules = this.#modules;
    const engine = this.#engine;
    const adapter = options.adapter ?? this.adapter();
    const count = images.starts[images.starts.length - 1]!;
    const upload = () =>
      engine.imagePatches?.(images) ??
      engine.fromArray(this.#patchesOf(images), [count, patchesLength(images) / count]);
    const [result] = yield* tape.regionSteps([], function* (inner) {
      const pixels = inner.own(upload());
      const [patches] = inner.apply('linear', [pixels], { parts: [{ weight: modules.patchConv }] }) as [Tensor];
      const [x] = inner.apply('rmsNorm', [patches], { weight: modules.lnPre, eps: VISION_NORM_EPS }) as [Tensor];
      if (isTurnDue()) yield 0;
      const { cos, sin } = visionRotary(vision.ropeTheta, vision.headDim, images.grids);
      const half = [count, vision.headDim / 2];
      const shape: LayerShape = {
        ...vision,
        kvHeads: vision.heads,
        eps: VISION_NORM_EPS,
        causal: false,
        segments: segmentsOf(images.starts),
        cos: inner.own(engine.fromArray(cos, half)),
        sin: inner.own(engine.fromArray(sin, half)),
        queryScale: undefined,
        rowKeys: images.rowKeys,
        adapter,
      };
      // Layers past the chosen one have no effect on the result: they are not run, and their LoRA gets no gradient.
      const layers = modules.visionLayers.slice(0, visionFeatureLayer);
      const stream = yield* runLayers(inner, x, layers, shape, options, 'vision_tower');
      const [normed, features] = addNorm(inner, stream, modules.projectorNorm, text.normEps);
      options.observe?.(`vision_tower.${layers.length}`, features);
      const [merged] = inner.apply('mergePatches', [normed], { grids: images.grids, merge: spatialMergeSize }) as [
        Tensor,
      ];
      const keys = images.mergedRowKeys;
      const [merging] = linear(inner, merged, [modules.mergingLayer], keys, adapter) as [Tensor];
      const [first] = linear(inner, merging, [modules.linear1], keys, adapter) as [Tensor];
      const [activated] = inner.apply('activation', [first], { activation: projectorActivation }) as [Tensor];
      const projected = linear(inner, activated, [modules.linear2], keys, adapter);
      options.observe?.('image_features', projected[0]!);
      if (isTurnDue()) yield 0;
      return projected;
    });
    return result!;
  }

  /** The patches in memory that the next call uses again: fresh pages for each pass cost more than the copy. */
  #patchesOf(images: PackedImages): Float32Array {
    const length = patchesLength(images);
    if (this.#patches.length < length) this.#patches = new Float32Array(length);
    const patches = this.#patches.subarray(0, length);
    writePatches(images, patches);
    return patches;
  }

  /** Token embeddings [T, C] with the image features in place of the image tokens. */
  *#embed(tape: Tape, packed: PackedBatch, options: PassOptions, inGroups: boolean): Steps<Tensor> {
    const noise = embeddingNoise(packed, options.neftuneNoiseAlpha, this.#config.text.hiddenSize);
    const lookup = { table: this.#modules.embedTokens, ids: packed.ids, ...(noise ? { noise } : {}) };
    const [embedded] = tape.apply('embedding', [], lookup) as [Tensor];
    if (!packed.images) return embedded;
    let result = embedded;
    for (const images of inGroups ? imageGroups(packed.images, PATCHES_AT_ONCE) : [packed.images]) {
      const features = yield* this.imageFeatures(tape, images, options);
      const [next] = tape.apply('scatterRows', [result, features], { rows: images.tokenRows }) as [Tensor];
      if (result !== embedded) for (const tensor of [result, features]) tape.forget(tensor);
      result = next;
    }
    return result;
  }
}

/** Each packed range attends to itself, or to its range of keys. */
function segmentsOf(queryStarts: Int32Array, keyStarts: Int32Array = queryStarts): Segments {
  const keyLengths = Int32Array.from({ length: keyStarts.length - 1 }, (_, i) => keyStarts[i + 1]! - keyStarts[i]!);
  return { queryStarts, keyStarts: keyStarts.slice(0, -1), keyLengths };
}

/** An engine would compute an unknown precision in bf16 without a word. */
function requirePrecision({ name, precisions = [] }: Engine, { precision = 'bf16' }: PassOptions): void {
  if (precision === 'bf16' || precisions.includes(precision)) return;
  throw new EngineError(
    `precision '${precision}': the ${name} engine supports ${['bf16', ...precisions].join(', ')} here`,
    {
      hint: "Leave precision out, or set it to 'bf16'.",
    },
  );
}
