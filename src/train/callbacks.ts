/** What listens to a training run, and may hold or end it. */
import type { TrainingEvent } from './events.js';

/** Handed to callbacks when a run begins. */
export interface TrainingControl {
  /** Whether the run is held. */
  readonly isPaused: boolean;
  /**
   * Holds the run before its next optimizer step; the parameters stay as they are. The event `pause` says when that is.
   * Ignored once the run is to stop.
   */
  pause(): void;
  /** Lets a held run go on. */
  resume(): void;
  /**
   * Ends the run as `TrainOptions.signal` does: a checkpoint of the last whole step is written. A held run ends too. The
   * run fails with a DOMException `AbortError` whose message has the callback's name and the reason.
   */
  stop(reason?: string): void;
}

/**
 * Listens to a run. Calls come one after the other, in the order of the events, and the run waits for a promise: a callback
 * must not wait for the run. An error ends the run as `TrainingControl.stop` does, with a TrainingError that names the
 * callback, which gets no more events then. Once the run is over or to stop anyway an error is a warning of the process,
 * and each call may take 30 s more. One that listens to two runs at a time gets the events of both.
 */
export interface TrainerCallback {
  /** For messages. Default: its place in the list. */
  readonly name?: string | undefined;
  /**
   * Of several processes that train together only the first calls it: for one that writes files or serves pages.
   * Default: false, each process calls its own.
   */
  readonly isMainOnly?: boolean | undefined;
  /** Once, with the `start` event and before `onEvent` receives it. */
  onStart?(event: Extract<TrainingEvent, { type: 'start' }>, control: TrainingControl): void | Promise<void>;
  /** Every event. */
  onEvent?(event: TrainingEvent): void | Promise<void>;
  /** Once, when the run is over; `error` is what ended it, if something did. */
  onClose?(error?: unknown): void | Promise<void>;
}
