/**
 * One run. An optimizer step goes in the order of `transformers.Trainer`: accumulate the gradients of a window of
 * micro-batches, clip, update, advance the learning rate, zero the gradients, count the step.
 */
import type { DataLoader } from '../data/data-loader.js';
import type { Dataset, TrainingExample, VlmBatch } from '../data/types.js';
import type { Deferred, OptimizerState } from '../engine/engine.js';
import { counterHash } from '../engine/random.js';
import type { ParameterSet } from '../engine/tensor.js';
import { CheckpointError, TrainingError, TuneError } from '../errors.js';
import { BestModelTracker, judgeOf } from './best-model.js';
import { CheckpointKeeper } from './checkpoint-keeper.js';
import { fingerprintDataset } from './dataset-fingerprint.js';
import type { EvalResult } from './evaluate-loss.js';
import type { TrainingEvent, TrainOutput } from './events.js';
import { GradientCoverage } from './gradient-coverage.js';
import { claimRunFolder } from './run-folder.js';
import { RunLog } from './run-log.js';
import type { Sampler } from './sampler.js';
import { learningRateFactor, type ScheduleRun } from './schedule.js';
import { scheduleOf } from './schedule-config.js';
import { optimizerKind, resolveSteps, type SftConfig, scheduleRun } from './sft-config.js';
import { StepMetrics } from './step-metrics.js';
import type { TrainableModel } from './trainable-model.js';
import { describeSkipped, describeWindow, skippedSamples, type TrainingWindow } from './training-window.js';

/** Steps in a row without a readable sample after which a run stops: the data is gone, not a picture. */
const MAX_UNREADABLE_STEPS = 3;

export interface TrainingLoopOptions {
  readonly model: TrainableModel;
  readonly config: SftConfig;
  /** Of model and collator, by name: a resume refuses others. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly sampler: Sampler;
  /** Of the trainable parameters, in order, where they differ. */
  readonly learningRateFactors: readonly number[] | undefined;
  /** To be shown once the run has begun. */
  readonly warnings: readonly string[];
  readonly dataset: Dataset<TrainingExample>;
  readonly evalDataset: Dataset<TrainingExample> | undefined;
  /** Over `dataset`. */
  readonly loader: DataLoader;
  /** Throws if the data is not fit to be trained on. Gives warnings for when the run has begun. */
  readonly checkData: (signal: AbortSignal | undefined) => Promise<readonly string[]>;
  readonly evaluate: (signal: AbortSignal | undefined, warn: (message: string) => void) => Promise<EvalResult>;
  readonly saveAdapter: ((directory: string) => Promise<void>) | undefined;
  readonly signal: AbortSignal | undefined;
  readonly show: (event: TrainingEvent) => void;
}

export class TrainingLoop {
  readonly #options: TrainingLoopOptions;
  readonly #log: RunLog;
  readonly #schedule: ScheduleRun;
  readonly #coverage = new GradientCoverage();
  #metrics!: StepMetrics;
  #best: BestModelTracker | undefined;
  #checkpoints!: CheckpointKeeper;
  #optimizer!: OptimizerState;
  /** The model's when the run began: its adapter may be switched off or away meanwhile. */
  #trainable!: ParameterSet;
  /** Optimizer steps done; then epochs done. */
  #globalStep = 0;
  #epoch = 0;
  #firstStep = 0;
  #samples = 0;
  #unreadableSteps = 0;
  #matrixTflops: number | undefined;
  #saidUnlabelled = false;
  /** An evaluation is due, or was due when the checkpoint was written, and is not done. */
  #evaluationDue = false;

  constructor(options: TrainingLoopOptions) {
    this.#options = options;
    this.#log = new RunLog(options.config.outputDir, options.show);
    this.#schedule = scheduleRun(options.config, options.sampler.totalSteps);
  }

  async run(resumeFrom: string | true | undefined): Promise<TrainOutput> {
    const { config, signal } = this.#options;
    signal?.throwIfAborted();
    const onWait = (message: string) => void this.#log.warn(0, message);
    const folder = await claimRunFolder(config.outputDir, { signal, onWait });
    try {
      return await this.#run(resumeFrom);
    } finally {
      // Missing if the run failed before it was made.
      const made: OptimizerState | undefined = this.#optimizer;
      if (made) this.#options.model.engine.releaseOptimizerState(this.#trainable, made);
      await folder.release();
    }
  }

  async #run(resumeFrom: string | true | undefined): Promise<TrainOutput> {
    const { model, config, sampler, dataset, signal, loader } = this.#options;
    signal?.throwIfAborted();
    const doubts = await this.#options.checkData(signal);
    const warnings = [...doubts, ...(await this.#prepare(resumeFrom))];
    await this.#log.emit({
      type: 'start',
      config,
      samples: dataset.length,
      totalSteps: sampler.totalSteps,
      trainableParameters: model.trainable.size,
      step: this.#firstStep,
    });
    for (const message of [...this.#options.warnings, ...warnings]) await this.#log.warn(this.#firstStep, message);
    const { engine } = model;
    // Measured once, if at all: outside the time of any step.
    this.#matrixTflops = engine.matrixTflops?.();
    engine.resetPeak();
    const start = performance.now();
    this.#metrics.startClock();
    const batches = loader.batches(this.#microBatches(), signal && { signal });
    try {
      if (config.evalOnStart && this.#globalStep === 0) await this.#evaluate(false);
      if (this.#evaluationDue) await this.#afterStep();
      while (!this.#isAtEnd) {
        signal?.throwIfAborted();
        await this.#step(batches);
        await this.#afterStep();
      }
      await this.#settle(0);
    } catch (error) {
      await this.#rescue(error);
      // What an abort made others throw is no news; the reason for the abort is.
      throw signal?.aborted && !(error instanceof TuneError) ? signal.reason : error;
    } finally {
      await batches.return();
    }
    if (config.loadBestModelAtEnd) await this.#loadBest();
    const output = this.#output((performance.now() - start) / 1000);
    await this.#log.emit({ type: 'end', step: this.#globalStep, output });
    return output;
  }

  /** Makes the optimizer's state, or takes up that of a checkpoint. Gives warnings for when the run has begun. */
  async #prepare(resumeFrom: string | true | undefined): Promise<string[]> {
    const { model, config, settings, dataset, evalDataset, saveAdapter } = this.#options;
    const { engine, trainable } = model;
    this.#trainable = trainable;
    const judge = judgeOf(config);
    const identity = {
      config,
      settings,
      dataset: await fingerprintDataset(dataset),
      ...(judge && evalDataset ? { evalDataset: await fingerprintDataset(evalDataset) } : {}),
      parameters: trainable.parameters.map(({ name, shape }) => ({ name, shape })),
    };
    this.#checkpoints = new CheckpointKeeper(identity, saveAdapter);
    await this.#checkpoints.tidy();
    const resumed = resumeFrom === undefined ? undefined : await this.#checkpoints.open(resumeFrom);
    this.#optimizer = engine.createOptimizerState(trainable, optimizerKind(config));
    engine.zeroGradients(trainable);
    const mostSkipped = config.onNonFiniteLoss === 'skip' ? config.maxSkippedSteps : 0;
    this.#metrics = new StepMetrics(mostSkipped, resumed?.state.metrics);
    this.#best = judge && new BestModelTracker(judge, config, resumed?.state.best);
    if (!resumed) return this.#checkpoints.warnOfOthers();
    const { state, tensors, damaged } = resumed;
    const warnings = damaged.map((reason) => `passed over a checkpoint that cannot be read: ${reason}`);
    engine.writeOptimizerState(trainable, this.#optimizer, tensors.optimizer);
    engine.writeParameters(trainable, tensors.parameters);
    this.#log.restore(state.logHistory);
    this.#globalStep = state.globalStep;
    this.#firstStep = state.globalStep;
    this.#epoch = state.epoch;
    this.#evaluationDue = state.evaluationDue === true && config.evalStrategy !== 'no';
    const before = this.#best?.best;
    if (before) {
      this.#best!.moved(await this.#checkpoints.findBest(this.#best!.state));
      if (!this.#best!.best) {
        warnings.push(
          `the checkpoint of the best step so far, ${before.step}, is gone; the best is told anew from here`,
        );
      }
    }
    return warnings;
  }

  /** Sample indices of every micro-batch that is left, so that reading ahead does not stop at an epoch's end. */
  #microBatches(): (readonly number[])[] {
    const { sampler } = this.#options;
    const left = Array.from({ length: sampler.totalSteps - this.#firstStep }, (_, i) => this.#firstStep + i);
    return left.flatMap((step) => sampler.window(step).microBatches);
  }

  get #isAtEnd(): boolean {
    return this.#globalStep >= this.#options.sampler.totalSteps || this.#best?.isExhausted === true;
  }

  async #step(batches: AsyncGenerator<VlmBatch, void>): Promise<void> {
    const { model, config, sampler, loader } = this.#options;
    const { engine } = model;
    const trainable = this.#trainable;
    const plan = sampler.window(this.#globalStep);
    const step = plan.step + 1;
    const epoch = plan.epochAfter;
    const waited = loader.waitSeconds;
    const collated: VlmBatch[] = [];
    while (collated.length < plan.microBatches.length) collated.push((await batches.next()).value!);
    const dataWait = loader.waitSeconds - waited;
    const window = describeWindow(plan, collated);
    await this.#checkSkipped(step, collated, window === undefined);
    if (!window) {
      // The step still counts, so that schedule and resume do not depend on what the collator drops.
      this.#globalStep = step;
      this.#epoch = epoch;
      return this.#log.warn(step, 'all of its samples were dropped by the collator; nothing was learned');
    }
    const { labelCount, tokens, sampleIds, unlabelled } = window;
    if (unlabelled.length > 0 && !this.#saidUnlabelled) {
      this.#saidUnlabelled = true;
      const names = unlabelled.join(', ');
      await this.#log.warn(step, `no token is labelled in ${names}; nothing is learned there (said once)`);
    }

    const learningRate = config.learningRate * learningRateFactor(scheduleOf(config), plan.step, this.#schedule);
    this.#requireSameParameters(step);
    let loss = await this.#accumulate(step, window);
    this.#requireSameParameters(step);
    let gradNorm: Deferred<number>;
    const skips = config.onNonFiniteLoss === 'skip';
    const value = skips ? await loss() : 0;
    if (skips) loss = async () => value;
    if (Number.isFinite(value)) {
      const warning = await this.#coverage.check(engine, trainable, step, learningRate);
      if (warning) await this.#log.warn(step, warning);
      gradNorm = engine.optimizerStep(trainable, this.#optimizer, {
        kind: optimizerKind(config),
        learningRate,
        beta1: config.adamBeta1,
        beta2: config.adamBeta2,
        eps: config.adamEpsilon,
        weightDecay: config.weightDecay,
        maxGradNorm: config.maxGradNorm,
        learningRateFactors: this.#options.learningRateFactors,
      });
    } else gradNorm = async () => Number.NaN;
    engine.zeroGradients(trainable);
    this.#globalStep = step;
    this.#epoch = epoch;
    this.#samples += sampleIds.length;
    const labels = labelCount;
    const flops = model.trainingFlops?.(window.batches);
    this.#metrics.add({ step, epoch, learningRate, tokens, labels, flops, sampleIds, dataWait, loss, gradNorm });
    // The loss of the step before is fetched while the engine works on this one. Where a step may be left out, the
    // engine must know it before the next one: it counts steps.
    await this.#settle(skips ? 0 : 1);
  }

  /** Says which samples could not be read; too many of them in a row are an error. */
  async #checkSkipped(step: number, collated: readonly VlmBatch[], isEmpty: boolean): Promise<void> {
    const skipped = skippedSamples(collated);
    if (skipped.length > 0) await this.#log.warn(step, describeSkipped(skipped));
    this.#unreadableSteps = skipped.length > 0 && isEmpty ? this.#unreadableSteps + 1 : 0;
    if (this.#unreadableSteps < MAX_UNREADABLE_STEPS) return;
    throw new TrainingError(
      `step ${step}: no sample of ${MAX_UNREADABLE_STEPS} steps in a row can be read; ${describeSkipped(skipped)}`,
      {
        hint: 'Is the folder of the pictures still there? Then go on with `resumeFromCheckpoint`.',
        details: { step, skipped },
      },
    );
  }

  /** @throws TrainingError if the gradients would be those of another adapter than the one that is trained */
  #requireSameParameters(step: number): void {
    if (this.#options.model.trainable === this.#trainable) return;
    throw new TrainingError(`step ${step}: another adapter became active while this run was training`, {
      hint: 'Call setAdapter after the run. To compute without the adapter meanwhile, use withDisabled between two steps.',
      details: { step },
    });
  }

  /** The gradients of a window; says what had to change for it to fit, after an error too. */
  async #accumulate(step: number, { batches, labelCount, dropoutSlots }: TrainingWindow): Promise<Deferred<number>> {
    const { model, config, signal } = this.#options;
    const { gradientCheckpointing, memoryBudget, autoMicroBatch, labelSmoothingFactor, neftuneNoiseAlpha } = config;
    const warnings: string[] = [];
    try {
      return await model.accumulateGradients(batches, {
        labelCount,
        dropoutSeeds: dropoutSlots.map((slot) => counterHash(config.seed, slot)),
        labelSmoothing: labelSmoothingFactor,
        neftuneNoiseAlpha,
        gradientCheckpointing,
        memoryBudget,
        autoMicroBatch,
        signal,
        onWarning: (message) => warnings.push(message),
      });
    } finally {
      for (const message of warnings) await this.#log.warn(step, message);
    }
  }

  /**
   * What is due after a step: log, evaluate, save; a save by steps goes before an evaluation by epochs. A run that was
   * stopped in here begins anew with the evaluation.
   */
  async #afterStep(): Promise<void> {
    const { config, sampler, model } = this.#options;
    const { totalSteps } = sampler;
    const step = this.#globalStep;
    const endsEpoch = step === totalSteps || sampler.window(step - 1).endsEpoch;
    const every = (value: number) => step % resolveSteps(value, totalSteps) === 0;
    const due = (strategy: SftConfig['saveStrategy'], interval: number) =>
      strategy === 'steps' ? this.#isAtEnd || every(interval) : strategy === 'epoch' && (this.#isAtEnd || endsEpoch);
    const savesFirst = config.saveStrategy === 'steps' && config.evalStrategy === 'epoch';
    if (!this.#evaluationDue) {
      if (every(config.loggingSteps) || (step === 1 && config.loggingFirstStep)) {
        await this.#settle(0);
        const entry = this.#metrics.takeLog(model.engine.memory(), this.#matrixTflops);
        if (entry) await this.#log.emit({ type: 'log', ...entry });
      }
      const isLate = config.evalDelay <= (config.evalStrategy === 'epoch' ? this.#epoch : step);
      this.#evaluationDue = isLate && due(config.evalStrategy, config.evalSteps ?? config.loggingSteps);
      if (savesFirst && due('steps', config.saveSteps)) await this.#save();
    }
    const isBest = this.#evaluationDue && (await this.#evaluate());
    this.#evaluationDue = false;
    const savesBest = config.loadBestModelAtEnd || config.saveStrategy === 'best';
    let isSaved = savesFirst && this.#checkpoints.latest?.step === step;
    const mustSave = (isBest && savesBest) || (!isSaved && due(config.saveStrategy, config.saveSteps));
    if (mustSave && (await this.#save())) isSaved = true;
    if (isBest && !isSaved) this.#best!.unsaved();
    if (endsEpoch) {
      await this.#settle(0);
      await this.#log.emit({ type: 'epoch', step, epoch: this.#epoch });
    }
  }

  /** Gives whether the step is the best so far. @param isJudged whether it may be, and counts for early stopping */
  async #evaluate(isJudged = true): Promise<boolean> {
    const step = this.#globalStep;
    await this.#settle(0);
    return this.#metrics.outside(async () => {
      const warnings: string[] = [];
      let result: EvalResult;
      try {
        result = await this.#options.evaluate(this.#options.signal, (message) => warnings.push(message));
      } finally {
        // Where it fails they may say why.
        for (const message of warnings) await this.#log.warn(step, message);
      }
      const best = isJudged ? this.#best : undefined;
      const isBest = best?.judge(step, this.#checkpoints.pathOf(step), result) ?? false;
      await this.#log.emit({ type: 'evaluate', step, epoch: this.#epoch, ...result });
      return isBest;
    });
  }

  /** Gives whether it succeeded: a disk that is full is no reason to lose the run. */
  async #save(): Promise<boolean> {
    const { engine } = this.#options.model;
    const trainable = this.#trainable;
    const step = this.#globalStep;
    // A step that turns out broken must not reach a checkpoint.
    await this.#settle(0);
    return this.#metrics.outside(async () => {
      const progress = {
        globalStep: step,
        totalSteps: this.#options.sampler.totalSteps,
        epoch: this.#epoch,
        metrics: this.#metrics.state,
        ...(this.#best ? { best: this.#best.state } : {}),
        ...(this.#evaluationDue ? { evaluationDue: true as const } : {}),
        logHistory: this.#log.entries,
      };
      const tensors = {
        parameters: await engine.readParameters(trainable),
        optimizer: await engine.readOptimizerState(trainable, this.#optimizer),
      };
      try {
        const { path, removed, notRemoved } = await this.#checkpoints.save(progress, tensors);
        await this.#log.emit({ type: 'save', step, path, removed });
        if (notRemoved) await this.#log.warn(step, notRemoved);
        return true;
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        const last = this.#checkpoints.latest;
        const kept = last ? `the last checkpoint is ${last.path}` : 'there is no checkpoint yet';
        await this.#log.warn(step, `${error.message}\n  The run goes on; ${kept}; the next save tries again.`);
        return false;
      }
    });
  }

  /** The best step's parameters instead of the last one's. */
  async #loadBest(): Promise<void> {
    const { engine } = this.#options.model;
    const trainable = this.#trainable;
    const best = this.#best?.best;
    const instead = 'the parameters are those of the last step';
    if (!best) return this.#log.warn(this.#globalStep, `no evaluated step was saved; ${instead}`);
    try {
      engine.writeParameters(trainable, await this.#checkpoints.readBest(best, trainable.size));
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      return this.#log.warn(this.#globalStep, `cannot load the best step: ${error.message}; ${instead}`);
    }
    await this.#log.emit({ type: 'loadBest', ...best });
  }

  /**
   * Whatever stopped the run: gives up the window under way and saves the last whole step, so that no work is lost.
   * Not after a broken step.
   */
  async #rescue(error: unknown): Promise<void> {
    const { model, config } = this.#options;
    if (config.saveStrategy === 'no') return;
    try {
      model.engine.zeroGradients(this.#trainable);
      await this.#settle(0);
      const unsaved = this.#globalStep > this.#firstStep && this.#checkpoints.latest?.step !== this.#globalStep;
      if (unsaved) await this.#save();
    } catch (fault) {
      const message = `cannot save the last step: ${(fault as Error).message}`;
      if (fault !== error) await this.#log.warn(this.#globalStep, message);
    }
  }

  #settle(keep: number): Promise<void> {
    return this.#metrics.settle(keep, this.#checkpoints.latest?.path, this.#options.show);
  }

  #output(seconds: number): TrainOutput {
    const perSecond = (count: number) => count / Math.max(seconds, 1e-9);
    const { meanLoss, tokens, skippedSteps } = this.#metrics;
    return {
      globalStep: this.#globalStep,
      trainingLoss: meanLoss,
      metrics: {
        trainRuntime: seconds,
        trainSamplesPerSecond: perSecond(this.#samples),
        trainStepsPerSecond: perSecond(this.#globalStep - this.#firstStep),
        trainTokensPerSecond: perSecond(tokens),
        trainLoss: meanLoss,
        epoch: this.#epoch,
      },
      logHistory: this.#log.entries,
      skippedSteps,
      ...(this.#best?.best ? { best: this.#best.best } : {}),
      checkpoints: this.#checkpoints.paths,
    };
  }
}
