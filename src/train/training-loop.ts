/**
 * One run. An optimizer step goes in the order of `transformers.Trainer`: accumulate the gradients of a window of
 * micro-batches, clip, update, advance the learning rate, zero the gradients, count the step.
 */
import type { DataLoader } from '../data/data-loader.js';
import type { Dataset, SftExample, VlmBatch } from '../data/types.js';
import type { Deferred, OptimizerState } from '../engine/engine.js';
import { counterHash } from '../engine/random.js';
import { CheckpointError, TuneError } from '../errors.js';
import { CheckpointKeeper } from './checkpoint-keeper.js';
import { fingerprintDataset } from './dataset-fingerprint.js';
import type { EvalResult } from './evaluate-loss.js';
import type { EvalEntry, LogEntry, TrainingEvent, TrainOutput } from './events.js';
import { GradientCoverage } from './gradient-coverage.js';
import { TrainHistory, withoutType } from './history.js';
import type { Sampler } from './sampler.js';
import { learningRateFactor } from './schedule.js';
import { optimizerKind, resolveSteps, type SftConfig } from './sft-config.js';
import { StepMetrics } from './step-metrics.js';
import type { TrainableModel } from './trainable-model.js';
import { describeWindow, type TrainingWindow } from './training-window.js';

export interface TrainingLoopOptions {
  readonly model: TrainableModel;
  readonly config: SftConfig;
  readonly sampler: Sampler;
  readonly dataset: Dataset<SftExample>;
  /** Over `dataset`. */
  readonly loader: DataLoader;
  readonly evaluate: (signal: AbortSignal | undefined) => Promise<EvalResult>;
  readonly saveAdapter: ((directory: string) => Promise<void>) | undefined;
  readonly signal: AbortSignal | undefined;
  readonly show: (event: TrainingEvent) => void;
}

export class TrainingLoop {
  readonly #options: TrainingLoopOptions;
  readonly #history: TrainHistory;
  readonly #coverage = new GradientCoverage();
  #metrics = new StepMetrics();
  #logHistory: (LogEntry | EvalEntry)[] = [];
  #checkpoints!: CheckpointKeeper;
  #optimizer!: OptimizerState;
  /** Optimizer steps done; then epochs done. */
  #globalStep = 0;
  #epoch = 0;
  #firstStep = 0;
  #samples = 0;
  #matrixTflops: number | undefined;
  #saidUnlabelled = false;
  #saidNoHistory = false;

  constructor(options: TrainingLoopOptions) {
    this.#options = options;
    this.#history = new TrainHistory(options.config.outputDir);
  }

  async run(resumeFrom: string | true | undefined): Promise<TrainOutput> {
    const { model, config, sampler, dataset, signal, loader } = this.#options;
    signal?.throwIfAborted();
    await this.#prepare(resumeFrom);
    await this.#emit({
      type: 'start',
      config,
      samples: dataset.length,
      totalSteps: sampler.totalSteps,
      trainableParameters: model.trainable.size,
      step: this.#firstStep,
    });
    const { engine } = model;
    // Measured once, if at all: outside the time of any step.
    this.#matrixTflops = engine.matrixTflops?.();
    engine.resetPeak();
    const start = performance.now();
    this.#metrics.startClock();
    const batches = loader.batches(this.#microBatches(), signal && { signal });
    try {
      while (this.#globalStep < sampler.totalSteps) {
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
      model.engine.releaseOptimizerState(model.trainable, this.#optimizer);
    }
    const output = this.#output((performance.now() - start) / 1000);
    await this.#emit({ type: 'end', step: this.#globalStep, output });
    return output;
  }

  /** Makes the optimizer's state, or takes up that of a checkpoint. */
  async #prepare(resumeFrom: string | true | undefined): Promise<void> {
    const { model, config, dataset, saveAdapter } = this.#options;
    const { engine, trainable } = model;
    const parameters = trainable.parameters.map(({ name, shape }) => ({ name, shape }));
    const identity = { config, dataset: await fingerprintDataset(dataset), parameters };
    this.#checkpoints = new CheckpointKeeper(identity, saveAdapter);
    const resumed = resumeFrom === undefined ? undefined : await this.#checkpoints.open(resumeFrom);
    this.#optimizer = engine.createOptimizerState(trainable, optimizerKind(config));
    engine.zeroGradients(trainable);
    if (!resumed) return;
    const { state, tensors } = resumed;
    if (tensors.parameters.length !== trainable.size) {
      throw new CheckpointError(`expected ${trainable.size} parameters, found ${tensors.parameters.length}`);
    }
    engine.writeOptimizerState(trainable, this.#optimizer, tensors.optimizer);
    engine.writeParameters(trainable, tensors.parameters);
    this.#metrics = new StepMetrics(state.metrics);
    this.#logHistory = [...state.logHistory];
    this.#globalStep = state.globalStep;
    this.#firstStep = state.globalStep;
    this.#epoch = state.epoch;
  }

  /** Sample indices of every micro-batch that is left, so that reading ahead does not stop at an epoch's end. */
  #microBatches(): (readonly number[])[] {
    const { sampler } = this.#options;
    const left = Array.from({ length: sampler.totalSteps - this.#firstStep }, (_, i) => this.#firstStep + i);
    return left.flatMap((step) => sampler.window(step).microBatches);
  }

  async #step(batches: AsyncGenerator<VlmBatch, void>): Promise<void> {
    const { model, config, sampler, loader } = this.#options;
    const { engine, trainable } = model;
    const plan = sampler.window(this.#globalStep);
    const step = plan.step + 1;
    const epoch = plan.epochAfter;
    const waited = loader.waitSeconds;
    const collated: VlmBatch[] = [];
    while (collated.length < plan.microBatches.length) collated.push((await batches.next()).value!);
    const dataWait = loader.waitSeconds - waited;
    const window = describeWindow(plan, collated);
    if (!window) {
      // The step still counts, so that schedule and resume do not depend on what the collator drops.
      this.#globalStep = step;
      this.#epoch = epoch;
      return this.#warn(step, 'all of its samples were dropped by the collator; nothing was learned');
    }
    const { labelCount, tokens, sampleIds, unlabelled } = window;
    if (unlabelled.length > 0 && !this.#saidUnlabelled) {
      this.#saidUnlabelled = true;
      await this.#warn(step, `no token is labelled in ${unlabelled.join(', ')}; nothing is learned there (said once)`);
    }

    const learningRate = config.learningRate * this.#learningRateFactor(plan.step);
    const loss = await this.#accumulate(step, window);
    const warning = await this.#coverage.check(engine, trainable, step, learningRate);
    if (warning) await this.#warn(step, warning);
    const gradNorm = engine.optimizerStep(trainable, this.#optimizer, {
      kind: optimizerKind(config),
      learningRate,
      beta1: config.adamBeta1,
      beta2: config.adamBeta2,
      eps: config.adamEpsilon,
      weightDecay: config.weightDecay,
      maxGradNorm: config.maxGradNorm,
    });
    engine.zeroGradients(trainable);
    this.#globalStep = step;
    this.#epoch = epoch;
    this.#samples += sampleIds.length;
    const labels = labelCount;
    const flops = model.trainingFlops?.(window.batches);
    this.#metrics.add({ step, epoch, learningRate, tokens, labels, flops, sampleIds, dataWait, loss, gradNorm });
    // The loss of the step before is fetched while the engine works on this one.
    await this.#settle(1);
  }

  /** The gradients of a window; says what had to change for it to fit, after an error too. */
  async #accumulate(step: number, { batches, labelCount, dropoutSlots }: TrainingWindow): Promise<Deferred<number>> {
    const { model, config, signal } = this.#options;
    const { gradientCheckpointing, memoryBudget, autoMicroBatch } = config;
    const warnings: string[] = [];
    try {
      return await model.accumulateGradients(batches, {
        labelCount,
        dropoutSeeds: dropoutSlots.map((slot) => counterHash(config.seed, slot)),
        gradientCheckpointing,
        memoryBudget,
        autoMicroBatch,
        signal,
        onWarning: (message) => warnings.push(message),
      });
    } finally {
      for (const message of warnings) await this.#warn(step, message);
    }
  }

  #learningRateFactor(step: number): number {
    const { config, sampler } = this.#options;
    const warmupSteps = resolveSteps(config.warmupRatio || config.warmupSteps, sampler.totalSteps);
    return learningRateFactor(config.lrSchedulerType, step, warmupSteps, sampler.totalSteps);
  }

  /** Logs, evaluates and saves where that is due, in this order. */
  async #afterStep(): Promise<void> {
    const { config, sampler, model } = this.#options;
    const { totalSteps } = sampler;
    const step = this.#globalStep;
    const atEnd = step === totalSteps;
    const endsEpoch = atEnd || sampler.window(step - 1).endsEpoch;
    const every = (value: number) => step % resolveSteps(value, totalSteps) === 0;
    const due = (strategy: 'no' | 'steps' | 'epoch', interval: number) =>
      strategy === 'steps' ? atEnd || every(interval) : strategy === 'epoch' && endsEpoch;
    if (every(config.loggingSteps) || (step === 1 && config.loggingFirstStep)) {
      await this.#settle(0);
      const entry = this.#metrics.takeLog(model.engine.memory(), this.#matrixTflops);
      if (entry) await this.#emit({ type: 'log', ...entry });
    }
    if (due(config.evalStrategy, config.evalSteps ?? config.loggingSteps)) await this.#evaluate();
    if (due(config.saveStrategy, config.saveSteps)) await this.#save();
    if (endsEpoch) {
      await this.#settle(0);
      await this.#emit({ type: 'epoch', step, epoch: this.#epoch });
    }
  }

  async #evaluate(): Promise<void> {
    await this.#settle(0);
    await this.#metrics.outside(async () => {
      const result = await this.#options.evaluate(this.#options.signal);
      await this.#emit({ type: 'evaluate', step: this.#globalStep, epoch: this.#epoch, ...result });
    });
  }

  async #save(): Promise<void> {
    const { engine, trainable } = this.#options.model;
    // A step that turns out broken must not reach a checkpoint.
    await this.#settle(0);
    await this.#metrics.outside(async () => {
      const progress = {
        globalStep: this.#globalStep,
        totalSteps: this.#options.sampler.totalSteps,
        epoch: this.#epoch,
        metrics: this.#metrics.state,
        logHistory: this.#logHistory,
      };
      const { path, removed } = await this.#checkpoints.save(progress, {
        parameters: await engine.readParameters(trainable),
        optimizer: await engine.readOptimizerState(trainable, this.#optimizer),
      });
      await this.#emit({ type: 'save', step: this.#globalStep, path, removed });
    });
  }

  /**
   * Whatever stopped the run: gives up the window under way and saves the last whole step, so that no work is lost.
   * Not after a broken step, nor where a checkpoint could not be written.
   */
  async #rescue(error: unknown): Promise<void> {
    const { model, config } = this.#options;
    if (config.saveStrategy === 'no' || error instanceof CheckpointError) return;
    try {
      model.engine.zeroGradients(model.trainable);
      await this.#settle(0);
      const unsaved = this.#globalStep > this.#firstStep && this.#checkpoints.latest?.step !== this.#globalStep;
      if (unsaved) await this.#save();
    } catch (fault) {
      if (fault !== error) await this.#warn(this.#globalStep, `cannot save the last step: ${(fault as Error).message}`);
    }
  }

  #settle(keep: number): Promise<void> {
    return this.#metrics.settle(keep, this.#checkpoints.latest?.path, this.#options.show);
  }

  #warn(step: number, message: string): Promise<void> {
    return this.#emit({ type: 'warning', step, message: `step ${step}: ${message}` });
  }

  async #emit(event: TrainingEvent): Promise<void> {
    await this.#append(event);
    if (event.type === 'log' || event.type === 'evaluate') this.#logHistory.push(withoutType(event));
    this.#options.show(event);
  }

  /** A log that cannot be written is an error at the start, and later no reason to lose the run. */
  async #append(event: TrainingEvent): Promise<void> {
    try {
      await this.#history.append(event);
    } catch (cause) {
      const message = `cannot write ${this.#history.path}: ${(cause as Error).message}`;
      if (event.type === 'start') throw new CheckpointError(message, { cause, hint: 'Choose another `outputDir`.' });
      if (!this.#saidNoHistory) this.#options.show({ type: 'warning', step: this.#globalStep, message });
      this.#saidNoHistory = true;
    }
  }

  #output(seconds: number): TrainOutput {
    const perSecond = (count: number) => count / Math.max(seconds, 1e-9);
    const { meanLoss, tokens } = this.#metrics;
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
      logHistory: this.#logHistory,
      checkpoints: this.#checkpoints.paths,
    };
  }
}
