/**
 * One run. An optimizer step goes in the order of `transformers.Trainer`: accumulate the gradients of a window of
 * micro-batches, clip, update, advance the learning rate, zero the gradients, count the step.
 */

import { afterAbort, orAborted } from '../async/or-aborted.js';
import type { OptimizerState } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';
import { reasonOf, TrainingError, TuneError } from '../errors.js';
import { BestModelTracker, judgeOf } from './best-model.js';
import { AdapterWriter } from './checkpoint-adapter.js';
import { tidyCheckpointFolders } from './checkpoint-folder.js';
import { CheckpointManager } from './checkpoint-manager.js';
import { CheckpointSaver } from './checkpoint-saver.js';
import { changedSettings, evaluationWarnings } from './compare-runs.js';
import type { EvalResult } from './evaluate-loss.js';
import type { TrainOutput } from './events.js';
import { RunLog } from './history.js';
import { holdWhilePaused } from './hold-while-paused.js';
import { IntervalLog } from './interval-log.js';
import type { RankExchange } from './rank-exchange.js';
import { identifyRun, onMain, RunOutputFolder, saveLast } from './rank-run.js';
import { joinStep } from './rank-window.js';
import { ReaderLeft } from './reader-left.js';
import { runOutput } from './run-output.js';
import { learningRateFactor, type ScheduleRun } from './schedule.js';
import { scheduleOf } from './schedule-config.js';
import { optimizerKind, resolveSteps, type SftConfig, scheduleRun } from './sft-config.js';
import { StepMetrics } from './step-metrics.js';
import type { TrainingLoopOptions } from './training-loop-options.js';
import { LeftOutSteps, requireLabels } from './training-window.js';
import { WindowFeed } from './window-feed.js';
import { MODEL_GRACE, type TakenStep, WindowStep } from './window-step.js';

/** Milliseconds that the engine may take for each part of the last save. */
const ENGINE_PATIENCE = 60_000;
/** The same where others wait for the end of all. */
const RANK_PATIENCE = 10_000;

export class TrainingLoop {
  readonly #options: TrainingLoopOptions;
  readonly #log: RunLog;
  readonly #lines: IntervalLog;
  readonly #schedule: ScheduleRun;
  readonly #leftOut = new LeftOutSteps();
  readonly #adapter: AdapterWriter;
  #metrics = new StepMetrics(0);
  #best: BestModelTracker | undefined;
  #checkpoints!: CheckpointManager;
  #saver!: CheckpointSaver;
  #optimizer!: OptimizerState;
  #steps!: WindowStep;
  readonly #folder: RunOutputFolder;
  /** The model's when the run began: its adapter may be switched off meanwhile. */
  readonly #trainable: ParameterSet;
  /** Optimizer steps done; then epochs done. */
  #globalStep = 0;
  #epoch = 0;
  #firstStep = 0;
  #saidUnlabelled = false;
  /** An evaluation is due, or was due when the checkpoint was written, and is not done. */
  #evaluationDue = false;
  /** The last step is counted, and what follows it is not reported yet. */
  #isStepOpen = false;
  /** The parameters of the best step were loaded at the end. */
  #holdsBest = false;
  /** Stopped or failed: only the last save remains, which the signal does not end. */
  #isEnding = false;

  constructor(options: TrainingLoopOptions) {
    this.#options = options;
    const { outputDir } = options.config;
    this.#log = new RunLog(outputDir, options.show, options.ranks?.isMain);
    this.#lines = new IntervalLog({ engine: options.model.engine, log: this.#log, ranks: options.ranks });
    this.#folder = new RunOutputFolder(outputDir, options.ranks);
    this.#schedule = scheduleRun(options.config, options.sampler.totalSteps);
    this.#adapter = new AdapterWriter(options);
    this.#trainable = options.model.trainable;
  }

  get globalStep(): number {
    return this.#globalStep;
  }

  /** Gradients that the model is still computing though the run has given up waiting for them. */
  get unanswered(): Promise<unknown> | undefined {
    // Missing if the run failed before it was made.
    return (this.#steps as WindowStep | undefined)?.unanswered;
  }

  async run(resumeFrom: string | true | undefined): Promise<TrainOutput> {
    try {
      return await this.#run(resumeFrom);
    } finally {
      await this.#options.ranks?.part();
      // Missing if the run failed before it was made.
      const made: OptimizerState | undefined = this.#optimizer;
      if (made) this.#options.model.engine.releaseOptimizerState(this.#trainable, made);
      await this.#folder.release();
    }
  }

  async #run(resumeFrom: string | true | undefined): Promise<TrainOutput> {
    const { model, config, signal, ranks } = this.#options;
    let start = performance.now();
    let isStopped = false;
    let feed: WindowFeed | undefined;
    try {
      await this.#begin(resumeFrom);
      this.#lines.measure();
      model.engine.resetPeak();
      start = performance.now();
      this.#metrics.startClock();
      if (ranks) ranks.hasSteps = true;
      feed = new WindowFeed(this.#options, this.#firstStep);
      // Beside the making of the first batches.
      this.#steps.prepare();
      if (config.evalOnStart && this.#globalStep === 0) await this.#evaluate(false);
      if (this.#evaluationDue) await this.#afterStep();
      while (!this.#isAtEnd) {
        signal.throwIfAborted();
        await this.#step(feed);
        await this.#afterStep();
      }
      await this.#settle();
      await this.#lines.writeUnlogged(this.#metrics);
      this.#options.callbacks?.requireSound();
    } catch (thrown) {
      await ranks?.finishQueued(thrown);
      const error = ranks ? ranks.failed(thrown) : thrown;
      await this.#rescue(error);
      // Errors that an abort caused say less than its reason.
      if (!signal.aborted || error instanceof TuneError) throw error;
      if (!(signal.reason instanceof ReaderLeft)) throw signal.reason;
      isStopped = true;
    } finally {
      await feed?.close();
    }
    // Nothing was made if a reader left before the run had begun.
    if (!isStopped || this.#globalStep > 0) {
      await this.#saver.retryBest();
      if (config.loadBestModelAtEnd) this.#holdsBest = await this.#saver.loadBest(this.#globalStep);
    }
    const output = this.#output((performance.now() - start) / 1000, isStopped);
    await this.#log.emit({ type: 'end', step: this.#globalStep, output });
    return output;
  }

  async #begin(resumeFrom: string | true | undefined): Promise<void> {
    const { model, config, sampler, dataset, signal, ranks } = this.#options;
    signal.throwIfAborted();
    const onWait = (message: string) => void this.#log.warn(0, message).catch(() => undefined);
    await this.#folder.claim({ signal, onWait });
    const doubts = await onMain(ranks, 'a look at the data', () => this.#options.checkData(signal));
    const found = await this.#prepare(resumeFrom);
    await this.#log.emit({
      type: 'start',
      config,
      samples: dataset.length,
      totalSteps: sampler.totalSteps,
      trainableParameters: model.trainable.size,
      step: this.#firstStep,
    });
    const warnings = new Set([...doubts, ...found]);
    for (const message of warnings) await this.#log.warn(this.#firstStep, message);
  }

  /** Makes the optimizer's state, or takes up that of a checkpoint. Gives warnings for when the run has begun. */
  async #prepare(resumeFrom: string | true | undefined): Promise<string[]> {
    const { model, config, sampler, lease, signal, ranks } = this.#options;
    const { engine } = model;
    const trainable = this.#trainable;
    const judge = judgeOf(config);
    const identity = await identifyRun(this.#options, resumeFrom);
    const epochAfter = (steps: number) => (steps === 0 ? 0 : sampler.place(steps - 1).epochAfter);
    const course = { totalSteps: sampler.totalSteps, epochAfter };
    this.#checkpoints = new CheckpointManager(identity, this.#adapter.write, course, ranks);
    await onMain(ranks, 'left folders', () => tidyCheckpointFolders(config.outputDir, true));
    const resumed = resumeFrom === undefined ? undefined : await orAborted(this.#checkpoints.open(resumeFrom), signal);
    this.#optimizer = engine.createOptimizerState(trainable, optimizerKind(config));
    engine.zeroGradients(trainable);
    this.#steps = new WindowStep({
      ...{ model, trainable, optimizer: this.#optimizer, config, lease, signal, ranks },
      answer: (value) => this.#answer(value),
    });
    const maxSkippedSteps = config.onNonFiniteLoss === 'skip' ? config.maxSkippedSteps : 0;
    this.#metrics = new StepMetrics(maxSkippedSteps, resumed?.state.metrics);
    this.#best = judge && new BestModelTracker(judge, config, resumed?.state.best);
    this.#saver = new CheckpointSaver({
      ...{ engine, trainable, optimizer: this.#optimizer, totalSteps: sampler.totalSteps, log: this.#log },
      ...{ metrics: this.#metrics, best: this.#best, checkpoints: this.#checkpoints, ranks },
      answer: (value) => this.#answer(value),
      whenRead: () => this.#options.whenRead(this.#globalStep),
    });
    await ranks?.join(engine, trainable);
    if (!resumed) return this.#checkpoints.warnOfOthers();
    const { state, tensors, damaged } = resumed;
    const warnings = damaged.map((reason) => `passed over a checkpoint that cannot be read: ${reason}`);
    warnings.push(...resumed.warnings, ...evaluationWarnings(state, identity));
    warnings.push(...changedSettings(state.settings ?? {}, identity.settings ?? {}, state.globalStep));
    await this.#saver.restore(tensors);
    this.#log.restore(state.logHistory);
    this.#globalStep = state.globalStep;
    this.#firstStep = state.globalStep;
    this.#epoch = state.epoch;
    this.#evaluationDue = state.evaluationDue === true && config.evalStrategy !== 'no';
    if (this.#best) warnings.push(...(await this.#checkpoints.takeUpBest(this.#best, trainable.size)));
    return warnings;
  }

  get #isAtEnd(): boolean {
    return this.#globalStep >= this.#options.sampler.totalSteps || this.#best?.isExhausted === true;
  }

  async #step(feed: WindowFeed): Promise<void> {
    const { config, signal } = this.#options;
    this.#lines.nextStep();
    const { whole, window, dataWait } = await feed.next(this.#globalStep, () => this.#settle());
    const step = whole.step + 1;
    const epoch = whole.epochAfter;
    await this.#alike(() => requireLabels(step, window));
    const planned = whole.microBatches.reduce((sum, indices) => sum + indices.length, 0);
    for (const message of this.#leftOut.add(planned, window)) await this.#log.warn(step, message);
    await this.#alike(() => this.#leftOut.requireReadable(step, window));
    if (window.sampleIds.length === 0) {
      await this.#settle();
      signal.throwIfAborted();
      // The step still counts, so that schedule and resume do not depend on what the collator drops.
      this.#count(step, epoch);
      return;
    }
    const { labelCount, tokens, sampleIds, unlabelled } = window;
    if (unlabelled.length > 0 && !this.#saidUnlabelled) {
      this.#saidUnlabelled = true;
      const names = unlabelled.join(', ');
      await this.#log.warn(step, `no token is labelled in ${names}; nothing is learned there (said once)`);
    }

    const learningRate = config.learningRate * learningRateFactor(scheduleOf(config), whole.step, this.#schedule);
    // Of this step: reported when it is done, for until then the parameters are those of the step before.
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    let taken: TakenStep;
    try {
      const begin = (): void => feed.begin(step);
      // The step before is reported meanwhile, so that its readers find its parameters.
      const meanwhile = async (): Promise<void> => {
        await feed.prepared();
        await this.#settle();
        await holdWhilePaused(this.#options, this.#globalStep, this.#metrics, this.#log);
      };
      taken = await this.#steps.take(step, window, learningRate, { begin, meanwhile }, onWarning);
    } catch (error) {
      for (const message of warnings) await this.#log.warn(step, message);
      throw error;
    }
    this.#count(step, epoch);
    this.#metrics.add({ step, epoch, learningRate, tokens, labels: labelCount, sampleIds, dataWait, ...taken });
    // Where a step may be left out, the engine must know it before the next one: it counts steps. Else its loss is
    // fetched while the engine works on the gradients of the next one.
    if (config.onNonFiniteLoss === 'skip') await this.#settle();
    for (const message of warnings) await this.#log.warn(step, message);
  }

  /** What all ranks decide alike is no failure of one of them. */
  #alike(decide: () => void): void | Promise<void> {
    const { ranks } = this.#options;
    return ranks ? ranks.alike(decide) : decide();
  }

  #count(step: number, epoch: number): void {
    this.#globalStep = step;
    this.#epoch = epoch;
    this.#isStepOpen = true;
  }

  /** The engine's answer: given up once the run is to stop, and for the last save when it takes too long. */
  #answer<T>(value: Promise<T>): Promise<T> {
    const { signal, ranks } = this.#options;
    const silent = (patience: number) => () => {
      return new TrainingError(`the engine has not answered within ${patience / 1000} s`);
    };
    if (this.#isEnding) {
      const patience = ranks ? RANK_PATIENCE : ENGINE_PATIENCE;
      return afterAbort(value, AbortSignal.abort(), patience, silent(patience));
    }
    if (!ranks) return afterAbort(value, signal, MODEL_GRACE);
    // Where all have agreed to stop they go on to the same line, however late a device is; only a failure hurries.
    const waited = afterAbort(value, signal, ENGINE_PATIENCE, silent(ENGINE_PATIENCE));
    return afterAbort(waited, ranks.group.failure, MODEL_GRACE, () => signal.reason);
  }

  /**
   * What is due after a step: log, evaluate, save; a save by steps goes before an evaluation by epochs. A run that was
   * stopped in here begins anew with the evaluation.
   */
  async #afterStep(): Promise<void> {
    const { config } = this.#options;
    const step = this.#globalStep;
    const endsEpoch = this.#endsEpoch;
    const savesFirst = config.saveStrategy === 'steps' && config.evalStrategy === 'epoch';
    if (endsEpoch) {
      await this.#settle();
      const { learnedSteps, skippedSteps } = this.#metrics;
      const none = () => this.#leftOut.nothingLearned(step, skippedSteps);
      if (learnedSteps === 0) throw this.#options.ranks?.agreed(none()) ?? none();
    }
    if (!this.#evaluationDue) {
      await this.#closeStep();
      if (savesFirst && this.#isDue('steps', config.saveSteps)) await this.#save();
    }
    const isEvaluated = this.#evaluationDue;
    const isBest = isEvaluated && (await this.#evaluate());
    this.#evaluationDue = false;
    const savesBest = config.loadBestModelAtEnd || config.saveStrategy === 'best';
    let isSaved = savesFirst && this.#checkpoints.latest?.step === step;
    const mustSave = (isBest && savesBest) || (!isSaved && this.#isDue(config.saveStrategy, config.saveSteps));
    if (mustSave && (await this.#save())) isSaved = true;
    if (isBest && isSaved) this.#best!.moved(this.#checkpoints.pathOf(step));
    else if (isBest) this.#best!.unsaved(savesBest);
    else if (isSaved || (isEvaluated && !mustSave)) await this.#saver.retryBest();
    if (endsEpoch) {
      await this.#settle();
      await this.#log.emit({ type: 'epoch', step, epoch: this.#epoch });
    }
  }

  /** Logs the last step, and decides whether its evaluation is due. */
  async #closeStep(): Promise<void> {
    const { config } = this.#options;
    const step = this.#globalStep;
    const { totalSteps } = this.#options.sampler;
    // Of a run that is shorter than the interval nothing would be logged.
    const isOnlyLog = step === totalSteps && resolveSteps(config.loggingSteps, totalSteps) > totalSteps;
    const isLogged = this.#isEvery(config.loggingSteps) || isOnlyLog || (step === 1 && config.loggingFirstStep);
    // Emitted when the step is reported: to wait for it here would leave a device without work.
    if (isLogged) this.#lines.note();
    if (isLogged && !this.#metrics.hasPending) await this.#settle();
    this.#isStepOpen = false;
    const isLate = config.evalDelay <= (config.evalStrategy === 'epoch' ? this.#epoch : step);
    this.#evaluationDue = isLate && this.#isDue(config.evalStrategy, config.evalSteps ?? config.loggingSteps);
  }

  get #endsEpoch(): boolean {
    const { sampler } = this.#options;
    return this.#globalStep === sampler.totalSteps || sampler.place(this.#globalStep - 1).endsEpoch;
  }

  #isEvery(interval: number): boolean {
    return this.#globalStep % resolveSteps(interval, this.#options.sampler.totalSteps) === 0;
  }

  #isDue(strategy: SftConfig['saveStrategy'], interval: number): boolean {
    if (strategy === 'steps') return this.#isAtEnd || this.#isEvery(interval);
    return strategy === 'epoch' && (this.#isAtEnd || this.#endsEpoch);
  }

  /** Gives whether the step is the best so far. @param isJudged whether it may be, and counts for early stopping */
  async #evaluate(isJudged = true): Promise<boolean> {
    const step = this.#globalStep;
    await this.#settle();
    return this.#metrics.outside(async () => {
      const warnings: string[] = [];
      let result: EvalResult;
      try {
        const onBatch = () => this.#steps.requireSameParameters(step);
        result = await this.#options.evaluate(this.#options.signal, (message) => warnings.push(message), onBatch);
      } finally {
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
    // A step that turns out broken must not reach a checkpoint.
    await this.#settle();
    return this.#saver.save({
      globalStep: this.#globalStep,
      epoch: this.#epoch,
      ...(this.#evaluationDue ? { evaluationDue: true as const } : {}),
    });
  }

  /**
   * Whatever stopped the run: gives up the window under way and saves the last whole step, so that no work is lost.
   * Not after a broken step.
   */
  async #rescue(error: unknown): Promise<void> {
    const { model, config, ranks } = this.#options;
    // Missing if the run failed before it was made.
    const made: OptimizerState | undefined = this.#optimizer;
    if (!made) return;
    this.#isEnding = true;
    try {
      // Until then a device may wait for the others.
      await ranks?.part();
      model.engine.zeroGradients(this.#trainable);
      if (ranks && !ranks.savesLast) return;
      await this.#folder.takeOver();
      this.#log.isWriter ||= ranks?.isAlone === true;
      if (ranks) await this.#stepBack(ranks);
      await this.#settle();
      // Stopped before it was reported: a resume evaluates it, and logs what comes after it.
      if (this.#isStepOpen) await this.#closeStep();
      const isNew = this.#globalStep > this.#firstStep && this.#metrics.learnedSteps > 0;
      const unsaved = () => isNew && this.#checkpoints.latest?.step !== this.#globalStep;
      if (config.saveStrategy === 'no') return;
      if (unsaved()) {
        const isSaved = await saveLast(ranks, this.#adapter, () => this.#save());
        if (isSaved && this.#adapter.isSilent) {
          const message = '`saveAdapter` does not answer; this save was made without what it writes';
          await this.#log.warn(this.#globalStep, message);
        }
      }
      // Where a reader left the run goes on to its end, and takes what is best from memory.
      if (!(this.#options.signal.reason instanceof ReaderLeft)) await this.#saver.rescueBest(this.#globalStep);
    } catch (fault) {
      ranks?.failed(fault);
      const message = `cannot save the last step: ${reasonOf(fault)}`;
      if (fault !== error) await this.#log.warn(this.#globalStep, message);
    }
  }

  /** Goes back to the last step that was taken: engines leave out the update of one whose norm is not finite. */
  async #stepBack(ranks: RankExchange): Promise<void> {
    const failed = this.#metrics.leaveOut();
    const dropped = ranks.isAlone ? await this.#metrics.dropVoid((value) => this.#answer(value)) : undefined;
    const broken = dropped ?? (failed === this.#globalStep ? failed : undefined);
    if (broken === undefined) return;
    this.#globalStep = broken - 1;
    this.#epoch = broken > 1 ? this.#options.sampler.place(broken - 2).epochAfter : 0;
    this.#isStepOpen = false;
    this.#evaluationDue = false;
    this.#lines.forget();
  }

  /** Reports all steps that are under way, and logs what is due. */
  async #settle(): Promise<void> {
    await this.#report();
    await this.#lines.write(this.#metrics);
  }

  async #report(): Promise<void> {
    const wait = <T>(value: Promise<T>) => this.#answer(value);
    const { ranks, show } = this.#options;
    if (ranks && this.#metrics.hasPending) await ranks.arrived();
    const { latest } = this.#checkpoints;
    if (!ranks) return this.#metrics.settle(latest?.path, show, wait);
    const savesLast = this.#options.config.saveStrategy !== 'no' && this.#metrics.learnedSteps > 0;
    const saved = savesLast ? this.#checkpoints.pathOf(this.#globalStep - 1) : latest?.path;
    return this.#metrics
      .settle(latest?.path, show, wait, { join: (own) => joinStep(ranks, own), saved })
      .catch((error: unknown) => {
        throw error === this.#metrics.failure ? ranks.agreed(error) : error;
      });
  }

  /** The checkpoint with the adapter as the model has it at the end. */
  #adapterDir(): string | undefined {
    const { model, saveAdapter } = this.#options;
    const checkpoints: CheckpointManager | undefined = this.#checkpoints;
    if (!checkpoints || !(saveAdapter || model.writeAdapter)) return undefined;
    if (this.#holdsBest) return this.#best!.best?.checkpoint;
    return checkpoints.latest?.step === this.#globalStep ? checkpoints.latest.path : undefined;
  }

  #output(seconds: number, isStopped: boolean): TrainOutput {
    return runOutput({
      ...{ globalStep: this.#globalStep, epoch: this.#epoch, firstStep: this.#firstStep, seconds, isStopped },
      ...{ droppedSamples: this.#leftOut.droppedSamples, metrics: this.#metrics },
      ...{ logHistory: this.#log.entries, best: this.#best?.best },
      ...{ outputDir: this.#options.config.outputDir, adapterDir: this.#adapterDir() },
      // Missing if a reader left before the run had begun.
      checkpoints: (this.#checkpoints as CheckpointManager | undefined)?.paths ?? [],
    });
  }
}
