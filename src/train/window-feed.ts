/** The windows of a run in order: each is read, and joined where there are several ranks, while the one before is computed. */
import type { DataLoader } from '../data/data-loader.js';
import type { VlmBatch } from '../data/types.js';
import { DistributedError } from '../errors.js';
import { describeOwn, joinWindow, type OwnShare } from './join-window.js';
import type { RankExchange } from './rank-exchange.js';
import { dealt, type Sampler, type Window } from './sampler.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';
import { describeWindow, type TrainingWindow } from './training-window.js';

interface FeedParts {
  readonly model: TrainableModel;
  readonly config: SftConfig;
  readonly sampler: Sampler;
  readonly loader: DataLoader;
  /** Undefined where one process trains alone. */
  readonly ranks: RankExchange | undefined;
  readonly signal: AbortSignal;
}

interface FedWindow {
  /** Of all ranks, as the sampler cuts it. */
  readonly whole: Window;
  readonly window: TrainingWindow;
  /** Seconds. */
  readonly dataWait: number;
}

/** What the loader gave for a window, and the seconds that it was waited for. */
interface ReadWindow {
  readonly collated: readonly VlmBatch[];
  readonly wait: number;
}

/** A window that was joined ahead, or the fault of a rank that could not read its share. */
interface Ahead {
  readonly step: number;
  readonly fed: FedWindow | undefined;
  readonly error?: unknown;
}

export class WindowFeed {
  readonly #parts: FeedParts;
  readonly #batches: AsyncGenerator<VlmBatch, void>;
  readonly #closing = new AbortController();
  #ahead: Ahead | undefined;
  /** By the one process of a run: what it reads ahead. */
  #reading: { readonly step: number; readonly read: Promise<ReadWindow> } | undefined;
  #preparing: Promise<void> | undefined;
  /** By several ranks: when the window that is being prepared began to be waited for, of `performance.now()`. */
  #asked = Number.POSITIVE_INFINITY;

  /** @param firstStep from 0 */
  constructor(parts: FeedParts, firstStep: number) {
    this.#parts = parts;
    const { loader, sampler, ranks } = parts;
    const signal = AbortSignal.any([parts.signal, this.#closing.signal]);
    this.#batches = loader.batches(sampler.microBatches(firstStep, ranks?.group), { signal });
  }

  /**
   * @param step from 0; each once, in order
   * @param settle brings the step before to its end on all ranks, where one of them will fail
   * @throws what the loader throws; what ends the run
   */
  async next(step: number, settle: () => Promise<void>): Promise<FedWindow> {
    const { ranks, sampler } = this.#parts;
    if (!ranks) {
      const whole = sampler.window(step);
      const asked = performance.now();
      const { collated, wait } = await (this.#reading?.step === step ? this.#reading.read : this.#read(whole));
      this.#reading = undefined;
      return { whole, window: describeWindow(whole, collated), dataWait: seenWait(wait, asked) };
    }
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const fed = ahead?.step === step ? ahead.fed : await this.#join(ranks, step, await this.#readOwn(ranks, step));
    if (fed) return fed;
    await settle();
    if (ahead && 'error' in ahead) throw ahead.error;
    // Ends with the error of the rank that has it.
    await ranks.gather(`window ${step + 1}, which a rank could not read`, null);
    throw new DistributedError(`window ${step + 1}: a rank could not read its share, and went on`);
  }

  /**
   * Begins to read the window of a step ahead of time, while the passes of the one before are being queued, and to join it;
   * until `prepared` nobody else speaks to the ranks. An error of the data is kept for `next`: the step under way is whole.
   */
  begin(step: number): void {
    const { ranks, sampler } = this.#parts;
    if (step >= sampler.totalSteps || this.#reading || this.#ahead || this.#preparing) return;
    if (!ranks) {
      // Nothing ahead, as the user wants it.
      if (this.#parts.config.dataloaderPrefetch === 0) return;
      const read = this.#read(sampler.window(step));
      // Heard of by `next`, unless the run ends before.
      read.catch(() => {});
      this.#reading = { step, read };
      return;
    }
    ranks.holdStop();
    this.#asked = Number.POSITIVE_INFINITY;
    this.#preparing = this.#prepare(ranks, step);
    // Heard of by `prepared`, unless the step fails before.
    this.#preparing.catch(() => {});
  }

  /** All ranks come here. A stop that they have agreed on since `begin` counts from here on. */
  async prepared(): Promise<void> {
    const preparing = this.#preparing;
    this.#preparing = undefined;
    this.#asked = performance.now();
    await preparing;
    this.#parts.ranks?.releaseStop();
  }

  /** Gives up what is being read: a collator may take its time, and nobody waits for it any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#reading = undefined;
    this.#ahead = undefined;
    await this.#batches.return();
  }

  async #prepare(ranks: RankExchange, step: number): Promise<void> {
    const read = await this.#readOwn(ranks, step).catch((error: unknown) => ({ error }));
    const failed = 'error' in read ? read : undefined;
    const own = 'error' in read ? undefined : { ...read, wait: seenWait(read.wait, this.#asked) };
    const fed = await this.#join(ranks, step, own, true);
    this.#ahead = { step, fed, ...failed };
  }

  async #read(window: Window): Promise<ReadWindow> {
    const { loader } = this.#parts;
    const waited = loader.waitSeconds;
    const collated: VlmBatch[] = [];
    while (collated.length < window.microBatches.length) collated.push((await this.#batches.next()).value!);
    return { collated, wait: loader.waitSeconds - waited };
  }

  async #readOwn(ranks: RankExchange, step: number): Promise<OwnShare> {
    const own = dealt(this.#parts.sampler.window(step), ranks.group);
    const { collated, wait } = await this.#read(own);
    return { batches: describeOwn(ranks, this.#parts, own, collated), wait };
  }

  /** Undefined if a rank has nothing to give. */
  async #join(
    ranks: RankExchange,
    step: number,
    read: OwnShare | undefined,
    later = false,
  ): Promise<FedWindow | undefined> {
    const joined = await joinWindow(ranks, step, read, later);
    return joined && { whole: this.#parts.sampler.window(step), ...joined };
  }
}

/** Of the seconds that the loader was waited for, those in which the engine had no other work. @param asked when that was so */
function seenWait(wait: number, asked: number): number {
  return Math.max(0, Math.min(wait, (performance.now() - asked) / 1000));
}
