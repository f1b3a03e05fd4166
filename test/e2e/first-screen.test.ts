/** What the first screen of code is made of: a processor as it is, a template by name, an evaluator that asks the model. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { ClassLabel, LabelledDataset } from '../../src/data/dataset.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { ConfigError, TrainingError } from '../../src/errors.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import type { EvaluatorOptions } from '../../src/eval/evaluator-options.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { generateText } from '../../src/model/generate.js';
import { scoreLabels } from '../../src/model/score-labels.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { linearModel, linearTrainer } from '../train/linear-model.js';
import { ANSWERS, makeAdapter, makeDataset, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let folder: string;
beforeAll(async () => {
  world = await makeTinyWorld();
  folder = await mkdtemp(join(tmpdir(), 'first-screen-'));
});
afterEach(() => void vi.restoreAllMocks());
afterAll(async () => {
  await world.dispose();
  await rm(folder, { recursive: true });
});

describe('a collator', () => {
  it('takes a processor as it is', async () => {
    const { processor, collator } = world;
    const [example] = makeExamples(1);
    const own = await new VlmCollator(processor).collate([example!]);
    expect(own.inputIds).toEqual((await collator.collate([example!])).inputIds);
  });

  it('takes the template of a name, with the tokens of its tokenizer', async () => {
    const { processor } = world;
    const named = new VlmCollator({ ...processor, chatTemplate: 'tutorial' });
    expect(named.chatTemplate.source).toBe(TUTORIAL_TEMPLATE);
    const { bosToken, eosToken } = processor.tokenizer;
    expect(named.chatTemplate).toMatchObject({ bosToken, eosToken });
    const written = new VlmCollator({ ...processor, chatTemplate: new ChatTemplate(TUTORIAL_TEMPLATE) });
    expect(named.settings).toEqual(written.settings);
  });

  it('says what to write where a checkpoint has no template, or the name is none', () => {
    const { processor } = world;
    expect(() => new VlmCollator({ ...processor, chatTemplate: undefined })).toThrow(
      /missing `chatTemplate`\n.*chatTemplate: "tutorial" \}/,
    );
    expect(() => new VlmCollator({ chatTemplate: 'tutorial' } as never)).toThrow(/new VlmCollator\(processor\)/);
    expect(() => new VlmCollator({ ...processor, chatTemplate: 'tutoral' as never })).toThrow(
      /expected a chat template, got "tutoral"\n.*The only name is "tutorial"/,
    );
  });
});

describe('an evaluator with a model', () => {
  const classNames = ANSWERS;
  const samples = () => {
    const examples = makeExamples(5);
    const labels = examples.map((_, i) => i % ANSWERS.length);
    return new LabelledDataset(new ClassLabel(ANSWERS), labels, (i) => ({ label: labels[i]!, example: examples[i]! }));
  };
  const toExample = ({ example }: { example: ReturnType<typeof makeExamples>[number] }) => example;
  const reportOf = async (options: Partial<EvaluatorOptions>) => {
    const evaluator = new Evaluator({ classNames, batchSize: 2, ...options });
    return (await evaluator.evaluate(samples(), { toExample, intervals: false })).samples;
  };

  it.each(['free', 'constrained'] as const)('asks in mode %s what a function would', async (mode) => {
    const { model, collator } = world;
    const { tokenizer } = collator;
    const longest = Math.max(...classNames.map((name) => tokenizer.encode(name).length));
    for (const given of [undefined, 3]) {
      const maxNewTokens = given ?? longest + 16;
      const asked = mode === 'constrained' ? longest + 16 : maxNewTokens;
      const own = await reportOf({
        mode,
        generate: async (examples, signal, choices) =>
          generateText(model, tokenizer, await collator.collatePrompts(examples), {
            ...{ maxNewTokens: asked, choices, signal },
          }),
      });
      const limit = given !== undefined && mode === 'free' ? { maxNewTokens: given } : {};
      expect(await reportOf({ model, collator, mode, ...limit })).toEqual(own);
    }
  });

  it('scores in mode scored what a function would', async () => {
    const { model, collator } = world;
    const own = await reportOf({
      mode: 'scored',
      score: async (examples, names) =>
        scoreLabels(model, collator.tokenizer, await collator.collatePrompts(examples), names, { sharePrefix: false }),
    });
    expect(await reportOf({ model, collator, mode: 'scored', sharePrefix: false })).toEqual(own);
  });

  it('stops with its signal', async () => {
    const { model, collator } = world;
    const evaluator = new Evaluator({ classNames, model, collator });
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(evaluator.evaluate(samples(), { toExample, signal })).rejects.toThrow('enough');
  });

  it.each<[Partial<EvaluatorOptions> | (() => Partial<EvaluatorOptions>), RegExp]>([
    [
      {},
      /`generate` is missing, and so are `model` and `collator`.*\n.*new Evaluator\(\{ model, collator, classNames \}\)/,
    ],
    [{ mode: 'scored' }, /`score` is missing.*\n.*mode: 'scored' \}/],
    [() => ({ model: world.model }), /`collator` is missing/],
    [() => ({ collator: world.collator }), /`model` is missing/],
    [() => ({ model: world.collator as never, collator: world.collator }), /`model`: expected a model, got a collator/],
    [() => ({ model: world.model, collator: { collate: () => {} } as never }), /got one without `collatePrompts`/],
    [() => ({ model: world.model, collator: world.collator, generate: async () => [] }), /`generate` is given beside/],
    [() => ({ model: world.model, collator: world.collator, score: async () => [] }), /`score` is given beside/],
    [{ generate: async () => [], maxNewTokens: 3 }, /`maxNewTokens` has no effect without `model`/],
    [{ generate: async () => [], sharePrefix: true }, /`sharePrefix` has no effect without `model`/],
    [
      () => ({ model: world.model, collator: world.collator, mode: 'scored', maxNewTokens: 3 }),
      /`maxNewTokens` has no effect in mode 'scored'/,
    ],
    [
      () => ({ model: world.model, collator: world.collator, mode: 'constrained', answerMode: 'exact' }),
      /`answerMode` has no effect in mode 'constrained'/,
    ],
    [() => ({ model: world.model, collator: world.collator, maxNewTokens: 0 }), /`maxNewTokens`: expected a whole/],
    [() => ({ model: world.model, collator: world.collator, sharePrefix: 1 as never }), /`sharePrefix`: expected true/],
  ])('refuses what has no effect: %#', (options, message) => {
    const given = typeof options === 'function' ? options() : options;
    expect(() => new Evaluator({ classNames, ...given })).toThrow(ConfigError);
    expect(() => new Evaluator({ classNames, ...given })).toThrow(message);
  });
});

describe('trainer.saveModel', () => {
  const trainerOf = (more = {}): SftTrainer =>
    new SftTrainer({
      model: world.model,
      collator: world.collator,
      trainDataset: makeDataset(4),
      config: { outputDir: join(folder, 'run'), progress: 'none', maxSteps: 1, saveStrategy: 'no', learningRate: 1e-2 },
      ...more,
    });
  const withAdapter = async (work: (adapter: LoraAdapter) => Promise<void>): Promise<void> => {
    const adapter = makeAdapter(world.model);
    try {
      await work(adapter);
    } finally {
      adapter.dispose();
    }
  };

  it('writes the adapter as saveAdapter does, with the template of the collator, over one that is there', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    await withAdapter(async (adapter) => {
      const [directory, other] = [join(folder, 'adapter'), join(folder, 'other')];
      const trainer = trainerOf();
      await trainer.saveModel(directory);
      const untrained = await readFile(join(directory, 'adapter_model.safetensors'));
      const output = await trainer.train();
      expect([output.adapterDir, output.checkpoints, output.samples]).toEqual([undefined, [], 4]);
      await trainer.saveModel(directory);
      await saveAdapter(adapter, other, { processor: world.collator });
      for (const name of await readdir(other)) {
        expect([name, await readFile(join(directory, name))]).toEqual([name, await readFile(join(other, name))]);
      }
      expect((await readFile(join(directory, 'adapter_model.safetensors'))).equals(untrained)).toBe(false);
      // What nobody else can load is said, as by saveAdapter.
      expect(warned.mock.calls.map(([line]) => String(line))).toContainEqual(
        expect.stringContaining('a folder of this machine, as its base model'),
      );
    });
    await (await loadAdapter(join(folder, 'adapter'), world.model, { onWarning: () => undefined })).dispose();
  });

  it('in a loop writes the parameters of its step, and the checkpoint at the end is what the model has', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    await withAdapter(async () => {
      const config = { outputDir: join(folder, 'saved'), progress: 'none', maxSteps: 2, learningRate: 1e-2 } as const;
      const trainer = trainerOf({ config });
      const run = trainer.train();
      for await (const event of run) {
        if (event.type === 'step') await trainer.saveModel(join(folder, `step-${event.step}`));
      }
      const { adapterDir } = await run;
      expect(adapterDir).toBe(join(folder, 'saved', 'checkpoint-2'));
      const weights = (path: string) => readFile(join(path, 'adapter_model.safetensors'));
      expect(await weights(join(folder, 'step-2'))).toEqual(await weights(adapterDir!));
      expect(await weights(join(folder, 'step-1'))).not.toEqual(await weights(adapterDir!));
    });
  });

  it('writes what the option saveAdapter writes, and says where a model can write nothing', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    await withAdapter(async () => {
      const directory = join(folder, 'more');
      await trainerOf({ saveAdapter: (to: string) => writeFile(join(to, 'note.txt'), 'mine') }).saveModel(directory);
      expect(await readdir(directory)).toEqual(expect.arrayContaining(['adapter_config.json', 'note.txt']));
    });
    const config = { outputDir: join(folder, 'none') };
    await expect(linearTrainer(linearModel(), config).saveModel(join(folder, 'x'))).rejects.toThrow(TrainingError);
    const own = join(folder, 'own');
    const saves = { saveAdapter: (to: string) => writeFile(join(to, 'values.bin'), 'v') };
    await linearTrainer(linearModel(), config, saves).saveModel(own);
    expect(await readdir(own)).toEqual(['values.bin']);
    await expect(linearTrainer(linearModel(), config, saves).saveModel('')).rejects.toThrow(
      /saveModel: expected a path/,
    );
  });
});
