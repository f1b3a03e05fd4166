/**
 * Runs that are killed with SIGKILL at random moments and resumed until they are done. After each kill the folder must
 * hold a checkpoint that loads, and at the end the adapter must be the uninterrupted run's, bit by bit, and so must the
 * losses and the best step.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { MersenneTwister } from '../../src/random.js';
import { OF_SMALL_RUNS } from '../train/follow.js';
import { ChildRun } from './child-run.js';

export interface KillCourseOptions {
  /** Holds everything that is written. */
  readonly dir: string;
  readonly checkpoint: string;
  readonly kills: number;
  readonly steps: number;
  readonly engine?: string;
  readonly seed?: number;
  /** `score`: the best step is chosen by `computeMetrics`, and the run stops early. Default `loss`. */
  readonly judge?: 'loss' | 'score';
  /** As of a ChildRun. */
  readonly program?: string;
  readonly onLine?: (line: string) => void;
}

export interface KillCourseResult {
  readonly kills: number;
  /** Kills between the beginning of a save and its end. */
  readonly duringSaves: number;
  /** Kills that left a hidden folder, and those of them that left one in the middle of a replacement. */
  readonly leftovers: number;
  readonly replacements: number;
  /** Kills before the first checkpoint. */
  readonly beforeFirst: number;
  /** Runs that were killed and resumed to their end. */
  readonly finished: number;
  /** Files of the adapter, and lines of losses, that were compared. */
  readonly compared: number;
  readonly seconds: number;
}

const FINAL = ['adapter_model.safetensors', 'adapter_config.json'];

/** @throws Error naming the kill after which something was not as it must be */
export async function killCourse(options: KillCourseOptions): Promise<KillCourseResult> {
  const { dir, checkpoint, steps, kills: wanted, engine = 'cpu' } = options;
  const start = performance.now();
  const say = options.onLine ?? (() => {});
  const random = new MersenneTwister(options.seed ?? 1);
  const below = (limit: number) => (random.nextUint32() / 2 ** 32) * limit;
  const common = { checkpoint, steps, engine, judge: options.judge, program: options.program };

  const wholeDir = join(dir, 'whole');
  const began = performance.now();
  const first = new ChildRun({ ...common, out: wholeDir });
  await first.said(/^start/);
  const startMs = performance.now() - began;
  const end = await first.end;
  if (end.code !== 0) throw new Error(`the uninterrupted run failed: ${end.errors}`);
  const runMs = performance.now() - began - startMs;
  const best = bestOf(end.lines);
  say(`uninterrupted: ${end.lines.at(-1)} of ${steps} steps in ${runMs.toFixed(0)} ms, ${best}`);

  const counts = { kills: 0, duringSaves: 0, leftovers: 0, replacements: 0, beforeFirst: 0, finished: 0, compared: 0 };
  for (let course = 1; counts.kills < wanted; course++) {
    const out = join(dir, `course-${course}`);
    for (let isDone = false; !isDone; ) {
      const before = await look(out);
      // Now and then from an older one, so that those after it are replaced.
      const older = before.all.length > 1 && below(4) < 1 ? before.all[0]! : undefined;
      const resume =
        older === undefined ? (before.newest === undefined ? undefined : 'true') : join(out, `checkpoint-${older}`);
      // Saving at each step, or with time between saves: what a run saves does not change what it learns.
      const saveSteps = below(2) < 1 ? 1 : 3;
      const child = new ChildRun({ ...common, out, resume, saveSteps });
      const expected = older ?? before.newest ?? 0;
      if (!(await child.said(/^start/))) throw new Error(`it did not start: ${(await child.end).errors}`);
      if (counts.kills < wanted) {
        // Half of the kills are aimed at a save: it takes a few milliseconds.
        const isAimed = below(2) < 1;
        if (isAimed) await saveToHit(child, Math.floor(below(6)));
        await new Promise((resolve) => setTimeout(resolve, below(isAimed ? 25 : runMs)));
        child.process.kill('SIGKILL');
      }
      const { code, signal, lines, errors } = await child.end;
      const from = Number(/^start (\d+)/.exec(lines.find((line) => line.startsWith('start'))!)![1]);
      if (from !== expected) throw new Error(`kill ${counts.kills}: resumed at step ${from}, expected ${expected}`);
      // Of an older one the best step may have been removed since, for a better one that is to come again.
      const isLost = (line: string) => older !== undefined && line.includes('best step so far');
      const isKnown = (line: string) => isLost(line) || OF_SMALL_RUNS.test(line);
      const warnings = lines.filter((line) => line.startsWith('warning') && !isKnown(line));
      if (warnings.length > 0) throw new Error(`kill ${counts.kills}: ${warnings.join('; ')}`);
      if (signal === 'SIGKILL') {
        counts.kills++;
        const last = lines.filter((line) => /^(saving|saved|step)/.test(line)).at(-1);
        if (last === 'saving') counts.duringSaves++;
        const names = await readdir(out).catch(() => [] as string[]);
        if (names.some((name) => name.endsWith('.tmp'))) counts.leftovers++;
        if (names.some((name) => name.includes('.replaced-'))) counts.replacements++;
        const after = await look(out);
        if (after.newest === undefined) counts.beforeFirst++;
        const at = after.newest === undefined ? 'no checkpoint yet' : `checkpoint ${after.newest} loads`;
        if (before.newest !== undefined && after.newest === undefined) throw new Error('all checkpoints are gone');
        say(`kill ${counts.kills}: after "${last ?? 'start'}", from ${expected}; ${at}`);
      } else if (code === 0) {
        isDone = true;
        if (bestOf(lines) !== best) throw new Error(`course ${course} ended with ${bestOf(lines)}, expected ${best}`);
      } else throw new Error(`a resumed run failed (${code} ${signal}): ${errors}`);
    }
    counts.compared += await compare(wholeDir, out, engine);
    const left = (await readdir(out)).filter((name) => name.endsWith('.tmp'));
    if (left.length > 0) throw new Error(`course ${course} left ${left.join(', ')}`);
    counts.finished++;
    say(`course ${course}: done, and as the uninterrupted run`);
    await rm(out, { recursive: true });
  }
  return { ...counts, seconds: (performance.now() - start) / 1000 };
}

function bestOf(lines: readonly string[]): string | undefined {
  return lines.find((line) => line.startsWith('best '));
}

/** Waits for the beginning of the n-th save from now, or for the end. */
async function saveToHit(child: ChildRun, n: number): Promise<void> {
  let seen = 0;
  await new Promise<void>((resolve) => {
    child.process.stdout!.on('data', (data: Buffer) => {
      seen += data.toString().split('saving').length - 1;
      if (seen > n) resolve();
    });
    child.process.once('close', () => resolve());
  });
}

/** The steps of the checkpoints of a folder, rising. @throws Error if one of them is not whole */
export async function checkpointSteps(out: string): Promise<number[]> {
  const names = await readdir(out).catch(() => [] as string[]);
  const steps = names.flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  for (const step of steps) {
    const path = join(out, `checkpoint-${step}`);
    const state = JSON.parse(await readFile(join(path, 'trainer-state.json'), 'utf8')) as { globalStep: number };
    if (state.globalStep !== step) throw new Error(`${path} holds step ${state.globalStep}`);
    for (const name of ['training-state.safetensors', 'adapter_model.safetensors']) {
      const file = await SafetensorsFile.open(join(path, name));
      for (const tensor of file.tensors.keys()) await file.readArray(tensor);
      await file.close();
    }
  }
  return steps.sort((a, b) => a - b);
}

/** What a resume takes as it finds it. */
async function look(out: string): Promise<{ newest: number | undefined; all: number[] }> {
  const steps = await checkpointSteps(out);
  const names = await readdir(out).catch(() => [] as string[]);
  // Killed between two renames: the next start finishes it, so its step counts.
  const replaced = names.flatMap((name) => /^\.checkpoint-(\d+)\.replaced-/.exec(name)?.[1] ?? []).map(Number);
  const all = [...new Set([...steps, ...replaced])].sort((a, b) => a - b);
  return { newest: all.at(-1), all: steps };
}

/** Gives how much was compared. On cuda the losses must be equal, elsewhere every bit of the adapter as well. */
async function compare(whole: string, resumed: string, engine: string): Promise<number> {
  const losses = async (dir: string) => {
    const newest = (await look(dir)).newest!;
    const state = JSON.parse(await readFile(join(dir, `checkpoint-${newest}`, 'trainer-state.json'), 'utf8'));
    const entries = state.logHistory as { step: number; loss?: number; evalLoss?: number; gradNorm?: number }[];
    const shown =
      engine === 'cpu' ? ['step', 'loss', 'evalLoss', 'gradNorm', 'metrics', 'score'] : ['step', 'loss', 'evalLoss'];
    return entries.map((entry) => JSON.stringify(entry, shown));
  };
  const [expected, found] = [await losses(whole), await losses(resumed)];
  if (found.length !== expected.length) throw new Error(`${found.length} entries, expected ${expected.length}`);
  for (const [i, line] of expected.entries()) {
    if (line !== found[i]) throw new Error(`entry ${i} was ${line}, now ${found[i]}`);
  }
  if (engine !== 'cpu') return expected.length;
  for (const name of FINAL) {
    const [a, b] = [await readFile(join(whole, 'final', name)), await readFile(join(resumed, 'final', name))];
    if (!a.equals(b)) throw new Error(`${name} of ${resumed} is not that of the uninterrupted run`);
  }
  return expected.length + FINAL.length;
}
