/**
 * What the ranks of one run tell each other, and how they come to one end. Every message carries whether its rank is asked
 * to stop, so that all of them do at the same place; one that does not come to a message in time ends the run for all.
 */
import { onAbort } from '../async/on-abort.js';
import { afterAbort } from '../async/or-aborted.js';
import type { GradientSum, ProcessGroup } from '../distributed/process-group.js';
import type { Engine } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';
import { CheckpointError, ConfigError, DataError, DistributedError, reasonOf, TuneError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { ReaderLeft } from './reader-left.js';

/** Milliseconds that the others have to come to the next message once a rank is asked to stop, and before the steps. */
const STOP_GRACE = 10_000;
const EARLY_GRACE = 500;
/** The same where a reader left a run with steps: that hurries nobody, and a window of another rank may be long. */
const LEAVE_GRACE = 1_800_000;
/** Milliseconds that the sums of the last step may take on a rank that fails. */
const QUEUED_GRACE = 5_000;

/** By what a run is asked to end, and is ended. */
interface RunEnd {
  readonly signal: AbortSignal;
  stop(reason: unknown): void;
}

/** That a rank is asked to end the run, as it tells the others. */
interface StopRequest {
  /** `left`: a reader left, and the run goes on to its orderly end. */
  readonly kind: 'left' | 'abort';
  readonly why: string;
}

interface Message<T> {
  readonly value: T;
  readonly stop?: StopRequest;
}

/** An error of rank 0, as the others hear of it. */
interface ToldError {
  readonly kind: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

type Outcome<T> = { readonly value?: T } | { readonly error: ToldError };

export class RankExchange {
  readonly group: ProcessGroup;
  readonly #run: RunEnd;
  readonly #ending = new AbortController();
  readonly #agreed = new WeakSet<object>();
  readonly #forget: (() => void)[] = [];
  readonly #scope: { end(): void };
  /** Steps are under way: there is something to end in order. */
  hasSteps = false;
  #timer: NodeJS.Timeout | undefined;
  #isStopAgreed = false;
  #holdsStop = false;
  /** Ends the run by what was agreed on while that is held. */
  #heldStop: (() => void) | undefined;
  #isOver = false;
  #sum: GradientSum | undefined;

  /**
   * @param run its signal asks this rank to stop
   * @param what e.g. "training", for the messages of others if this rank is lost
   */
  constructor(group: ProcessGroup, run: RunEnd, what: string) {
    this.group = group;
    this.#run = run;
    this.#scope = group.begin(what);
    const asked = (): void => {
      if (this.signal.aborted) return;
      const { reason } = run.signal;
      const graces = reason instanceof ReaderLeft ? [STOP_GRACE, LEAVE_GRACE] : [EARLY_GRACE, STOP_GRACE];
      this.#timer = setTimeout(() => this.#failWith(reason), graces[Number(this.hasSteps)]);
    };
    const failed = (): void => this.#end(group.failure.reason);
    if (run.signal.aborted) asked();
    else this.#forget.push(onAbort(run.signal, asked));
    if (group.failure.aborted) failed();
    else this.#forget.push(onAbort(group.failure, failed));
  }

  /** Aborted when the run is to end here: agreed on by all ranks, or because one of them was lost or has failed. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  get isMain(): boolean {
    return this.group.isMain;
  }

  /** The others do not know it yet. */
  get isAskedToStop(): boolean {
    return this.#run.signal.aborted;
  }

  isAgreed(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#agreed.has(error);
  }

  /** A rank was lost or has failed: nobody hears this one any more. */
  get isAlone(): boolean {
    return this.group.failure.aborted;
  }

  /** After a failure: whether this rank is the one that saves. Of a run that ends in order all take part. */
  get savesLast(): boolean {
    return !this.isAlone || this.group.isRescuer;
  }

  /**
   * The values of all ranks, by rank, where each of them comes to this line.
   * @param later leave it to the caller to end the run where that was agreed on: `signal` is aborted then
   * @param signal ends the wait for the others
   * @throws what ends the run; DistributedError
   */
  async gather<T>(what: string, value: T, later = false, signal?: AbortSignal): Promise<T[]> {
    const stop = this.#request();
    const messages = await this.group.allGather<Message<T>>(what, { value, ...(stop && { stop }) }, signal);
    if (!this.#isStopAgreed) this.#agree(messages.map((message) => message.stop));
    if (!later && this.#isStopAgreed && !this.#isOver) this.signal.throwIfAborted();
    return messages.map((message) => message.value);
  }

  /**
   * Runs work on rank 0 alone, which hands its result, as JSON, to the others. Where it fails it does so on all of them.
   * After a failure of another rank it just runs: on the one that saves.
   * @param limitMs rank 0 waits so long for the others to come. Default: as long as they live
   */
  async fromMain<T>(what: string, work: () => Promise<T>, limitMs?: number): Promise<T> {
    if (this.isAlone) {
      if (!this.savesLast) throw this.group.failure.reason;
      return work();
    }
    if (!this.isMain) {
      const [outcome] = await this.gather<Outcome<T> | null>(what, null, true);
      if (outcome && 'error' in outcome) throw this.agreed(errorOf(outcome.error));
      return (outcome as { readonly value?: T }).value as T;
    }
    let value: T;
    try {
      value = await work();
    } catch (error) {
      // Where they are gone already they know of it.
      await this.gather<Outcome<T>>(what, { error: toldOf(error) }, true).catch(() => undefined);
      throw this.agreed(error);
    }
    const limit = limitMs === undefined ? undefined : AbortSignal.timeout(limitMs);
    await this.gather<Outcome<T>>(what, { value }, true, limit).catch((error: unknown) => {
      // What is done is done, though nobody hears of it.
      if (!this.isAlone) throw error;
    });
    return value;
  }

  /**
   * What ranks agree on from here to `releaseStop` ends the run there, and not in the middle of a pass, where devices have
   * begun sums on some ranks alone.
   */
  holdStop(): void {
    this.#holdsStop = true;
  }

  /** All ranks come here. */
  releaseStop(): void {
    const end = this.#heldStop;
    this.#heldStop = undefined;
    this.#holdsStop = false;
    end?.();
  }

  /**
   * To be called with what ends the run, before `failed`: where that fails the others, sums that all ranks have queued come
   * to their end first, so that their steps count.
   */
  async finishQueued(error: unknown): Promise<void> {
    if (!this.#failsOthers(error)) return;
    const arrived = this.arrived();
    // What has gone wrong there has its own words.
    await afterAbort(arrived, AbortSignal.abort(), QUEUED_GRACE).catch(() => {});
  }

  /** The metrics of rank 0; all ranks compute them, and what they decide must be the same. */
  async metricsOfMain<T extends Readonly<Record<string, number>>>(metrics: T | undefined): Promise<T | undefined> {
    const [first] = await this.gather('metrics', metrics);
    return first;
  }

  /** Bytes of rank 0 on all ranks. Rank 0 alone gives them. */
  async bytesFromMain(what: string, bytes: Uint8Array | undefined): Promise<Uint8Array> {
    if (this.isAlone) {
      if (!bytes) throw this.group.failure.reason;
      return bytes;
    }
    const [given] = await this.group.allGatherBytes(what, bytes ?? new Uint8Array(0));
    return this.isMain ? bytes! : given!;
  }

  /** Marks an error that all ranks throw at the same place: it is no failure of this one. */
  agreed<T>(error: T): T {
    if (typeof error === 'object' && error !== null) this.#agreed.add(error);
    return error;
  }

  /** Runs what all ranks decide alike, from what they all know. */
  async alike<T>(decide: () => T | Promise<T>): Promise<T> {
    try {
      return await decide();
    } catch (error) {
      throw this.agreed(error);
    }
  }

  /**
   * To be called with what ends the run, before anything is saved: tells the others, unless they know.
   * @returns the error of the run, on whatever rank it came from
   */
  failed(error: unknown): unknown {
    if (this.isAlone) {
      const { reason } = this.group.failure as { readonly reason: DistributedError };
      if (reason.rank !== this.group.rank) return reason;
      // What this rank told the others of is its own error, not theirs.
      return error === reason ? this.signal.reason : error;
    }
    if (this.#failsOthers(error)) this.#failWith(error);
    return error;
  }

  #failsOthers(error: unknown): boolean {
    if (this.isAlone || this.isAgreed(error)) return false;
    return !(this.#isStopAgreed && error === this.signal.reason);
  }

  /** Connects the devices. Without a way to do so the ranks must be one. */
  async join(engine: Engine, set: ParameterSet): Promise<void> {
    this.#sum = await engine.joinGroup?.(this.group, set, this.signal);
  }

  /** Resolves when the sums of all steps so far have arrived. @throws what became of them instead */
  async arrived(): Promise<void> {
    await this.#sum?.arrived?.();
  }

  get sum(): GradientSum | undefined {
    return this.#sum;
  }

  /** Ends the communication of the devices: at once after a failure, so that they answer again. */
  async part(): Promise<void> {
    const sum = this.#sum;
    this.#sum = undefined;
    // After a failure it may be what has failed.
    await sum?.close().catch((error: unknown) => {
      if (!this.isAlone) throw error;
    });
  }

  /** The run is over on this rank. */
  async close(): Promise<void> {
    this.#isOver = true;
    for (const forget of this.#forget) forget();
    clearTimeout(this.#timer);
    try {
      await this.part();
    } finally {
      this.#scope.end();
    }
  }

  #request(): StopRequest | undefined {
    const { signal } = this.#run;
    if (!signal.aborted) return undefined;
    const { reason } = signal;
    if (reason instanceof ReaderLeft) return { kind: 'left', why: '' };
    return { kind: 'abort', why: oneLine(reasonOf(reason)) };
  }

  #agree(stops: readonly (StopRequest | undefined)[]): void {
    const by = (kind: StopRequest['kind']): number => stops.findIndex((stop) => stop?.kind === kind);
    const rank = by('abort');
    if (rank < 0 && by('left') < 0) return;
    this.#isStopAgreed = true;
    clearTimeout(this.#timer);
    const { aborted, reason } = this.#run.signal;
    const isOwn = aborted && reason instanceof ReaderLeft === rank < 0;
    const end = (): void => this.#end(isOwn ? reason : rank < 0 ? new ReaderLeft() : stoppedBy(rank, stops[rank]!.why));
    if (this.#holdsStop) this.#heldStop = end;
    else end();
  }

  /** This rank ends the run of all. */
  #failWith(error: unknown): void {
    if (this.#isOver || this.isAlone) return;
    // Before the group's own words for it.
    this.#ending.abort(error);
    this.group.fail(error);
  }

  #end(reason: unknown): void {
    clearTimeout(this.#timer);
    this.#ending.abort(reason);
    // Readers and callbacks are waited for no longer, but where a reader's leave ends the run.
    if (!(reason instanceof ReaderLeft)) this.#run.stop(reason);
  }
}

function stoppedBy(rank: number, why: string): DistributedError {
  return new DistributedError(`rank ${rank} was asked to stop: ${why}`, {
    rank,
    hint: 'The last whole step is saved, unless `saveStrategy` is "no"; `resumeFromCheckpoint` goes on from there.',
  });
}

function toldOf(error: unknown): ToldError {
  if (!(error instanceof TuneError)) return { kind: 'other', message: reasonOf(error) };
  return { kind: error.name, message: error.summary, hint: error.hint };
}

/** The kinds that decide something where they are caught, or are faults of the program, which runs on all ranks. */
function errorOf({ kind, message, hint }: ToldError): TuneError {
  const same = { CheckpointError, ConfigError, DataError }[kind];
  if (same) return new same(message, { hint });
  return new DistributedError(`rank 0: ${message}`, { rank: 0, hint });
}
