/** Runs a reader on a hostile file and judges what came of it: a result or an error of ours, soon, and in little memory. */
import { TuneError } from '../../src/errors.js';

export interface Limits {
  readonly milliseconds: number;
  /** Beside twice the length of the file. */
  readonly bytes: number;
}

export interface Tally {
  cases: number;
  accepted: number;
  refused: number;
  slowest: number;
  /** The most that a case took beyond twice its file. */
  mostBytes: number;
  readonly failures: { readonly index: number; readonly why: string }[];
}

export function emptyTally(): Tally {
  return { cases: 0, accepted: 0, refused: 0, slowest: 0, mostBytes: 0, failures: [] };
}

/** What the process holds: objects, and buffers outside of the heap. Garbage counts until it is collected. */
function bytesHeld(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** @param read is to give a result or throw a TuneError */
export async function judge(
  tally: Tally,
  fileLength: number,
  limits: Limits,
  read: () => Promise<unknown>,
): Promise<boolean> {
  const index = tally.cases++;
  const before = bytesHeld();
  const start = performance.now();
  const cpu = process.cpuUsage();
  let why: string | undefined;
  try {
    await withDeadline(read());
    tally.accepted++;
  } catch (error) {
    tally.refused++;
    if (!(error instanceof TuneError)) why = `threw ${(error as Error)?.stack ?? String(error)}`;
    else if (error.message.length > MAX_MESSAGE) why = `an error of ${error.message.length} characters`;
  }
  const spent = process.cpuUsage(cpu);
  // The machine may be busy with something else: only time that was spent here, and seen by the clock, counts.
  const milliseconds = Math.min(performance.now() - start, (spent.user + spent.system) / 1000);
  const bytes = bytesHeld() - before - 2 * fileLength;
  tally.slowest = Math.max(tally.slowest, milliseconds);
  tally.mostBytes = Math.max(tally.mostBytes, bytes);
  if (milliseconds > limits.milliseconds) why ??= `took ${milliseconds.toFixed(0)} ms`;
  if (bytes > limits.bytes) why ??= `took ${(bytes / 1e6).toFixed(1)} MB beyond twice its ${fileLength} bytes`;
  if (why !== undefined) tally.failures.push({ index, why });
  return why === undefined;
}

/** Some tens of lines. */
const MAX_MESSAGE = 50_000;
const DEADLINE = 15_000;

/** A read that waits for ever, on a pipe for instance, uses no time of the processor. */
async function withDeadline(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${DEADLINE} ms`)), DEADLINE);
  });
  try {
    await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
