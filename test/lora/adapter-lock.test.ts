import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { replaceTogether, temporaryName } from '../../src/files/atomic-file.js';
import { ownIdentity } from '../../src/files/process-identity.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { ADAPTER_LOCK, readTogether, whileUploading, whileWriting } from '../../src/lora/adapter-lock.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { lockTimes } from '../../src/ownership/owner-lock.js';
import { fakeModel } from './fake-engine.js';

const times = { ...lockTimes };
let folder: string;
let directory: string;
beforeEach(async () => {
  Object.assign(lockTimes, { beatMs: 20, staleMs: 300, pollMs: 2 });
  folder = await mkdtemp(join(tmpdir(), 'adapter-lock-'));
  directory = join(folder, 'adapter');
});
afterEach(async () => {
  Object.assign(lockTimes, times);
  await rm(folder, { recursive: true });
});

/** Its values are all its alpha, in thousandths. */
function adapterOf(alpha: number): LoraAdapter {
  const model = fakeModel();
  const adapter = applyLora(model, { r: 2, alpha });
  model.engine.writeParameters(adapter.parameters, new Float32Array(adapter.parameters.size).fill(alpha / 1000));
  return adapter;
}

async function alphaAndValue(): Promise<[number, number]> {
  const adapter = await loadAdapter(directory, fakeModel(), { onWarning: () => undefined });
  const [values] = (await adapter.readValues()).values();
  return [adapter.config.alpha, Math.round(values![0]! * 1000)];
}

describe('two saves into one folder', () => {
  it('never leave the configuration of one beside the weights of the other, nor show them so', async () => {
    const adapters = [adapterOf(8), adapterOf(16), adapterOf(24)];
    await saveAdapter(adapters[0]!, directory);
    let isDone = false;
    const saving = Promise.all(
      adapters.map(async (adapter) => {
        for (let i = 0; i < 6; i++) await saveAdapter(adapter, directory, { onWarning: () => undefined });
      }),
    ).finally(() => {
      isDone = true;
    });
    let looks = 0;
    while (!isDone) {
      const found = await alphaAndValue().catch((error: unknown) => error);
      if (Array.isArray(found)) {
        looks++;
        expect(found[1]).toBe(found[0]);
      } else expect(found).toBeInstanceOf(CheckpointError);
    }
    await saving;
    expect(looks).toBeGreaterThan(0);
    const [alpha, value] = await alphaAndValue();
    expect(value).toBe(alpha);
    expect((await readdir(directory)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  });

  it('wait for one in another container, and say so', async () => {
    await mkdir(directory);
    const owner = { ...ownIdentity(), token: 'theirs', what: 'save of an adapter', space: 'boot/pid:[1]/' };
    await writeFile(join(directory, ADAPTER_LOCK), `${JSON.stringify(owner)}\n0\n`);
    const left = basename(temporaryName(join(directory, 'adapter_model.safetensors'))).replace(
      /-[0-9a-f]{8}-/,
      '-01234567-',
    );
    await writeFile(join(directory, left), 'half');
    const warnings: string[] = [];
    await saveAdapter(adapterOf(8), directory, { onWarning: (line) => warnings.push(line) });
    expect(warnings.filter((line) => line.includes('is in use by a save of an adapter'))).toHaveLength(1);
    // It gave no sign of life, so what it had half-written goes with it.
    expect((await readdir(directory)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  });

  it.each([
    ['is there', true],
    ['has ended', false],
  ])('leave what another one saved that took the first for dead: it %s', async (_, isThere) => {
    // No sign of life while it is suspended.
    lockTimes.beatMs = 3_600_000;
    await mkdir(directory);
    const files = new Map(
      ['one', 'two'].map((name) => [name, (path: string) => writeFile(path, 'of the first')] as const),
    );
    const saving = whileWriting(directory, undefined, async (requireOwned) => {
      const lock = JSON.parse((await readFile(join(directory, ADAPTER_LOCK), 'utf8')).split('\n')[0]!);
      files.set('two', async (path) => {
        await writeFile(path, 'of the first');
        // Meanwhile it is suspended: the other one takes it away, saves, and removes what lies about.
        const theirs = { ...lock, token: 'theirs', space: 'boot/pid:[1]/' };
        await writeFile(join(directory, ADAPTER_LOCK), `${JSON.stringify(theirs)}\n0\n`);
        if (!isThere) {
          lockTimes.staleMs = 0;
          await delay(5);
          await rm(join(directory, ADAPTER_LOCK));
        }
        for (const name of await readdir(directory)) if (name.endsWith('.tmp')) await rm(join(directory, name));
        for (const name of files.keys()) await writeFile(join(directory, name), 'of the second');
      });
      await replaceTogether(directory, files, requireOwned);
    });
    const error = await saving.catch((reason) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(/is no longer this save's: .*Nothing of this save was put there/);
    for (const name of files.keys()) expect(await readFile(join(directory, name), 'utf8')).toBe('of the second');
  });

  it('say where nothing can be written', async () => {
    await mkdir(join(directory, ADAPTER_LOCK), { recursive: true });
    await expect(saveAdapter(adapterOf(8), directory)).rejects.toThrow(/cannot write into .*adapter/);
  });
});

describe('readTogether', () => {
  it('reads again what was replaced meanwhile, and gives up on what never rests', async () => {
    await saveAdapter(adapterOf(8), directory);
    const config = join(directory, 'adapter_config.json');
    const replace = async (): Promise<void> => {
      await writeFile(join(folder, 'new'), await readFile(config));
      await rename(join(folder, 'new'), config);
    };
    let reads = 0;
    const once = readTogether(directory, async () => {
      if (++reads === 1) await replace();
      return reads;
    });
    expect(await once).toBe(2);
    await expect(readTogether(directory, replace)).rejects.toThrow('its files change while they are read');
    // What is wrong with files that rest is told at once.
    reads = 0;
    const wrong = readTogether(directory, async () => {
      reads++;
      throw new Error('wrong');
    });
    await expect(wrong).rejects.toThrow('wrong');
    expect(reads).toBe(1);
  });
});

describe('an upload', () => {
  it('keeps others from writing meanwhile, where there is an adapter', async () => {
    await saveAdapter(adapterOf(8), directory);
    const order: string[] = [];
    let saving: Promise<void> | undefined;
    await whileUploading(directory, {}, async () => {
      saving = whileWriting(
        directory,
        () => undefined,
        async () => void order.push('save'),
      );
      await new Promise((resolve) => setTimeout(resolve, 30));
      order.push('upload');
    });
    await saving;
    expect(order).toEqual(['upload', 'save']);
    const missing = join(folder, 'missing');
    expect(await whileUploading(missing, {}, async () => 'told elsewhere')).toBe('told elsewhere');
    expect(await readdir(folder)).toEqual(['adapter']);
  });
});
