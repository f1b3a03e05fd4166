/** How a run looks on the terminal: a line that redraws itself, or plain lines where there is no terminal. */
import { fitPieces, type LinePiece } from '../messages/fit-pieces.js';
import { formatBytes } from '../messages/format-bytes.js';
import { formatDuration } from '../messages/format-duration.js';
import { oneLine, printable } from '../messages/one-line.js';
import { styled, type TextStyle } from '../messages/terminal-style.js';
import type { EvalEntry, LogEntry, TrainingEvent } from './events.js';
import type { ProgressStream } from './guarded-output.js';
import { describeRun } from './run-summary.js';
import { type TerminalLine, terminalLine } from './terminal-line.js';

type ProgressStyle = 'auto' | 'bar' | 'lines' | 'none';

/** Where there is no terminal, an evaluation says how far it is at most this often, in milliseconds. */
const LINE_MS = 30_000;

/**
 * Shows the events of a run. Lines: one for each log, evaluation, checkpoint and warning; the bar moves each step. Values
 * of a run that a loop iterates are left to the loop. Where
 * nobody reads them any more it falls silent; until it is closed, what a program prints itself cannot end the run either.
 */
export class Progress {
  readonly #line: TerminalLine;
  readonly #style: 'bar' | 'lines' | 'none';
  readonly #isAuto: boolean;
  readonly #now: () => number;
  #totalSteps = 0;
  #firstStep = 0;
  #startTime = 0;
  #tokens = 0;
  #saidShared = false;
  #saidLeft = false;
  /** When the evaluation under way began, and when it was last shown. */
  #evaluation: { readonly start: number; shown: number } | undefined;

  constructor(style: ProgressStyle, stream?: ProgressStream, now: () => number = () => performance.now()) {
    this.#line = terminalLine(stream);
    this.#line.hold();
    this.#style = style === 'auto' ? (this.#line.isLive ? 'bar' : 'lines') : style;
    this.#isAuto = style === 'auto';
    this.#now = now;
  }

  /** @param isRead whether a loop iterates the events: by `auto` their values are its to print, so that none come twice */
  show(event: TrainingEvent, isRead = false): void {
    if (this.#style === 'none') return;
    if (isRead && this.#isAuto && (event.type === 'log' || event.type === 'evaluate')) {
      this.#evaluation = undefined;
      if (this.#style === 'lines' && !this.#saidLeft) {
        this.#print('values are left to the loop that reads this run; `progress: "lines"` prints them here as well');
      }
      this.#saidLeft = true;
      return;
    }
    if (event.type !== 'warning') this.#evaluation = undefined;
    switch (event.type) {
      case 'start':
        this.#totalSteps = event.totalSteps;
        this.#firstStep = event.step;
        this.#startTime = this.#now();
        this.#print(
          `training: ${event.samples} samples, ${event.totalSteps} steps${event.step > 0 ? ` (${event.step} done)` : ''}, ` +
            `${event.trainableParameters.toLocaleString('en-US')} trainable parameters`,
        );
        if (event.step < event.totalSteps) this.#drawWork(event.step, 'preparing the first step');
        break;
      case 'step':
        this.#tokens += event.tokens;
        if (event.sharedTokens > 0 && !this.#saidShared) {
          this.#saidShared = true;
          const [shared, all] = [event.sharedTokens, event.tokens].map((count) => count.toLocaleString('en-US'));
          this.#print(`sharePrefix: step ${event.step} reused ${shared} of its ${all} tokens from common prefixes`);
        }
        if (event.plan !== undefined) this.#print(`step ${event.step}: ${event.plan}`);
        this.#drawStep(event);
        break;
      case 'log':
        this.#printPieces(logPieces(event, this.#totalSteps, this.#secondsLeft(event.step), usePieces(event)));
        break;
      case 'evaluate':
        this.#line.print(evalLine(event, this.#totalSteps, this.#line.usesColor));
        break;
      case 'save':
        this.#print(`saved ${event.path}`, 'green');
        break;
      case 'loadBest':
        this.#print(
          `took the best step, ${event.step} (${event.metric} ${event.value.toPrecision(5)}), from ${event.checkpoint ?? 'memory'}`,
        );
        break;
      case 'pause':
        this.#print(`paused after step ${event.step}: a callback holds the run`, 'yellow');
        this.#drawWork(event.step, 'paused');
        break;
      case 'resume':
        this.#startTime += 1000 * event.seconds;
        this.#print(`resumed after ${formatDuration(event.seconds)}`);
        break;
      case 'warning':
        this.#print(`warning: ${event.message}`, 'yellow');
        break;
      case 'end': {
        const place = { totalSteps: this.#totalSteps, firstStep: this.#firstStep };
        const [first, ...others] = describeRun(event.output, place);
        this.#print(first!, 'bold');
        for (const line of others) this.#print(line);
        break;
      }
      case 'epoch':
        break;
    }
  }

  /** An evaluation is under way. @param done samples of `total` */
  evaluating(done: number, total: number): void {
    if (this.#style === 'none') return;
    const now = this.#now();
    this.#evaluation ??= { start: now, shown: now };
    const evaluation = this.#evaluation;
    const seconds = (now - evaluation.start) / 1000;
    const left: LinePiece[] =
      done > 0 ? [{ text: `${formatDuration((seconds / done) * (total - done))} left`, rank: 0 }] : [];
    const pieces: LinePiece[] = [{ text: 'evaluating', rank: 1 }, { text: `${done}/${total}`, rank: 1 }, ...left];
    if (this.#style === 'bar') {
      this.#line.draw(this.#fitted(pieces, done / total), now, done === 0);
    } else if (now - evaluation.shown >= LINE_MS) {
      evaluation.shown = now;
      this.#printPieces(pieces);
    }
  }

  /** The loss of an evaluation is known, and its metrics are not: how long they take is not known. */
  measuring(): void {
    if (this.#style !== 'bar') return;
    const pieces: LinePiece[] = [
      { text: 'evaluating', rank: 1 },
      { text: 'computing metrics', rank: 0 },
    ];
    this.#line.draw(this.#fitted(pieces, 1), this.#now(), true);
  }

  /** Takes the drawn line away. */
  clear(): void {
    if (this.#style === 'bar') this.#line.clear();
  }

  /** Leaves the terminal with a fresh line, after an error too. Call it once. */
  close(): Promise<void> {
    return this.#line.release();
  }

  #secondsLeft(step: number): number {
    const done = Math.max(1, step - this.#firstStep);
    return ((this.#now() - this.#startTime) / 1000 / done) * (this.#totalSteps - step);
  }

  #drawStep(event: Extract<TrainingEvent, { type: 'step' }>): void {
    if (this.#style !== 'bar') return;
    const now = this.#now();
    const rate = this.#tokens / Math.max((now - this.#startTime) / 1000, 1e-9);
    const pieces = logPieces({ ...event, tokensPerSecond: rate }, this.#totalSteps, this.#secondsLeft(event.step));
    this.#line.draw(this.#fitted(pieces, event.step / this.#totalSteps), now, event.step === this.#totalSteps);
  }

  /** What takes a while between two steps. */
  #drawWork(step: number, text: string): void {
    if (this.#style !== 'bar') return;
    const pieces = [positionPiece(step, this.#totalSteps), { text, rank: 0 }];
    this.#line.draw(this.#fitted(pieces, step / this.#totalSteps), this.#now(), true);
  }

  #fitted(pieces: readonly LinePiece[], share?: number): string {
    const { columns, usesColor } = this.#line;
    return fitPieces(pieces, { columns, share, usesColor });
  }

  #printPieces(pieces: readonly LinePiece[]): void {
    this.#line.print(this.#fitted(pieces));
  }

  #print(text: string, style?: TextStyle): void {
    this.#line.print(styled(style, printable(text), this.#line.usesColor));
  }
}

type Shown = Pick<LogEntry, 'step' | 'epoch' | 'loss' | 'gradNorm' | 'learningRate' | 'tokensPerSecond'>;

/**
 * `step 12/124  epoch 0.10  loss 1.2345  lr 9.60e-5  grad 0.812  1234 tok/s  310 TFLOP/s (41 %)  data 2 %  39.84 GiB
 * 12m 03s left`
 */
function logPieces(
  entry: Shown,
  totalSteps: number,
  secondsLeft: number,
  use: readonly LinePiece[] = [],
): readonly LinePiece[] {
  return [
    positionPiece(entry.step, totalSteps),
    { text: `epoch ${entry.epoch.toFixed(2)}`, rank: 6 },
    { text: `loss ${entry.loss.toFixed(4)}`, rank: 2, style: 'bold' },
    { text: `lr ${entry.learningRate.toExponential(2)}`, rank: 5 },
    { text: `grad ${entry.gradNorm.toPrecision(3)}`, rank: 7 },
    { text: `${entry.tokensPerSecond.toFixed(0)} tok/s`, rank: 3 },
    ...use,
    { text: `${formatDuration(secondsLeft)} left`, rank: 0, style: 'cyan' },
  ];
}

function usePieces(entry: LogEntry): LinePiece[] {
  const { modelTflops, modelFlopsUtilization, dataWaitShare, peakMemoryBytes } = entry;
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const rate = modelTflops === undefined ? [] : [`${formatRate(modelTflops)}FLOP/s`];
  if (modelFlopsUtilization !== undefined) rate.push(`(${percent(modelFlopsUtilization)})`);
  return [
    ...(rate.length > 0 ? [{ text: rate.join(' '), rank: 8 }] : []),
    { text: `data ${percent(dataWaitShare)}`, rank: 9 },
    { text: formatBytes(peakMemoryBytes), rank: 4 },
  ];
}

function formatRate(tera: number): string {
  return tera >= 1 ? `${tera.toFixed(0)} T` : `${(1000 * tera).toPrecision(3)} G`;
}

/** Whole in any terminal, on two rows if need be: there may be many metrics, and each is what it was made for. */
function evalLine(entry: EvalEntry, totalSteps: number, usesColor: boolean): string {
  const metrics = Object.entries(entry.metrics ?? {}).map(
    ([name, value]) => `${oneLine(name)} ${value.toPrecision(4)}`,
  );
  return [
    positionPiece(entry.step, totalSteps).text,
    `epoch ${entry.epoch.toFixed(2)}`,
    styled('bold', `eval loss ${entry.evalLoss.toFixed(4)}`, usesColor),
    ...metrics,
    formatDuration(entry.evalRuntime),
  ].join('  ');
}

function positionPiece(step: number, totalSteps: number): LinePiece {
  return { text: `step ${String(step).padStart(String(totalSteps).length)}/${totalSteps}`, rank: 1 };
}
