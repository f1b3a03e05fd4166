import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { MersenneTwister } from '../../src/random.js';
import { writeCheckpoint } from '../../src/train/checkpoint.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { linearModel, linearTrainer } from './linear-model.js';
import { reseal } from './reseal.js';

/** What the disk makes of bytes that are written to a file of this name. */
const disk = vi.hoisted(() => ({ spoils: '' }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    // The last step before a file has its name.
    rename: async (from: string, to: string) => {
      if (disk.spoils !== '' && to.endsWith(disk.spoils)) {
        const bytes = await real.readFile(from);
        bytes[bytes.length - 3]! ^= 16;
        await real.writeFile(from, bytes);
      }
      return real.rename(from, to);
    },
  };
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-digests-'));
});
afterEach(() => {
  disk.spoils = '';
  return rm(folder, { recursive: true });
});

const saveAdapter = async (directory: string): Promise<void> => {
  await writeFile(join(directory, 'README.md'), '# An adapter\n');
  await writeFile(join(directory, 'adapter_config.json'), '{}');
};
const train = (outputDir: string, model = linearModel()) =>
  linearTrainer(model, { outputDir, saveSteps: 1, maxSteps: 4, optim: 'adamw_8bit' }, { saveAdapter });

async function resume(from: string | true, outputDir = folder) {
  const model = linearModel();
  const warnings: string[] = [];
  const run = train(outputDir, model).train({ resumeFromCheckpoint: from });
  for await (const event of run as AsyncIterable<TrainingEvent>) {
    if (event.type === 'warning') warnings.push(event.message);
  }
  return { values: model.values, warnings };
}

async function flip(path: string, bit: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  await writeFile(path, bytes);
}

describe('a bit that is turned over in a checkpoint', () => {
  it('never trains on silently, wherever it is', async () => {
    const whole = linearModel();
    await train(folder, whole).train();
    const source = join(folder, 'checkpoint-2');
    const names = (await readdir(source)).sort();
    expect(names).toEqual([
      'README.md',
      'adapter_config.json',
      'checkpoint.sha256',
      'trainer-state.json',
      'training-state.safetensors',
    ]);
    const random = new MersenneTwister(11);
    const counts = { refused: 0, warned: 0 };
    // `npm run crash:flips` does this with a real model, for loadAdapter and the best step too.
    for (let i = 0; i < 60; i++) {
      const name = names[i % names.length]!;
      const path = join(folder, 'flipped', 'checkpoint-2');
      await cp(source, path, { recursive: true });
      await flip(join(path, name), random.nextUint32() % (8 * (await readFile(join(path, name))).length));
      const outcome = await resume(path, join(folder, 'out')).catch((error: unknown) => error as Error);
      if (outcome instanceof Error) {
        expect(outcome).toBeInstanceOf(CheckpointError);
        expect(outcome.message).toContain(path);
        counts.refused++;
      } else {
        expect(outcome.values).toEqual(whole.values);
        expect(outcome.warnings).toEqual([
          expect.stringMatching(/README\.md has the SHA-256 .*nothing is read from it/),
        ]);
        counts.warned++;
      }
      for (const left of ['flipped', 'out']) await rm(join(folder, left), { recursive: true, force: true });
    }
    // Notes are for people: a change there, or in their digest, is no reason to lose steps.
    expect(counts).toEqual({ refused: 46, warned: 14 });
  });

  it('is passed over for the newest that is sound', async () => {
    const whole = linearModel();
    await train(folder, whole).train();
    await flip(join(folder, 'checkpoint-4', 'training-state.safetensors'), 4000);
    await flip(join(folder, 'checkpoint-3', 'adapter_config.json'), 3);
    const { values, warnings } = await resume(true);
    expect(values).toEqual(whole.values);
    expect(warnings).toEqual([
      expect.stringMatching(/^step 2: passed over .*checkpoint-4 is damaged: training-state\.safetensors has/),
      expect.stringMatching(/^step 2: passed over .*checkpoint-3 is damaged: adapter_config\.json has/),
    ]);
  });

  it('is no fault in files that somebody added, nor in those that somebody took off the list', async () => {
    await train(folder).train();
    const path = join(folder, 'checkpoint-3');
    await writeFile(join(path, 'notes.bin'), 'mine');
    const list = join(path, 'checkpoint.sha256');
    const lines = (await readFile(list, 'utf8')).split('\n').filter((line) => !line.endsWith('adapter_config.json'));
    await writeFile(list, lines.join('\n'));
    await writeFile(join(path, 'adapter_config.json'), '{"edited":true}');
    expect((await resume(path)).warnings).toEqual([]);
    // What every checkpoint has stays on it.
    await writeFile(list, lines.filter((line) => !line.includes('training-state')).join('\n'));
    await expect(resume(path)).rejects.toThrow(/checkpoint\.sha256 is damaged: it does not name training-state/);
  });
});

describe('a checkpoint without its list', () => {
  const edit = async (path: string, change: (text: string) => string) => {
    const file = join(path, 'trainer-state.json');
    await writeFile(file, change(await readFile(file, 'utf8')));
  };

  it('is refused, also under the number of the format that had none', async () => {
    await train(folder).train();
    const path = join(folder, 'checkpoint-3');
    await rename(join(path, 'checkpoint.sha256'), join(path, 'checkpoint.sha255'));
    await expect(resume(path)).rejects.toThrow(/is not whole: checkpoint\.sha256 is missing/);
    await edit(path, (text) => text.replace('"formatVersion": 3', '"formatVersion": 2'));
    await expect(resume(path)).rejects.toThrow(/damaged: format version 2 with `digests` "checkpoint\.sha256"/);
    await edit(path, (text) => text.replace('"formatVersion": 2', '"formatVersion": 7'));
    await expect(resume(path)).rejects.toThrow(/expected format version 2 or 3, found 7/);
  });

  it('that an earlier version wrote is taken, with a warning', async () => {
    const whole = linearModel();
    await train(folder, whole).train();
    const path = join(folder, 'checkpoint-3');
    await rm(join(path, 'checkpoint.sha256'));
    await edit(path, (text) =>
      text.replace(/"formatVersion": 3,\s+"digests": "checkpoint.sha256"/, '"formatVersion": 2'),
    );
    const { values, warnings } = await resume(path);
    expect(values).toEqual(whole.values);
    expect(warnings).toEqual([
      expect.stringMatching(/checkpoint-3 was written by an earlier version, without digests/),
    ]);
  });

  it('that lacks a file is refused by its name', async () => {
    await train(folder).train();
    const path = join(folder, 'checkpoint-3');
    await rm(join(path, 'adapter_config.json'));
    await expect(resume(path)).rejects.toThrow(/checkpoint-3 is damaged: adapter_config\.json is missing/);
    await reseal(path);
    await resume(path);
  });
});

describe('a disk that writes other bytes than it was given', () => {
  const state = { globalStep: 1, totalSteps: 2, epoch: 1, logHistory: [] } as never;
  const tensors = { parameters: Float32Array.of(1, 2, 3), optimizer: { steps: Float32Array.of(1) } };

  it.each(['training-state.safetensors', 'trainer-state.json', 'checkpoint.sha256'])(
    'costs the save, not what was there before: %s',
    async (name) => {
      const path = await writeCheckpoint(folder, state, tensors);
      const before = await readFile(join(path, 'training-state.safetensors'));
      disk.spoils = name;
      const other = { ...tensors, parameters: Float32Array.of(4, 5, 6) };
      await expect(writeCheckpoint(folder, state, other)).rejects.toThrow(
        /cannot write .*checkpoint-1: .*(not written faithfully|does not hold what was written)/,
      );
      expect(await readdir(folder)).toEqual(['checkpoint-1']);
      expect(await readFile(join(path, 'training-state.safetensors'))).toEqual(before);
    },
  );
});
