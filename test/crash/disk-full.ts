/**
 * Disks that fill up while a run saves, at random steps and for a random while, one of them for good: small file systems
 * of their own in memory. The run loads its best step at the end and stops early.
 *
 *   sudo npx tsx test/crash/disk-full.ts [--disks 5] [--steps 40] [--seed 1]
 *
 * Fails unless each run goes on, warns of each save that failed, keeps whole what was saved before, saves again once there
 * is room, and ends with the best step, the losses and the adapter's bytes of a run that had room all the time; and unless
 * a run that is resumed from there, on a disk that is full from the start, does so too.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findFaults, readManifest } from '../../src/files/file-digests.js';
import { MersenneTwister } from '../../src/random.js';
import { writeTinyModel } from '../e2e/tiny-model.js';
import { type ChildEnd, ChildRun } from './child-run.js';
import { checkpointSteps } from './kill-course.js';

const { values } = parseArgs({
  options: {
    disks: { type: 'string', default: '5' },
    steps: { type: 'string', default: '40' },
    seed: { type: 'string', default: '1' },
  },
});
const [disks, steps, seed] = [Number(values.disks), Number(values.steps), Number(values.seed)];
const random = new MersenneTwister(seed);
const below = (limit: number) => random.nextUint32() % limit;
const dir = await mkdtemp(join(tmpdir(), 'disk-full-'));
const checkpoint = join(dir, 'model');
await writeTinyModel(checkpoint);
const common = { checkpoint, steps, judge: 'score' } as const;

const roomy = join(dir, 'roomy');
const expected = await finished(new ChildRun({ ...common, out: roomy }));
const adapter = await readFile(join(roomy, 'final', 'adapter_model.safetensors'));
const best = lineOf(expected, 'best');
const bestStep = Number(best.split(' ')[1]);
const [sample] = (await readdir(roomy)).filter((name) => name.startsWith('checkpoint-'));
let size = 0;
for (const name of await readdir(join(roomy, sample!))) size += (await stat(join(roomy, sample!, name))).size;
console.log(`with room: ${lineOf(expected, 'end')}, ${best}; a checkpoint has ${size} bytes`);

const counts = { failedSaves: 0, savedAfter: 0, bestFromMemory: 0, resumed: 0 };
try {
  for (let disk = 1; disk <= disks; disk++) await fill(disk);
} finally {
  await rm(dir, { recursive: true, force: true });
}
console.log(`RESULT ${JSON.stringify({ test: 'disk full', disks, seed, checkpointBytes: size, ...counts })}`);

async function fill(number: number): Promise<void> {
  const disk = join(dir, `disk-${number}`);
  const out = join(disk, 'out');
  const filler = join(disk, 'filler');
  const final = join(dir, `final-${number}`);
  // The first is full around the best step, the last one for good from then on.
  const from = number === 1 || number === disks ? bestStep - 2 : 2 + below(bestStep - 8);
  const most = number === disks ? Number.POSITIVE_INFINITY : 1 + below(3);
  await mkdir(disk);
  // Room for three checkpoints, the next one and a half more.
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${Math.ceil(4.5 * size)}`, 'tmpfs', disk]);
  try {
    const run = new ChildRun({ ...common, out, final, stepMs: 100 });
    await run.said(new RegExp(`^saved ${from}$`));
    await takeAll(filler);
    if (most !== Number.POSITIVE_INFINITY) {
      await failures(run, most);
      const kept = await checkWhole(out);
      if (kept.length === 0) throw new Error('no checkpoint is left');
      await rm(filler);
    }
    const end = await finished(run);
    const failed = end.lines.filter((line) => /^warning .*ENOSPC/.test(line));
    const after = end.lines.slice(end.lines.lastIndexOf(failed.at(-1)!)).filter((line) => line.startsWith('saved'));
    if (failed.length === 0) throw new Error('no save failed');
    if (after.length === 0 && most !== Number.POSITIVE_INFINITY)
      throw new Error('nothing was saved once there was room');
    const fromMemory = end.lines.some((line) => line.includes('loaded from memory'));
    counts.failedSaves += failed.length;
    counts.savedAfter += after.length;
    if (fromMemory) counts.bestFromMemory++;
    await rm(filler, { force: true });
    await compare(end, final);
    const hidden = (await readdir(out)).filter((name) => name.endsWith('.tmp'));
    if (hidden.length > 0) throw new Error(`left behind: ${hidden.join(', ')}`);
    const left = await checkWhole(out);
    console.log(
      `disk ${number}: full after step ${from}, ${failed.length} saves failed, ${after.length} came after; checkpoints ` +
        `${left.join(', ')}; the best ${fromMemory ? 'from memory' : 'from its checkpoint'}`,
    );

    // From the oldest, with the disk full from the start. Those after it are not the run's own to remove.
    const [first, ...later] = left;
    for (const step of later) await rm(join(out, `checkpoint-${step}`), { recursive: true });
    await takeAll(filler);
    // A run that cannot even begin its log is refused; one line of it has room.
    await truncate(filler, (await stat(filler)).size - 65_536);
    const again = new ChildRun({ ...common, out, final, resume: join(out, `checkpoint-${first}`), stepMs: 10 });
    await again.said(/^(warning .*ENOSPC|end)/);
    await compare(await finished(again), final);
    counts.resumed++;
  } finally {
    execFileSync('umount', ['-l', disk]);
  }
}

/** What is left of the disk. */
async function takeAll(path: string): Promise<void> {
  await writeFile(path, Buffer.alloc(5 * size)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOSPC') throw error;
  });
}

/** Waits for so many saves that fail, or for the end. */
async function failures(run: ChildRun, count: number): Promise<void> {
  let seen = 0;
  await new Promise<void>((resolve) => {
    run.process.stdout!.on('data', (data: Buffer) => {
      seen += data.toString().split('ENOSPC').length - 1;
      if (seen >= count) resolve();
    });
    run.process.once('close', () => resolve());
  });
}

/** The steps of the checkpoints of a folder: each loads, its digests fit, and nothing half-written lies beside them. */
async function checkWhole(out: string): Promise<number[]> {
  const found = await checkpointSteps(out);
  for (const step of found) {
    const path = join(out, `checkpoint-${step}`);
    const manifest = (await readManifest(path))!;
    const faults = await findFaults(path, manifest, manifest.keys());
    if (faults.length > 0) throw new Error(`${path}: ${faults[0]!.text}`);
  }
  return found;
}

async function finished(run: ChildRun): Promise<ChildEnd> {
  const end = await run.end;
  if (end.code !== 0) throw new Error(`the run failed: ${end.lines.join('\n')}\n${end.errors}`);
  return end;
}

function lineOf({ lines }: ChildEnd, start: string): string {
  return lines.find((line) => line.startsWith(`${start} `))!;
}

async function compare(end: ChildEnd, final: string): Promise<void> {
  for (const what of ['best', 'end']) {
    const [was, is] = [lineOf(expected, what), lineOf(end, what)];
    if (was !== is) throw new Error(`the run with room ended with "${was}", this one with "${is}"`);
  }
  const found = await readFile(join(final, 'adapter_model.safetensors'));
  if (!adapter.equals(found)) throw new Error('the adapter is not that of the run that had room');
}
