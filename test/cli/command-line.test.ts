import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { doctorChecks } from '../../src/cli/doctor-checks.js';
import { formatChecks } from '../../src/cli/doctor-command.js';
import type { GpuAdapter } from '../../src/engine/webgpu/gpu-types.js';
import { MATRIX_FEATURES } from '../../src/engine/webgpu/matrix-unit.js';
import { EngineError } from '../../src/errors.js';
// Loaded before the tests, as it takes a while.
import '../../src/cli/plan-command.js';
import { runCommand } from '../../src/cli/run-command.js';
import type { FoundMachine } from '../../src/engine/cuda/inspect-machine.js';
import { displayWidth } from '../../src/messages/display-width.js';

const folder = await mkdtemp(join(tmpdir(), 'command-line-'));
afterAll(() => rm(folder, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const texts = { out: '', err: '' };
  const code = await runCommand(args, {
    print: (text) => {
      texts.out += text;
    },
    printError: (text) => {
      texts.err += text;
    },
  });
  return { code, ...texts };
}

const CARD = { ordinal: 0, name: 'NVIDIA H200\u001b[2J', totalBytes: 140 * 2 ** 30, capability: 90 };
const library = (name: 'driver' | 'nvml' | 'nvrtc' | 'cublasLt', path?: string) => {
  return { name, fileNames: [`lib${name}.so.1`], path, cure: `install ${name}`, folders: path ? [] : ['/usr/lib64'] };
};
const machine = (found: Partial<FoundMachine>) => async (): Promise<FoundMachine> => {
  const libraries = (['driver', 'nvml', 'nvrtc', 'cublasLt'] as const).map((name) => library(name, `/lib/${name}`));
  return { libraries, driverVersion: 13000, cards: [CARD], fault: undefined, ...found };
};
const EMPTY = { HF_HOME: folder, KAGGLEHUB_CACHE: folder, MINISTRAL_TUNE_CACHE: folder };

describe('the command line', () => {
  it('tells its commands and their options', async () => {
    expect(await run()).toMatchObject({ code: 0, out: expect.stringContaining('doctor') });
    for (const command of ['plan', 'doctor']) {
      const { code, out } = await run(command, '--help');
      expect(code).toBe(0);
      expect(out).toContain(`ministral-tune ${command}`);
      expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
    }
  });

  it('tells the version of the package', async () => {
    expect(await run('--version')).toEqual({ code: 0, out: manifest.version, err: '' });
  });

  it('answers what it does not understand with 2', async () => {
    expect(await run('plam')).toMatchObject({ code: 2, err: expect.stringContaining('did you mean plan') });
    expect(await run('plan', '--modell', '3B')).toMatchObject({
      code: 2,
      err: expect.stringContaining('Did you mean --model?'),
    });
    expect((await run('plan', '--model')).code).toBe(2);
    expect((await run('doctor', 'now')).code).toBe(2);
    expect(await run('plan', '--model', '3B')).toMatchObject({
      code: 2,
      err: expect.stringContaining('--data is missing'),
    });
    const number = await run('plan', '--model', '3B', '--data', folder, '--rank', 'many');
    expect(number).toMatchObject({ code: 2, err: expect.stringContaining('--rank: expected a number above 0') });
    const metal = await run('plan', '--model', '3B', '--data', folder, '--engine', 'metal');
    expect(metal).toMatchObject({ code: 2, err: expect.stringContaining('expected cuda, webgpu, got "metal"') });
    const machine = await run('plan', '--model', '3B', '--data', folder, '--machines', 'mac16,m3');
    expect(machine).toMatchObject({
      code: 1,
      err: expect.stringContaining('expected a kind and its gigabytes, got "m3"'),
    });
    const prompts = await run('plan', '--model', '3B', '--data', folder, '--prompt', 'a', '--prompt-file', 'b');
    expect(prompts).toMatchObject({ code: 2, err: expect.stringContaining('one of them is enough') });
    expect(await run('constructor')).toMatchObject({ code: 2 });
  });

  it('answers a failure with 1 and the message of the error', async () => {
    const config = join(folder, 'config.json');
    await writeFile(config, '[1]');
    const list = await run('plan', '--model', '3B', '--data', folder, '--config', config);
    expect(list).toMatchObject({ code: 1, err: expect.stringContaining('expected an object of options') });
  });

  it('gives the checks of a machine as JSON', async () => {
    const { code, out } = await run('doctor', '--json');
    expect([0, 1]).toContain(code);
    expect((JSON.parse(out) as { name: string }[]).map(({ name }) => name)).toContain('Node');
  });
});

const noAdapter = async (): Promise<GpuAdapter> => {
  throw new EngineError('the package webgpu is not installed');
};

describe('doctor', () => {
  it('names what a whole machine has, and never a token', async () => {
    const env = { ...EMPTY, HF_TOKEN: 'hf_secretsecretsecret', KAGGLE_API_TOKEN: 'KGAT_secretsecretsecret' };
    const checks = await doctorChecks({ env, home: folder, machine: machine({}) });
    const text = formatChecks(checks);
    expect(text).toMatch(/compute capability 9\.0:\s+bf16 and e4m3 products/);
    expect(text).toContain('found: HF_TOKEN');
    expect(text).toContain('found: KAGGLE_API_TOKEN');
    expect(text).toContain('The cuda engine can run here.');
    expect(text).not.toContain('secret');
    expect(text).not.toContain('\u001b');
  });

  it('says how to get what is missing, and that the cpu engine does without', async () => {
    const libraries = [library('driver'), library('nvml'), library('nvrtc', '/lib/n'), library('cublasLt')];
    const bare = machine({ libraries, cards: [], driverVersion: undefined });
    const checks = await doctorChecks({ env: EMPTY, home: folder, machine: bare, adapter: noAdapter });
    expect(checks.filter(({ state }) => state === 'missing')).toEqual([]);
    const text = formatChecks(checks);
    expect(text).toContain('libdriver.so.1 not found');
    expect(text).toContain('→ install cublasLt');
    expect(text).toContain('The cuda engine cannot run here; the cpu engine can. Nothing is broken.');
    expect(text.split('/usr/lib64').length).toBe(2);
  });

  it('says whether the webgpu engine finds a GPU', async () => {
    const bare = machine({ cards: [], driverVersion: undefined });
    const adapter =
      (info: object, ...features: string[]) =>
      async () =>
        ({ info, features: new Set(features), limits: {} }) as object as GpuAdapter;
    const check = async (find: () => Promise<GpuAdapter>) => {
      const checks = await doctorChecks({ env: EMPTY, home: folder, machine: bare, adapter: find });
      return { text: formatChecks(checks), ...checks.find(({ name }) => name === 'webgpu engine')! };
    };
    const found = await check(adapter({ description: 'Metal driver', device: 'Apple M3\u001b[2J' }));
    expect(found).toMatchObject({ state: 'ok', found: expect.stringMatching(/^Metal driver, Apple M3/) });
    expect(found.found).toContain('; no subgroup matrices: no shader-f16; up to ');
    const config = { M: 16, N: 16, K: 16, componentType: 'f16', resultComponentType: 'f32' };
    const tensorCores = adapter({ description: 'a card', subgroupMatrixConfigs: [config] }, ...MATRIX_FEATURES);
    expect((await check(tensorCores)).found).toMatch(/^a card; subgroup matrices 16x16x16 \(f16, split\); up to /);
    expect(found.text).toContain('The cuda engine cannot run here; the webgpu engine can.');
    expect(found.text).not.toContain('\u001b');
    expect(found.found).toMatch(/; up to [\d.]+ GiB \(two thirds of the system's memory\)$/);
    const unknown = await check(adapter({ vendor: 'intel', description: 'Intel(R) Arc(TM) A770 Graphics' }));
    expect(unknown).toMatchObject({ state: 'ok', found: expect.stringMatching(/a guess.*set memoryBudget/) });
    const software = await check(adapter({ architecture: 'swiftshader' }));
    expect(software).toMatchObject({ state: 'optional', found: 'swiftshader: no GPU' });
    expect(software.text).toContain('the cpu engine can');
    expect(await check(noAdapter)).toMatchObject({ state: 'optional', found: 'the package webgpu is not installed' });
  });

  it('tells a driver without a card, an old card, and a package that cannot be loaded', async () => {
    const none = await doctorChecks({
      env: EMPTY,
      home: folder,
      machine: machine({ cards: [], fault: 'shows no card' }),
    });
    expect(none.find(({ name }) => name === 'card')).toMatchObject({ found: 'shows no card' });
    const old = machine({ cards: [{ ...CARD, capability: 75 }] });
    const checks = await doctorChecks({ env: EMPTY, home: folder, machine: old });
    expect(checks.find(({ name }) => name === 'card 0')).toMatchObject({
      state: 'optional',
      cure: expect.stringContaining('8.0'),
    });
    const broken = async (): Promise<FoundMachine> => {
      throw new Error('no binary');
    };
    const found = await doctorChecks({ env: EMPTY, home: folder, machine: broken });
    expect(found.find(({ name }) => name === 'cuda engine')!.found).toContain('no binary');
  });

  it('says where nothing can be written, and goes on without a home', async () => {
    const file = join(folder, 'a-file');
    await writeFile(file, '');
    const env = {
      ...EMPTY,
      HF_HOME: join(file, 'hub'),
      MINISTRAL_TUNE_CACHE: '/proc/self/骨折骨折骨折骨折骨折骨折骨折骨折骨折骨折',
    };
    const broken = Object.defineProperty({ ...env }, 'HF_TOKEN', {
      get: () => {
        throw new Error('no home; secret');
      },
    });
    const checks = await doctorChecks({ env: broken, home: folder, machine: machine({}) });
    const named = (wanted: string) => checks.find(({ name }) => name === wanted)!;
    expect(named('Hub cache')).toMatchObject({ state: 'optional', found: expect.stringContaining('is not a folder') });
    expect(named('Hub cache').cure).toContain('HF_HUB_CACHE');
    expect(named('Hub token')).toMatchObject({ state: 'optional', found: expect.stringContaining('HOME') });
    expect(formatChecks(checks)).not.toContain('secret');
    const wide = formatChecks([{ name: 'card 0', state: 'ok', found: '骨折 '.repeat(40) }]);
    expect(wide.split('\n').filter((line) => displayWidth(line) > 80)).toEqual([]);
  });

  it('loads in Node before 20.12, which has no styleText', async () => {
    const source = new URL('../../src/', import.meta.url);
    const names = (await readdir(source, { recursive: true })).filter((name) => name.endsWith('.ts'));
    const texts = await Promise.all(names.map((name) => readFile(new URL(name, source), 'utf8')));
    expect(names.filter((_, i) => /import \{[^}]*\bstyleText\b[^}]*\} from 'node:util'/.test(texts[i]!))).toEqual([]);
  });

  it('calls a token that cannot be one broken', async () => {
    const checks = await doctorChecks({ env: { ...EMPTY, HF_TOKEN: 'two words' }, home: folder, machine: machine({}) });
    const token = checks.find(({ name }) => name === 'Hub token')!;
    expect(token.state).toBe('missing');
    expect(formatChecks(checks)).toContain('1 thing is broken.');
    expect(formatChecks(checks)).not.toContain('two words');
  });
});
