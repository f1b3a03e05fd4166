import { describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { ConfigError, DataError, TuneError } from '../../src/errors.js';
import { SftTrainer, type SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

const model = linearModel();
const sample = { messages: [{ role: 'user', content: 'x' }] } as const;
const folder = { train: linearDataset(3), test: linearDataset(2), classLabel: {} };

function messageOf(options: object): string {
  const parts = { model, trainDataset: linearDataset(4), collator: linearCollator, ...options };
  try {
    new SftTrainer(parts as SftTrainerOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(TuneError);
    return (error as TuneError).message;
  }
  throw new Error('nothing was refused');
}

describe('SftTrainer, given something else', () => {
  it.each<[object, RegExp]>([
    [{ model: Promise.resolve(model) }, /`model`: expected a model with an adapter, got a promise\n.*Await it/],
    [{ model: 'mistralai/x' }, /got "mistralai\/x"\n.*fromPretrained/],
    [{ model: { createParameters: () => 0, loadWeight: () => 0 } }, /got an engine\n.*Load a model onto it/],
    [{ model: { model, processor: {} } }, /got an object that holds one\n.*its `model`/],
    [{ model: { modules: [], parameters: { size: 3 } } }, /got an adapter\n.*Give the model itself/],
    [{ model: folder }, /got an image folder\n.*`trainDataset`/],
    [{ model: linearDataset(2) }, /got a data set\n.*`trainDataset`/],
    [{ model: 7 }, /got 7\n.*applyLora/],
    [{ model: null }, /got null/],
    [{ model: { ...model, isDisposed: true } }, /the model was disposed of\n.*Load it anew/],
    [{ model: { ...model, trainable: { parameters: [], size: 0 } } }, /no trainable parameters\n.*applyLora/],
    [{ collator: undefined }, /`collator` is missing/],
    [{ collator: Promise.resolve(linearCollator) }, /`collator`: expected a VlmCollator, got a promise\n.*Await/],
    [{ collator: () => 0 }, /got a function\n.*method `collate`/],
    [{ collator: { tokenizer: {} } }, /got a processor\n.*new VlmCollator/],
    [{ collator: 'left' }, /got "left"/],
    [{ config: Promise.resolve({}) }, /`config`: expected an object of options, got a promise/],
    [{ saveAdapter: Promise.resolve() }, /`saveAdapter`: expected a function, got a promise\n.*\(directory\) =>/],
    [{ computeMetrics: { accuracy: 1 } }, /`computeMetrics`: expected a function, got {"accuracy":1}/],
    [{ learningRate: 1e-4, maxSteps: 5 }, /`maxSteps`, `learningRate`: options of `config`\n.*config: { maxSteps: … }/],
    [{ seed: 1 }, /`seed`: an option of `config`/],
    [{ args: {} }, /`args` is called `config` here/],
    [{ data_collator: linearCollator }, /`data_collator` is called `collator` here/],
  ])('%j', (options, message) => {
    expect(messageOf(options)).toMatch(message);
  });

  it('says how it is called', async () => {
    const wrong = SftTrainer as unknown as new (...parts: unknown[]) => SftTrainer;
    expect(() => new wrong(model, {})).toThrow(
      /expected one object of options, got a model\n.*new SftTrainer\({ model/,
    );
    expect(() => new wrong(Promise.resolve())).toThrow('SftTrainer: expected an object of options, got a promise');
    const trainer = linearTrainer(model, {});
    expect(() => trainer.train('outputs/checkpoint-5' as never)).toThrow(/train\({ resumeFromCheckpoint: … }\)/);
    const watch = { signal: new AbortController().signal, received: undefined };
    expect(() => trainer.train({ signal: watch as never })).toThrow(
      /`signal`: expected an AbortSignal, .*\n.*its `signal`/,
    );
    await expect(trainer.evaluate(linearDataset(1), 5 as never)).rejects.toThrow(/expected an AbortSignal, got 5/);
    await expect(trainer.evaluate(Promise.resolve([]) as never)).rejects.toThrow(ConfigError);
  });
});

describe('data sets of a trainer', () => {
  it.each<[string, unknown, RegExp]>([
    [
      'a promise',
      Promise.resolve([]),
      /`trainDataset`: expected a data set or an array of samples, got a promise\n.*Await/,
    ],
    ['an image folder', folder, /got an image folder\n.*trainDataset: folder\.train\.map\(toExample\)/],
    ['a set', new Set([sample]), /got an iterable\n.*\[\.\.\.samples\]/],
    ['a generator', (async function* () {})(), /got an asynchronous iterable\n.*`for await`/],
    ['a path', 'data.jsonl', /got "data\.jsonl"\n.*Read/],
    ['a function', () => [], /got a function\n.*Call it/],
    ['a sample', sample, /got a single sample\n.*\[sample\]/],
    ['something', { samples: [] }, /got {"samples":\[\]}\n.*`length` and `get\(index\)`/],
    ['splits', { train: [sample], test: [] }, /got an object of train, test\n.*Give its `train`/],
    ['a bad length', { length: -1, get: () => 0 }, /its length is -1/],
    ['a hole', [sample, undefined], /trainDataset\[1\]: expected a sample .* got nothing\n.*return it/],
    ['a sparse array', Object.assign([sample], { 2: sample }), /trainDataset\[1\]: .* got nothing/],
    ['promises', [Promise.resolve(sample)], /trainDataset\[0\]: .* got a promise\n.*Promise\.all/],
    [
      'samples of a folder',
      [{ image: {}, label: 0 }],
      /trainDataset\[0\]: .* one of an image folder\n.*map\(toExample\)/,
    ],
    ['lists of messages', [sample.messages], /trainDataset\[0\]: .* got an array\n.*{ messages }/],
    ['texts', ['x'], /trainDataset\[0\]: .* got "x"/],
  ])('are not %s', (_, trainDataset, message) => {
    expect(messageOf({ trainDataset })).toMatch(message);
    const source = message.source.replaceAll('trainDataset', 'evalDataset').replace('folder\\.train', 'folder\\.test');
    expect(messageOf({ evalDataset: trainDataset })).toMatch(new RegExp(source));
  });

  it.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /^trainDataset\[\d\]: expected a sample { messages: \[…\] }, got nothing\n.*return it/],
    ['a sample of a folder', { image: {}, label: 1 }, /got one of an image folder\n.*map\(toExample\)/],
    ['a text', 'x', /got "x"/],
  ])('name the index of what is no sample when it is made: %s', async (_, made, message) => {
    const samples = linearDataset(7);
    const trainDataset = new IndexedDataset(7, (i) => (i === 5 ? (made as SftExample) : samples.get(i)));
    const trainer = linearTrainer(model, { saveStrategy: 'no', outputDir: 'never-made' }, { trainDataset });
    const error = await trainer.train().result.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toMatch(message);
    expect((error as DataError).message).toMatch(/trainDataset\[5\]/);
  });

  it('tell of an array that has shrunk since', async () => {
    const samples = await Promise.all([0, 1, 2, 3].map((i) => linearDataset(4).get(i)));
    const config = { saveStrategy: 'no', outputDir: 'never-made' } as const;
    const trainer = linearTrainer(model, config, { trainDataset: samples });
    samples.length = 3;
    await expect(trainer.train().result).rejects.toThrow(/^trainDataset\[3\]: expected a sample .* got nothing/);
  });

  it.each<[string, unknown, RegExp]>([
    ['a number', 0.9, /`computeMetrics`: expected numbers by name, such as .*, got 0\.9\n.*a name/],
    ['a list', [1], /got \[1\]/],
    ['a map', new Map([['own', 1]]), /got a Map\n.*Object\.fromEntries/],
    ['a text as value', { own: '0.9' }, /`computeMetrics`: `own`: expected a number, got "0\.9"\n.*Number/],
    ['nothing as value', { b: 1, own: undefined }, /`own`: expected a number, got nothing/],
    ['a boolean as value', { own: true }, /got true/],
    ['values below values', { own: { f1: 1 } }, /got {"f1":1}/],
  ])('refuse metrics that are none: %s', async (_, given, message) => {
    const computeMetrics = (() => given) as NonNullable<SftTrainerOptions['computeMetrics']>;
    const error = await linearTrainer(model, {}, { evalDataset: linearDataset(2), computeMetrics })
      .evaluate()
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toMatch(message);
  });

  it('take no metrics, and values that are no finite number', async () => {
    const metricsOf = async (given: unknown) => {
      const computeMetrics = (() => given) as NonNullable<SftTrainerOptions['computeMetrics']>;
      const trainer = linearTrainer(model, {}, { evalDataset: linearDataset(2), computeMetrics });
      return (await trainer.evaluate()).metrics;
    };
    expect(await metricsOf(undefined)).toBeUndefined();
    const same = { own: Number.NaN };
    expect(await metricsOf(same)).toEqual(same);
    // Whoever fills one object again and again changes no earlier evaluation.
    expect(await metricsOf(same)).not.toBe(same);
  });

  it('measure what `computeMetrics` gives when the evaluation set itself is named', async () => {
    const evalDataset = await Promise.all([0, 1, 2].map((i) => linearDataset(3).get(i)));
    const trainer = linearTrainer(model, {}, { evalDataset, computeMetrics: () => ({ own: 1 }) });
    for (const result of [await trainer.evaluate(), await trainer.evaluate(evalDataset)]) {
      expect(result.metrics).toEqual({ own: 1 });
    }
    expect((await trainer.evaluate([...evalDataset])).metrics).toBeUndefined();
  });

  it('may be arrays, with the samples and steps of a data set', async () => {
    const samples: SftExample[] = await Promise.all(Array.from({ length: 7 }, (_, i) => linearDataset(7).get(i)));
    const run = async (trainDataset: SftTrainerOptions['trainDataset']) => {
      const own = linearModel();
      const config = { saveStrategy: 'no', evalStrategy: 'epoch', outputDir: 'never-made' } as const;
      const trainer = linearTrainer(own, config, { trainDataset, evalDataset: samples.slice(0, 2) });
      const { evalLoss } = await trainer.evaluate();
      const other = await trainer.evaluate(samples.slice(0, 2));
      expect(other.evalLoss).toBe(evalLoss);
      return [trainer.totalSteps, evalLoss];
    };
    expect(await run(samples)).toEqual(await run(IndexedDataset.from(samples)));
    expect(messageOf({ trainDataset: [] })).toMatch(/0 samples, too few/);
    expect(() => linearTrainer(model, {}, { trainDataset: [] })).toThrow(DataError);
  });
});
