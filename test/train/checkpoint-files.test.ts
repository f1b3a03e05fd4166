import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { readManifest, writeManifest } from '../../src/files/file-digests.js';
import { writeSafetensors } from '../../src/formats/safetensors.js';
import {
  isCheckpoint,
  listCheckpoints,
  OtherRunError,
  readCheckpoint,
  readCheckpointParameters,
  requireCheckpointOf,
  savedFingerprints,
  writeCheckpoint,
} from '../../src/train/checkpoint.js';
import { removeCheckpointFolder, tidyCheckpointFolders } from '../../src/train/checkpoint-folder.js';
import { CheckpointManager } from '../../src/train/checkpoint-manager.js';
import type { RunState } from '../../src/train/checkpoint-state.js';
import { parseSftConfig } from '../../src/train/sft-config.js';
import { reseal } from './reseal.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'checkpoint-files-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const tensors = {
  parameters: Float32Array.of(1, 2, 3),
  optimizer: { m: Float32Array.of(4, 5, 6), v: Float32Array.of(7, 8, 9), steps: Float32Array.of(1) },
};
const stateOf = (step: number, more: Partial<RunState> = {}): RunState => ({
  ...{ config: parseSftConfig({ outputDir: root }), settings: {}, dataset: { length: 1, digests: ['a'] } as never },
  parameters: [{ name: 'p', shape: [3, 1] }],
  ...{ globalStep: step, totalSteps: 9, epoch: step, logHistory: [] },
  metrics: { totalLoss: 1, totalSteps: 0, lossSinceLog: 0, stepsSinceLog: 0, skippedSteps: 0 } as never,
  ...more,
});
const write = (step: number, more: Partial<RunState> = {}) => writeCheckpoint(root, stateOf(step, more), tensors);
const reading = (path: string) => readCheckpoint(path, stateOf(0));
/** Changes a checkpoint so that its digests fit. */
async function change(path: string, file: string, content: string | Uint8Array): Promise<string> {
  await writeFile(join(path, file), content);
  await reseal(path);
  return path;
}
async function changeState(path: string, changes: object): Promise<string> {
  const json = JSON.parse(await readFile(join(path, 'trainer-state.json'), 'utf8'));
  return change(path, 'trainer-state.json', JSON.stringify({ ...json, ...changes }));
}
async function writeTensors(path: string, arrays: Record<string, Float32Array | Uint8Array>): Promise<string> {
  const list = Object.entries(arrays).map(([name, data]) => ({
    ...{ name, shape: [data.length], data },
    dtype: data instanceof Float32Array ? ('F32' as const) : ('U8' as const),
  }));
  await writeSafetensors(join(path, 'training-state.safetensors'), list);
  await reseal(path);
  return path;
}

describe('a checkpoint', () => {
  it('gives back what was written', async () => {
    const path = await write(4);
    expect((await readdir(path)).sort()).toEqual([
      'checkpoint.sha256',
      'trainer-state.json',
      'training-state.safetensors',
    ]);
    const read = await reading(path);
    expect(read.tensors).toEqual(tensors);
    expect([read.state.globalStep, read.warnings]).toEqual([4, []]);
    expect(await savedFingerprints(path)).toMatchObject({ dataset: { length: 1 } });
    expect(await savedFingerprints(join(root, 'nowhere'))).toEqual({});
    const judged = { run: stateOf(0), step: 4, value: 1 };
    expect(await readCheckpointParameters(path, 3, judged)).toEqual({ parameters: tensors.parameters, warnings: [] });
  });

  it('is found by its name and its files', async () => {
    await write(12);
    await write(2);
    for (const name of ['checkpoint-', 'checkpoint-7', 'my-checkpoint-1', 'checkpoint-3.tmp'])
      await mkdir(join(root, name));
    await writeFile(join(root, 'checkpoint-7', 'trainer-state.json'), '');
    await mkdir(join(root, 'checkpoint-7', 'training-state.safetensors'));
    expect(await listCheckpoints(root)).toEqual([
      { path: join(root, 'checkpoint-2'), step: 2 },
      { path: join(root, 'checkpoint-12'), step: 12 },
    ]);
    expect(await listCheckpoints(join(root, 'nowhere'))).toEqual([]);
    expect([await isCheckpoint(join(root, 'checkpoint-2')), await isCheckpoint(join(root, 'checkpoint-7'))]).toEqual([
      true,
      false,
    ]);
  });

  it('of an adapter that cannot be written leaves nothing', async () => {
    const failing = writeCheckpoint(root, stateOf(4), tensors, () => Promise.reject(new Error('no adapter')));
    await expect(failing).rejects.toMatchObject({
      message: expect.stringContaining(`cannot write ${join(root, 'checkpoint-4')}: no adapter`),
      hint: 'Check the free space and the rights of `outputDir`. Earlier checkpoints are untouched.',
      details: { path: join(root, 'checkpoint-4'), step: 4 },
      cause: expect.any(Error),
    });
    expect(await readdir(root)).toEqual([]);
  });
});

describe('a checkpoint is refused, with what to do,', () => {
  const cases: [string, (path: string) => Promise<string>, RegExp, RegExp][] = [
    [
      'if it is none',
      async () => join(root, 'checkpoint-9'),
      /checkpoint-9 is no checkpoint: the folder does not exist or cannot be read\n/,
      /Expected a folder checkpoint-N of `outputDir`/,
    ],
    [
      'if it is a file',
      async (path) => join(path, 'trainer-state.json'),
      /trainer-state\.json is no checkpoint: it is a file, not a folder\n/,
      /Expected a folder checkpoint-N of `outputDir`/,
    ],
    [
      'if it is empty',
      async () => (await mkdir(join(root, 'empty'))) ?? join(root, 'empty'),
      /empty is no checkpoint: the folder is empty\n/,
      /Expected a folder checkpoint-N of `outputDir`/,
    ],
    [
      'if it is of something else',
      async () => {
        await mkdir(join(root, 'other'));
        await writeFile(join(root, 'other', 'adapter_config.json'), '{}');
        return join(root, 'other');
      },
      /other is no checkpoint: the folder holds an adapter .*, and no trainer-state\.json\n/,
      /Expected a folder checkpoint-N of `outputDir`/,
    ],
    [
      'of another format',
      (path) => changeState(path, { formatVersion: 4 }),
      /expected format version 2 or 3, found 4/,
      /Another version of this package/,
    ],
    [
      'of no format',
      (path) => change(path, 'trainer-state.json', 'null'),
      /expected format version 2 or 3, found nothing/,
      /Another version/,
    ],
    [
      'of the older format with digests',
      (path) => changeState(path, { formatVersion: 2 }),
      /trainer-state\.json is damaged: format version 2 with `digests` "checkpoint\.sha256"/,
      /another checkpoint/,
    ],
    [
      'of the older format with other digests',
      (path) => changeState(path, { formatVersion: 2, digests: 'a' }),
      /format version 2 with `digests` "a"/,
      /another/,
    ],
    [
      'that names no digests',
      (path) => changeState(path, { digests: undefined }),
      /format version 3 with `digests` nothing/,
      /another checkpoint/,
    ],
    [
      'whose digests are lost',
      async (path) => {
        await rm(join(path, 'checkpoint.sha256'));
        return path;
      },
      /is not whole: checkpoint\.sha256 is missing/,
      /Copy the folder with all of its files/,
    ],
    [
      'whose state is damaged',
      (path) => changeState(path, { epoch: 'x', globalStep: -1 }),
      /is damaged:\n {2}- globalStep: .*\n {2}- epoch: /,
      /Resume from another checkpoint\./,
    ],
    [
      'beyond its end',
      (path) => changeState(path, { globalStep: 10 }),
      /globalStep: beyond totalSteps/,
      /Resume from another/,
    ],
    [
      'of another run',
      (path) => changeState(path, { settings: { 'model.a': 1 } }),
      /belongs to another run:\n {2}- `model\.a` was 1, now not set/,
      /`model\.a`: part of every step so far/,
    ],
    [
      'with other parameters',
      (path) => writeTensors(path, { parameters: Float32Array.of(1) }),
      /expected 3 parameters, found 1/,
      /^$/,
    ],
    [
      'with parameters that are not finite',
      (path) => writeTensors(path, { parameters: Float32Array.of(1, Number.NaN, 3) }),
      /parameter 1 is NaN, which is not finite/,
      /The training had diverged/,
    ],
    [
      'with parameters in bytes',
      (path) => writeTensors(path, { parameters: Uint8Array.of(1, 2, 3) }),
      /expected the parameters in F32 and the optimizer's arrays in F32 or U8/,
      /not written by this package/,
    ],
    [
      'with arrays of others',
      (path) => writeTensors(path, { parameters: tensors.parameters, other: Float32Array.of(1) }),
      /expected the parameters in F32/,
      /damaged/,
    ],
    [
      'with an array without a name',
      (path) => writeTensors(path, { parameters: tensors.parameters, 'optimizer.': Float32Array.of(1) }),
      /expected the parameters in F32/,
      /damaged/,
    ],
    [
      'with a name that is none',
      (path) => writeTensors(path, { parameters: tensors.parameters, 'optimizer.1m': Float32Array.of(1) }),
      /expected the parameters in F32/,
      /damaged/,
    ],
    [
      'with a name that leads on',
      (path) => writeTensors(path, { parameters: tensors.parameters, 'optimizer.m.x': Float32Array.of(1) }),
      /expected the parameters in F32/,
      /damaged/,
    ],
    [
      'whose list leaves a file out',
      async (path) => {
        const manifest = new Map(await readManifest(path));
        const digest = manifest.get('trainer-state.json')!;
        await writeManifest(path, new Map([['README.md', digest]]));
        return path;
      },
      /does not name trainer-state\.json and training-state\.safetensors/,
      /takes the newest that is sound/,
    ],
    [
      'that was changed',
      async (path) => {
        await writeFile(join(path, 'training-state.safetensors'), 'x');
        return path;
      },
      /training-state\.safetensors has the SHA-256/,
      /somebody has changed it since\. Resume from another checkpoint: `resumeFromCheckpoint: true` takes the newest that is sound\.$/,
    ],
  ];
  it.each(cases)('%s', async (_, spoil, message, hint) => {
    const path = await spoil(await write(4));
    const error = (await reading(path).catch((reason: unknown) => reason)) as CheckpointError;
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(message);
    expect(error.hint ?? '').toMatch(hint);
    expect(error.details.path).toContain('checkpoint-');
    expect(error instanceof OtherRunError).toBe(/another run/.test(error.message));
  });

  it('unless only notes in it were changed: these are warned of', async () => {
    const path = await writeCheckpoint(root, stateOf(4), tensors, (folder) =>
      writeFile(join(folder, 'README.md'), 'a'),
    );
    await writeFile(join(path, 'README.md'), 'b');
    expect((await reading(path)).warnings).toEqual([
      expect.stringMatching(/README\.md has the .*; nothing is read from it here$/),
    ]);
  });

  it('but of the older format, which knows no digests, is warned of', async () => {
    const path = await changeState(await write(4), { formatVersion: 2, digests: undefined });
    await rm(join(path, 'checkpoint.sha256'));
    expect((await reading(path)).warnings).toEqual([
      `${path} was written by an earlier version, without digests: whether it is damaged is not known`,
    ]);
  });
});

describe('the checkpoint of an evaluated step', () => {
  const best = (value: number, step = 4) => ({
    best: { metric: 'evalLoss', greaterIsBetter: false, withoutGain: 0, best: { step, value } },
  });

  it('is that step’s, of that evaluation and of that run', async () => {
    const check = (path: string, step = 4, run = stateOf(0)) => requireCheckpointOf(path, { run, step, value: 0.5 });
    const path = await write(4, best(0.5));
    await check(path);
    await check(await write(5, best(0.7, 4)), 5);
    const fault = (why: string) => `is not the checkpoint of step 4 that was evaluated: ${why}`;
    await expect(check(await write(6))).rejects.toMatchObject({
      message: expect.stringContaining(fault('it is of step 6')),
      hint: 'Another run has written there, or somebody has renamed or copied folders.',
      details: { path: join(root, 'checkpoint-6'), step: 4 },
    });
    await expect(check(await write(4, best(0.7)))).rejects.toThrow(fault('its evaluation gave 0.7, expected 0.5'));
    const other = stateOf(0, { settings: { 'model.a': 1 } });
    await expect(check(await write(4), 4, other)).rejects.toThrow(
      fault('it belongs to another run: `model.a` was not set'),
    );
  });
});

describe('the folders of checkpoints', () => {
  it('are removed whole; none is no error', async () => {
    const path = await write(4);
    await removeCheckpointFolder(path);
    await removeCheckpointFolder(path);
    expect(await readdir(root)).toEqual([]);
    await expect(removeCheckpointFolder(join(root, 'a\0b'))).rejects.toThrow();
  });

  it('are put in order after a process that died: the old name comes back, halves go', async () => {
    const path = await write(4);
    const mark = '1-00000000';
    await rename(path, join(root, `.checkpoint-4.replaced-${mark}.tmp`));
    await mkdir(join(root, `.checkpoint-8.${mark}.tmp`));
    await mkdir(join(root, `.checkpoint-6.removed-${mark}.tmp`));
    await tidyCheckpointFolders(root);
    expect(await readdir(root)).toEqual(['checkpoint-4']);
    // The new one was whole when the old one made way.
    await rename(path, join(root, `.checkpoint-4.${mark}.tmp`));
    await mkdir(join(root, `.checkpoint-4.replaced-${mark}.tmp`));
    await tidyCheckpointFolders(root, true);
    expect(await readdir(root)).toEqual(['checkpoint-4']);
    expect(await isCheckpoint(path)).toBe(true);
    await tidyCheckpointFolders(join(root, 'nowhere'));
  });
});

describe('the checkpoints of a run', () => {
  const manager = (config = {}) =>
    new CheckpointManager({
      ...stateOf(0),
      config: parseSftConfig({ outputDir: root, saveStrategy: 'steps', ...config }),
    } as never);
  const progress = (step: number) => {
    const { globalStep, totalSteps, epoch, metrics, logHistory } = stateOf(step);
    return { globalStep, totalSteps, epoch, metrics, logHistory };
  };

  it('are opened by name or as the newest that can be read', async () => {
    await expect(manager().open(true)).rejects.toMatchObject({
      message: expect.stringContaining(`\`resumeFromCheckpoint: true\`, but ${root} holds no checkpoint`),
      hint: 'Start without it, or give the path of a checkpoint folder.',
      details: { outputDir: root },
    });
    const first = manager();
    for (const step of [2, 4, 6]) await first.save(progress(step), tensors);
    expect([first.latest, first.paths]).toEqual([
      { path: join(root, 'checkpoint-6'), step: 6 },
      [2, 4, 6].map((step) => join(root, `checkpoint-${step}`)),
    ]);
    const again = manager();
    expect((await again.open(join(root, 'checkpoint-4'))).damaged).toEqual([]);
    // Later ones are not this run's own.
    expect([again.latest?.step, again.paths]).toEqual([4, [2, 4].map((step) => join(root, `checkpoint-${step}`))]);
    await writeFile(join(root, 'checkpoint-6', 'trainer-state.json'), '{}');
    const newest = await manager().open(true);
    expect([newest.state.globalStep, newest.damaged]).toEqual([4, [expect.stringContaining('checkpoint-6')]]);
  });

  it('that somebody has renamed are opened by their path alone', async () => {
    await manager().save(progress(2), tensors);
    await rename(join(root, 'checkpoint-2'), join(root, 'checkpoint-8'));
    const path = join(root, 'checkpoint-8');
    await expect(manager().open(true)).rejects.toMatchObject({
      message: expect.stringContaining(`${path} holds step 2: somebody has renamed it`),
      hint: 'Name it checkpoint-2 again, or give the path of the checkpoint to go on from.',
      details: { path, step: 2 },
    });
    expect((await manager().open(path)).state.globalStep).toBe(2);
  });

  it('of an earlier run are said to a new one that saves', async () => {
    expect(await manager().warnOfOthers()).toEqual([]);
    await manager().save(progress(2), tensors);
    expect(await manager().warnOfOthers()).toEqual([
      `${root} holds checkpoints of an earlier run, up to step 2: \`resumeFromCheckpoint: true\` would take the newest; ` +
        'remove them or use another folder',
    ]);
    expect(await manager({ saveStrategy: 'no' }).warnOfOthers()).toEqual([]);
  });

  it('beyond the limit are removed, the oldest first, but neither the newest nor those of others', async () => {
    await write(1);
    const run = manager({ saveTotalLimit: 2 });
    for (const step of [4, 2, 6]) await run.save(progress(step), tensors);
    expect(run.paths).toEqual([4, 6].map((step) => join(root, `checkpoint-${step}`)));
    const { removed, notRemoved } = await run.save(progress(8), tensors);
    expect([removed, notRemoved]).toEqual([[join(root, 'checkpoint-4')], undefined]);
    expect(await listCheckpoints(root)).toHaveLength(3);
    const again = await run.save(progress(8), tensors);
    expect([again.removed, run.paths.length]).toEqual([[], 2]);
    expect((await manager().save(progress(9), tensors)).removed).toEqual([]);
  });

  it('whose best cannot be found or written say so', async () => {
    const run = manager();
    await expect(run.readBest({ metric: 'evalLoss', value: 1, step: 3, checkpoint: undefined }, 3)).rejects.toThrow(
      'the parameters of step 3 were not saved',
    );
    expect(run.unsavedBest).toBeUndefined();
    expect(await run.saveBest({ metric: 'evalLoss', greaterIsBetter: false, withoutGain: 0 })).toBeUndefined();
  });

  it('whose best could not be written are tried again, and read from memory until then', async () => {
    const config = { evalStrategy: 'steps', loadBestModelAtEnd: true, outputDir: join(root, 'file', 'run') };
    await writeFile(join(root, 'file'), '');
    const run = manager(config);
    const best = { metric: 'evalLoss', greaterIsBetter: false, withoutGain: 0, best: { step: 4, value: 1 } };
    const state = { ...progress(4), best };
    await expect(run.save(state, tensors)).rejects.toThrow(CheckpointError);
    expect([run.unsavedBest, run.latest, run.paths]).toEqual([4, undefined, []]);
    expect(await run.saveBest(best)).toBeUndefined();
    const asked = { metric: 'evalLoss', value: 1, step: 4, checkpoint: undefined };
    expect(await run.readBest(asked, 3)).toEqual({ parameters: tensors.parameters, fault: 'it could not be saved' });
    await expect(run.readBest({ ...asked, step: 5 }, 3)).rejects.toThrow('the parameters of step 5 were not saved');
    await rm(join(root, 'file'));
    expect(await run.saveBest({ ...best, best: { step: 5, value: 1 } })).toBeUndefined();
    expect(await run.saveBest(best)).toEqual({ path: run.pathOf(4), step: 4, removed: [], notRemoved: undefined });
    expect([run.unsavedBest, run.latest, await isCheckpoint(run.pathOf(4))]).toEqual([
      undefined,
      { path: run.pathOf(4), step: 4 },
      true,
    ]);
    // The copy stays, for a disk may fail later.
    await rm(run.pathOf(4), { recursive: true });
    const lost = await run.readBest({ ...asked, checkpoint: run.pathOf(4) }, 3);
    expect([lost.parameters, lost.fault]).toEqual([tensors.parameters, expect.stringContaining('is no checkpoint')]);
  });
});
