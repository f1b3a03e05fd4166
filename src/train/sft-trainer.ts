/** Supervised fine-tuning: the public face of the training loop. */

import { resolve } from 'node:path';
import { afterAbort, orAborted } from '../async/or-aborted.js';
import { checkNames, requirePath } from '../config.js';
import { DataLoader } from '../data/data-loader.js';
import type { Dataset, SkippedSample, TrainingExample } from '../data/types.js';
import { rankPlace } from '../distributed/rank-place.js';
import { ParameterLease } from '../engine/parameter-lease.js';
import { ConfigError, DataError, type DistributedError, TrainingError } from '../errors.js';
import { makeFolder } from '../files/make-folder.js';
import { warningLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { requireOneObject, requireSignal } from '../require-given.js';
import { judgeOf } from './best-model.js';
import { CallbackRunner } from './callback-runner.js';
import type { EvalResult } from './evaluate-loss.js';
import type { TrainOutput } from './events.js';
import { learningRateFactors } from './learning-rate-factors.js';
import { requirePrecision } from './precision.js';
import type { Progress } from './progress.js';
import type { RankExchange } from './rank-exchange.js';
import { savedOnSignals } from './rank-signals.js';
import { runWarnings } from './run-warnings.js';
import { Sampler } from './sampler.js';
import { parseSftConfig, type SftConfig, sftConfigSchema } from './sft-config.js';
import type { SftTrainerOptions, TrainOptions } from './sft-trainer-options.js';
import { asDataset, checkMetrics, checkTrainerOptions, requireRanks } from './trainer-parts.js';
import type { TrainingLoop } from './training-loop.js';
import { type RunControl, TrainingRun } from './training-run.js';
import { describeSkipped } from './training-window.js';

export type { ComputeMetrics, SftTrainerOptions, TrainOptions } from './sft-trainer-options.js';

/** Who follows an evaluation. */
interface EvaluationWatch {
  readonly signal: AbortSignal | undefined;
  readonly warn?: ((message: string) => void) | undefined;
  readonly onBatch?: (() => void) | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** The loss is known; `computeMetrics` begins. */
  readonly onMetrics?: (() => void) | undefined;
  readonly ranks?: RankExchange | undefined;
}

const TRAINER_OPTIONS = {
  model: true,
  config: false,
  trainDataset: true,
  evalDataset: false,
  collator: true,
  saveAdapter: false,
  computeMetrics: false,
  callbacks: false,
  processGroup: false,
} as const;
/** Arguments of TRL's trainer that belong to something else here, with where. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  peftconfig: 'applyLora(model, config) does it before',
  tokenizer: 'the collator has it: new VlmCollator(processor)',
  processingclass: 'the collator has it: new VlmCollator(processor)',
  processor: 'the collator has it: new VlmCollator(processor)',
  formattingfunc: 'trainDataset: dataset.map(toExample) does it',
};
const TRAIN_OPTIONS = { signal: false, resumeFromCheckpoint: false } as const;

/**
 * Trains the trainable parameters of a model, after `transformers.Trainer` and TRL's `SFTTrainer`.
 * @example
 * ```ts
 * applyLora(model, { r: 16, targetModules: ['q_proj', 'v_proj'] });
 * const trainer = new SftTrainer({
 *   model, collator, trainDataset, evalDataset,
 *   config: { learningRate: 2e-4, numTrainEpochs: 1, evalStrategy: 'epoch' },
 * });
 * const { globalStep, trainingLoss } = await trainer.train();
 * ```
 */
export class SftTrainer {
  /** Every default filled in. */
  readonly config: SftConfig;
  readonly #options: SftTrainerOptions & {
    readonly trainDataset: Dataset<TrainingExample>;
    readonly evalDataset: Dataset<TrainingExample> | undefined;
  };
  /** As it was given, to be recognised. */
  readonly #givenEvalDataset: SftTrainerOptions['evalDataset'];
  readonly #givenTrainDataset: SftTrainerOptions['trainDataset'];
  readonly #sampler: Sampler;
  /** Of a process that trains with others. */
  readonly #place: { readonly rank: number; readonly worldSize: number } | undefined;
  /** Sets of which it was said that some samples are not evaluated. */
  readonly #saidDropped = new WeakSet<Dataset<TrainingExample>>();

  /**
   * @throws ConfigError for bad options, parts that are something else, or evaluations without a data set
   * @throws DataError if the training set gives no micro-batch
   * @throws TrainingError if the model has nothing to train
   */
  constructor(options: SftTrainerOptions) {
    checkTrainerOptions(options, Object.keys(sftConfigSchema().shape));
    // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
    requireOneObject(arguments.length, 'SftTrainer', 'new SftTrainer({ model, trainDataset, collator, config })');
    checkNames(options, TRAINER_OPTIONS, 'SftTrainer', {}, ELSEWHERE);
    const config = parseSftConfig(options.config);
    this.config = config;
    const trainDataset = asDataset(options.trainDataset, 'trainDataset');
    const evalDataset = options.evalDataset && asDataset(options.evalDataset, 'evalDataset');
    this.#options = { ...options, trainDataset, evalDataset };
    this.#givenEvalDataset = options.evalDataset;
    this.#givenTrainDataset = options.trainDataset;
    const wantsEvaluations = config.evalStrategy !== 'no' ? `\`evalStrategy\` is "${config.evalStrategy}"` : undefined;
    const asked = wantsEvaluations ?? (config.evalOnStart ? '`evalOnStart` is true' : undefined);
    if (asked && !evalDataset?.length) {
      throw new ConfigError(`${asked}, but the evaluation set is missing or empty`, {
        hint: `Give \`evalDataset\`, or set ${wantsEvaluations ? '`evalStrategy: "no"`' : '`evalOnStart: false`'}.`,
      });
    }
    const judge = wantsEvaluations === undefined ? undefined : judgeOf(config);
    if (judge && judge.metric !== 'evalLoss' && !options.computeMetrics) {
      throw new ConfigError(`\`metricForBestModel\` is "${judge.metric}", but evaluations have the loss alone`, {
        hint: 'Give `computeMetrics`, which returns other metrics by name, or write "evalLoss".',
      });
    }
    const { trainable } = options.model;
    if (trainable.size === 0) {
      throw new TrainingError('the model has no trainable parameters', { hint: 'call applyLora(model, config) first' });
    }
    // What cannot be had is an error here, not when the run begins.
    learningRateFactors(trainable, config.loraplusLrRatio);
    requirePrecision(options.model.engine, config.precision);
    this.#place = options.processGroup ?? rankPlace();
    const worldSize = this.#place?.worldSize ?? 1;
    requireRanks(options.model.engine, worldSize);
    const { length } = trainDataset;
    this.#sampler = new Sampler({
      length,
      batchSize: config.perDeviceTrainBatchSize,
      gradientAccumulationSteps: config.gradientAccumulationSteps * worldSize,
      dropLast: config.dataloaderDropLast,
      seed: config.dataSeed ?? config.seed,
      numTrainEpochs: config.numTrainEpochs,
      maxSteps: config.maxSteps,
    });
    const { totalSteps } = this.#sampler;
    if (!Number.isSafeInteger(totalSteps) && this.#sampler.microBatchesPerEpoch > 0) {
      throw new ConfigError(
        `\`numTrainEpochs\` of ${config.numTrainEpochs} are ${totalSteps} optimizer steps, more than can be counted`,
        { hint: 'A run without an end of its own: set `maxSteps: 1e9`, and leave its loop or abort it.' },
      );
    }
    if (this.#sampler.microBatchesPerEpoch === 0) {
      throw new DataError(`the training set has ${length} samples, too few for one micro-batch`, {
        hint: length > 0 ? 'Set `dataloaderDropLast: false`, or a smaller batch size.' : 'Check where it is read from.',
      });
    }
  }

  /** Optimizer steps of a run. */
  get totalSteps(): number {
    return this.#sampler.totalSteps;
  }

  /**
   * Starts a run: await it, iterate its events, or both; it waits for whoever iterates, and leaving the loop stops it: see
   * {@link TrainingRun}. It fails with
   * - DataError or TextError, before it begins: samples in which there is nothing to learn or, of the evaluation set, to
   *   measure, and those that are malformed
   * - TrainingError: a loss or gradient norm that is not finite, a step without labels, nothing that gets a gradient, an
   *   epoch of which no sample could be learned, a run that trains the same parameters already, an `outputDir` that
   *   another run took over while this one was suspended
   * - CheckpointError: a checkpoint to resume from that cannot be read, or belongs to another run; an `outputDir` that
   *   another run is using, on this or another host, or that cannot be written to
   * - what the data set, the collator, `computeMetrics` and the model throw, and the signal's reason
   * - a callback that fails, as a TrainingError that names it, or that stops the run, as a DOMException `AbortError`
   * - DistributedError, of a process that trains with others: one of them was lost, has failed or was asked to stop, or they
   *   differ in what they run
   *
   * A checkpoint that cannot be written is a warning: the run goes on and later saves try again.
   *
   * In a process that trains with others SIGTERM, SIGINT and SIGHUP stop the run as an abort does, if the program does not
   * listen to them: the last whole step is saved, and the process then ends with 128 and the number of the signal.
   */
  train(options: TrainOptions = {}): TrainingRun {
    if (typeof options === 'string' || typeof options === 'boolean') {
      throw new ConfigError(`train: expected an object of options, got ${showValue(options)}`, {
        hint: 'Write train({ resumeFromCheckpoint: … }) to go on from a checkpoint.',
      });
    }
    checkNames(options, TRAIN_OPTIONS, 'train');
    requireSignal(options.signal, 'train');
    const { resumeFromCheckpoint: resumeFrom } = options;
    if (typeof resumeFrom !== 'boolean' && resumeFrom !== undefined) {
      requirePath(resumeFrom, 'train: `resumeFromCheckpoint`');
    }
    // A run stays where it has begun, and what it owns with it, though the process changes its working directory.
    const from = typeof resumeFrom === 'string' ? resolve(resumeFrom) : resumeFrom || undefined;
    const config = { ...this.config, outputDir: resolve(this.config.outputDir) };
    const body = (control: RunControl) => this.#runWithCallbacks(control, config, from);
    if (!rankPlace()) return new TrainingRun(body, options.signal);
    return new TrainingRun((control) => savedOnSignals(control.stop, () => body(control)), options.signal);
  }

  async #runWithCallbacks(
    control: RunControl,
    config: SftConfig,
    resumeFrom: string | true | undefined,
  ): Promise<TrainOutput> {
    const isMain = (this.#place?.rank ?? 0) === 0;
    const callbacks = this.#options.callbacks?.filter((callback) => isMain || callback.isMainOnly !== true);
    if (!callbacks?.length) return this.#run(control, config, resumeFrom, undefined);
    const runner = new CallbackRunner(callbacks, control);
    try {
      const output = await this.#run(control, config, resumeFrom, runner);
      await runner.close();
      return output;
    } catch (error) {
      await runner.close(error);
      throw error;
    }
  }

  async #run(
    control: RunControl,
    config: SftConfig,
    resumeFrom: string | true | undefined,
    callbacks: CallbackRunner | undefined,
  ): Promise<TrainOutput> {
    const { emit, whenRead, isRead } = control;
    const { model } = this.#options;
    // Asked for now: another adapter may have become the active one since the trainer was made.
    const { trainable } = model;
    const where = `a run in ${JSON.stringify(this.config.outputDir)}`;
    let loop: TrainingLoop | undefined;
    const lease = ParameterLease.take(model.engine, trainable, () => {
      return `${where}, ${loop?.globalStep ?? 0} of ${this.totalSteps} steps done`;
    });
    let terminal: Progress | undefined;
    let ranks: RankExchange | undefined;
    try {
      ranks = this.#place && (await this.#exchange('training', control));
      const signal = ranks?.signal ?? control.signal;
      // Loaded now, as most programs that import the package train nothing.
      const [{ TrainingLoop }, { Progress }] = await Promise.all([
        import('./training-loop.js'),
        import('./progress.js'),
      ]);
      const progress = new Progress(ranks?.isMain === false ? 'none' : this.config.progress);
      terminal = progress;
      loop = new TrainingLoop({
        model,
        config,
        sampler: this.#sampler,
        dataset: this.#options.trainDataset,
        evalDataset: this.#options.evalDataset,
        loader: this.#loader(this.#options.trainDataset),
        checkData: (aborted) => this.#checkData(aborted, resumeFrom !== undefined),
        evaluate: (aborted, warn, onBatch) =>
          this.#evaluate(this.#options.evalDataset, {
            ...{ signal: aborted, warn, onBatch, ranks },
            onProgress: (done, total) => progress.evaluating(done, total),
            onMetrics: () => progress.measuring(),
          }),
        saveAdapter: this.#options.saveAdapter,
        collator: this.#options.collator,
        signal,
        whenRead,
        callbacks,
        lease,
        ranks,
        show: (event) => {
          progress.show(event, isRead());
          return callbacks ? callbacks.handle(event).then(() => emit(event)) : emit(event);
        },
      });
      return await loop.run(resumeFrom);
    } catch (error) {
      throw ranks ? ranks.failed(error) : error;
    } finally {
      await terminal?.close();
      await ranks?.close();
      // A model that computes on would add to the gradients of whoever comes next.
      const { unanswered } = loop ?? {};
      if (unanswered) void unanswered.then(() => lease.release());
      else lease.release();
    }
  }

  /** What this process and the others tell each other. @param what they do */
  async #exchange(
    what: string,
    control: Pick<RunControl, 'signal' | 'stop'> = { signal: new AbortController().signal, stop: () => undefined },
  ): Promise<RankExchange | undefined> {
    const [{ RankExchange }, { processGroup }] = await Promise.all([
      import('./rank-exchange.js'),
      import('../distributed/join-group.js'),
    ]);
    const { signal } = control;
    const group = this.#options.processGroup ?? (await processGroup({ signal }));
    return group && new RankExchange(group, control, what);
  }

  /** Work of all processes together; of one that trains alone it is just done. */
  async #together<T>(
    what: string,
    signal: AbortSignal | undefined,
    work: (ranks: RankExchange | undefined) => Promise<T>,
  ): Promise<T> {
    if (!this.#place) return work(undefined);
    const ranks = await this.#exchange(what, signal && { signal, stop: () => undefined });
    try {
      return await work(ranks);
    } catch (error) {
      throw ranks ? ranks.failed(error) : error;
    } finally {
      await ranks?.close();
    }
  }

  /**
   * Mean loss of a labelled token over a data set, by default the evaluation set, with dropout and noise off; for the
   * evaluation set also what `computeMetrics` gives. The terminal shows how far it is, as `progress` of the configuration
   * says.
   * @param dataset may be an array, as the trainer's own
   * @param signal heard though a data set, the collator or `computeMetrics` does not answer
   * @throws DataError if there is no data set, or nothing in it is labelled; the signal's reason
   */
  async evaluate(
    dataset: Dataset<TrainingExample> | readonly TrainingExample[] | undefined = this.#givenEvalDataset,
    signal?: AbortSignal,
  ): Promise<EvalResult> {
    requireSignal(signal, 'evaluate');
    const isOwn = dataset === this.#givenEvalDataset;
    const evaluated = isOwn ? this.#options.evalDataset : asDataset(dataset, 'evaluate');
    const { Progress } = await import('./progress.js');
    const isMain = (this.#place?.rank ?? 0) === 0;
    const progress = new Progress(isMain ? this.config.progress : 'none');
    try {
      return await this.#together('evaluation', signal, (ranks) =>
        this.#evaluate(evaluated, {
          ...{ signal: ranks?.signal ?? signal, ranks },
          // No run has events for it.
          warn: (message) => {
            if (isMain) process.emitWarning(warningLine(message), 'EvaluationWarning');
          },
          onProgress: (done, total) => progress.evaluating(done, total),
          onMetrics: () => progress.measuring(),
        }),
      );
    } finally {
      progress.clear();
      await progress.close();
    }
  }

  /**
   * Writes what was trained as the model has it now, as in its checkpoints: the adapter with the collator's chat template,
   * and what `saveAdapter` of the options writes. An adapter that is in the folder makes way. In the loop of a run it is
   * that of the loop's step. Of several processes all call it: the first writes and the others wait for it. `saveAdapter(adapter, directory, options)` also says another name of the base model.
   * transformers: `save_model`.
   * @param directory made if need be
   * @throws as the function `saveAdapter`; TrainingError if the model has nothing to train, or cannot write what it has;
   * DistributedError if not all processes call it
   */
  async saveModel(directory: string): Promise<void> {
    requirePath(directory, 'saveModel');
    const { model, collator, saveAdapter } = this.#options;
    const { trainable } = model;
    if (!model.writeAdapter && !saveAdapter) {
      throw new TrainingError('saveModel: the model cannot write what it has learned', {
        hint: 'Its method `writeAdapter` is missing; give the trainer `saveAdapter`, which writes files of your own.',
      });
    }
    const write = async (): Promise<void> => {
      await model.writeAdapter?.(directory, await model.engine.readParameters(trainable), collator, true);
      if (!model.writeAdapter) await makeFolder(directory);
      await saveAdapter?.(directory);
    };
    let isLeft: DistributedError | undefined;
    await this.#together('saveModel', undefined, async (ranks) => {
      if (!ranks) return write();
      const { writeTogether } = await import('./rank-run.js');
      isLeft = await writeTogether(ranks, directory, write);
    });
    if (isLeft) throw isLeft;
  }

  async #checkData(signal: AbortSignal | undefined, isResumed: boolean): Promise<readonly string[]> {
    const { trainDataset, evalDataset, collator, model } = this.#options;
    const settings = {
      ...{ config: this.config, given: this.#options.config ?? {}, sampler: this.#sampler },
      evalLength: evalDataset?.length,
      evaluatesTraining: this.#givenEvalDataset !== undefined && this.#givenEvalDataset === this.#givenTrainDataset,
    };
    const doubts = runWarnings(settings, isResumed);
    const { checkEvaluationSet, checkLabels } = await import('./label-check.js');
    const warnings = await checkLabels(trainDataset, collator, signal, model.config?.eosTokenIds);
    const isEvaluated = this.config.evalStrategy !== 'no' || this.config.evalOnStart;
    if (isEvaluated && evalDataset) await checkEvaluationSet(evalDataset, collator, signal);
    return [...doubts, ...warnings];
  }

  async #evaluate(
    dataset: Dataset<TrainingExample> | undefined,
    { signal, warn, onBatch, onProgress, onMetrics, ranks }: EvaluationWatch,
  ): Promise<EvalResult> {
    if (!dataset?.length)
      throw new DataError('there is no evaluation set, or it is empty', {
        hint: 'Give the trainer an `evalDataset`, or write evaluate(dataset).',
      });
    const { model, evalDataset, computeMetrics } = this.#options;
    const { perDeviceEvalBatchSize: batchSize, labelSmoothingFactor: labelSmoothing, sharePrefix } = this.config;
    const onSkipped = (samples: readonly SkippedSample[]) => warn?.(`evaluation: ${describeSkipped(samples)}`);
    const loader = this.#loader(dataset);
    const onDropped = (count: number): void => {
      if (this.#saidDropped.has(dataset)) return;
      this.#saidDropped.add(dataset);
      const what = `the collator left out ${count} of the ${dataset.length} samples`;
      warn?.(`evaluation: ${what}, as \`overlong: "drop"\` does with long ones (said once)`);
    };
    const settings = { batchSize, labelSmoothing, sharePrefix, signal };
    const watch = { onSkipped, onDropped, onBatch, onProgress, ranks };
    const parts = { loader, length: dataset.length, ...settings, ...watch };
    const [{ evaluateDataset }, { MODEL_GRACE }] = await Promise.all([
      import('./evaluate-loss.js'),
      import('./window-step.js'),
    ]);
    const loss = evaluateDataset(model, parts);
    const result = await (signal ? afterAbort(loss, signal, MODEL_GRACE) : loss);
    if (!computeMetrics || dataset !== evalDataset) return result;
    onMetrics?.();
    const own = checkMetrics(await orAborted(computeMetrics({ signal }), signal));
    const metrics = ranks ? await ranks.metricsOfMain(own) : own;
    return { ...result, ...(metrics && { metrics }) };
  }

  #loader(dataset: Dataset<TrainingExample>): DataLoader {
    const { dataloaderPrefetch, gradientAccumulationSteps } = this.config;
    const prefetch = dataloaderPrefetch ?? Math.max(2, 2 * gradientAccumulationSteps);
    return new DataLoader({ dataset, collator: this.#options.collator, prefetch });
  }
}
