/** What the server of a live page and its program in the browser say to each other, as JSON. Runs in both. */
import type { Cell, Merging, TableState } from './thinned-table.js';

/** Where a run is. `waiting`: not begun. `stopped`: ended before its last step because somebody asked for it. */
export type RunState = 'waiting' | 'running' | 'paused' | 'stopping' | 'finished' | 'stopped' | 'failed';

/** Buttons of the page, as the body of `POST /control`: `{"action": "pause"}`. */
export const ACTIONS = ['pause', 'resume', 'stop'] as const;
export type Action = (typeof ACTIONS)[number];

export interface RunStatus {
  readonly state: RunState;
  /** What ended the run, or why it is stopped. */
  readonly reason?: string | undefined;
  /** Optimizer steps done. */
  readonly step: number;
  readonly epoch: number;
  /** Seconds since the run began, pauses left out. */
  readonly seconds: number;
  /** Null before the first step, and once nothing is left. */
  readonly secondsLeft: number | null;
  /** Folder of the newest checkpoint. */
  readonly checkpoint?: string | undefined;
}

/** What does not change in a run. */
export interface RunFacts {
  readonly title: string;
  readonly samples: number;
  readonly totalSteps: number;
  readonly trainableParameters: number;
  /** Whether the page may pause, resume and stop. */
  readonly controls: boolean;
  /** Whether a run that is stopped writes a checkpoint. */
  readonly savesAtStop: boolean;
  /** Names and values of the configuration, as text. */
  readonly config: readonly (readonly [name: string, value: string])[];
}

export interface EvaluationPoint {
  readonly step: number;
  readonly epoch: number;
  readonly evalLoss: number | null;
  readonly metrics: Readonly<Record<string, number | null>>;
  /** Metrics beyond those that a page can show. */
  readonly moreMetrics: number;
}

/** A warning or a checkpoint. */
export interface Note {
  readonly kind: 'warning' | 'save' | 'info';
  readonly step: number;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** A sample as the page has it; its image is at `/images/` and the index. */
export interface ShownSample {
  /** Unique on this page, rising. */
  readonly index: number;
  readonly id: string;
  readonly step: number;
  readonly answer: string;
  readonly expected?: string | undefined;
  readonly correct?: boolean | undefined;
  readonly prompt?: string | undefined;
  /** Pixels as shown. */
  readonly image?: { readonly width: number; readonly height: number } | undefined;
}

/** Everything so far, curves thinned: for a page that is new, or that has missed too much. */
export interface LiveSnapshot {
  readonly facts: RunFacts | null;
  readonly status: RunStatus;
  readonly steps: TableState;
  readonly logs: TableState;
  readonly evaluations: readonly EvaluationPoint[];
  readonly notes: readonly Note[];
  readonly samples: readonly ShownSample[];
}

/** What has come since the last message. */
export interface LiveUpdate {
  readonly status: RunStatus;
  readonly steps?: readonly (readonly Cell[])[];
  readonly logs?: readonly (readonly Cell[])[];
  readonly evaluations?: readonly EvaluationPoint[];
  readonly notes?: readonly Note[];
  readonly samples?: readonly ShownSample[];
}

/** Columns of `steps`: step, epoch, mean, least and greatest loss, gradient norm, learning rate. */
export const STEP_COLUMNS = ['last', 'last', 'mean', 'min', 'max', 'mean', 'last'] as const satisfies Merging[];
export const STEP = { step: 0, epoch: 1, loss: 2, lossMin: 3, lossMax: 4, gradNorm: 5, learningRate: 6 } as const;

/** Columns of `logs`: step, tokens a second, memory held and its peak in bytes, share of time waiting for data. */
export const LOG_COLUMNS = ['last', 'mean', 'last', 'last', 'mean'] as const satisfies Merging[];
export const LOG = { step: 0, tokensPerSecond: 1, memoryBytes: 2, peakMemoryBytes: 3, dataWaitShare: 4 } as const;

/** Most rows of a table. */
export const MAX_ROWS = 2000;
/** Most evaluations, notes and samples. */
export const MAX_EVALUATIONS = 400;
export const MAX_NOTES = 100;
export const MAX_SAMPLES = 24;

/** The newest of a list at its end; the others thinned to every second when there are too many. */
export function addEvaluation(list: EvaluationPoint[], point: EvaluationPoint): void {
  list.push(point);
  if (list.length <= MAX_EVALUATIONS) return;
  const kept = list.filter((_, i) => i % 2 === 0 || i === list.length - 1);
  list.splice(0, list.length, ...kept);
}

/** Adds at the end, and drops the oldest beyond a limit. */
export function addBounded<T>(list: T[], items: readonly T[], most: number): void {
  list.push(...items);
  if (list.length > most) list.splice(0, list.length - most);
}
