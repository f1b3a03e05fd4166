/**
 * A disk that fills up while a run saves, and has room again later: a small file system of its own in memory.
 *
 *   sudo npx tsx test/crash/disk-full.ts [--steps 24]
 *
 * Fails unless the run goes on, warns of each save that failed, keeps whole what was saved before, and saves again once
 * there is room; and unless a run that is resumed from there ends with the bytes of one that had room all the time.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeTinyModel } from '../e2e/tiny-model.js';
import { type ChildEnd, ChildRun } from './child-run.js';
import { checkpointSteps } from './kill-course.js';

const { values } = parseArgs({ options: { steps: { type: 'string', default: '24' } } });
const steps = Number(values.steps);
const dir = await mkdtemp(join(tmpdir(), 'disk-full-'));
const checkpoint = join(dir, 'model');
await writeTinyModel(checkpoint);

const roomy = join(dir, 'roomy');
await finished(new ChildRun({ out: roomy, checkpoint, steps }));
const adapter = await readFile(join(roomy, 'final', 'adapter_model.safetensors'));
let size = 0;
const sample = join(roomy, `checkpoint-${steps}`);
for (const name of await readdir(sample)) size += (await stat(join(sample, name))).size;

const disk = join(dir, 'disk');
await mkdir(disk);
// Room for three checkpoints, the next one and a half more.
execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${Math.ceil(4.5 * size)}`, 'tmpfs', disk]);
try {
  const out = join(disk, 'out');
  const filler = join(disk, 'filler');
  const run = new ChildRun({ out, checkpoint, steps, stepMs: 30 });
  await run.said(/^saved 6$/);
  await writeFile(filler, Buffer.alloc(3 * size)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOSPC') throw error;
  });
  const warned = await run.said(/^warning .*ENOSPC/);
  if (!warned) throw new Error(`no save failed: ${(await run.end).lines.join('\n')}`);
  const kept = await checkpointSteps(out);
  console.log(`the disk is full; whole checkpoints: ${kept.join(', ')}`);
  if (kept.length === 0) throw new Error('no checkpoint is left');
  await rm(filler);
  const { lines } = await finished(run);
  const failed = lines.filter((line) => /^warning .*ENOSPC/.test(line));
  const after = lines.slice(lines.lastIndexOf(failed.at(-1)!)).filter((line) => line.startsWith('saved'));
  if (after.length === 0) throw new Error('nothing was saved once there was room');
  const hidden = (await readdir(out)).filter((name) => name.endsWith('.tmp'));
  if (hidden.length > 0) throw new Error(`left behind: ${hidden.join(', ')}`);
  compare(adapter, await readFile(join(out, 'final', 'adapter_model.safetensors')));

  // From an older checkpoint, with the disk full from the start. Those after it are not the run's own to remove.
  const [first, ...later] = await checkpointSteps(out);
  for (const step of later) await rm(join(out, `checkpoint-${step}`), { recursive: true });
  await writeFile(filler, Buffer.alloc(5 * size)).catch(() => {});
  const oldest = join(out, `checkpoint-${first}`);
  const full = new ChildRun({ out, checkpoint, steps, resume: oldest });
  await full.said(/^(warning .*ENOSPC|end)/);
  await rm(filler);
  await finished(full);
  compare(adapter, await readFile(join(out, 'final', 'adapter_model.safetensors')));
  console.log(
    `RESULT ${JSON.stringify({ test: 'disk full', checkpointBytes: size, failedSaves: failed.length, savedAfter: after.length })}`,
  );
} finally {
  execFileSync('umount', ['-l', disk]);
  await rm(dir, { recursive: true, force: true });
}

async function finished(run: ChildRun): Promise<ChildEnd> {
  const end = await run.end;
  if (end.code !== 0) throw new Error(`the run failed: ${end.lines.join('\n')}\n${end.errors}`);
  return end;
}

function compare(expected: Buffer, found: Buffer): void {
  if (!expected.equals(found)) throw new Error('the adapter is not that of the run that had room');
}
