/** The log lines of a run: each is due with its step, and written once that step is reported, as a rule one step later. */

import type { Engine, EngineMemory } from '../engine/engine.js';
import type { RunLog } from './history.js';
import type { RankExchange } from './rank-exchange.js';
import { takeLogOf } from './rank-window.js';
import type { StepMetrics } from './step-metrics.js';

interface IntervalLogParts {
  readonly engine: Engine;
  readonly log: RunLog;
  /** Undefined where one process trains alone. */
  readonly ranks: RankExchange | undefined;
}

/** What is known of a line when its step was given to the engine. */
interface DueLine {
  readonly memory: EngineMemory;
  /** Of `performance.now()`. */
  readonly at: number;
  /** Where the interval ends, if that is not when the line is written. */
  readonly until?: number;
}

export class IntervalLog {
  readonly #parts: IntervalLogParts;
  #due: DueLine | undefined;
  #matrixTflops: number | undefined;

  constructor(parts: IntervalLogParts) {
    this.#parts = parts;
  }

  /** Measures the engine's rate in matrix products, if it knows one: outside the time of any step. */
  measure(): void {
    this.#matrixTflops = this.#parts.engine.matrixTflops?.();
  }

  /** A line is due for the step that was just given to the engine. */
  note(): void {
    this.#due = { memory: this.#parts.engine.memory(), at: performance.now() };
  }

  /**
   * The next step begins, whose time is not that of a line that is due: that ends where its step was given to the engine,
   * as engines let their hosts run only a little ahead.
   */
  nextStep(): void {
    if (this.#due) this.#due = { ...this.#due, until: this.#due.at };
  }

  /** Its step was not taken. */
  forget(): void {
    this.#due = undefined;
  }

  /** Writes the line that is due, everything settled. */
  async write(metrics: StepMetrics): Promise<void> {
    if (!this.#due) return;
    const { memory, until } = this.#due;
    await this.#emit(metrics, memory, until);
    // Not before: where other ranks are lost meanwhile the one that saves writes it alone.
    this.#due = undefined;
  }

  /** Early stopping may come before the first line was due: then it comes at the end. */
  async writeUnlogged(metrics: StepMetrics): Promise<void> {
    const { log, engine } = this.#parts;
    if (log.entries.some((entry) => 'loss' in entry)) return;
    await this.#emit(metrics, engine.memory());
  }

  async #emit(metrics: StepMetrics, memory: EngineMemory, until?: number): Promise<void> {
    const { log, ranks } = this.#parts;
    const entry = ranks
      ? await takeLogOf(ranks, metrics, memory, this.#matrixTflops, until)
      : metrics.takeLog(memory, this.#matrixTflops, until);
    if (entry) await log.emit({ type: 'log', ...entry });
  }
}
