/** Where the events of a run go: to whoever watches, into the history file, and into the list that checkpoints keep. */

import { CheckpointError, TrainingError } from '../errors.js';
import { printable } from '../messages/one-line.js';
import type { EvalEntry, LogEntry, TrainingEvent } from './events.js';
import { TrainHistory, withoutType } from './history.js';

export class RunLog {
  readonly #history: TrainHistory;
  readonly #show: (event: TrainingEvent) => Promise<void>;
  #entries: (LogEntry | EvalEntry)[] = [];
  #saidNoHistory = false;

  /** @param show settles when whoever watches has handled the event */
  constructor(outputDir: string, show: (event: TrainingEvent) => Promise<void>) {
    this.#history = new TrainHistory(outputDir);
    this.#show = show;
  }

  /** Log lines and evaluations so far, those before a resume included. */
  get entries(): readonly (LogEntry | EvalEntry)[] {
    return this.#entries;
  }

  restore(entries: readonly (LogEntry | EvalEntry)[]): void {
    this.#entries = [...entries];
  }

  async emit(event: TrainingEvent): Promise<void> {
    await this.#append(event);
    if (event.type === 'log' || event.type === 'evaluate') this.#entries.push(withoutType(event));
    await this.#show(event);
  }

  warn(step: number, message: string): Promise<void> {
    return this.emit({ type: 'warning', step, message: printable(`step ${step}: ${message}`) });
  }

  /** A log that cannot be written is an error at the start, and later no reason to lose the run. */
  async #append(event: TrainingEvent): Promise<void> {
    try {
      await this.#history.append(event);
    } catch (cause) {
      // The folder is another run's by now.
      if (cause instanceof TrainingError) throw cause;
      const message = printable(`cannot write ${this.#history.path}: ${(cause as Error).message}`);
      if (event.type === 'start') throw new CheckpointError(message, { cause, hint: 'Choose another `outputDir`.' });
      if (this.#saidNoHistory) return;
      this.#saidNoHistory = true;
      await this.#show({ type: 'warning', step: event.step, message });
    }
  }
}
