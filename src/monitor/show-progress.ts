/** Downloads, loading, evaluations and whatever else says how far it is, on the terminal. */

import { checkNames } from '../config.js';
import { ConfigError } from '../errors.js';
import { fitPieces, type LinePiece } from '../messages/fit-pieces.js';
import { formatBytes } from '../messages/format-bytes.js';
import { formatDuration } from '../messages/format-duration.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { requireOptions, requireText } from '../require-given.js';
import type { ProgressStream } from '../train/guarded-output.js';
import { type TerminalLine, terminalLine } from '../train/terminal-line.js';

/** Where there is no terminal, a line is printed at most this often, in milliseconds. */
const LINE_MS = 30_000;

/**
 * What the `onProgress` options of this package receive: samples of an `Evaluator`, bytes of a download from the Hub or
 * Kaggle, of weights that are loaded or merged, files of an archive that is unpacked.
 */
export type ShownProgress =
  | { readonly done: number; readonly total: number; readonly correct?: number }
  | { readonly received: number; readonly total: number | undefined }
  | { readonly bytesDone: number; readonly bytesTotal: number }
  | { readonly files: number; readonly totalFiles: number };

/** Options of {@link showProgress}. */
export interface ShowProgressOptions {
  /** What it is written to. Default: `process.stderr`. */
  readonly stream?: ProgressStream | undefined;
}

/**
 * Makes a function for an `onProgress` option: on a terminal a bar with the time that is left, in one line that fits and
 * stays whole while the process prints other things; elsewhere a line every 30 s. When all is done it says so in a line, and
 * how long it took. Colours are used where the terminal has them, and NO_COLOR and FORCE_COLOR are heeded.
 * @param label what is under way, in a word or two
 * @throws ConfigError for bad options, and later for what is no progress
 * @example
 * ```ts
 * const { model, processor } = await fromPretrained('mistralai/Ministral-3-3B-Instruct-2512-BF16', {
 *   onProgress: showProgress('download'),
 *   onLoadProgress: showProgress('weights'),
 * });
 * const report = await evaluator.evaluate(test, { toExample, onProgress: showProgress('evaluating') });
 * ```
 */
export function showProgress(label: string, options: ShowProgressOptions = {}): (progress: ShownProgress) => void {
  requireText(label, 'showProgress: `label`', "e.g. showProgress('weights').");
  requireOptions(options, 'showProgress');
  checkNames(options, { stream: false }, 'showProgress');
  const line = terminalLine(options.stream);
  let shown: ShownWork | undefined;
  return (progress) => {
    const amount = amountOf(progress);
    // Nothing was to be done.
    if (amount.total === 0) return;
    // Downloads say it more than once.
    if (shown?.isDone && shown.unit === amount.unit && amount.unit !== 'samples' && amount.done === shown.done) return;
    // Begun anew: the next phase of a download, or the next evaluation.
    if (shown && (shown.isDone || shown.unit !== amount.unit || amount.done < shown.done)) {
      shown.end();
      shown = undefined;
    }
    shown ??= new ShownWork(oneLine(label), amount, line);
    shown.show(amount);
  };
}

interface Amount {
  readonly unit: 'bytes' | 'files' | 'samples';
  readonly done: number;
  readonly total: number | undefined;
  /** Right answers among those done. */
  readonly correct?: number | undefined;
}

function amountOf(progress: ShownProgress): Amount {
  const given: unknown = progress;
  if (isObject(given)) {
    const number = (name: string): boolean => typeof given[name] === 'number';
    const { done, total, received, bytesDone, bytesTotal, files, totalFiles, correct } = given as Record<
      string,
      number
    >;
    if (number('bytesDone') && number('bytesTotal')) return { unit: 'bytes', done: bytesDone!, total: bytesTotal! };
    if (number('received')) return { unit: 'bytes', done: received!, total };
    if (number('files') && number('totalFiles')) return { unit: 'files', done: files!, total: totalFiles! };
    if (number('done') && number('total')) return { unit: 'samples', done: done!, total: total!, correct };
  }
  throw new ConfigError(`showProgress: expected what an \`onProgress\` receives, got ${describeGiven(progress)}`, {
    hint: "Write onProgress: showProgress('evaluating'); of your own counts, give { done, total }.",
  });
}

class ShownWork {
  readonly unit: Amount['unit'];
  done = 0;
  isDone = false;
  readonly #label: string;
  readonly #line: TerminalLine;
  readonly #start = performance.now();
  /** What was there already is no work of this one. */
  readonly #first: number;
  #lastLine = this.#start;
  #amount: Amount;
  #hasEnded = false;

  constructor(label: string, amount: Amount, line: TerminalLine) {
    const { unit, done, total } = amount;
    this.#amount = amount;
    this.#label = label;
    this.unit = unit;
    this.#first = unit === 'samples' || done === total ? 0 : done;
    this.#line = line;
    line.hold();
  }

  show(amount: Amount): void {
    const now = performance.now();
    this.done = amount.done;
    this.isDone = amount.total !== undefined && amount.done >= amount.total;
    this.#amount = amount;
    if (this.isDone) this.end();
    else if (this.#line.isLive) {
      const share = amount.total === undefined ? undefined : amount.done / amount.total;
      this.#line.draw(this.#fitted(this.#pieces(amount, now), share), now);
    } else if (now - this.#lastLine >= LINE_MS) {
      this.#lastLine = now;
      this.#print(this.#pieces(amount, now));
    }
  }

  /** Says what was done, if that is all: of a download without a known end nobody says when it is. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const amount = this.#amount;
    if (this.isDone || amount.total === undefined) {
      this.#print([
        { text: `${this.#label}: ${this.#count(amount.done)}`, rank: 0 },
        ...this.#right(amount),
        { text: `in ${formatDuration((performance.now() - this.#start) / 1000)}`, rank: 1 },
      ]);
    }
    void this.#line.release();
  }

  #pieces(amount: Amount, now: number): LinePiece[] {
    const { done, total } = amount;
    const rate = (done - this.#first) / Math.max((now - this.#start) / 1000, 1e-9);
    const left = total === undefined || rate <= 0 ? undefined : (total - done) / rate;
    return [
      { text: this.#label, rank: 2 },
      { text: total === undefined ? this.#count(done) : this.#countOf(done, total), rank: 1 },
      ...this.#right(amount),
      ...(this.unit === 'bytes' ? [{ text: `${formatBytes(Math.round(rate))}/s`, rank: 4 }] : []),
      ...(left === undefined ? [] : [{ text: `${formatDuration(left)} left`, rank: 0, style: 'cyan' as const }]),
    ];
  }

  #right({ correct, done }: Amount): LinePiece[] {
    return correct === undefined || done === 0
      ? []
      : [{ text: `${((100 * correct) / done).toFixed(1)} % right`, rank: 3 }];
  }

  #count(amount: number): string {
    if (this.unit === 'bytes') return formatBytes(amount);
    return this.unit === 'files' ? `${amount} files` : `${amount} done`;
  }

  #countOf(done: number, total: number): string {
    return this.unit === 'bytes' ? `${formatBytes(done)} of ${formatBytes(total)}` : `${done}/${total}`;
  }

  #fitted(pieces: readonly LinePiece[], share?: number): string {
    const { columns, usesColor } = this.#line;
    return fitPieces(pieces, { columns, share, usesColor });
  }

  #print(pieces: readonly LinePiece[]): void {
    this.#line.print(this.#fitted(pieces));
  }
}
