/** A run's course as the live page shows it: bounded, whatever the run's length. */
import { basename } from 'node:path';
import { reasonOf } from '../errors.js';
import { startOf } from '../messages/cut-text.js';
import { oneLine, printable } from '../messages/one-line.js';
import { redactDeep } from '../messages/redact-values.js';
import { redact } from '../messages/secrets.js';
import { showValue } from '../messages/show-value.js';
import type { TrainingEvent } from '../train/events.js';
import {
  addBounded,
  addEvaluation,
  type EvaluationPoint,
  type LiveSnapshot,
  type LiveUpdate,
  LOG_COLUMNS,
  MAX_NOTES,
  MAX_ROWS,
  MAX_SAMPLES,
  type Note,
  type RunFacts,
  type RunState,
  type RunStatus,
  type ShownSample,
  STEP_COLUMNS,
} from './live-protocol.js';
import { type Cell, ThinnedTable } from './thinned-table.js';

/** Metrics of an evaluation that are shown, at most. */
const MAX_METRICS = 24;
const MAX_NOTE = 2000;

type StartEvent = Extract<TrainingEvent, { type: 'start' }>;
type Pending = {
  -readonly [Name in 'steps' | 'logs' | 'evaluations' | 'notes' | 'samples']-?: NonNullable<LiveUpdate[Name]>[number][];
};

/** A message to the page. */
export type Message =
  | { readonly name: 'snapshot'; readonly data: LiveSnapshot }
  | { readonly name: 'update'; readonly data: LiveUpdate };

const nothing = (): Pending => ({ steps: [], logs: [], evaluations: [], notes: [], samples: [] });

export class RunHistory {
  readonly #now: () => number;
  #facts: RunFacts | null = null;
  #state: RunState = 'waiting';
  #reason: string | undefined;
  #checkpoint: string | undefined;
  #step = 0;
  #epoch = 0;
  #firstStep = 0;
  /** Milliseconds of `now`. */
  #startTime = 0;
  /** Milliseconds from the beginning to the last step, pauses left out. */
  #lastStepMs = 0;
  #pausedSince: number | undefined;
  #pausedMs = 0;
  #endTime: number | undefined;
  /** A reader of the run's events has left: it ends early, without an error. */
  #isLeft = false;
  #steps = new ThinnedTable(STEP_COLUMNS, MAX_ROWS);
  #logs = new ThinnedTable(LOG_COLUMNS, MAX_ROWS);
  #evaluations: EvaluationPoint[] = [];
  #notes: Note[] = [];
  /** Outlive a run, as their images do. */
  #samples: ShownSample[] = [];
  #pending = nothing();
  #isChanged = false;
  #needsSnapshot = false;

  /** @param now milliseconds, of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get state(): RunState {
    return this.#state;
  }

  get step(): number {
    return this.#step;
  }

  /** A new run; what was shown of an earlier one goes. */
  begin(event: StartEvent, options: { readonly title?: string | undefined; readonly controls: boolean }): void {
    const config = redactDeep(event.config, redact) as Readonly<Record<string, unknown>>;
    this.#facts = {
      title: oneLine(options.title ?? (basename(event.config.outputDir) || 'Training run')),
      samples: event.samples,
      totalSteps: event.totalSteps,
      trainableParameters: event.trainableParameters,
      controls: options.controls,
      savesAtStop: event.config.saveStrategy !== 'no',
      config: Object.entries(config).map(([name, value]) => [name, showValue(value)] as const),
    };
    this.#state = 'running';
    this.#reason = undefined;
    this.#checkpoint = undefined;
    this.#step = this.#firstStep = event.step;
    this.#epoch = 0;
    this.#startTime = this.#now();
    this.#lastStepMs = 0;
    this.#pausedSince = undefined;
    this.#pausedMs = 0;
    this.#endTime = undefined;
    this.#isLeft = false;
    this.#steps = new ThinnedTable(STEP_COLUMNS, MAX_ROWS);
    this.#logs = new ThinnedTable(LOG_COLUMNS, MAX_ROWS);
    this.#evaluations = [];
    this.#notes = [];
    this.#dropPending();
    this.#isChanged = true;
  }

  add(event: TrainingEvent): void {
    this.#isChanged = true;
    switch (event.type) {
      case 'start':
        break;
      case 'step': {
        this.#step = event.step;
        this.#epoch = event.epoch;
        this.#lastStepMs = this.#activeMs(this.#now());
        const loss = cell(event.loss);
        const row = [event.step, event.epoch, loss, loss, loss, cell(event.gradNorm), cell(event.learningRate)];
        this.#steps.add(row);
        this.#pending.steps.push(row);
        if (this.#pending.steps.length > MAX_ROWS) this.#dropPending();
        if (event.plan !== undefined) this.#note('info', event.step, event.plan);
        break;
      }
      case 'log': {
        const { step, tokensPerSecond, memoryBytes, peakMemoryBytes, dataWaitShare } = event;
        const row = [step, ...[tokensPerSecond, memoryBytes, peakMemoryBytes, dataWaitShare].map(cell)];
        this.#logs.add(row);
        this.#pending.logs.push(row);
        break;
      }
      case 'evaluate': {
        const all = Object.entries(event.metrics ?? {});
        const metrics = all.slice(0, MAX_METRICS);
        const point: EvaluationPoint = {
          step: event.step,
          epoch: event.epoch,
          evalLoss: cell(event.evalLoss),
          metrics: Object.fromEntries(metrics.map(([name, value]) => [oneLine(name), cell(value)])),
          moreMetrics: all.length - metrics.length,
        };
        addEvaluation(this.#evaluations, point);
        this.#pending.evaluations.push(point);
        break;
      }
      case 'save':
        this.#checkpoint = oneLine(event.path);
        this.#note('save', event.step, `Checkpoint written: ${event.path}`);
        break;
      case 'loadBest':
        this.#note(
          'info',
          event.step,
          `Best step taken: ${event.step}, ${event.metric} ${event.value.toPrecision(5)}, from ${event.checkpoint ?? 'memory'}`,
        );
        break;
      case 'pause':
        this.#note('info', event.step, 'Paused.');
        break;
      case 'resume':
        this.#note('info', event.step, `Resumed after ${event.seconds.toFixed(0)} s.`);
        break;
      case 'warning':
        this.#note('warning', event.step, event.message);
        break;
      case 'epoch':
        this.#epoch = event.epoch;
        break;
      case 'end':
        this.#step = event.step;
        this.#isLeft = event.output.stopped === true;
        break;
    }
  }

  addSample(sample: Omit<ShownSample, 'step'>): void {
    const shown = { ...sample, step: this.#step };
    addBounded(this.#samples, [shown], MAX_SAMPLES);
    addBounded(this.#pending.samples, [shown], MAX_SAMPLES);
    this.#isChanged = true;
  }

  /** Whether the run is held; a run that has ended or is to end is not. */
  setPaused(isPaused: boolean): void {
    if (this.#state !== 'running' && this.#state !== 'paused') return;
    if (isPaused === (this.#state === 'paused')) return;
    this.#state = isPaused ? 'paused' : 'running';
    const now = this.#now();
    if (isPaused) this.#pausedSince = now;
    else this.#endPause(now);
    this.#isChanged = true;
  }

  setStopping(): void {
    if (this.#state !== 'running' && this.#state !== 'paused') return;
    this.#endPause(this.#now());
    this.#state = 'stopping';
    this.#isChanged = true;
  }

  /** The run is over; `error` is what ended it, if something did. */
  finish(error: unknown): void {
    const now = this.#now();
    this.#endPause(now);
    this.#endTime = now;
    const isAbort = error instanceof Error && error.name === 'AbortError';
    this.#state = error === undefined ? 'finished' : isAbort ? 'stopped' : 'failed';
    if (error === undefined && this.#isLeft) {
      this.#state = 'stopped';
      this.#reason = 'its program left the loop over its events';
    }
    if (error !== undefined) this.#reason = printable(redact(reasonOf(error))).slice(0, MAX_NOTE);
    this.#isChanged = true;
  }

  /** What has come since the last call, or everything where that is shorter; undefined if nothing has changed. */
  take(): Message | undefined {
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    const update = Object.entries(this.#pending).filter(([, list]) => list.length > 0);
    this.#pending = nothing();
    if (this.#needsSnapshot) {
      this.#needsSnapshot = false;
      return { name: 'snapshot', data: this.snapshot() };
    }
    return { name: 'update', data: { status: this.status(), ...Object.fromEntries(update) } };
  }

  /** All that is shown; what `take` has not given yet is in it as well. */
  snapshot(): LiveSnapshot {
    return {
      facts: this.#facts,
      status: this.status(),
      steps: this.#steps.state(),
      logs: this.#logs.state(),
      evaluations: this.#evaluations,
      notes: this.#notes,
      samples: this.#samples,
    };
  }

  status(): RunStatus {
    return {
      state: this.#state,
      reason: this.#reason,
      step: this.#step,
      epoch: this.#epoch,
      seconds: this.#activeMs(this.#endTime ?? this.#now()) / 1000,
      secondsLeft: this.#secondsLeft(),
      checkpoint: this.#checkpoint,
    };
  }

  /** What is shown changes as a whole, or faster than it is taken: the next message has everything. */
  #dropPending(): void {
    this.#pending = nothing();
    this.#needsSnapshot = true;
  }

  #secondsLeft(): number | null {
    const done = this.#step - this.#firstStep;
    const left = (this.#facts?.totalSteps ?? 0) - this.#step;
    if (done <= 0 || left <= 0 || (this.#state !== 'running' && this.#state !== 'paused')) return null;
    return ((this.#lastStepMs / 1000) * left) / done;
  }

  #activeMs(until: number): number {
    if (this.#facts === null) return 0;
    const held = this.#pausedSince === undefined ? 0 : Math.max(0, until - this.#pausedSince);
    return Math.max(0, until - this.#startTime - this.#pausedMs - held);
  }

  #endPause(now: number): void {
    if (this.#pausedSince !== undefined) this.#pausedMs += now - this.#pausedSince;
    this.#pausedSince = undefined;
  }

  #note(kind: Note['kind'], step: number, text: string): void {
    const note = { kind, step, text: printable(redact(startOf(text, MAX_NOTE))), time: Date.now() };
    addBounded(this.#notes, [note], MAX_NOTES);
    addBounded(this.#pending.notes, [note], MAX_NOTES);
  }
}

function cell(value: number): Cell {
  return Number.isFinite(value) ? value : null;
}
