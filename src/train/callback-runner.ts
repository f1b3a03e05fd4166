/** The callbacks of one run: called one after the other, and heard when they want to hold or end it. */
import { afterAbort, orAborted } from '../async/or-aborted.js';
import { reasonOf, TrainingError, TuneError } from '../errors.js';
import { oneLine, printable } from '../messages/one-line.js';
import type { TrainerCallback, TrainingControl } from './callbacks.js';
import type { TrainingEvent } from './events.js';
import type { RunControl } from './training-run.js';

/** Milliseconds that a callback may take for each call once the run is to stop. */
const LAST_CALL_MS = 30_000;
/** Longer than any run: only keeps the process alive. */
const LONG_MS = 2 ** 30;

/** A callback, and what became of it. */
interface Listed {
  readonly callback: TrainerCallback;
  /** For messages. */
  readonly name: string;
  /** It has failed: it gets no more events. */
  hasFailed: boolean;
}

export class CallbackRunner {
  readonly #listed: readonly Listed[];
  readonly #run: Pick<RunControl, 'signal' | 'stop'>;
  #failure: TrainingError | undefined;
  /** Nothing is left that an error could end. */
  #isOver = false;
  /** Settles with the call before. */
  #turn: Promise<void> = Promise.resolve();
  /** Events that came before `start`: a run that waits for its folder says so. */
  #early: TrainingEvent[] | undefined = [];
  #resumed: PromiseWithResolvers | undefined;

  /** @param run its signal, and what ends it */
  constructor(callbacks: readonly TrainerCallback[], run: Pick<RunControl, 'signal' | 'stop'>) {
    this.#listed = callbacks.map((callback, i) => {
      return { callback, name: callback.name ? `"${oneLine(callback.name)}"` : `callbacks[${i}]`, hasFailed: false };
    });
    this.#run = run;
  }

  /** Settles when every callback has handled the event, and never rejects: an error ends the run through its signal. */
  handle(event: TrainingEvent): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      if (event.type === 'start') await this.#start(event);
      else if (this.#early) this.#early.push(event);
      else await this.#deliver(event);
    });
    return this.#turn;
  }

  /** Whether the run is to be held before its next optimizer step. */
  get isPaused(): boolean {
    return this.#resumed !== undefined;
  }

  /** Settles when the run may go on. @throws the reason of the run's signal */
  async whenResumed(): Promise<void> {
    // Nothing else may be alive; the process would end, and the run with it.
    const alive = setInterval(() => undefined, LONG_MS);
    try {
      await orAborted(this.#resumed?.promise ?? Promise.resolve(), this.#run.signal);
    } finally {
      clearInterval(alive);
    }
  }

  /**
   * To be called when the last step is done: errors are warnings from here on.
   * @throws TrainingError if a callback has failed
   */
  requireSound(): void {
    if (this.#failure) throw this.#failure;
    this.#isOver = true;
  }

  /** The run is over. Never rejects. @param error what ended it, if something did */
  async close(error?: unknown): Promise<void> {
    await this.#turn;
    this.#isOver = true;
    this.#resume();
    for (const listed of this.#listed) await this.#call(listed, 'onClose', (callback) => callback.onClose?.(error));
  }

  async #start(event: Extract<TrainingEvent, { type: 'start' }>): Promise<void> {
    for (const listed of this.#listed) {
      const control = this.#controlOf(listed);
      await this.#call(listed, 'onStart', (callback) => callback.onStart?.(event, control));
    }
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const one of [event, ...early]) await this.#deliver(one);
  }

  async #deliver(event: TrainingEvent): Promise<void> {
    for (const listed of this.#listed) {
      if (listed.hasFailed) continue;
      await this.#call(listed, `the event \`${event.type}\` of step ${event.step}`, (c) => c.onEvent?.(event));
    }
  }

  async #call(listed: Listed, where: string, call: (callback: TrainerCallback) => unknown): Promise<void> {
    try {
      const answer = call(listed.callback);
      if (typeof (answer as PromiseLike<unknown> | undefined)?.then === 'function') {
        await this.#answered(answer as PromiseLike<unknown>);
      }
    } catch (error) {
      listed.hasFailed = true;
      this.#fail(listed, where, error);
    }
  }

  /** Waits for a callback. @throws what it rejects with; TrainingError if it never answers */
  async #answered(answer: PromiseLike<unknown>): Promise<void> {
    let strand = (): void => {};
    const stranded = new Promise<never>((_, reject) => {
      strand = () => reject(new TrainingError('it waits for what never comes', { hint: STRANDED }));
    });
    // Nothing is left in the process that could answer: it would end here, with the run unfinished.
    process.once('beforeExit', strand);
    const late = () => new TrainingError(`it did not answer within ${LAST_CALL_MS / 1000} s of the end of the run`);
    try {
      await afterAbort(Promise.race([answer, stranded]), this.#run.signal, LAST_CALL_MS, late);
    } finally {
      process.off('beforeExit', strand);
    }
  }

  #fail({ callback, name }: Listed, where: string, error: unknown): void {
    const message = `the callback ${name} failed in ${where}: ${reasonOf(error)}`;
    if (this.#isOver || this.#run.signal.aborted) {
      process.emitWarning(printable(message), 'TrainerCallbackWarning');
      return;
    }
    const own = error instanceof TuneError ? error.hint : undefined;
    this.#failure = new TrainingError(message, {
      hint: own ?? 'Mend it or leave it out of `callbacks`; `resumeFromCheckpoint` goes on from the last whole step.',
      details: { callback: callback.name ?? name, where },
      cause: error,
    });
    this.#run.stop(this.#failure);
  }

  #controlOf({ name }: Listed): TrainingControl {
    const runner = this;
    return {
      get isPaused() {
        return runner.isPaused;
      },
      pause: () => {
        if (!this.#isOver && !this.#run.signal.aborted) this.#resumed ??= withResolvers();
      },
      resume: () => this.#resume(),
      stop: (reason) => {
        if (this.#isOver) return;
        const why = reason ? `: ${oneLine(reason)}` : '';
        this.#run.stop(new DOMException(`stopped by the callback ${name}${why}`, 'AbortError'));
      },
    };
  }

  #resume(): void {
    const held = this.#resumed;
    this.#resumed = undefined;
    held?.resolve();
  }
}

const STRANDED = 'A callback must not wait for the run itself: the run waits for the callback.';

interface PromiseWithResolvers {
  readonly promise: Promise<void>;
  resolve(): void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
