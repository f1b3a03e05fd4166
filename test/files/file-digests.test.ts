import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { temporaryName } from '../../src/files/atomic-file.js';
import {
  changedFiles,
  FileDigests,
  findFaults,
  forgetDigests,
  listFiles,
  MANIFEST_FILE,
  readManifest,
  requireUnchanged,
  writeManifest,
} from '../../src/files/file-digests.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-digests-'));
});
afterEach(() => rm(folder, { recursive: true }));

const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');
const odd = ['plain.txt', 'with space', 'back\\slash', 'line\nend', 'below/inner'];
async function fill(): Promise<void> {
  await mkdir(join(folder, 'below'));
  for (const name of odd) await writeFile(join(folder, name), name);
  await writeManifest(folder, new Map((await listFiles(folder)).map((name) => [name, sha256(name)])));
}

describe('the list of digests', () => {
  it('is one that sha256sum checks, whatever the names', async () => {
    await fill();
    expect(await listFiles(folder)).toEqual([...odd].sort());
    const said = execFileSync('sha256sum', ['-c', '--strict', MANIFEST_FILE], { cwd: folder, encoding: 'utf8' });
    expect(said.match(/OK$/gm)).toHaveLength(odd.length);
    expect([...(await readManifest(folder))!.keys()]).toEqual([...odd].sort());
    expect(await findFaults(folder, (await readManifest(folder))!, odd)).toEqual([]);
  });

  it('is refused, or finds a fault, for any bit that is turned over in it', async () => {
    await writeFile(join(folder, 'a.txt'), 'a');
    await writeFile(join(folder, 'c.txt'), 'c');
    await writeManifest(folder, new Map(['a.txt', 'c.txt'].map((name) => [name, sha256(name[0]!)])));
    const path = join(folder, MANIFEST_FILE);
    const whole = await readFile(path);
    let looked = 0;
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const bytes = Buffer.from(whole);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      await writeFile(path, bytes);
      const outcome = await readManifest(folder).then(
        async (manifest) => (await findFaults(folder, manifest!, manifest!.keys())).length,
        (error: unknown) => error,
      );
      if (outcome === 0) throw new Error(`bit ${bit} was not noticed`);
      if (typeof outcome !== 'number') expect(outcome).toBeInstanceOf(CheckpointError);
      looked++;
    }
    expect(looked).toBe(8 * 2 * (64 + 2 + 6));
  });

  it.each([
    ['a name that leads out of the folder', '../outside'],
    ['the path of a file', '/etc/hostname'],
    ['a step back on the way', 'below/../plain.txt'],
    ['no name', ''],
    ['a step to where it is', './plain.txt'],
    ['a part without a name', 'below//inner'],
    ['an end of a string', 'a\0b'],
  ])('may not hold %s', async (_, name) => {
    await writeFile(join(folder, MANIFEST_FILE), `${sha256('x')}  ${name}\n`);
    await expect(readManifest(folder)).rejects.toThrow(/checkpoint\.sha256 is damaged: line 1 is/);
  });

  it('may not name a file twice, nor end within a line', async () => {
    const line = `${sha256('x')}  a\n`;
    await writeFile(join(folder, MANIFEST_FILE), line + line);
    await expect(readManifest(folder)).rejects.toThrow('line 2');
    await writeFile(join(folder, MANIFEST_FILE), line.trimEnd());
    await expect(readManifest(folder)).rejects.toThrow('its last line is cut off');
    await writeFile(join(folder, MANIFEST_FILE), '');
    await expect(requireUnchanged(folder, ['a'])).rejects.toThrow('it is empty');
  });

  it('leaves out what is there only while somebody saves into the folder', async () => {
    const passing = [temporaryName(join(folder, 'a')), join(folder, '.ministral-tune-adapter.lock')];
    for (const path of [...passing, join(folder, 'a'), join(folder, '.hidden.tmp')]) await writeFile(path, 'x');
    expect(await listFiles(folder)).toEqual(['.hidden.tmp', 'a']);
  });

  it('keeps names with ends of lines of every kind', async () => {
    const names = ['a\rb', 'a\nb', 'a\\nb', '\ufeffa'];
    await writeManifest(folder, new Map(names.map((name) => [name, sha256(name)])));
    expect([...(await readManifest(folder))!.keys()]).toEqual(names);
    for (const line of [`\\${sha256('x')}  a\n`, `${sha256('x')}  a\\b\n`, `\\${sha256('x')}  a\\b\n`]) {
      await writeFile(join(folder, MANIFEST_FILE), line);
      await expect(readManifest(folder)).rejects.toThrow('line 1');
    }
  });

  it('that is not text is damaged, with what to do', async () => {
    const path = join(folder, MANIFEST_FILE);
    await writeFile(path, Buffer.concat([Buffer.from(`${sha256('x')}  `), Buffer.of(0xff, 0x0a)]));
    await expect(readManifest(folder)).rejects.toMatchObject({
      message: expect.stringContaining(`${path} is damaged: `),
      hint: 'The digests of the checkpoint are in it; without them the rest cannot be checked. Take another one.',
      details: { path },
      cause: expect.any(Error),
    });
    await rm(path);
    await mkdir(path);
    await expect(readManifest(folder)).rejects.toThrow('is damaged: a folder, not a file');
  });

  it('below a file there is none', async () => {
    await writeFile(join(folder, 'a'), '');
    expect(await readManifest(join(folder, 'a'))).toBeUndefined();
  });

  it('is no part of most folders', async () => {
    expect(await readManifest(folder)).toBeUndefined();
    expect(await readManifest(join(folder, 'missing'))).toBeUndefined();
    await requireUnchanged(folder, ['whatever']);
  });
});

describe('a file that was changed', () => {
  it('is named with both digests, and one that is missing too; those that are not listed are nobody’s business', async () => {
    await fill();
    await writeFile(join(folder, 'plain.txt'), 'other');
    await rm(join(folder, 'with space'));
    await writeFile(join(folder, 'new.txt'), 'new');
    const error = await requireUnchanged(folder, [...odd, 'new.txt']).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    const [was, is] = [sha256('plain.txt'), sha256('other')];
    expect((error as CheckpointError).message).toContain(
      `plain.txt has the SHA-256 ${is.slice(0, 16)}…, it was written with ${was.slice(0, 16)}…; with space is missing`,
    );
    expect((error as CheckpointError).details.files).toEqual([
      { name: 'plain.txt', expected: was, found: is },
      { name: 'with space', expected: sha256('with space'), found: undefined },
    ]);
    await requireUnchanged(folder, ['below/inner', 'new.txt']);
  });

  it('that cannot be read is named with the reason', async () => {
    await fill();
    await rm(join(folder, 'plain.txt'));
    await mkdir(join(folder, 'plain.txt'));
    await expect(requireUnchanged(folder, odd)).rejects.toThrow(
      /plain\.txt cannot be read: not a regular file[\s\S]*has changed it since\. Take another checkpoint\. Where the change/,
    );
  });

  it('may be one’s own, unless it is one that nobody may change', () => {
    const faults = ['a', 'b'].map((name) => ({ name, expected: 'x', found: undefined, text: `${name} is missing` }));
    const hint = (needed?: string[]) => changedFiles('/c', faults, 'Do this.', needed).hint;
    const plain = 'The disk, a copy or somebody has changed it since. Do this.';
    const own = `${plain} Where the change is your own, remove the line of that file from checkpoint.sha256.`;
    expect([hint(), hint(['c']), hint(['b']), hint(['a', 'b'])]).toEqual([own, own, plain, plain]);
    expect(changedFiles('/c', faults, 'Do this.').message).toContain('/c is damaged: a is missing; b is missing');
  });

  it('that is not listed leaves the list as it was written', async () => {
    await forgetDigests(folder, ['a']);
    expect(await listFiles(folder)).toEqual([]);
    await fill();
    const before = (await stat(join(folder, MANIFEST_FILE))).ino;
    await forgetDigests(folder, ['unknown']);
    expect((await stat(join(folder, MANIFEST_FILE))).ino).toBe(before);
  });

  it('is one’s own again when it leaves the list', async () => {
    await fill();
    await forgetDigests(folder, ['plain.txt', 'unknown']);
    await writeFile(join(folder, 'plain.txt'), 'other');
    await requireUnchanged(folder, odd);
    expect((await readManifest(folder))!.size).toBe(odd.length - 1);
  });
});

describe('FileDigests', () => {
  it('gives the same for a large file, on another thread, and leaves the event loop free meanwhile', async () => {
    const bytes = Buffer.alloc(24 << 20, 'checkpoint');
    const path = join(folder, 'large');
    await writeFile(path, bytes);
    const digests = new FileDigests();
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    try {
      expect(await digests.digest(path)).toBe(sha256(bytes));
      expect(turns).toBeGreaterThan(1);
      await expect(digests.digest(folder)).rejects.toThrow('not a regular file');
    } finally {
      clearInterval(timer);
      await digests.close();
    }
  });
});
