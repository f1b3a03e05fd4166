/**
 * The events of a run and their readers. Once a reader has caught up, each event that it takes holds the run until it
 * asks for the next one, so that the model stays as it was at the event. While its own loop awaits the run, a reader
 * lets it go on, else both would wait for ever; the asynchronous context that `next` marks says whose loop it is.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { TrainingEvent } from './events.js';

type Result = IteratorResult<TrainingEvent, undefined>;

interface Question {
  resolve(result: Result | PromiseLike<Result>): void;
  reject(error: unknown): void;
}

/**
 * Milliseconds that a run which somebody awaits waits for a reader at its first event: one who takes a single event by hand
 * looks like a loop until then.
 */
const FIRST_EVENT_PATIENCE = 30_000;

/** The readers in whose loops the code runs that asks; of several runs where loops are nested. */
const loops = new AsyncLocalStorage<readonly EventReader[]>();

export class EventStream {
  readonly events: TrainingEvent[] = [];
  readonly #readers = new Set<EventReader>();
  /** The run that is waiting for its readers. */
  #held: (() => void)[] = [];
  /** Undefined as long as there may be more events. */
  outcome: Promise<unknown> | undefined;
  #isAwaited = false;

  /**
   * Hands an event to all readers and waits until they ask for the next one.
   * @param signal once it is aborted nobody is waited for: the run only ends from there on
   */
  async emit(event: TrainingEvent, signal: AbortSignal): Promise<void> {
    this.events.push(event);
    for (const reader of this.#readers) reader.serve();
    // Nothing comes after the end, so nothing can change under its readers.
    if (event.type !== 'end') await this.handled(event.step, signal);
  }

  /**
   * Waits until all readers have handled what they were given.
   * @param step of the run, for the warning of one that never asks again
   * @param signal once it is aborted nobody is waited for
   */
  async handled(step: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted || !this.#isHeld) return;
    let resume = (): void => {};
    // Nothing is left in the process that could make a reader ask: it would end here, with the run unfinished.
    const stranded = (): void => this.#goOnWithout(step, () => true);
    const patience = setTimeout(() => {
      if (this.#isAwaited || this.#readers.size > 1) this.#goOnWithout(step, ({ taken }) => taken === 1);
    }, FIRST_EVENT_PATIENCE);
    patience.unref();
    await new Promise<void>((resolve) => {
      resume = resolve;
      this.#held.push(resume);
      signal?.addEventListener('abort', resume, { once: true });
      process.once('beforeExit', stranded);
    });
    clearTimeout(patience);
    process.off('beforeExit', stranded);
    signal?.removeEventListener('abort', resume);
    this.#held = this.#held.filter((waiting) => waiting !== resume);
  }

  /** Whether somebody iterates the events now. */
  get isRead(): boolean {
    return this.#readers.size > 0;
  }

  /** There are no more events. @param outcome settled: readers throw where it is rejected */
  end(outcome: Promise<unknown>): void {
    this.outcome = outcome;
    for (const reader of this.#readers) reader.serve();
  }

  /** From the first event on. @param onLeave called if it leaves before the end; must end the run */
  open(onLeave: () => Promise<unknown>): EventReader {
    // Node 20 and 22 follow contexts from the first use on: what is awaited before would mark the whole process.
    loops.run(loops.getStore() ?? [], () => undefined);
    const reader = new EventReader(this, onLeave);
    this.#readers.add(reader);
    return reader;
  }

  /**
   * To be called by whoever is about to wait for the run: lets it go on without the readers in whose loops that is. Where a
   * reader has taken a single event its context is not known yet, so it counts as one.
   */
  awaited(): void {
    this.#isAwaited = true;
    this.letGoOfLoops();
    for (const reader of this.#readers) if (reader.isBusy && reader.taken === 1) reader.letGo();
  }

  /** For readers, and for those who wait: the run goes on without the readers in whose loops this is called. */
  letGoOfLoops(): void {
    for (const reader of loops.getStore() ?? []) if (this.#readers.has(reader) && reader.isBusy) reader.letGo();
  }

  /** For readers: one asks, leaves or lets go. */
  changed(): void {
    if (this.#held.length === 0 || this.#isHeld) return;
    for (const resume of this.#held) resume();
  }

  close(reader: EventReader): void {
    this.#readers.delete(reader);
    this.changed();
  }

  #goOnWithout(step: number, isMeant: (reader: EventReader) => boolean): void {
    const message = `step ${step}: a reader of the run's events does not ask for the next one; the run goes on without it`;
    const readers = [...this.#readers].filter((reader) => reader.holds && isMeant(reader));
    if (readers.length > 0) this.events.push({ type: 'warning', step, message });
    for (const reader of this.#readers) reader.serve();
    for (const reader of readers) reader.letGo();
  }

  /** Whether a reader is at work, or has not come to the last event yet. */
  get #isHeld(): boolean {
    for (const reader of this.#readers) if (reader.holds) return true;
    return false;
  }
}

/** One reader: the iterator of a `for await` loop. */
class EventReader implements AsyncIterableIterator<TrainingEvent, undefined> {
  readonly #stream: EventStream;
  readonly #onLeave: () => Promise<unknown>;
  #asked: Question[] = [];
  isOpen = true;
  /** It has caught up with the run, which waits for it from then on. */
  #isLive = false;
  /** Events that it was given. */
  taken = 0;

  constructor(stream: EventStream, onLeave: () => Promise<unknown>) {
    this.#stream = stream;
    this.#onLeave = onLeave;
  }

  /** Whether the run waits for it: it is at work on an event, or one has come since. */
  get holds(): boolean {
    return this.#isLive && (this.#asked.length === 0 || this.taken < this.#stream.events.length);
  }

  /** Whether it was given an event and has not asked for the next one. */
  get isBusy(): boolean {
    return this.#asked.length === 0 && this.taken > 0;
  }

  next(): Promise<Result> {
    if (!this.isOpen) return Promise.resolve({ done: true, value: undefined });
    // Before the first event this would mark the code that starts the loop, not its body.
    if (this.taken > 0) this.#markLoop();
    return new Promise<Result>((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.serve();
      // A loop within a loop of the same run: the inner one waits for what the outer one holds up.
      if (this.#asked.length > 0) this.#stream.letGoOfLoops();
    });
  }

  /** Leaves the run, which stops: settles when it has ended, and throws what it failed with. */
  async return(): Promise<Result> {
    if (this.isOpen) {
      this.#close();
      this.#stream.awaited();
      await (this.#stream.outcome ?? this.#onLeave());
    }
    return { done: true, value: undefined };
  }

  /** As `return`, and throws the error. */
  async throw(error: unknown): Promise<Result> {
    await this.return().catch(() => {});
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** For the stream: answers what was asked as far as events go. */
  serve(): void {
    while (this.#asked.length > 0) {
      if (this.taken < this.#stream.events.length) {
        this.#asked.shift()!.resolve({ done: false, value: this.#stream.events[this.taken++]! });
        continue;
      }
      const { outcome } = this.#stream;
      if (!outcome) {
        this.#isLive = true;
        break;
      }
      const { resolve, reject } = this.#asked.shift()!;
      outcome.then(() => resolve({ done: true, value: undefined }), reject);
      this.#close();
      return;
    }
    this.#stream.changed();
  }

  /** The run goes on without waiting for it, until it has caught up again. */
  letGo(): void {
    this.#isLive = false;
    this.#stream.changed();
  }

  #close(): void {
    this.isOpen = false;
    for (const { resolve } of this.#asked.splice(0)) resolve({ done: true, value: undefined });
    this.#stream.close(this);
  }

  #markLoop(): void {
    const known = loops.getStore() ?? [];
    if (!known.includes(this)) loops.enterWith([...known.filter((reader) => reader.isOpen), this]);
  }
}
