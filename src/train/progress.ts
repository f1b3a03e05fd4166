/** How a run looks on the terminal: a bar that redraws itself, or plain lines where there is no terminal. */
import { formatBytes } from '../messages/format-bytes.js';
import { printable } from '../messages/one-line.js';
import type { EvalEntry, LogEntry, TrainingEvent } from './events.js';
import { type GuardedOutput, guardedOutput, guardStandardOutput, type ProgressStream } from './guarded-output.js';

type ProgressStyle = 'auto' | 'bar' | 'lines' | 'none';

const BAR_WIDTH = 24;
/** A bar is redrawn at most this often, in milliseconds. */
const REDRAW_MS = 100;

/**
 * Shows the events of a run. Lines: one for each log, evaluation, checkpoint and warning; the bar moves each step. Where
 * nobody reads them any more it falls silent; until it is closed, what a program prints itself cannot end the run either.
 */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #output: GuardedOutput;
  readonly #guards: readonly GuardedOutput[];
  readonly #style: 'bar' | 'lines' | 'none';
  readonly #now: () => number;
  #totalSteps = 0;
  #firstStep = 0;
  #startTime = 0;
  #lastDraw = Number.NEGATIVE_INFINITY;
  #tokens = 0;
  #barShown = false;
  #saidShared = false;

  constructor(
    style: ProgressStyle,
    stream: ProgressStream = process.stderr,
    now: () => number = () => performance.now(),
  ) {
    this.#stream = stream;
    this.#output = guardedOutput(stream);
    this.#output.hold();
    this.#guards = [this.#output, ...guardStandardOutput()];
    this.#style = style === 'auto' ? (stream.isTTY ? 'bar' : 'lines') : style;
    this.#now = now;
  }

  show(event: TrainingEvent): void {
    if (this.#style === 'none') return;
    switch (event.type) {
      case 'start':
        this.#totalSteps = event.totalSteps;
        this.#firstStep = event.step;
        this.#startTime = this.#now();
        this.#line(
          `training: ${event.samples} samples, ${event.totalSteps} steps${event.step > 0 ? ` (${event.step} done)` : ''}, ` +
            `${event.trainableParameters.toLocaleString('en-US')} trainable parameters`,
        );
        break;
      case 'step':
        this.#tokens += event.tokens;
        if (event.sharedTokens > 0 && !this.#saidShared) {
          this.#saidShared = true;
          const [shared, all] = [event.sharedTokens, event.tokens].map((count) => count.toLocaleString('en-US'));
          this.#line(`sharePrefix: step ${event.step} reused ${shared} of its ${all} tokens from common prefixes`);
        }
        if (event.plan !== undefined) this.#line(`step ${event.step}: ${event.plan}`);
        this.#drawBar(event);
        break;
      case 'log':
        this.#line(formatLog(event, this.#totalSteps, this.#secondsLeft(event.step), formatUse(event)));
        break;
      case 'evaluate':
        this.#line(formatEval(event, this.#totalSteps));
        break;
      case 'save':
        this.#line(`saved ${event.path}`);
        break;
      case 'loadBest':
        this.#line(
          `took the best step, ${event.step} (${event.metric} ${event.value.toPrecision(5)}), from ${event.checkpoint ?? 'memory'}`,
        );
        break;
      case 'warning':
        this.#line(`warning: ${event.message}`);
        break;
      case 'end': {
        const { trainLoss, trainRuntime, trainTokensPerSecond } = event.output.metrics;
        this.#line(
          `done: ${event.step} steps in ${formatDuration(trainRuntime)}, mean loss ${trainLoss.toFixed(4)}, ` +
            `${trainTokensPerSecond.toFixed(0)} tok/s`,
        );
        break;
      }
      case 'epoch':
        break;
    }
  }

  /** Leaves the terminal with a fresh line, after an error too. Call it once. */
  async close(): Promise<void> {
    if (this.#barShown) this.#output.write('\n');
    this.#barShown = false;
    await Promise.all(this.#guards.map((guard) => guard.release()));
  }

  #secondsLeft(step: number): number {
    const done = Math.max(1, step - this.#firstStep);
    return ((this.#now() - this.#startTime) / 1000 / done) * (this.#totalSteps - step);
  }

  #drawBar(event: Extract<TrainingEvent, { type: 'step' }>): void {
    const now = this.#now();
    if (this.#style !== 'bar' || (now - this.#lastDraw < REDRAW_MS && event.step < this.#totalSteps)) return;
    this.#lastDraw = now;
    const filled = Math.round((event.step / this.#totalSteps) * BAR_WIDTH);
    const rate = this.#tokens / Math.max((now - this.#startTime) / 1000, 1e-9);
    const entry = { ...event, tokensPerSecond: rate };
    const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`;
    const text = `${bar} ${formatLog(entry, this.#totalSteps, this.#secondsLeft(event.step))}`;
    this.#output.write(`\r\x1b[2K${text.slice(0, Math.max(20, (this.#stream.columns || 120) - 1))}`);
    this.#barShown = true;
  }

  #line(text: string): void {
    this.#output.write(`${this.#barShown ? '\r\x1b[2K' : ''}${printable(text)}\n`);
    this.#barShown = false;
  }
}

type Shown = Pick<LogEntry, 'step' | 'epoch' | 'loss' | 'gradNorm' | 'learningRate' | 'tokensPerSecond'>;

/**
 * `step 12/124  epoch 0.10  loss 1.2345  lr 9.60e-5  grad 0.812  1234 tok/s  310 TFLOP/s (41 %)  data 2 %  39.84 GiB
 * 12m 03s left`
 */
function formatLog(entry: Shown, totalSteps: number, secondsLeft: number, use: readonly string[] = []): string {
  return [
    formatPosition(entry, totalSteps),
    `loss ${entry.loss.toFixed(4)}`,
    `lr ${entry.learningRate.toExponential(2)}`,
    `grad ${entry.gradNorm.toPrecision(3)}`,
    `${entry.tokensPerSecond.toFixed(0)} tok/s`,
    ...use,
    `${formatDuration(secondsLeft)} left`,
  ].join('  ');
}

function formatUse(entry: LogEntry): string[] {
  const { modelTflops, modelFlopsUtilization, dataWaitShare, peakMemoryBytes } = entry;
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const rate = modelTflops === undefined ? [] : [`${formatRate(modelTflops)}FLOP/s`];
  if (modelFlopsUtilization !== undefined) rate.push(`(${percent(modelFlopsUtilization)})`);
  return [...(rate.length > 0 ? [rate.join(' ')] : []), `data ${percent(dataWaitShare)}`, formatBytes(peakMemoryBytes)];
}

function formatRate(tera: number): string {
  return tera >= 1 ? `${tera.toFixed(0)} T` : `${(1000 * tera).toPrecision(3)} G`;
}

function formatEval(entry: EvalEntry, totalSteps: number): string {
  const metrics = Object.entries(entry.metrics ?? {}).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
  const parts = [`eval loss ${entry.evalLoss.toFixed(4)}`, ...metrics, formatDuration(entry.evalRuntime)];
  return `${formatPosition(entry, totalSteps)}  ${parts.join('  ')}`;
}

function formatPosition({ step, epoch }: { step: number; epoch: number }, totalSteps: number): string {
  return `step ${String(step).padStart(String(totalSteps).length)}/${totalSteps}  epoch ${epoch.toFixed(2)}`;
}

/** `42s`, `3m 07s`, `2h 05m` */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
}
