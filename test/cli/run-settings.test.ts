import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readConfigFile } from '../../src/cli/read-config-file.js';
import { flagOptions, resolveSettings, setOptions, settingsOf } from '../../src/cli/run-settings.js';
import { suggestedConfig } from '../../src/cli/suggested-config.js';
import type { TrainFlags } from '../../src/cli/train-flags.js';
import { run } from './command-bed.js';

const dir = await mkdtemp(join(tmpdir(), 'run-settings-'));
afterAll(() => rm(dir, { recursive: true }));

const FLAGS: TrainFlags = { evaluate: true };

describe('settings of a run', () => {
  it('go to the part that each belongs to', () => {
    const settings = settingsOf({ data: 'd', learningRate: 1e-3, r: 4, targetModules: ['q_proj'], maxLength: 9 }, 'x');
    expect(settings).toMatchObject({ data: 'd', engine: 'auto', outputDir: 'outputs', mode: 'free' });
    expect(settings.config).toEqual({ learningRate: 1e-3 });
    expect(settings.lora).toEqual({ r: 4, targetModules: ['q_proj'] });
    expect(settings.collator).toEqual({ maxLength: 9 });
  });

  it.each([
    [{ learningrate: 1 }, /x: unknown option `learningrate`; did you mean `learningRate`\?/],
    [{ rank: 4 }, /did you mean `r`\?/],
    [{ epochs: 4 }, /did you mean `numTrainEpochs`\?/],
    [{ learningRate: 'high' }, /SftConfig: `learningRate`: expected a number, got the string "high"/],
    [{ alpha: 0 }, /LoraConfig: `alpha`: expected more than 0, got 0/],
    [{ overlong: 'cut' }, /VlmCollator: `overlong`/],
    [{ holdout: 2 }, /x: `holdout`: expected a share above 0 and below 1, got 2/],
  ])('refuse %j', (options, message) => {
    expect(() => settingsOf(options, 'x')).toThrow(message);
  });

  it('are taken from files, then --set, then flags; one that two of these give is refused', () => {
    const file = { name: 'a.json', options: { learningRate: 1e-3, r: 4, data: 'file' } };
    const flags = { ...FLAGS, data: 'flag', set: ['r=8', 'targetModules=["q_proj"]', 'prompt=What is it?'] };
    const settings = resolveSettings([file], flags);
    expect(settings.flat).toEqual({
      ...{ learningRate: 1e-3, r: 8, data: 'flag', targetModules: ['q_proj'], prompt: 'What is it?' },
    });
    expect(() => resolveSettings([], { ...FLAGS, rank: 4, set: ['r=8'] })).toThrow(
      /r is given by --set and by an option/,
    );
    expect(() => resolveSettings([{ name: 'b.json', options: { lr: 1 } }], FLAGS)).toThrow(
      /b\.json: unknown option `lr`/,
    );
  });

  it('of --set are JSON where they can be, once each', () => {
    expect(setOptions(['a=1e-4', 'b=true', 'c=cosine', 'd=x=y', 'e='])).toEqual({
      ...{ a: 1e-4, b: true, c: 'cosine', d: 'x=y', e: '' },
    });
    expect(() => resolveSettings([], { ...FLAGS, set: ['__proto__=1'] })).toThrow(/unknown option `__proto__`/);
    expect(() => setOptions(['a'])).toThrow(/expected name=value, got "a"/);
    expect(() => setOptions(['a=1', 'a=2'])).toThrow(/a is given twice/);
  });

  it('of flags are in the units of the options', () => {
    expect(flagOptions({ ...FLAGS, memoryBudget: 1.5, maxLength: 100 })).toEqual({
      ...{ memoryBudget: 1.5 * 2 ** 30, maxLength: 100, overlong: 'drop' },
    });
    expect(flagOptions({ evaluate: false })).toEqual({ evaluate: false });
  });
});

describe('suggested settings', () => {
  it('are those of the tutorial for its data', () => {
    const { config, lines } = suggestedConfig(989, {});
    expect(config).toMatchObject({ numTrainEpochs: 1, warmupSteps: 24, learningRate: 2e-4, optim: 'adamw_8bit' });
    expect(lines).toEqual(['124 steps of up to 8 samples, 1 epoch; learning rate 0.0002, warm-up 24 steps']);
  });

  it('go through few samples several times, say so, and warm up for a fifth of the steps', () => {
    const { config, lines } = suggestedConfig(100, {});
    expect(config).toMatchObject({ numTrainEpochs: 5, warmupSteps: 13 });
    expect(lines[1]).toBe(
      '100 samples are few, so the data are gone through 5 times; --epochs sets another number of passes',
    );
    expect(suggestedConfig(1, {}).config).toMatchObject({ numTrainEpochs: 10, warmupSteps: 2 });
  });

  it('leave alone what was given', () => {
    const given = { numTrainEpochs: 2, warmupRatio: 0.1, optim: 'adamw', perDeviceTrainBatchSize: 4 } as const;
    const { config, lines } = suggestedConfig(100, given);
    expect(config).toMatchObject({ ...given, warmupSteps: 0, perDeviceEvalBatchSize: 4 });
    expect(lines).toHaveLength(1);
    // A number of epochs beside it would be warned of, though nobody gave one.
    expect(suggestedConfig(100, { maxSteps: 5 }).config).not.toHaveProperty('numTrainEpochs');
    expect(suggestedConfig(100, { maxSteps: 5 }).lines).toEqual([
      '5 steps of up to 8 samples; learning rate 0.0002, warm-up 1 step',
    ]);
  });
});

describe('a wrong command line of train', () => {
  it.each([
    [['--modle', 'x'], "unknown option '--modle'"],
    [['--data', 'd'], 'train: --model is missing'],
    [['--rank', 'many'], 'train: --rank: expected a number above 0, got "many"'],
    [['--rank', '1.5'], 'train: --rank: expected a whole number, got "1.5"'],
    [['--holdout', '2'], 'train: --holdout: expected a share above 0 and below 1, e.g. 0.2, got "2"'],
    [['--dropout', '-1'], 'train: --dropout: expected a number from 0, got "-1"'],
    [['--engine', 'cda'], 'Did you mean cuda?'],
    [['--set', 'learningrate=1'], 'did you mean `learningRate`'],
    [['--set', 'learningRate=x'], 'expected a number, got the string "x"'],
    [['more'], 'too many arguments'],
  ])('%j is answered with 2', async (args, text) => {
    expect(await run('train', ...args)).toMatchObject({ code: 2, out: '', err: expect.stringContaining(text) });
  });

  it('a wrong file of options, data or model is a failure', async () => {
    const config = join(dir, 'config.json');
    await writeFile(config, '{"learningrate": 1}');
    const wrong = await run('train', '--data', dir, '--model', '3B', '--config', config);
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining('did you mean `learningRate`') });
    expect(await run('train', '--data', '/no/such', '--model', '3B')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/there is no file or folder \/no\/such\n {2}hint: .*kaggle:/),
    });
    expect(await run('train', '--data', dir, '--model', '5B')).toMatchObject({
      code: 1,
      err: expect.stringContaining('Did you mean 3B?'),
    });
    const push = await run('train', '--data', dir, '--model', dir, '--push-to-hub', 'a/b');
    expect(push).toMatchObject({ code: 2, err: expect.stringContaining('--base-model') });
  });
});

it('a configuration file may begin with a byte order mark', async () => {
  const file = join(dir, 'marked.json');
  await writeFile(file, '\uFEFF{"seed": 7}');
  expect(await readConfigFile(file, 'train: --config')).toEqual({ seed: 7 });
});
