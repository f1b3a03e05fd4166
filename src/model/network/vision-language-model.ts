/** A Pixtral vision tower, a patch-merging projector and a decoder, over packed rows: what all families compute. */

import type { DropoutStream } from '../../batch/dropout-keys.js';
import { type PackedBatch, packBatch } from '../../batch/packed-batch.js';
import { type PackedSize, sharePrefixes } from '../../batch/packed-window.js';
import { requireBatch } from '../../batch/require-batch.js';
import { checkNames } from '../../config.js';
import type { VlmBatch } from '../../data/types.js';
import { infer } from '../../engine/computation.js';
import type { Engine, RowMaxima } from '../../engine/engine.js';
import type { Precision } from '../../engine/operations.js';
import { requireIdleEngine, requireNotTraining } from '../../engine/parameter-lease.js';
import { runAtOnce, type Steps, type Tape } from '../../engine/tape.js';
import type { ParameterSet, Tensor } from '../../engine/tensor.js';
import { DataError, EngineError, TrainingError } from '../../errors.js';
import { requireBoolean, requireSignal } from '../../require-given.js';
import type { LinearModule, WriteAdapter } from '../linear-module.js';
import type { ModelConfig } from '../model-config.js';
import { configDigest } from './base-digest.js';
import { Forward } from './forward.js';
import { KvCache } from './kv-cache.js';
import type { AdapterView, PassOptions } from './layers.js';
import type { WeightProvider } from './load-weights.js';
import { loadModules, type ModelModules, modulesOf } from './modules.js';
import { PassCosts, trainingFlops } from './pass-costs.js';
import { SplitCosts } from './split-costs.js';
import { trainingBytes } from './training-bytes.js';

/** Where a model came from, and who disposes of its engine. */
export interface ModelOrigin {
  /** Name on the Hub, or folder, that the model was loaded from. */
  readonly nameOrPath?: string | undefined;
  /** Branch, tag or commit on the Hub; undefined for `main` and for a folder. */
  readonly revision?: string | undefined;
  /** Folder of the files: the one given, or a snapshot in the Hub's cache. */
  readonly folder?: string | undefined;
  /** How weights were quantised while they were loaded, in words; undefined if the values are those of the files. */
  readonly quantization?: string | undefined;
  /** The engine was made for this model alone: `dispose` disposes of it too. Default false. */
  readonly ownsEngine?: boolean | undefined;
}

/** Options of `rowLogits` and `rowMaxima`. */
export interface RowOptions {
  /** Keys and values of earlier tokens; those of these are added. Default: none. */
  readonly cache?: KvCache | undefined;
  /** What is computed with, whatever becomes of the model's adapter meanwhile. Default: the one that is on. */
  readonly adapter?: AdapterView | undefined;
  /** Stops with its reason, between layers. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** The model on an engine: frozen weights, and the adapter that `applyLora` or `loadAdapter` put onto it. */
export class VisionLanguageModel {
  /** Where the weights are and everything is computed. */
  readonly engine: Engine;
  /** Shapes and settings of both towers. */
  readonly config: ModelConfig;
  /** The weights by their places. */
  readonly modules: ModelModules;
  /** Name on the Hub, or folder, that it was loaded from; what `saveAdapter` writes as `base_model_name_or_path`. */
  readonly nameOrPath: string | undefined;
  /** Folder of its files; undefined if it was not loaded from one. */
  readonly folder: string | undefined;
  /** Branch, tag or commit on the Hub that was asked for; undefined for `main` and for a folder. */
  readonly revision: string | undefined;
  /**
   * How weights were quantised while they were loaded, in words; undefined if the values are those of the files. `held`
   * of a weight is the format in memory.
   */
  readonly quantization: string | undefined;
  /** Whether `dispose` disposes of the engine too: it was made from a name for this model. */
  readonly ownsEngine: boolean;
  /** Its passes accept samples that share tokens. */
  readonly sharesPrefixes = true;
  readonly #forward: Forward;
  /**
   * Digests of its config.json, as far as it decides what is computed, and of pieces of all weights of each part. They
   * do not depend on engine, files and number format. Undefined if the engine has not read all weights.
   */
  readonly baseModel: Readonly<Record<string, string>> | undefined;
  /** Of the active adapter; undefined where nothing is trained. */
  writeAdapter: WriteAdapter | undefined;
  #trainable: ParameterSet | undefined;
  /** The same, of an adapter that is switched off for a while too. */
  #lastTrainable: ParameterSet | undefined;
  #isDisposed = false;

  private constructor(
    engine: Engine,
    config: ModelConfig,
    { modules, digests }: Awaited<ReturnType<typeof loadModules>>,
    origin: ModelOrigin,
  ) {
    this.engine = engine;
    this.baseModel = digests && { ...digests, config: configDigest(config) };
    this.nameOrPath = origin.nameOrPath;
    this.folder = origin.folder;
    this.revision = origin.revision;
    this.quantization = origin.quantization;
    this.ownsEngine = origin.ownsEngine ?? false;
    this.config = config;
    this.modules = modules;
    this.#forward = new Forward(engine, config, modules);
  }

  /**
   * Loads the frozen weights into the engine, in their stored number format.
   * @throws CheckpointError naming every missing or misshapen tensor
   */
  static async load(
    engine: Engine,
    config: ModelConfig,
    provider: WeightProvider,
    origin: ModelOrigin = {},
  ): Promise<VisionLanguageModel> {
    const loaded = await loadModules(engine, config, provider, (modules) => trainingBytes(config, modules, engine));
    return new VisionLanguageModel(engine, config, loaded, origin);
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

  /**
   * Scale and dropout of the adapter: one number where all layers have the same, else all in the order of the layers; and
   * `quantization`, if set.
   */
  get trainingSettings(): Readonly<Record<string, unknown>> {
    const adapted = this.linearModules.flatMap(({ lora }) => lora ?? []);
    const oneOrAll = (values: readonly number[]): unknown => (new Set(values).size <= 1 ? values[0] : values.join(' '));
    return {
      loraScale: oneOrAll(adapted.map(({ scale }) => scale)),
      loraDropout: oneOrAll(adapted.map(({ dropout }) => dropout)),
      ...(this.quantization !== undefined && { quantization: this.quantization }),
    };
  }

  /** Called by applyLora and by the removal of an adapter. */
  setTrainable(set: ParameterSet | undefined, write?: WriteAdapter): void {
    this.#trainable = set;
    if (set) this.#lastTrainable = set;
    this.writeAdapter = write;
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

  /**
   * What passes cost with the adapter that is on now: bytes and time.
   * @param memoryBudget as that of `accumulateGradients`; counts where the model lies on several devices
   */
  passCosts(precision?: Precision, memoryBudget?: number): PassCosts {
    const { config, modules, engine } = this;
    if (!engine.devices) return new PassCosts(config, modules, engine.storage, precision);
    return new SplitCosts(config, modules, engine, engine.devices, precision, memoryBudget);
  }

  /** Prepares copies of the decoder's weights for products in this precision, as far as there is memory. */
  preparePrecision(precision: Precision): void {
    this.#requireWeights();
    const linears = this.modules.textLayers.flatMap(modulesOf);
    this.engine.preparePrecision?.(
      linears.map(({ weight }) => weight),
      precision,
    );
  }

  /** Operations that a training step of this size asks for: see `trainingFlops`. */
  trainingFlops(size: PackedSize): number {
    return trainingFlops(this.config, this.modules, size);
  }

  /** scale · Σ of the losses of the labelled tokens [1], or undefined if nothing is labelled; may pause. */
  lossSteps(tape: Tape, packed: PackedBatch, scale: number, options: PassOptions): Steps<Tensor | undefined> {
    this.#requireWeights();
    return this.#forward.loss(tape, packed, scale, options);
  }

  /** Logits [rows.length, V] of the given rows of the final hidden states [T, C]. */
  logits(tape: Tape, hidden: Tensor, rows: Int32Array): Tensor {
    return this.#forward.logits(tape, hidden, rows);
  }

  /**
   * Logits [B, V] after the last token of each sample. Aborts, signals and timers are heard meanwhile.
   * @throws the signal's reason when aborted
   */
  async lastLogits(
    batch: VlmBatch,
    options: {
      /** Compute the common prefixes of samples only once. Default true. */
      readonly sharePrefix?: boolean | undefined;
      readonly signal?: AbortSignal | undefined;
    } = {},
  ): Promise<Float32Array> {
    checkNames(options, { sharePrefix: false, signal: false }, 'lastLogits');
    const { sharePrefix = true, signal } = options;
    requireSignal(signal, 'lastLogits');
    requireBoolean(sharePrefix, 'lastLogits: `sharePrefix`');
    const packed = sharePrefix ? sharePrefixes(this.pack(batch)) : this.pack(batch);
    const rows = packed.starts.slice(1).map((end) => end - 1);
    return this.rowLogits(packed, rows, { signal });
  }

  /**
   * Logits [rows.length, V] of rows of a packed batch; for generation.
   * @throws the signal's reason when aborted
   */
  rowLogits(packed: PackedBatch, rows: Int32Array, options: RowOptions = {}): Promise<Float32Array> {
    return this.#ofRows(packed, rows, options, (logits) => this.engine.read(logits));
  }

  /**
   * The largest logit of rows of a packed batch and its token, on engines that find it without reading all logits back;
   * undefined on others.
   * @throws the signal's reason when aborted
   */
  rowMaxima(packed: PackedBatch, rows: Int32Array, options: RowOptions = {}): Promise<RowMaxima> | undefined {
    if (!this.engine.rowMaxima) return undefined;
    return this.#ofRows(packed, rows, options, (logits) => this.engine.rowMaxima!(logits));
  }

  /**
   * -ln p(label | what stands before it) for each label of a packed batch [L]; for scoring answers.
   * @throws the signal's reason when aborted
   */
  labelLosses(packed: PackedBatch, { signal, adapter }: Omit<RowOptions, 'cache'> = {}): Promise<Float32Array> {
    const view = adapter ?? this.#forward.adapter();
    const requireParts = (): void => this.requireParts(view);
    return infer(this.engine, { signal, requireParts }, this.#forward.rowLosses(packed, { adapter: view }));
  }

  #ofRows<T>(
    packed: PackedBatch,
    rows: Int32Array,
    { cache, signal, adapter = this.#forward.adapter() }: RowOptions,
    read: (logits: Tensor) => Promise<T>,
  ): Promise<T> {
    const requireParts = (): void => this.requireParts(adapter);
    const body = this.#forward.rowLogits(packed, rows, { adapter }, cache);
    return infer(this.engine, { signal, requireParts }, body, read);
  }

  /** What sits on the layers now: a computation of several passes goes on with it. */
  adapterView(): AdapterView {
    return this.#forward.adapter();
  }

  /** @throws EngineError if the weights, or the adapter that a computation began with, are gone */
  requireParts(adapter: AdapterView): void {
    this.#requireWeights();
    if (!adapter.some((lora) => lora?.isReleased)) return;
    throw new EngineError('the adapter that a computation began with was deleted before it ended', {
      hint: 'Await what computes with it before deleteAdapter or dispose.',
    });
  }

  /**
   * Final hidden states after the last norm: images embedded, put into the text, decoded. Does not pause.
   * @param rows which ones, default all T; the last layer's products are then done for these alone
   * @returns [rows.length or T, C]
   */
  hidden(tape: Tape, packed: PackedBatch, options: PassOptions, cache?: KvCache, rows?: Int32Array): Tensor {
    this.#requireWeights();
    return runAtOnce(this.#forward.hidden(tape, packed, options, cache, rows));
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
    const layers = this.modules.textLayers.map(({ attentionNorm }) => attentionNorm);
    return new KvCache(this.engine, layers, text.kvHeads * text.headDim, capacities);
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
    this.#forward.clear();
    const layers = [...modules.visionLayers, ...modules.textLayers];
    const norms = layers.flatMap(({ attentionNorm, mlpNorm }) => [attentionNorm, mlpNorm]);
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
    const name = this.nameOrPath ? ` ${this.nameOrPath}` : '';
    throw new EngineError(`the model${name} is disposed of: its weights are gone`, {
      hint: 'Call dispose() after the last use, or load the model again.',
    });
  }
}
