/** A run under way: a promise of its result and a stream of its events at once. */
import { EventStream } from './event-readers.js';
import type { TrainingEvent, TrainOutput } from './events.js';
import { ReaderLeft } from './reader-left.js';

/**
 * What `SftTrainer.train()` gives. Await it, iterate it, or both.
 *
 * The run starts at once. **It waits for its readers**: while the body of a loop handles an event, the parameters are those
 * after the event's step, whatever the body does and however long. With several loops it waits for all of them; without
 * one for nobody. A loop that begins late gets all events from the first one on, and is waited for once it has caught up.
 *
 * **Leaving a loop stops the run**, by `break`, `return` or an error: the step whose event was read is the last one, it is
 * saved unless `saveStrategy` is `no`, `loadBestModelAtEnd` is heeded, and awaiting the run then gives an output with
 * `stopped: true`. The loop is left when that is done. Other loops get the remaining events and end; the best model is
 * loaded when they have handled theirs.
 *
 * **A run logs itself once**, to stderr, as `progress` of the configuration says. By its default `auto` the values of `log`
 * and `evaluate` events are left to a loop that iterates the run; warnings and the summary at the end are always shown.
 *
 * Awaiting the run inside its own loop lets it go on without waiting for that loop. An abort by a signal is heard while a
 * loop is at work; the run then ends without waiting for anybody.
 *
 * A loop throws what the run failed with. A failure that nobody awaits or iterates when it happens is an unhandled
 * rejection, as of any promise.
 * @example
 * ```ts
 * const output = await trainer.train();
 * for await (const event of trainer.train()) if (event.type === 'evaluate') await saveAdapter(adapter, 'latest');
 * ```
 */
export class TrainingRun implements PromiseLike<TrainOutput>, AsyncIterable<TrainingEvent> {
  readonly #events = new EventStream();
  readonly #stop = new AbortController();
  readonly #result: OutputPromise;
  #hasReader = false;

  /**
   * @param body does the work
   * @param signal the caller's: aborts the body's
   */
  constructor(
    body: (control: {
      /** Reports an event; settles when every reader has handled it. */
      emit(event: TrainingEvent): Promise<void>;
      /** Aborted with the caller's reason, or with a `ReaderLeft` when a reader leaves. */
      readonly signal: AbortSignal;
      /** Settles when no reader is at work, also after one has left; at once when the caller has aborted. */
      readonly whenRead: (step: number) => Promise<void>;
      /** Whether somebody iterates the events now. */
      isRead(): boolean;
      /** Aborts the run as the caller's signal does. */
      stop(reason: unknown): void;
    }) => Promise<TrainOutput>,
    signal?: AbortSignal,
  ) {
    // Unlike a reader's leave, these end the run without waiting for anybody.
    const ended = new AbortController();
    const stop = (reason: unknown): void => {
      ended.abort(reason);
      this.#stop.abort(reason);
    };
    const abort = (): void => stop(signal!.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
    const control: RunControl = {
      emit: (event: TrainingEvent) => this.#events.emit(event, this.#stop.signal),
      signal: this.#stop.signal,
      whenRead: (step) => this.#events.handled(step, ended.signal),
      isRead: () => this.#events.isRead,
      stop,
    };
    // One turn later, so that whoever made the run can attach to it first.
    const work = Promise.resolve()
      .then(() => body(control))
      .finally(() => {
        signal?.removeEventListener('abort', abort);
        this.#events.end(work);
      });
    this.#result = new OutputPromise((resolve) => resolve(work));
    this.#result.catch((error) => {
      if (!this.#hasReader) void Promise.reject(error);
    });
    this.#result.onAwait = () => this.#events.awaited();
  }

  /** Settles with the run: the same as awaiting the run itself. */
  get result(): Promise<TrainOutput> {
    this.#hasReader = true;
    return this.#result;
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting the run is the point
  then<A = TrainOutput, B = never>(
    onFulfilled?: ((value: TrainOutput) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.result.then(onFulfilled, onRejected);
  }

  /** As of a promise. */
  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<TrainOutput | B> {
    return this.then(undefined, onRejected);
  }

  /** As of a promise. */
  finally(onFinally?: (() => void) | null): Promise<TrainOutput> {
    return this.then().finally(onFinally);
  }

  /** From the first event on, whenever it is called; throws what the run failed with. Leaving it stops the run. */
  [Symbol.asyncIterator](): AsyncIterator<TrainingEvent> {
    this.#hasReader = true;
    return this.#events.open(() => {
      this.#stop.abort(new ReaderLeft());
      return this.#result;
    });
  }
}

export type RunControl = Parameters<ConstructorParameters<typeof TrainingRun>[0]>[0];

/** Reports when somebody begins to wait for it: only its own loop can say whether that may be waited for. */
class OutputPromise extends Promise<TrainOutput> {
  onAwait: (() => void) | undefined;

  /** What `then` gives is a plain promise. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  // biome-ignore lint/suspicious/noThenProperty: overrides that of a promise
  override then<A = TrainOutput, B = never>(
    onFulfilled?: ((value: TrainOutput) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.onAwait?.();
    return super.then(onFulfilled, onRejected);
  }
}
