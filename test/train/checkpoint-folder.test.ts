import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { OwnerLock } from '../../src/ownership/owner-lock.js';
import {
  removeCheckpointFolder,
  tidyCheckpointFolders,
  writeCheckpointFolder,
} from '../../src/train/checkpoint-folder.js';
import { RUN_LOCK } from '../../src/train/run-folder.js';

let folder: string;
/** The number of a process that has ended. */
let deadPid: number;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-folder-'));
  const child = spawn(process.execPath, ['-e', '']);
  deadPid = child.pid!;
  await new Promise((resolve) => child.once('exit', resolve));
});
afterEach(() => rm(folder, { recursive: true }));

const fill = (text: string) => (into: string) => writeFile(join(into, 'content'), text);
const content = (name: string) => readFile(join(folder, name, 'content'), 'utf8');
const names = async () => (await readdir(folder)).sort();
async function make(name: string, text: string): Promise<void> {
  await mkdir(join(folder, name));
  await fill(text)(join(folder, name));
}

describe('writeCheckpointFolder', () => {
  it('makes the folders above, replaces an older one and leaves nothing else', async () => {
    const outputDir = join(folder, 'a', 'b');
    expect(await writeCheckpointFolder(outputDir, 7, fill('old'))).toBe(join(outputDir, 'checkpoint-7'));
    await writeCheckpointFolder(outputDir, 7, fill('new'));
    expect(await readdir(outputDir)).toEqual(['checkpoint-7']);
    expect(await content(join('a', 'b', 'checkpoint-7'))).toBe('new');
  });

  it('keeps what was there when the new one cannot be filled', async () => {
    await writeCheckpointFolder(folder, 7, fill('old'));
    const half = async (into: string) => {
      await fill('half')(into);
      // A device that is always full.
      await writeFile('/dev/full', 'x');
    };
    await expect(writeCheckpointFolder(folder, 7, half)).rejects.toThrow(/ENOSPC/);
    expect(await names()).toEqual(['checkpoint-7']);
    expect(await content('checkpoint-7')).toBe('old');
  });

  it('shows the new one only when it is whole', async () => {
    const seen: string[][] = [];
    await writeCheckpointFolder(folder, 7, async (into) => {
      await fill('new')(into);
      seen.push(await names());
    });
    expect(seen).toEqual([[expect.stringMatching(/^\.checkpoint-7\.\d+-[0-9a-f]{8}\.tmp$/)]]);
  });
});

describe('removeCheckpointFolder', () => {
  it('removes, and does not mind one that is gone', async () => {
    await writeCheckpointFolder(folder, 7, fill('old'));
    await removeCheckpointFolder(join(folder, 'checkpoint-7'));
    await removeCheckpointFolder(join(folder, 'checkpoint-7'));
    expect(await names()).toEqual([]);
  });
});

describe('tidyCheckpointFolders', () => {
  it('gives the new one its name where a process was killed between the two renames', async () => {
    await make(`.checkpoint-7.replaced-${deadPid}-0a1b2c3d.tmp`, 'old');
    await make(`.checkpoint-7.${deadPid}-0a1b2c3d.tmp`, 'new');
    await tidyCheckpointFolders(folder);
    expect(await names()).toEqual(['checkpoint-7']);
    expect(await content('checkpoint-7')).toBe('new');
  });

  it('gives the old one its name back where the new one is not there', async () => {
    await make(`.checkpoint-7.replaced-${deadPid}-0a1b2c3d.tmp`, 'old');
    // Of another attempt, which may be half-written.
    await make(`.checkpoint-7.${deadPid}-ffffffff.tmp`, 'half');
    await tidyCheckpointFolders(folder);
    expect(await names()).toEqual(['checkpoint-7']);
    expect(await content('checkpoint-7')).toBe('old');
  });

  it('removes what others left, also under the number of a living process, and nothing else', async () => {
    const kept = ['checkpoint-6', '.checkpoint-x.1-0a1b2c3d.tmp', '.other.tmp', '.checkpoint-6.tmp'];
    for (const name of kept) await make(name, name);
    // Nobody owns the folder: the number was another's, in another container or before a reboot.
    await make(`.checkpoint-8.${process.ppid}-0a1b2c3d.tmp`, 'half');
    await make(`.checkpoint-6.${deadPid}-0a1b2c3d.tmp`, 'half');
    await make(`.checkpoint-6.replaced-${deadPid}-0a1b2c3e.tmp`, 'old');
    await make(`.checkpoint-5.removed-${deadPid}-0a1b2c3f.tmp`, 'gone');
    await make(`.checkpoint-7.${process.pid}-0a1b2c3d.tmp`, 'half, of an earlier process');
    await tidyCheckpointFolders(folder);
    expect(await names()).toEqual([...kept].sort());
    expect(await content('checkpoint-6')).toBe('checkpoint-6');
    await tidyCheckpointFolders(join(folder, 'missing'));
  });

  it('touches nothing in a folder that a living run owns, unless it is that run', async () => {
    const half = `.checkpoint-8.${deadPid}-0a1b2c3d.tmp`;
    await make(half, 'half');
    const lock = await OwnerLock.take(join(folder, RUN_LOCK), { what: 'run', whenHeld: 'refuse' });
    await tidyCheckpointFolders(folder);
    expect(await names()).toContain(half);
    await tidyCheckpointFolders(folder, true);
    expect(await names()).toEqual([RUN_LOCK]);
    await lock.release();
  });

  it('leaves alone what this process is writing', async () => {
    await writeCheckpointFolder(folder, 7, async (into) => {
      await tidyCheckpointFolders(folder);
      await fill('new')(into);
    });
    expect(await content('checkpoint-7')).toBe('new');
  });

  it('brings nothing back that was removed', async () => {
    await make('checkpoint-3', 'three');
    await rename(join(folder, 'checkpoint-3'), join(folder, `.checkpoint-3.removed-${deadPid}-0a1b2c3d.tmp`));
    await tidyCheckpointFolders(folder);
    expect(await names()).toEqual([]);
  });
});

describe('a process that is killed before any one of its file operations', () => {
  const source = fileURLToPath(new URL('../../src/train/checkpoint-folder.ts', import.meta.url));
  let programs: string;
  beforeAll(async () => {
    programs = await mkdtemp(join(tmpdir(), 'killed-program-'));
    const outfile = join(programs, 'checkpoint-folder.mjs');
    await build({ entryPoints: [source], bundle: true, platform: 'node', format: 'esm', outfile, logLevel: 'error' });
    await writeFile(
      join(programs, 'killed.mjs'),
      `import fs from 'node:fs/promises';
      import { syncBuiltinESMExports } from 'node:module';
      import { removeCheckpointFolder, writeCheckpointFolder } from './checkpoint-folder.mjs';
      const [folder, task, last] = process.argv.slice(2);
      let count = 0;
      for (const name of ['mkdir', 'open', 'readdir', 'rename', 'rm', 'writeFile']) {
        const real = fs[name];
        fs[name] = (...given) => {
          if (++count === Number(last)) process.kill(process.pid, 'SIGKILL');
          return real(...given);
        };
      }
      syncBuiltinESMExports();
      const fill = async (into) => {
        await fs.writeFile(into + '/content', 'new');
        await fs.writeFile(into + '/more', 'new');
      };
      if (task === 'write') await writeCheckpointFolder(folder, 7, fill);
      else await removeCheckpointFolder(folder + '/checkpoint-7');`,
    );
  });
  afterAll(() => rm(programs, { recursive: true }));

  /** Kills it at its first operation, then at its second, until it comes through; `check` sees what is left. */
  async function killEverywhere(task: string, check: () => Promise<void>): Promise<number> {
    for (let last = 1; ; last++) {
      await rm(join(folder, 'checkpoint-7'), { recursive: true, force: true });
      await make('checkpoint-7', 'old');
      await writeFile(join(folder, 'checkpoint-7', 'more'), 'old');
      const args = [join(programs, 'killed.mjs'), folder, task, String(last)];
      const child = spawn(process.execPath, args, { stdio: 'inherit' });
      const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
      expect(code === 0 || signal === 'SIGKILL').toBe(true);
      await tidyCheckpointFolders(folder);
      await check();
      if (code === 0) return last - 1;
    }
  }

  it('leaves the old checkpoint or the new one, whole and under its name', async () => {
    const seen: string[] = [];
    const operations = await killEverywhere('write', async () => {
      expect(await names()).toEqual(['checkpoint-7']);
      const [text, more] = [
        await content('checkpoint-7'),
        await readFile(join(folder, 'checkpoint-7', 'more'), 'utf8'),
      ];
      expect(more).toBe(text);
      seen.push(text);
    });
    // The old one until the first rename, the new one from then on.
    expect(operations).toBeGreaterThan(8);
    const firstNew = seen.indexOf('new');
    expect(firstNew).toBeGreaterThan(0);
    expect(seen.slice(0, firstNew).every((text) => text === 'old')).toBe(true);
    expect(seen.slice(firstNew).every((text) => text === 'new')).toBe(true);
  });

  it('removes a checkpoint whole or not at all', async () => {
    const seen: string[][] = [];
    await killEverywhere('remove', async () => {
      const left = await names();
      if (left.length > 0) expect((await readdir(join(folder, 'checkpoint-7'))).sort()).toEqual(['content', 'more']);
      seen.push(left);
    });
    expect(seen[0]).toEqual(['checkpoint-7']);
    expect(seen.at(-1)).toEqual([]);
  });
});
