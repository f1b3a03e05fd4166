/**
 * Ministral 3: a Pixtral vision tower, a patch-merging projector and a decoder with YaRN positions, over packed rows.
 * Written once against the engine's operations; inference, training and generation share the same layers.
 */

import type { DropoutStream } from '../../batch/dropout-keys.js';
import { type PackedBatch, packBatch } from '../../batch/packed-batch.js';
import type { PackedImages } from '../../batch/packed-images.js';
import { PackedWindow } from '../../batch/packed-window.js';
import { requireBatch } from '../../batch/require-batch.js';
import { checkNames } from '../../config.js';
import type { VlmBatch } from '../../data/types.js';
import { type ComputationOptions, exclusively, infer, runPass } from '../../engine/computation.js';
import type { Deferred, Engine } from '../../engine/engine.js';
import { requireIdleEngine, requireNotTraining, requireOwnCall } from '../../engine/parameter-lease.js';
import { runAtOnce, type Steps, type Tape } from '../../engine/tape.js';
import type { ParameterSet, Tensor } from '../../engine/tensor.js';
import { DataError, EngineError, OutOfMemoryError, reasonOf, TrainingError } from '../../errors.js';
import { formatBytes } from '../../messages/format-bytes.js';
import { requireSignal } from '../../require-given.js';
import { withLessMemory } from '../../train/less-memory.js';
import type {
  AccumulateOptions,
  EvaluateLossOptions,
  PassSummary,
  TrainableModel,
} from '../../train/trainable-model.js';
import type { LinearModule } from '../linear-module.js';
import { configDigest } from './base-digest.js';
import type { Ministral3Config } from './config.js';
import { Forward } from './forward.js';
import { KvCache } from './kv-cache.js';
import type { AdapterView, PassOptions } from './layers.js';
import type { WeightProvider } from './load-weights.js';
import { loadModules, type Ministral3Modules } from './modules.js';
import { PassCosts } from './pass-costs.js';
import type { PassPlan, PlannedPass } from './pass-plan.js';
import { PassPlanner } from './pass-planner.js';
import { trainingFlops } from './training-flops.js';

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
  readonly #forward: Forward;
  /**
   * Digests of its config.json, as far as it decides what is computed, and of pieces of all weights of each part. They
   * do not depend on engine, files and number format. Undefined if the engine has not read all weights.
   */
  readonly baseModel: Readonly<Record<string, string>> | undefined;
  readonly #planner: PassPlanner;
  #trainable: ParameterSet | undefined;
  #writeAdapter: TrainableModel['writeAdapter'];
  /** The same, of an adapter that is switched off for a while too. */
  #lastTrainable: ParameterSet | undefined;
  #isDisposed = false;

  private constructor(
    engine: Engine,
    config: Ministral3Config,
    { modules, digests }: Awaited<ReturnType<typeof loadModules>>,
    origin: ModelOrigin,
  ) {
    this.engine = engine;
    this.baseModel = digests && { ...digests, config: configDigest(config) };
    this.nameOrPath = origin.nameOrPath;
    this.folder = origin.folder;
    this.revision = origin.revision;
    this.ownsEngine = origin.ownsEngine ?? false;
    this.config = config;
    this.modules = modules;
    this.#forward = new Forward(engine, config, modules);
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
  setTrainable(set: ParameterSet | undefined, write?: TrainableModel['writeAdapter']): void {
    this.#trainable = set;
    if (set) this.#lastTrainable = set;
    this.#writeAdapter = write;
  }

  /** See {@link TrainableModel.writeAdapter}: that of the active adapter; undefined where nothing is trained. */
  get writeAdapter(): TrainableModel['writeAdapter'] {
    return this.#writeAdapter;
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
    const adapter = this.#forward.adapter();
    const trainable = this.#trainable;
    return exclusively(engine, options.signal, async () => {
      let failure: OutOfMemoryError | undefined;
      for (;;) {
        const plan = this.#plan(window, costs, options, failure);
        options.onPlan?.(plan.passes.map(summaryOf));
        const mark = engine.mark();
        try {
          return await this.#runPasses(window, plan, options, adapter);
        } catch (error) {
          engine.releaseSince(mark);
          if (!(error instanceof OutOfMemoryError)) throw error;
          failure = error;
          this.#planner.tighten(plan);
          if (trainable) engine.zeroGradients(trainable);
        }
      }
    });
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
    checkNames(options, { labelSmoothing: false, signal: false }, 'evaluateLoss');
    requireSignal(options.signal, 'evaluateLoss');
    const { labelSmoothing, signal } = options;
    const packed = this.pack(batch);
    const labelCount = packed.labelRows.length;
    if (labelCount === 0) return { lossSum: 0, labelCount };
    const adapter = this.#forward.adapter();
    const losses = await this.#infer(this.#forward.lossOf(packed, { labelSmoothing, adapter }), signal, adapter);
    return { lossSum: losses[0]!, labelCount };
  }

  /** scale · Σ of the losses of the labelled tokens [1], or undefined if nothing is labelled. Does not pause. */
  loss(tape: Tape, packed: PackedBatch, scale: number, options: PassOptions): Tensor | undefined {
    this.#requireWeights();
    return runAtOnce(this.#forward.loss(tape, packed, scale, options));
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
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Float32Array> {
    checkNames(options, { signal: false }, 'lastLogits');
    requireSignal(options.signal, 'lastLogits');
    const packed = this.pack(batch);
    const rows = packed.starts.slice(1).map((end) => end - 1);
    return this.rowLogits(packed, rows, options);
  }

  /**
   * Logits [rows.length, V] of rows of a packed batch; for generation.
   * @param options.adapter what is computed with, whatever becomes of the model's adapter meanwhile
   * @throws the signal's reason when aborted
   */
  rowLogits(
    packed: PackedBatch,
    rows: Int32Array,
    options: {
      readonly cache?: KvCache | undefined;
      readonly adapter?: AdapterView | undefined;
      readonly signal?: AbortSignal | undefined;
    } = {},
  ): Promise<Float32Array> {
    const { cache, signal, adapter = this.#forward.adapter() } = options;
    return this.#infer(this.#forward.rowLogits(packed, rows, { adapter }, cache), signal, adapter);
  }

  /** What sits on the layers now: a computation of several passes goes on with it. */
  adapterView(): AdapterView {
    return this.#forward.adapter();
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

  /** Features [M, C] of all images in order, M = Σ height/side · width/side with side = patchSize · spatialMergeSize. */
  imageFeatures(tape: Tape, images: PackedImages, options: PassOptions): Tensor {
    this.#requireWeights();
    return runAtOnce(this.#forward.imageFeatures(tape, images, options));
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
    this.#forward.clear();
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
    failure: OutOfMemoryError | undefined,
  ): PassPlan {
    let plan: PassPlan;
    try {
      plan = this.#planner.plan(window.samples, costs, options);
    } catch (error) {
      throw failure ? withLessMemory(failure, 'step') : error;
    }
    if (failure) {
      options.onWarning?.(
        `${reasonOf(failure)}; the step is begun again in ${plan.passes.length} passes of at most ` +
          `${formatBytes(this.#planner.ceiling)} each, and so are later ones`,
      );
    }
    return plan;
  }

  async #runPasses(
    window: PackedWindow,
    plan: PassPlan,
    options: AccumulateOptions,
    adapter: AdapterView,
  ): Promise<Deferred<number>> {
    const losses: Tensor[] = [];
    const { labelSmoothing, neftuneNoiseAlpha } = options;
    for (const { samples, recompute } of plan.passes) {
      const packed = window.join(samples);
      const passOptions = { recompute, labelSmoothing, neftuneNoiseAlpha, adapter };
      await runPass(this.engine, { ...this.#computation(options.signal, adapter), record: true }, async (pass) => {
        const steps = this.#forward.loss(pass.tape, packed, 1 / options.labelCount, passOptions);
        const loss = await pass.run(steps);
        if (!loss) return;
        this.engine.retain(loss);
        losses.push(loss);
        await pass.pause();
        await pass.backward(loss);
        await pass.pause();
      });
    }
    const deferred = async (): Promise<number> => {
      let sum = 0;
      for (const loss of losses.splice(0)) {
        sum += (await this.engine.read(loss))[0]!;
        this.engine.release(loss);
      }
      return sum;
    };
    unread.register(deferred, { engine: this.engine, losses });
    return deferred;
  }

  /** The values of what the steps give, from a pass without gradients. */
  async #infer(
    steps: (tape: Tape) => Steps<Tensor>,
    signal: AbortSignal | undefined,
    adapter: AdapterView,
  ): Promise<Float32Array> {
    const { engine } = this;
    const result = await exclusively(engine, signal, () => infer(engine, this.#computation(signal, adapter), steps));
    // Whoever waits for the engine may queue work while this comes from the device.
    try {
      return await engine.read(result);
    } finally {
      engine.release(result);
    }
  }

  #computation(signal: AbortSignal | undefined, adapter: AdapterView): ComputationOptions {
    const requireParts = (): void => {
      this.#requireWeights();
      if (!adapter.some((lora) => lora?.isReleased)) return;
      throw new EngineError('the adapter that a computation began with was deleted before it ended', {
        hint: 'Await what computes with it before deleteAdapter or dispose.',
      });
    };
    return { signal, requireParts };
  }
}

/** Frees losses that nobody asked for: those of a run that failed before. */
const unread = new FinalizationRegistry<{ readonly engine: Engine; readonly losses: Tensor[] }>(
  ({ engine, losses }) => {
    for (const loss of losses.splice(0)) {
      try {
        engine.release(loss);
      } catch {
        // The engine has gone.
      }
    }
  },
);

function summaryOf({ samples, size, recompute, bytes }: PlannedPass): PassSummary {
  const { tokens, patches } = size;
  return { samples: samples.length, tokens, patches, recomputedLayers: recompute, bytes };
}
