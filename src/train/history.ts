/** The loss history as JSON lines, appended as it goes, so that it survives a crash. */
import { appendFile, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { requirePath } from '../config.js';
import { CheckpointError, reasonOf, TrainingError } from '../errors.js';
import { makeFlushedFolder } from '../files/atomic-file.js';
import { readRegularFile } from '../files/regular-file.js';
import { printable } from '../messages/one-line.js';
import type { EvalEntry, LogEntry, TrainingEvent } from './events.js';
import { requireOwned } from './run-folder.js';

const HISTORY_FILE = 'train-log.jsonl';

/** A line takes some 400 bytes. */
const MAX_BYTES = 268_435_456;

type HistoryLine =
  | ({ type: 'log' } & LogEntry)
  | ({ type: 'evaluate' } & EvalEntry)
  | { type: 'start'; step: number; totalSteps: number; time: string };

/** Writes `start`, `log` and `evaluate` events to `train-log.jsonl` in a folder; never removes a line. */
export class TrainHistory {
  readonly path: string;
  readonly #outputDir: string;
  /** Whether the file may end within a line: a killed process or a full disk cut one off, which would swallow the next. */
  #mayBeCut = true;

  constructor(outputDir: string) {
    this.#outputDir = outputDir;
    this.path = join(outputDir, HISTORY_FILE);
  }

  async append(event: TrainingEvent): Promise<void> {
    let line: HistoryLine;
    let before = '';
    if (event.type === 'log' || event.type === 'evaluate') line = event;
    else if (event.type === 'start') {
      await makeFlushedFolder(dirname(this.path));
      line = { type: 'start', step: event.step, totalSteps: event.totalSteps, time: new Date().toISOString() };
    } else return;
    await requireOwned(this.#outputDir);
    if (this.#mayBeCut && !(await endsLine(this.path))) before = '\n';
    this.#mayBeCut = true;
    await appendFile(this.path, `${before}${JSON.stringify(line)}\n`);
    this.#mayBeCut = false;
  }
}

/** Where the events of a run go: to whoever watches, into the history file, and into the list that checkpoints keep. */
export class RunLog {
  readonly #history: TrainHistory;
  readonly #show: (event: TrainingEvent) => Promise<void>;
  #entries: (LogEntry | EvalEntry)[] = [];
  #saidNoHistory = false;
  /** Of several ranks one writes the file; all keep the list. */
  isWriter: boolean;

  /** @param show settles when whoever watches has handled the event */
  constructor(outputDir: string, show: (event: TrainingEvent) => Promise<void>, isWriter = true) {
    this.#history = new TrainHistory(outputDir);
    this.#show = show;
    this.isWriter = isWriter;
  }

  /** Log lines and evaluations so far, those before a resume included. */
  get entries(): readonly (LogEntry | EvalEntry)[] {
    return this.#entries;
  }

  restore(entries: readonly (LogEntry | EvalEntry)[]): void {
    this.#entries = [...entries];
  }

  async emit(event: TrainingEvent): Promise<void> {
    if (this.isWriter) await this.#append(event);
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
      const message = printable(`cannot write ${this.#history.path}: ${reasonOf(cause)}`);
      if (event.type === 'start') throw new CheckpointError(message, { cause, hint: 'Choose another `outputDir`.' });
      if (this.#saidNoHistory) return;
      this.#saidNoHistory = true;
      await this.#show({ type: 'warning', step: event.step, message });
    }
  }
}

/**
 * The entries of the last run in a `train-log.jsonl`. Entries after a resumed checkpoint are replaced by those of the
 * resumed run; a last line that a crash cut off is left out.
 * @throws CheckpointError if the file cannot be read
 * @example
 * ```ts
 * await trainer.train();
 * const { logs, evaluations } = await readHistory('outputs/train-log.jsonl');
 * ```
 */
export async function readHistory(path: string): Promise<{
  /** By rising step. */
  logs: LogEntry[];
  /** By rising step; the last that was made at each. */
  evaluations: EvalEntry[];
}> {
  requirePath(path, 'readHistory');
  let entries: HistoryLine[] = [];
  const bytes = await readRegularFile(path, MAX_BYTES).catch((cause: Error) => {
    throw new CheckpointError(`${path} cannot be read: ${cause.message}`, {
      hint: `Give the file ${HISTORY_FILE} of a run's \`outputDir\`.`,
      cause,
      details: { path },
    });
  });
  let known = 0;
  for (const text of bytes.toString().split('\n')) {
    const line = parseLine(text);
    if (!line) continue;
    known++;
    if (line.type === 'start') entries = entries.filter((entry) => entry.step <= line.step);
    else {
      // A run that was stopped in an evaluation, resumed, and killed after it, does that evaluation again.
      const last = entries.at(-1);
      if (last?.type === line.type && last.step === line.step) entries.pop();
      entries.push(line);
    }
  }
  // A first line that was cut off has no end.
  if (known === 0 && bytes.includes(10)) {
    throw new CheckpointError(`${path} is no log of a training run: none of its lines is an entry`, {
      hint: `Give the file ${HISTORY_FILE} of a run's \`outputDir\`.`,
      details: { path },
    });
  }
  const logs: LogEntry[] = [];
  const evaluations: EvalEntry[] = [];
  for (const entry of entries) {
    if (entry.type === 'log') logs.push(withoutType(entry));
    else if (entry.type === 'evaluate') evaluations.push(withoutType(entry));
  }
  return { logs, evaluations };
}

function withoutType<T extends { type: string }>(event: T): T extends unknown ? Omit<T, 'type'> : never {
  const { type, ...values } = event;
  return values as T extends unknown ? Omit<T, 'type'> : never;
}

/** Whether a file is missing, empty, or ends with the end of a line. */
async function endsLine(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) return true;
  try {
    const { size } = await file.stat();
    if (size === 0) return true;
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
    return buffer.toString() === '\n';
  } finally {
    await file.close();
  }
}

function parseLine(text: string): HistoryLine | undefined {
  try {
    const line = text.trim() === '' ? undefined : (JSON.parse(text) as HistoryLine | null);
    return typeof line?.step === 'number' ? line : undefined;
  } catch {
    return undefined;
  }
}
