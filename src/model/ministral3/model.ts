/**
 * Ministral 3: a Pixtral vision tower, a patch-merging projector and a decoder with YaRN positions, over packed rows.
 * Written once against the engine's operations; inference, training and generation share the same layers.
 */
import { checkNames } from '../../config.js';
import type { VlmBatch } from '../../data/types.js';
import type { Deferred, Engine } from '../../engine/engine.js';
import type { Segments } from '../../engine/operations.js';
import { isOutOfMemory } from '../../engine/out-of-memory.js';
import { requireIdleEngine, requireNotTraining, requireOwnCall } from '../../engine/parameter-lease.js';
import { Tape } from '../../engine/tape.js';
import type { ParameterSet, Tensor } from '../../engine/tensor.js';
import { DataError, EngineError, TrainingError } from '../../errors.js';
import { formatBytes } from '../../format-bytes.js';
import type {
  AccumulateOptions,
  EvaluateLossOptions,
  PassSummary,
  TrainableModel,
} from '../../train/trainable-model.js';
import type { LinearModule } from '../linear-module.js';
import { requireBatch } from '../require-batch.js';
import type { Ministral3Config } from './config.js';
import type { DropoutStream } from './dropout-keys.js';
import { KvCache } from './kv-cache.js';
import { addNorm, type LayerShape, linear, type PassOptions, runLayers } from './layers.js';
import type { WeightProvider } from './load-weights.js';
import { loadModules, type Ministral3Modules } from './modules.js';
import { embeddingNoise, type PackedBatch, packBatch } from './packed-batch.js';
import { type PackedImages, patchesLength, writePatches } from './packed-images.js';
import { PackedWindow } from './packed-window.js';
import { PassCosts } from './pass-costs.js';
import type { PassPlan, PlannedPass } from './pass-plan.js';
import { PassPlanner } from './pass-planner.js';
import { queryScale, textFrequencies, textRotary, visionRotary } from './rope.js';
import { trainingFlops } from './training-flops.js';

/** transformers hard-codes the vision tower's epsilon. */
const VISION_NORM_EPS = 1e-5;

/** Where a model came from, and who disposes of its engine. */
export interface ModelOrigin {
  /** Name on the Hub, or folder, that the model was loaded from. */
  readonly nameOrPath?: string | undefined;
  /** Branch, tag or commit on the Hub; undefined for `main` and for a folder. */
  readonly revision?: string | undefined;
  /** Folder of the files: the one given, or a snapshot in the Hub's cache. */
  readonly folder?: string | undefined;
  /** The engine was made for this model alone: `dispose` disposes of it too. Default false. */
  readonly ownsEngine?: boolean | undefined;
}

/** The model on an engine: frozen weights, and the adapter that `applyLora` or `loadAdapter` put onto it. */
export class Ministral3 implements TrainableModel {
  /** Where the weights are and everything is computed. */
  readonly engine: Engine;
  /** Shapes and settings of both towers. */
  readonly config: Ministral3Config;
  /** The weights by their places. */
  readonly modules: Ministral3Modules;
  /** Name on the Hub, or folder, that it was loaded from; what `saveAdapter` writes as `base_model_name_or_path`. */
  readonly nameOrPath: string | undefined;
  /** Folder of its files; undefined if it was not loaded from one. */
  readonly folder: string | undefined;
  /** Branch, tag or commit on the Hub that was asked for; undefined for `main` and for a folder. */
  readonly revision: string | undefined;
  /** Whether `dispose` disposes of the engine too: it was made from a name for this model. */
  readonly ownsEngine: boolean;
  readonly #frequencies: Float32Array;
  readonly #planner: PassPlanner;
  /** Scratch, grown to the largest pass. */
  #patches = new Float32Array(0);
  #trainable: ParameterSet | undefined;
  /** The same, of an adapter that is switched off for a while too. */
  #lastTrainable: ParameterSet | undefined;
  #isDisposed = false;

  private constructor(engine: Engine, config: Ministral3Config, modules: Ministral3Modules, origin: ModelOrigin) {
    this.engine = engine;
    this.nameOrPath = origin.nameOrPath;
    this.folder = origin.folder;
    this.revision = origin.revision;
    this.ownsEngine = origin.ownsEngine ?? false;
    this.config = config;
    this.modules = modules;
    this.#frequencies = textFrequencies(config.text.rope, config.text.headDim);
    this.#planner = new PassPlanner(engine);
  }

  /**
   * Loads the frozen weights into the engine, in their stored number format.
   * @throws CheckpointError naming every missing or misshapen tensor
   */
  static async load(
    engine: Engine,
    config: Ministral3Config,
    provider: WeightProvider,
    origin: ModelOrigin = {},
  ): Promise<Ministral3> {
    return new Ministral3(engine, config, await loadModules(engine, config, provider), origin);
  }

  /** Whether `dispose` was called: the weights are gone. */
  get isDisposed(): boolean {
    return this.#isDisposed;
  }

  /** Every linear layer of both towers and the projector (not lm_head): what LoRA may target. */
  get linearModules(): readonly LinearModule[] {
    return this.modules.linear;
  }

  /** @throws TrainingError if there is no adapter */
  get trainable(): ParameterSet {
    this.#requireWeights();
    if (!this.#trainable) {
      throw new TrainingError('the model has nothing to train', {
        hint: 'call applyLora(model, config) first; an adapter that is switched off or not active is not trained',
      });
    }
    return this.#trainable;
  }

  /** Scale and dropout of the adapter: one number where all layers have the same, else all in the order of the layers. */
  get trainingSettings(): Readonly<Record<string, unknown>> {
    const adapted = this.linearModules.flatMap(({ lora }) => lora ?? []);
    const told = (values: readonly number[]): unknown => (new Set(values).size <= 1 ? values[0] : values.join(' '));
    return {
      loraScale: told(adapted.map(({ scale }) => scale)),
      loraDropout: told(adapted.map(({ dropout }) => dropout)),
    };
  }

  /** Called by applyLora and by the removal of an adapter. */
  setTrainable(set: ParameterSet | undefined): void {
    this.#trainable = set;
    if (set) this.#lastTrainable = set;
  }

  /**
   * The batch without padding, as the passes of the model take it.
   * @param dropout switches dropout on and says which masks the samples get
   */
  pack(batch: VlmBatch, dropout?: DropoutStream): PackedBatch {
    this.#requireWeights();
    requireBatch(batch, 'the model');
    const options = {
      patchSize: this.config.vision.patchSize,
      mergeSize: this.config.spatialMergeSize,
      imageTokenId: this.config.imageTokenId,
      vocabSize: this.config.text.vocabSize,
    };
    return packBatch(batch, options, dropout);
  }

  async accumulateGradients(microBatches: readonly VlmBatch[], options: AccumulateOptions): Promise<Deferred<number>> {
    const { engine } = this;
    const { dropoutSeeds } = options;
    requireOwnCall(this.trainable, options, 'accumulateGradients');
    if (dropoutSeeds.length !== microBatches.length) {
      throw new TrainingError(
        `${dropoutSeeds.length} dropoutSeeds for ${microBatches.length} micro-batches, expected one each`,
      );
    }
    const window = new PackedWindow(
      microBatches.map((batch, i) => this.pack(batch, { seed: dropoutSeeds[i]! })),
      this.config.spatialMergeSize,
    );
    const costs = new PassCosts(this.config, this.modules, engine.storage);
    let failure: EngineError | undefined;
    for (;;) {
      const plan = this.#plan(window, costs, options, failure);
      options.onPlan?.(plan.passes.map(summaryOf));
      const mark = engine.mark();
      try {
        return await this.#runPasses(window, plan, options);
      } catch (error) {
        engine.releaseSince(mark);
        if (!isOutOfMemory(error)) throw error;
        failure = error;
        this.#planner.tighten(plan);
        engine.zeroGradients(this.trainable);
      }
    }
  }

  trainingFlops(microBatches: readonly VlmBatch[]): number {
    return trainingFlops(this.config, this.modules, microBatches);
  }

  async evaluateLoss(
    batch: VlmBatch,
    options: EvaluateLossOptions = {},
  ): Promise<{
    /** In nats, over the labelled tokens; 0 if there are none. */
    lossSum: number;
    /** Labelled tokens that are predicted: never the first of a sample. */
    labelCount: number;
  }> {
    checkNames(options, { labelSmoothing: false }, 'evaluateLoss');
    const { labelSmoothing } = options;
    const tape = new Tape(this.engine, { record: false });
    try {
      const packed = this.pack(batch);
      const loss = this.loss(tape, packed, 1, { labelSmoothing });
      return { lossSum: loss ? (await this.engine.read(loss))[0]! : 0, labelCount: packed.labelRows.length };
    } finally {
      tape.dispose();
    }
  }

  /** scale · Σ of the losses of the labelled tokens [1], or undefined if nothing is labelled. */
  loss(tape: Tape, packed: PackedBatch, scale: number, options: PassOptions): Tensor | undefined {
    if (packed.labelRows.length === 0) return undefined;
    const labelled = this.hidden(tape, packed, options, undefined, packed.labelRows);
    return tape.apply('crossEntropy', [labelled], {
      head: this.modules.lmHead,
      targets: packed.labelTargets,
      scale,
      smoothing: options.labelSmoothing,
    })[0]!;
  }

  /** Logits [rows.length, V] of the given rows of the final hidden states [T, C]. */
  logits(tape: Tape, hidden: Tensor, rows: Int32Array): Tensor {
    return tape.region([hidden], (inner, inputs) => {
      // While generating, every row is asked for.
      const isWhole = rows.length === hidden.shape[0] && rows.every((row, i) => row === i);
      const gathered = isWhole ? inputs : inner.apply('gatherRows', inputs, { rows });
      return inner.apply('linear', gathered, { parts: [{ weight: this.modules.lmHead }] });
    })[0]!;
  }

  /** Logits [B, V] after the last token of each sample. */
  async lastLogits(batch: VlmBatch): Promise<Float32Array> {
    const tape = new Tape(this.engine, { record: false });
    try {
      const packed = this.pack(batch);
      const rows = packed.starts.slice(1).map((end) => end - 1);
      const hidden = this.hidden(tape, packed, {}, undefined, rows);
      return await this.engine.read(this.logits(tape, hidden, Int32Array.from(rows.keys())));
    } finally {
      tape.dispose();
    }
  }

  /**
   * Final hidden states after the last norm: images embedded, put into the text, decoded.
   * @param rows which ones, default all T; the last layer's products are then done for these alone
   * @returns [rows.length or T, C]
   */
  hidden(tape: Tape, packed: PackedBatch, options: PassOptions, cache?: KvCache, rows?: Int32Array): Tensor {
    this.#requireWeights();
    const { text } = this.config;
    return tape.region([], (inner) => {
      const x = this.#embed(inner, packed, options);
      const { cos, sin } = textRotary(text.rope, this.#frequencies, packed.positions);
      const half = [packed.ids.length, text.headDim / 2];
      const scale = queryScale(text.rope, packed.positions);
      const engine = this.engine;
      const shape: LayerShape = {
        heads: text.heads,
        kvHeads: text.kvHeads,
        headDim: text.headDim,
        activation: text.activation,
        eps: text.normEps,
        causal: true,
        segments: cache ? cache.segments(packed.starts) : segmentsOf(packed.starts),
        cos: inner.own(engine.fromArray(cos, half)),
        sin: inner.own(engine.fromArray(sin, half)),
        queryScale: scale && inner.own(engine.fromArray(scale, [packed.ids.length])),
        rowKeys: packed.rowKeys,
        cache,
        resultRows: rows,
      };
      const stream = runLayers(inner, x, this.modules.textLayers, shape, options, 'language_model');
      const [normed] = addNorm(inner, stream, this.modules.norm, text.normEps);
      options.observe?.('language_model.norm', normed);
      return [normed];
    })[0]!;
  }

  /** Features [M, C] of all images in order, M = Σ height/side · width/side with side = patchSize · spatialMergeSize. */
  imageFeatures(tape: Tape, images: PackedImages, options: PassOptions): Tensor {
    const { vision, text, spatialMergeSize, projectorActivation } = this.config;
    const { modules, engine } = this;
    return tape.region([], (inner) => {
      const count = images.starts[images.starts.length - 1]!;
      const pixels = inner.own(engine.fromArray(this.#patchesOf(images), [count, patchesLength(images) / count]));
      const [patches] = inner.apply('linear', [pixels], { parts: [{ weight: modules.patchConv }] }) as [Tensor];
      const [x] = inner.apply('rmsNorm', [patches], { weight: modules.lnPre, eps: VISION_NORM_EPS }) as [Tensor];
      const { cos, sin } = visionRotary(vision.ropeTheta, vision.headDim, images.grids);
      const half = [count, vision.headDim / 2];
      const shape: LayerShape = {
        heads: vision.heads,
        kvHeads: vision.heads,
        headDim: vision.headDim,
        activation: vision.activation,
        eps: VISION_NORM_EPS,
        causal: false,
        segments: segmentsOf(images.starts),
        cos: inner.own(engine.fromArray(cos, half)),
        sin: inner.own(engine.fromArray(sin, half)),
        queryScale: undefined,
        rowKeys: images.rowKeys,
      };
      // Layers past the chosen one have no effect on the result: they are not run, and their LoRA gets no gradient.
      const layers = modules.visionLayers.slice(0, this.config.visionFeatureLayer);
      const stream = runLayers(inner, x, layers, shape, options, 'vision_tower');
      const [normed, features] = addNorm(inner, stream, modules.projectorNorm, text.normEps);
      options.observe?.(`vision_tower.${layers.length}`, features);
      const [merged] = inner.apply('mergePatches', [normed], { grids: images.grids, merge: spatialMergeSize }) as [
        Tensor,
      ];
      const [first] = linear(
        inner,
        linear(inner, merged, [modules.mergingLayer], images.mergedRowKeys)[0]!,
        [modules.linear1],
        images.mergedRowKeys,
      ) as [Tensor];
      const [activated] = inner.apply('activation', [first], { activation: projectorActivation }) as [Tensor];
      const projected = linear(inner, activated, [modules.linear2], images.mergedRowKeys);
      options.observe?.('image_features', projected[0]!);
      return projected;
    })[0]!;
  }

  /** The patches in memory that the next call uses again: fresh pages for each pass cost more than the copy. */
  #patchesOf(images: PackedImages): Float32Array {
    const length = patchesLength(images);
    if (this.#patches.length < length) this.#patches = new Float32Array(length);
    const patches = this.#patches.subarray(0, length);
    writePatches(images, patches);
    return patches;
  }

  /** A cache for `capacities.length` sequences; dispose it after use. */
  createCache(capacities: readonly number[]): KvCache {
    this.#requireWeights();
    const { text } = this.config;
    for (const capacity of capacities) {
      if (capacity > text.maxPositions) {
        throw new DataError(
          `a sequence of ${capacity} tokens is longer than the model's ${text.maxPositions} positions`,
        );
      }
    }
    return new KvCache(this.engine, text.layers, text.kvHeads * text.headDim, capacities);
  }

  /**
   * Frees the weights; an adapter is freed by its own dispose. An engine that was given is disposed of by whoever made
   * it; one that was made from a name, as `engine: 'cpu'`, goes with the model. May be called twice.
   * @returns settled when an engine of its own is disposed of, else at once
   * @throws TrainingError while a run trains its adapter
   */
  dispose(): Promise<void> {
    if (this.#isDisposed) return Promise.resolve();
    requireNotTraining(this.#lastTrainable, 'model.dispose: its adapter');
    // Before the weights go, for it may refuse: another model may be in training there.
    if (this.ownsEngine) requireIdleEngine(this.engine, 'model.dispose');
    this.#isDisposed = true;
    const { modules, engine } = this;
    this.#patches = new Float32Array(0);
    const norms = [...modules.visionLayers, ...modules.textLayers].flatMap((layer) => [
      layer.attentionNorm,
      layer.mlpNorm,
    ]);
    const single = [modules.patchConv, modules.lnPre, modules.projectorNorm, modules.embedTokens, modules.norm];
    for (const weight of [...norms, ...single]) engine.releaseWeight(weight);
    if (!modules.tied) engine.releaseWeight(modules.lmHead);
    for (const module of modules.linear) {
      engine.releaseWeight(module.weight);
      if (module.bias) engine.releaseWeight(module.bias);
    }
    return this.ownsEngine ? engine.dispose() : Promise.resolve();
  }

  /** The same as `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #requireWeights(): void {
    if (!this.#isDisposed) return;
    throw new EngineError(
      `the model${this.nameOrPath ? ` ${this.nameOrPath}` : ''} is disposed of: its weights are gone`,
      {
        hint: 'Call dispose() after the last use, or load the model again.',
      },
    );
  }

  /** A plan for the window; one that follows a failure is told of, and if there is none, the failure is. */
  #plan(
    window: PackedWindow,
    costs: PassCosts,
    options: AccumulateOptions,
    failure: EngineError | undefined,
  ): PassPlan {
    let plan: PassPlan;
    try {
      plan = this.#planner.plan(window.samples, costs, options);
    } catch (error) {
      throw failure ?? error;
    }
    if (failure) {
      options.onWarning?.(
        `${failure.message.split('\n')[0]}; the step is begun again in ${plan.passes.length} passes of at most ` +
          `${formatBytes(this.#planner.ceiling)} each, and so are later ones`,
      );
    }
    return plan;
  }

  async #runPasses(window: PackedWindow, plan: PassPlan, options: AccumulateOptions): Promise<Deferred<number>> {
    const losses: Tensor[] = [];
    for (const { samples, recompute } of plan.passes) {
      options.signal?.throwIfAborted();
      const packed = window.join(samples);
      const tape = new Tape(this.engine);
      try {
        const { labelSmoothing, neftuneNoiseAlpha } = options;
        const loss = this.loss(tape, packed, 1 / options.labelCount, { recompute, labelSmoothing, neftuneNoiseAlpha });
        if (loss) {
          this.engine.retain(loss);
          losses.push(loss);
          await this.#giveWay();
          await tape.backwardInStretches(loss, () => this.#giveWay());
        }
      } finally {
        tape.dispose();
      }
      await this.#giveWay();
    }
    return async () => {
      let sum = 0;
      for (const loss of losses.splice(0)) {
        sum += (await this.engine.read(loss))[0]!;
        this.engine.release(loss);
      }
      return sum;
    };
  }

  /** Lets the loader's threads deliver and signals arrive: engines block while they compute, or while they queue. */
  async #giveWay(): Promise<void> {
    await this.engine.keepPace?.();
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Token embeddings [T, C] with the image features in place of the image tokens. */
  #embed(tape: Tape, packed: PackedBatch, options: PassOptions): Tensor {
    const noise = embeddingNoise(packed, options.neftuneNoiseAlpha, this.config.text.hiddenSize);
    const lookup = { table: this.modules.embedTokens, ids: packed.ids, ...(noise ? { noise } : {}) };
    const [embedded] = tape.apply('embedding', [], lookup) as [Tensor];
    if (!packed.images) return embedded;
    const features = this.imageFeatures(tape, packed.images, options);
    return tape.apply('scatterRows', [embedded, features], { rows: packed.images.tokenRows })[0]!;
  }
}

/** Each packed range attends to itself. */
function segmentsOf(starts: Int32Array): Segments {
  const keyLengths = Int32Array.from({ length: starts.length - 1 }, (_, i) => starts[i + 1]! - starts[i]!);
  return { queryStarts: starts, keyStarts: starts.slice(0, -1), keyLengths };
}

function summaryOf({ samples, size, recompute, bytes }: PlannedPass): PassSummary {
  const { tokens, patches } = size;
  return { samples: samples.length, tokens, patches, recomputedLayers: recompute, bytes };
}
