import { renameSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { ownIdentity } from '../../src/files/process-identity.js';
import { MergePlace } from '../../src/lora/merge-place.js';
import { lockTimes } from '../../src/ownership/owner-lock.js';

const times = { ...lockTimes };
let parent: string;
let target: string;
const warnings: string[] = [];
const place = (path = target) => new MergePlace(path, { onWarning: (line) => warnings.push(line) });
beforeEach(async () => {
  Object.assign(lockTimes, { beatMs: 20, staleMs: 200, pollMs: 5 });
  warnings.length = 0;
  parent = await mkdtemp(join(tmpdir(), 'merge-place-'));
  target = join(parent, 'merged');
});
afterEach(async () => {
  Object.assign(lockTimes, times);
  await rm(parent, { recursive: true });
});

const lockOf = (owner: object) =>
  `${JSON.stringify({ ...ownIdentity(), token: 'theirs', what: 'merge', ...owner })}\n0\n`;
const dead = lockOf({ pid: 4_000_000 });
const elsewhere = { space: 'boot/pid:[1]/', pid: 12 };
/** What a killed merge leaves. */
async function leave(name: string, lock: string | undefined): Promise<void> {
  await mkdir(join(parent, `.${name}.0a1b2c3d.partial`));
  await writeFile(join(parent, `.${name}.0a1b2c3d.partial`, 'model.safetensors'), 'half');
  if (lock !== undefined) await writeFile(join(parent, `.${name}.merge.lock`), lock);
}
async function mergeInto(path: string): Promise<void> {
  const one = place(path);
  try {
    await writeFile(join(await one.open(), 'model.safetensors'), 'whole');
    await one.finish();
  } finally {
    await one.close();
  }
}

describe('what a killed merge leaves', () => {
  it.each([
    ['of this host', dead],
    ['of another container', lockOf(elsewhere)],
    ['without a lock', undefined],
  ])('goes with the next merge into the same folder: %s', async (_, lock) => {
    await leave('merged', lock);
    await mergeInto(target);
    expect(await readdir(parent)).toEqual(['merged']);
    expect(warnings.length).toBe(lock === undefined || lock === dead ? 0 : 1);
  });

  it('goes with the next merge beside it if its process is known to be dead, and else stays', async () => {
    await leave('one', dead);
    await leave('two', lockOf(elsewhere));
    await leave('three', undefined);
    await leave('four', lockOf({}));
    await mkdir(join(parent, '.one.tmp'));
    await mergeInto(target);
    const kept = ['.four.0a1b2c3d.partial', '.four.merge.lock', '.one.tmp', '.three.0a1b2c3d.partial'];
    expect((await readdir(parent)).sort()).toEqual(
      [...kept, '.two.0a1b2c3d.partial', '.two.merge.lock', 'merged'].sort(),
    );
  });
});

describe('a merge that is under way', () => {
  it('is not disturbed by another one into the same folder, which is told', async () => {
    const first = place();
    const partial = await first.open();
    const second = place();
    const error = await second.open().catch((reason) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(
      /merged is being written by a merge: this process .*Wait until that merge has ended/s,
    );
    await second.close();
    await writeFile(join(partial, 'config.json'), '{}');
    expect(await readdir(parent)).not.toContain('merged');
    await first.finish();
    await first.close();
    expect(await readdir(parent)).toEqual(['merged']);
  });

  it('in another container is told from a dead one by its signs of life', async () => {
    await leave('merged', lockOf(elsewhere));
    let beats = 0;
    const path = join(parent, '.merged.merge.lock');
    // In one step: half of a file is nobody's.
    const beat = (): void => {
      writeFileSync(join(parent, 'beat'), lockOf({ ...elsewhere, beats: ++beats }));
      renameSync(join(parent, 'beat'), path);
    };
    const beating = setInterval(beat, 20);
    const one = place();
    await expect(one.open()).rejects.toThrow('being written by a merge: process 12');
    clearInterval(beating);
    await one.close();
    expect((await readdir(parent)).sort()).toEqual(['.merged.0a1b2c3d.partial', '.merged.merge.lock']);
  });

  it('stops where it was suspended and replaced', async () => {
    const one = place();
    await one.open();
    await writeFile(join(parent, '.merged.merge.lock'), lockOf(elsewhere));
    await expect(one.finish()).rejects.toThrow("no longer this merge's: it was taken over by a merge: process 12");
    await one.close();
    expect(await readdir(parent)).toEqual(['.merged.merge.lock']);
  });

  it('says that its target is taken, and leaves what is there', async () => {
    const one = place();
    await one.open();
    await mkdir(target);
    await writeFile(join(target, 'notes.txt'), '');
    await expect(one.finish()).rejects.toMatchObject({
      name: 'CheckpointError',
      message: expect.stringMatching(/merged cannot be written: ENOTEMPTY/),
      details: { path: target },
      cause: { code: 'ENOTEMPTY' },
    });
    await one.close();
    expect(await readdir(parent)).toEqual(['merged']);
    expect(await readdir(target)).toEqual(['notes.txt']);
  });

  it('says why it cannot go on: that it was replaced, that the disk is full, or what others threw', async () => {
    const one = place();
    const partial = await one.open();
    const own = new Error('of a callback');
    expect(await one.reasonOf(own)).toBe(own);
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      syscall: 'write',
      code: 'ENOSPC',
    });
    const explained = (await one.reasonOf(full)) as Error;
    expect(explained).toBeInstanceOf(CheckpointError);
    expect(explained.message).toMatch(/merged cannot be written: ENOSPC.*hint: Choose an `outputDir`/s);
    // The other one removes what it takes for left.
    await rm(partial, { recursive: true });
    await writeFile(join(parent, '.merged.merge.lock'), lockOf(elsewhere));
    const gone = await writeFile(join(partial, 'model.safetensors'), '').catch((error: unknown) => error);
    const replaced = (await one.reasonOf(gone)) as Error;
    expect(replaced).toBeInstanceOf(CheckpointError);
    expect(replaced.message).toContain("no longer this merge's: it was taken over by a merge: process 12");
    await one.close();
  });
});
