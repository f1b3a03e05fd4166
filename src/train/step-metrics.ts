/** Losses and norms on their way from the engine, and the sums that a log line is made of. */

import type { Deferred, EngineMemory } from '../engine/engine.js';
import { TrainingError, type TuneError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import type { LogEntry, TrainingEvent } from './events.js';

type StepEvent = Extract<TrainingEvent, { type: 'step' }>;
type WarningEvent = Extract<TrainingEvent, { type: 'warning' }>;

/** What a rank must know of a step to join its loss with those of the others, late. */
export interface RankShare {
  /** Of the window: what each rank had of it. */
  readonly idsByRank: readonly (readonly string[])[] | undefined;
  /** Part of the window's labelled tokens that this rank had. */
  readonly labelShare: number;
  /** Losses of all ranks, by rank, where the update had to wait for them. */
  readonly losses?: readonly number[] | undefined;
}

/** An optimizer step that was given to the engine. */
interface QueuedStep extends Omit<StepEvent, 'type' | 'loss' | 'gradNorm'> {
  /** Operations that the model asks for; undefined if it does not count. */
  readonly flops?: number | undefined;
  readonly sampleIds: readonly string[];
  /** On one of several ranks, whose loss is then that of its own samples. */
  readonly share?: RankShare | undefined;
  /** Seconds that the step waited for its data. */
  readonly dataWait: number;
  readonly loss: Deferred<number>;
  readonly gradNorm: Deferred<number>;
}

/** Where a loss that is not finite came from. */
interface Suspects {
  readonly where: string;
  readonly sampleIds: readonly string[];
}

/** What a step came to over all ranks. */
export interface JoinedStep {
  /** Undefined where it is not known. */
  readonly loss: number | undefined;
  readonly suspects?: Suspects;
  readonly warning?: string;
  /** The norm is not what it must be. */
  readonly failure?: TuneError;
}

/** What a resume needs so that later log lines are those of an uninterrupted run. */
export interface MetricsState {
  readonly totalLoss: number;
  readonly totalSteps: number;
  readonly lossSinceLog: number;
  readonly stepsSinceLog: number;
  /** Steps whose loss or norm was not finite and whose update was left out. */
  readonly skippedSteps: number;
}

export class StepMetrics {
  readonly #queue: QueuedStep[] = [];
  /** As a checkpoint holds them. */
  readonly #sums: { -readonly [K in keyof MetricsState]: MetricsState[K] };
  readonly #maxSkippedSteps: number;
  #tokensSinceLog = 0;
  #sharedSinceLog = 0;
  #waitSinceLog = 0;
  /** Not a number once a step did not count. */
  #flopsSinceLog = 0;
  #lastLog = performance.now();
  #last: StepEvent | undefined;
  #failure: TuneError | undefined;
  /** Real tokens of this call. */
  tokens = 0;
  /** Samples that were learned in this call; not those of a step whose update was left out. */
  samples = 0;
  readonly #ends = new LossEnds();

  /** @param maxSkippedSteps steps that may be left out because they are not finite; the next one is an error */
  constructor(maxSkippedSteps: number, restored?: MetricsState) {
    this.#maxSkippedSteps = maxSkippedSteps;
    const none: MetricsState = { totalLoss: 0, totalSteps: 0, lossSinceLog: 0, stepsSinceLog: 0, skippedSteps: 0 };
    this.#sums = { ...none, ...restored };
  }

  add(step: QueuedStep): void {
    // Asked again where waiting for it was given up.
    this.#queue.push({ ...step, loss: once(step.loss), gradNorm: once(step.gradNorm) });
  }

  /**
   * Fetches losses and norms of all steps that are under way, and reports each. Waits for the engine only here.
   * @param wait waits for a value, as long as that is wanted
   * @param ranks asks the others; `saved` is what will be saved once the update of a step turns out to be left out
   * @throws TrainingError naming the samples, if a loss or a norm is not finite and no step may be left out, and at every
   *   later call
   */
  async settle(
    lastCheckpoint: string | undefined,
    emit: (event: StepEvent | WarningEvent) => Promise<void>,
    wait: <T>(value: Promise<T>) => Promise<T>,
    ranks?: {
      join(own: Omit<QueuedStep, 'loss' | 'gradNorm'> & { loss: number; gradNorm: number }): Promise<JoinedStep>;
      readonly saved: string | undefined;
    },
  ): Promise<void> {
    if (this.#failure) throw this.#failure;
    while (this.#queue.length > 0) {
      const queued = this.#queue[0]!;
      const [own, gradNorm] = [await wait(queued.loss()), await wait(queued.gradNorm())];
      const joined: JoinedStep = (await ranks?.join({ ...queued, loss: own, gradNorm })) ?? { loss: own };
      this.#failure = joined.failure;
      if (this.#failure) throw this.#failure;
      this.#queue.shift();
      const { dataWait, flops, sampleIds, share: _, ...known } = queued;
      const { loss, suspects, warning } = joined;
      if (warning !== undefined) await emit({ type: 'warning', step: queued.step, message: warning });
      if (loss === undefined) continue;
      const event: StepEvent = { type: 'step', ...known, loss, gradNorm };
      if (!Number.isFinite(event.loss) || !Number.isFinite(event.gradNorm)) {
        const isTaken = ranks === undefined || Number.isFinite(gradNorm);
        await this.#fail(event, suspects ?? { where: '', sampleIds }, isTaken ? lastCheckpoint : ranks.saved, emit);
        continue;
      }
      this.#sums.totalLoss += event.loss;
      this.#sums.totalSteps++;
      this.#sums.lossSinceLog += event.loss;
      this.#sums.stepsSinceLog++;
      this.#tokensSinceLog += event.tokens;
      this.#sharedSinceLog += event.sharedTokens;
      this.#waitSinceLog += dataWait;
      this.#flopsSinceLog += flops ?? Number.NaN;
      this.tokens += event.tokens;
      this.samples += sampleIds.length;
      this.#ends.add(event.loss);
      this.#last = event;
      await emit(event);
    }
  }

  async #fail(
    event: StepEvent,
    { where: origin, sampleIds }: Suspects,
    lastCheckpoint: string | undefined,
    emit: (event: WarningEvent) => Promise<void>,
  ): Promise<void> {
    const what = describeNonFinite(event, origin, sampleIds);
    const { step } = event;
    if (this.#sums.skippedSteps < this.#maxSkippedSteps) {
      this.#sums.skippedSteps++;
      const count = `step ${this.#sums.skippedSteps} of at most ${this.#maxSkippedSteps} that are left out`;
      return emit({ type: 'warning', step, message: `step ${step}: ${what}; nothing was learned from it (${count})` });
    }
    const where = lastCheckpoint ? `last checkpoint: ${lastCheckpoint}` : 'no checkpoint was written yet';
    const others = this.#sums.skippedSteps > 0 ? ` after ${this.#sums.skippedSteps} steps that were left out` : '';
    this.#failure = new TrainingError(`step ${step}: ${what}${others}; ${where}`, {
      hint:
        'Look at these samples, then resume from the checkpoint; `onNonFiniteLoss: "skip"` leaves out a few such steps. ' +
        'If losses grew before, start anew with a lower `learningRate`.',
      details: { step, loss: event.loss, gradNorm: event.gradNorm, sampleIds, lastCheckpoint },
    });
    throw this.#failure;
  }

  /**
   * The values since the last log, with which a new interval begins; undefined if no step was taken in it. Call with
   * everything settled.
   * @param matrixTflops rate of the engine's matrix products, for the utilisation
   * @param until where the interval ends, and the next one begins, of `performance.now()`
   */
  takeLog(
    { bytesInUse, peakBytes }: EngineMemory,
    matrixTflops?: number,
    until = performance.now(),
  ): LogEntry | undefined {
    if (!this.#last || this.#sums.stepsSinceLog === 0) return undefined;
    const { step, epoch, gradNorm, learningRate } = this.#last;
    const seconds = (until - this.#lastLog) / 1000;
    const modelTflops = this.#flopsSinceLog / Math.max(seconds, 1e-9) / 1e12;
    const entry: LogEntry = {
      step,
      epoch,
      loss: this.#sums.lossSinceLog / this.#sums.stepsSinceLog,
      gradNorm,
      learningRate,
      tokensPerSecond: this.#tokensSinceLog / Math.max(seconds, 1e-9),
      ...(this.#sharedSinceLog > 0 && { sharedTokenShare: this.#sharedSinceLog / this.#tokensSinceLog }),
      seconds,
      dataWaitShare: Math.min(1, this.#waitSinceLog / Math.max(seconds, 1e-9)),
      ...(Number.isNaN(modelTflops) ? {} : { modelTflops }),
      ...(Number.isNaN(modelTflops) || !matrixTflops ? {} : { modelFlopsUtilization: modelTflops / matrixTflops }),
      memoryBytes: bytesInUse,
      peakMemoryBytes: peakBytes,
    };
    this.#sums.lossSinceLog = 0;
    this.#sums.stepsSinceLog = 0;
    this.#tokensSinceLog = 0;
    this.#sharedSinceLog = 0;
    this.#waitSinceLog = 0;
    this.#flopsSinceLog = 0;
    this.#lastLog = until;
    return entry;
  }

  startClock(): void {
    this.#lastLog = performance.now();
  }

  /** Runs work, such as an evaluation, whose time counts for no step. */
  async outside<T>(work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#lastLog += performance.now() - start;
    }
  }

  /** What every later call of `settle` throws. */
  get failure(): TuneError | undefined {
    return this.#failure;
  }

  /**
   * For a run that has ended with a step whose update the engine left out, as its norm was not finite: forgets it, so that
   * the steps before it can be saved.
   * @returns its number; undefined if the run has ended with something else, such as a loss that is not finite in a step
   *   that was learned all the same
   */
  leaveOut(): number | undefined {
    const { step, gradNorm } = this.#failure?.details ?? {};
    if (!(this.#failure instanceof TrainingError) || typeof step !== 'number') return undefined;
    if (Number.isFinite(gradNorm)) return undefined;
    this.#failure = undefined;
    return step;
  }

  /**
   * For a run whose group has failed: forgets the steps under way that were not taken, as the sums of the first of them did
   * not arrive.
   * @returns its number; undefined if all were taken
   */
  async dropVoid(wait: <T>(value: Promise<T>) => Promise<T>): Promise<number | undefined> {
    // Each is asked for: an engine takes back the count of a step that was none when it learns so.
    const norms: number[] = [];
    for (const { gradNorm } of this.#queue) norms.push(await wait(gradNorm()));
    const first = norms.findIndex((norm) => !Number.isFinite(norm));
    return first < 0 ? undefined : this.#queue.splice(first)[0]!.step;
  }

  get hasPending(): boolean {
    return this.#queue.length > 0;
  }

  /** Mean of the losses of all steps, those before a resume included; 0 without steps. */
  get meanLoss(): number {
    return this.#sums.totalSteps === 0 ? 0 : this.#sums.totalLoss / this.#sums.totalSteps;
  }

  /** Mean losses of the first and the last steps of this call; without steps none. */
  get lossEnds(): { readonly firstLoss: number; readonly lastLoss: number } | undefined {
    return this.#ends.means;
  }

  /** Steps that were taken, those before a resume included. */
  get learnedSteps(): number {
    return this.#sums.totalSteps;
  }

  get skippedSteps(): number {
    return this.#sums.skippedSteps;
  }

  get state(): MetricsState {
    return { ...this.#sums };
  }
}

/** Steps of each end of a run over which a loss is averaged, at most; of a short run a tenth of all. */
const END_STEPS = 100;

/** The losses with which a run begins and ends. */
class LossEnds {
  readonly #first: number[] = [];
  readonly #last: number[] = [];
  #count = 0;

  add(loss: number): void {
    this.#count++;
    if (this.#first.length < END_STEPS) this.#first.push(loss);
    this.#last.push(loss);
    if (this.#last.length > END_STEPS) this.#last.shift();
  }

  get means(): { readonly firstLoss: number; readonly lastLoss: number } | undefined {
    const steps = Math.min(END_STEPS, Math.ceil(this.#count / 10));
    if (steps === 0) return undefined;
    const mean = (losses: readonly number[]): number => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    return { firstLoss: mean(this.#first.slice(0, steps)), lastLoss: mean(this.#last.slice(-steps)) };
  }
}

/** The same promise however often it is asked for. */
function once<T>(value: Deferred<T>): Deferred<T> {
  let asked: Promise<T> | undefined;
  return () => {
    asked ??= value();
    return asked;
  };
}

function describeNonFinite(event: StepEvent, origin: string, sampleIds: readonly string[]): string {
  const [what, value] = Number.isFinite(event.loss) ? ['gradient norm', event.gradNorm] : ['loss', event.loss];
  return `the ${what} is ${value}${origin}; samples: ${sampleIds.map(oneLine).join(', ')}`;
}
