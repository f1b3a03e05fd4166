/** A run under way: a promise of its result and a stream of its events at once. */
import type { TrainingEvent, TrainOutput } from './events.js';

/**
 * What `SftTrainer.train()` gives. Await it, iterate it, or both:
 * ```ts
 * const output = await trainer.train();
 * for await (const event of trainer.train()) console.log(event.type);
 * ```
 * The run starts at once and does not wait for its readers. Every iteration begins with the first event, so none is
 * lost, and throws where the run failed. Leaving a loop does not stop the run: an AbortSignal does. A failure that
 * nobody awaits or iterates when it happens is an unhandled rejection, as of any promise.
 */
export class TrainingRun implements PromiseLike<TrainOutput>, AsyncIterable<TrainingEvent> {
  readonly #events: TrainingEvent[] = [];
  readonly #result: Promise<TrainOutput>;
  #waiting: (() => void)[] = [];
  #finished = false;
  #hasReader = false;

  /** @param body does the work and calls `emit` for each event */
  constructor(body: (emit: (event: TrainingEvent) => void) => Promise<TrainOutput>) {
    // One turn later, so that whoever made the run can attach to it first.
    this.#result = Promise.resolve()
      .then(() =>
        body((event) => {
          this.#events.push(event);
          this.#wake();
        }),
      )
      .finally(() => {
        this.#finished = true;
        this.#wake();
      });
    this.#result.catch((error) => {
      if (!this.#hasReader) void Promise.reject(error);
    });
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

  async *#iterate(): AsyncGenerator<TrainingEvent, void> {
    for (let next = 0; ; next++) {
      while (next >= this.#events.length) {
        if (this.#finished) {
          await this.#result;
          return;
        }
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
      yield this.#events[next]!;
    }
  }

  /** From the first event on, whenever it is called; throws what the run failed with. */
  [Symbol.asyncIterator](): AsyncIterator<TrainingEvent> {
    this.#hasReader = true;
    return this.#iterate();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
