import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as charts from '../src/charts.js';
import * as data from '../src/data.js';
import * as hub from '../src/hub.js';
import * as api from '../src/index.js';
import * as safetensors from '../src/safetensors.js';
import { makeExamples, makeTinyWorld, type TinyWorld } from './e2e/tiny-model.js';

/** Called as from plain JavaScript: the compiler has not seen the arguments. */
// biome-ignore lint/suspicious/noExplicitAny: that is what it is about
const use: any = { ...api, ...data, ...hub, ...charts, ...safetensors };
const quiet = { onWarning: () => undefined };

let world: TinyWorld;
let dir: string;
let adapter: api.LoraAdapter;
let folder: { train: api.LabelledDataset<{ label: number }>; test: api.LabelledDataset<{ label: number }> };

beforeAll(async () => {
  world = await makeTinyWorld();
  dir = await mkdtemp(join(tmpdir(), 'wrong-use-'));
  await writeFile(join(dir, 'file.txt'), 'x\n');
  adapter = api.applyLora(world.model, { r: 2, alpha: 4, targetModules: ['q_proj'] }, quiet);
  const classes = new data.ClassLabel(['cat', 'dog']);
  const set = new api.LabelledDataset(classes, [0, 1], (label) => ({ label, className: classes.int2str(label) }));
  folder = { train: set, test: set };
});

afterAll(async () => {
  adapter.dispose();
  await world.dispose();
  await rm(dir, { recursive: true, force: true });
});

async function fault(call: () => unknown): Promise<api.TuneError> {
  try {
    const result: unknown = await call();
    if (typeof (result as AsyncIterator<unknown> | undefined)?.next === 'function') {
      await (result as AsyncIterator<unknown>).next();
    }
  } catch (error) {
    if (error instanceof api.TuneError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const sample = (): api.SftExample => makeExamples(1)[0]!;
const prompts = (): Promise<api.VlmBatch> => world.collator.collatePrompts([sample()]);
const evaluator = (generate: unknown): { evaluate(...given: unknown[]): Promise<unknown> } =>
  new use.Evaluator({ classNames: ['cat', 'dog'], generate });
const toExample = (): api.SftExample => sample();

type Case = readonly [what: string, call: () => unknown, message: RegExp];

const GENERATION: readonly Case[] = [
  [
    'another order',
    async () => use.generateText(world.processor.tokenizer, world.model, await prompts()),
    /^generateText: `model`: expected a model, got a tokenizer\n.*Write generateText\(model, tokenizer, /,
  ],
  [
    'a text as prompt',
    () => use.generateText(world.model, world.processor.tokenizer, 'What is it?'),
    /^generateText: `prompts`: expected a batch, got "What is it\?"\n.*collatePrompts\(\[{ messages: /,
  ],
  [
    'messages',
    () => use.generate(world.model, sample().messages),
    /`prompts`: expected a batch, got a list of messages\n.*\[{ messages }\]/,
  ],
  [
    'a sample',
    () => use.generate(world.model, sample()),
    /expected a batch, got a sample\n.*collatePrompts\(\[sample\]\)/,
  ],
  ['a promise', () => use.generate(world.model, prompts()), /expected a batch, got a promise\n.*Await it/],
  [
    'a batch to train on',
    async () => use.generate(world.model, await world.collator.collate([sample()])),
    /got one to train on, with the answers in it\n.*collatePrompts/,
  ],
  [
    'an image folder as model',
    async () => use.generate(folder, await prompts()),
    /^generate: `model`: expected a model, got an image folder\n/,
  ],
  [
    'all of fromPretrained',
    async () => use.generate({ model: world.model, processor: world.processor, folder: dir }, await prompts()),
    /got all that fromPretrained gives\n.*const { model, processor }/,
  ],
  [
    'an adapter as model',
    async () => use.generate(adapter, await prompts()),
    /got an adapter\n.*Give the model itself/,
  ],
  [
    'a name as model',
    async () => use.streamText('mistralai/x', world.processor.tokenizer, await prompts()),
    /^streamText: `model`: expected a model, got "mistralai\/x"\n.*fromPretrained/,
  ],
  [
    'a processor as tokenizer',
    async () => use.generateText(world.model, world.processor, await prompts()),
    /`tokenizer`: expected a tokenizer, got a processor\n.*Give its `tokenizer`/,
  ],
  [
    'a number as text',
    async () => use.generate(world.model, await prompts(), { maxNewTokens: '16' }),
    /^generate: `maxNewTokens`: expected a whole number, got the string "16"/,
  ],
  [
    'another name',
    async () => use.generate(world.model, await prompts(), { max_tokens: 16 }),
    /unknown option `max_tokens`; did you mean `maxNewTokens`/,
  ],
  [
    'a promise of options',
    async () => use.generate(world.model, await prompts(), Promise.resolve({})),
    /expected an object of options, got a promise\n.*Await it/,
  ],
  [
    'a controller',
    async () => use.generate(world.model, await prompts(), { signal: new AbortController() }),
    /^generate: `signal`: expected an AbortSignal, got an AbortController\n.*its `signal`/,
  ],
  [
    'arrays of another kind',
    async () => use.generate(world.model, { ...(await prompts()), inputIds: [[1, 2]] }),
    /`inputIds`: expected { data, shape } of Int32Array and 2 extents, got \[\[1,2\]\]/,
  ],
];

const EVALUATION: readonly Case[] = [
  [
    'an image folder',
    () => evaluator(async () => []).evaluate(folder, { toExample }),
    /^evaluate: `dataset`: expected a data set, got an image folder\n.*folder\.test/,
  ],
  [
    'a function as options',
    () => evaluator(async () => []).evaluate(folder.test, toExample),
    /expected an object of options, got a function\n.*{ toExample }/,
  ],
  [
    'no sample',
    () => evaluator(async () => []).evaluate(folder.test, { toExample: () => undefined }),
    /expected { messages } from `toExample` for sample 0, got nothing\n.*return it/,
  ],
  [
    'no answers',
    () => evaluator(async () => undefined).evaluate(folder.test, { toExample }),
    /expected 2 answers from `generate`, got nothing\n.*return them/,
  ],
  [
    'too few answers',
    () => evaluator(async () => ['cat']).evaluate(folder.test, { toExample }),
    /expected 2 answers from `generate`, got 1\n/,
  ],
  [
    'an answer that is missing',
    () => evaluator(async () => ['cat', undefined]).evaluate(folder.test, { toExample }),
    /as answer 1 of `generate`, for sample sample 0, got nothing\n/,
  ],
  [
    'promises',
    () => evaluator(() => [Promise.resolve('cat'), 'dog']).evaluate(folder.test, { toExample }),
    /as answer 0 .* got a promise\n.*Promise\.all/,
  ],
  [
    'token ids',
    () => evaluator(() => [[1, 2], [3]]).evaluate(folder.test, { toExample }),
    /as answer 0 .* got \[1,2\]\n.*generateText gives texts/,
  ],
  ['no function', () => evaluator(Promise.resolve()), /^Evaluator: `generate`: expected a function, got a promise/],
  [
    'class names as one text',
    () => new use.Evaluator({ classNames: 'cat, dog', generate: () => [] }),
    /`classNames`: expected a list of class names, got "cat, dog"\n/,
  ],
  [
    'a size as text',
    () => new use.Evaluator({ classNames: ['a'], generate: () => [], batchSize: '8' }),
    /`batchSize`: expected a whole number of at least 1, got "8"\n.*without quotes/,
  ],
  [
    'something as report',
    () => use.formatReport(world.model),
    /^formatReport: expected an evaluation report, got a model\n/,
  ],
];

const MODELS: readonly Case[] = [
  [
    'the model as adapter',
    () => use.saveAdapter(world.model, join(dir, 'a')),
    /^saveAdapter: expected the adapter .* got the model\n/,
  ],
  [
    'an image folder to adapt',
    () => use.applyLora(folder, { r: 2 }),
    /^applyLora: expected a model.* got an image folder/,
  ],
  ['a rank as text', () => use.applyLora(world.model, { r: '16' }), /`r`: expected .*got the string "16"/],
  [
    'another optimizer',
    () =>
      new use.SftTrainer({
        model: world.model,
        collator: world.collator,
        trainDataset: [sample()],
        config: { optim: 'adam' },
      }),
    /`optim`: there is no "adam".*adamw/s,
  ],
  [
    'an undefined sample',
    () => new use.SftTrainer({ model: world.model, collator: world.collator, trainDataset: [sample(), undefined] }),
    /trainDataset\[1\]: expected a sample .* got nothing/,
  ],
  ['no such folder', () => use.loadModel(join(dir, 'no')), /no is not a folder\n/],
  ['no such folder, by any name', () => use.fromPretrained(join(dir, 'no')), /no: there is no such folder\n/],
  [
    'a file in place of a folder',
    () => use.fromPretrained(join(dir, 'file.txt')),
    /file\.txt is a file, not a folder\n/,
  ],
  [
    'a path as engine',
    () => use.loadModel(world.checkpoint, { engine: './engine' }),
    /`engine` must be an engine or one of auto, cpu, cuda, tfjs, webgpu, got "\.\/engine"/,
  ],
  ['another engine', () => use.createEngine('gpu'), /no engine "gpu"; did you mean "cuda"\?/],
  [
    'options first',
    () => use.createEngine({ threads: 2 }),
    /expected the name of an engine, got {"threads":2}\n.*options come second/,
  ],
  [
    'threads as text',
    () => use.createEngine('cpu', { threads: '2' }),
    /`threads`: expected a whole number from 1 to 1024, got "2"/,
  ],
  ['a text as batch', () => world.model.lastLogits('What?' as never), /expected a batch, got "What\?"/],
  ['a number as repository', () => use.snapshotDownload(5), /expected the name of a repository on the Hub, got 5\n/],
];

const DATA: readonly Case[] = [
  [
    'one sample',
    () => use.VlmCollator.prototype.collate.call(world.collator, sample()),
    /^collator\.collate: expected a list of samples, got a sample\n.*collate\(\[sample\]\)/,
  ],
  [
    'a data set',
    () => world.collator.collatePrompts(folder.test as never),
    /^collator\.collatePrompts: expected a list of samples, got a data set\n/,
  ],
  [
    'a template by its text',
    () => new use.VlmCollator({ ...world.processor, chatTemplate: '{{ x }}' }),
    /`chatTemplate`: expected a chat template, got "{{ x }}"\n.*new ChatTemplate\(text\)/,
  ],
  [
    'a narrow image',
    async () => world.processor.imageProcessor.process({ width: 1, height: 5000, data: new Uint8Array(15_000) }),
    /1 × 5000 pixels: .* no width left\n.*Crop/,
  ],
  ['no image', () => world.processor.imageProcessor.process(undefined as never), /expected an image, got nothing\n/],
  [
    'a sample as image',
    () => use.decodeImage({ image: {}, label: 0 }),
    /expected an image, got a sample of an image folder\n.*Give its `image`/,
  ],
  [
    'a processor for a pool',
    () => new use.ImagePool(world.processor),
    /^ImagePool: expected an image processor, got a processor\n.*Give its `imageProcessor`/,
  ],
  [
    'texts to encode',
    () => world.processor.tokenizer.encode(['a'] as never),
    /`text`: expected a string, got \["a"\]\n/,
  ],
  [
    'lists to decode',
    () => world.processor.tokenizer.decode([[1, 2]] as never),
    /`ids`: expected a list of token ids, got \[1,2\] at position 0\n/,
  ],
  [
    'a text as messages',
    () => world.processor.chatTemplate!.render('Hi' as never),
    /^chatTemplate\.render: expected a list of messages, got "Hi"\n.*role: 'user'/,
  ],
  [
    'an option of Python',
    () => world.processor.chatTemplate!.render([], { add_generation_prompt: true } as never),
    /did you mean `addGenerationPrompt`/,
  ],
  ['no function', () => folder.train.map(undefined as never), /^map: expected a function, got nothing\n/],
  ['an index as indices', () => folder.train.select(3 as never), /^select: expected a list of indices, got 3\n/],
  [
    'a seed as text',
    () => folder.train.shuffle('42' as never),
    /`seed`: expected a whole number from 0 to 4294967295, got "42"/,
  ],
  [
    'a class',
    () => new use.DataLoader({ dataset: use.IndexedDataset, collator: world.collator }),
    /`dataset`: expected a data set, got the class IndexedDataset\n/,
  ],
];

const FILES: readonly Case[] = [
  ['a folder as image', () => use.renderPng('<svg/>', undefined), /^renderPng: `path`: expected a path, got nothing/],
  ['a folder in the way', () => use.writeReport({}, dir), /^writeReport: expected an evaluation report, got {}\n/],
  [
    'no image',
    () => use.contactSheet([{ image: { path: 'a.png', decode: () => 0 }, caption: 'a' }]),
    /`items\[0\]`: expected the pixels { width, height, data }, got an image\n.*image\.decode\(\)/,
  ],
  [
    'values as texts',
    () => use.barChart({ title: 't', labels: ['a'], series: [{ name: 's', values: ['1'] }] }),
    /^barChart: `series\.0\.values\.0`: expected a number, got the string "1"/,
  ],
  [
    'other points',
    () => use.lineChart({ title: 't', xLabel: 'x', yLabel: 'y', series: [{ name: 's', points: [1, 2] }] }),
    /`series\.0\.points\.0`: expected \[x, y\], two numbers, got 1/,
  ],
  [
    'no log',
    () => use.readHistory(join(dir, 'file.txt')),
    /file\.txt is no log of a training run.*\n.*train-log\.jsonl/,
  ],
  [
    'a tensor by its name',
    () => use.writeSafetensors(join(dir, 'a.safetensors'), ['w']),
    /^writeSafetensors: expected a tensor, got "w"\n/,
  ],
  [
    'a number as tensor',
    () => use.MersenneTwister && new use.MersenneTwister('1'),
    /^MersenneTwister: `seed`: expected a whole number .* got "1"/,
  ],
];

describe.each([
  ['generation', GENERATION],
  ['evaluation', EVALUATION],
  ['models, adapters and engines', MODELS],
  ['data', DATA],
  ['files and charts', FILES],
])('%s, given something else', (_, cases) => {
  it.each(cases)('%s', async (_what, call, message) => {
    expect((await fault(call)).message).toMatch(message);
  });
});

describe('what was disposed of', () => {
  it('says so', async () => {
    const model = await api.loadModel(world.checkpoint, { engine: world.engine });
    await model.dispose();
    const batch = await prompts();
    const calls = [
      () => use.generate(model, batch),
      () => model.lastLogits(batch),
      () => use.applyLora(model, { r: 2 }),
    ];
    for (const call of calls) expect((await fault(call)).message).toMatch(/disposed of.*\n.*load/i);
  });

  it('is done at the end of a block', async () => {
    const engine = await api.createEngine('cpu', { threads: 1 });
    await engine[Symbol.asyncDispose]();
    expect((await fault(() => api.loadModel(world.checkpoint, { engine }))).message).toMatch(/disposed/);
  });
});
