import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceTogether, sweepTemporaries, temporaryName, writeFileAtomically } from '../../src/files/atomic-file.js';
import { onLinux } from '../where.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'temporaries-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** The name that another process gives: its number and start, here or in another container. */
function nameOf(pid: number, started: string, space?: string): string {
  const [mark] = /\d+-[0-9a-z]+-[0-9a-f]{8}-[0-9a-f]{8}/.exec(temporaryName(join(folder, 'model'))) as [string];
  const [, , ownSpace, random] = mark.split('-');
  return `.model.${[pid, started, space ?? ownSpace, random].join('-')}.tmp`;
}

describe('temporary files', () => {
  onLinux.it('go with the next write into their folder, if their process is dead', async () => {
    const kept = [
      basename(temporaryName(join(folder, 'model'))),
      nameOf(4_000_000, '1z', '01234567'),
      nameOf(process.pid, '1z', '01234567'),
      // Of an earlier version, or of other programs.
      '.model.4000000-01234567.tmp',
      'model.tmp',
    ];
    for (const name of [...kept, nameOf(4_000_000, '1z'), nameOf(process.pid, '1z')])
      await writeFile(join(folder, name), '');
    await writeFileAtomically(join(folder, 'other'), 'content');
    expect((await readdir(folder)).sort()).toEqual([...kept, 'other'].sort());
  });

  it('of this process stay', async () => {
    await writeFileAtomically(join(folder, 'file'), async (file) => {
      await sweepTemporaries(folder);
      await file.writeFile('content');
    });
    expect(await readdir(folder)).toEqual(['file']);
    expect(await readFile(join(folder, 'file'), 'utf8')).toBe('content');
  });
});

describe('replaceTogether', () => {
  const put = (text: string) => (path: string) => writeFileAtomically(path, text);
  const fail = async (): Promise<void> => {
    throw new Error('full');
  };

  it('replaces all, or leaves what was there when one cannot be written', async () => {
    await replaceTogether(
      folder,
      new Map([
        ['a', put('1')],
        ['b', put('1')],
      ]),
    );
    await expect(
      replaceTogether(
        folder,
        new Map([
          ['a', put('2')],
          ['b', fail],
        ]),
      ),
    ).rejects.toThrow('full');
    expect((await readdir(folder)).sort()).toEqual(['a', 'b']);
    expect(await readFile(join(folder, 'a'), 'utf8')).toBe('1');
    await replaceTogether(
      folder,
      new Map([
        ['a', put('3')],
        ['b', put('3')],
      ]),
    );
    expect((await readdir(folder)).sort()).toEqual(['a', 'b']);
    expect(await readFile(join(folder, 'b'), 'utf8')).toBe('3');
  });
});
