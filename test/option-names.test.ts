import { describe, expect, it } from 'vitest';
import { checkNames } from '../src/config.js';
import { ChatTemplate } from '../src/data/chat-template.js';
import { KaggleImageFolder } from '../src/data/kaggle-image-folder.js';
import { MinistralTokenizer } from '../src/data/tokenizer.js';
import { VlmCollator, type VlmCollatorOptions } from '../src/data/vlm-collator.js';
import { createEngine } from '../src/engine/create-engine.js';
import type { Engine } from '../src/engine/engine.js';
import { ConfigError } from '../src/errors.js';
import { Evaluator } from '../src/eval/evaluator.js';
import type { EvaluatorOptions } from '../src/eval/evaluator-options.js';
import { applyLora } from '../src/lora/apply-lora.js';
import { mergeAdapter } from '../src/lora/merge-adapter.js';
import { loadModel, loadProcessor } from '../src/model/load.js';
import { SftTrainer, type SftTrainerOptions, type TrainOptions } from '../src/train/sft-trainer.js';
import { linearCollator, linearDataset, linearModel } from './train/linear-model.js';

const trainer = (more: object = {}): SftTrainer =>
  new SftTrainer({ model: linearModel(), trainDataset: linearDataset(4), collator: linearCollator, ...more });

describe('misspelled and missing options of parts', () => {
  it('are told with the nearest name', () => {
    const names = { model: true, evalDataset: false };
    expect(() => checkNames({ evalDatset: 1 } as object, names, 'Thing')).toThrow(
      'Thing: `model` is missing; unknown option `evalDatset`; did you mean `evalDataset`?',
    );
    expect(() => checkNames(null as never, names, 'Thing')).toThrow('Thing: expected an object of options, got null');
    checkNames({ model: 1 } as object, names, 'Thing');
  });

  it('of the trainer', () => {
    expect(() => trainer({ evalDatset: [] })).toThrow(/did you mean `evalDataset`/);
    expect(() => new SftTrainer({} as SftTrainerOptions)).toThrow(/`model` is missing; `trainDataset` is missing/);
    // A new run in place of a resumed one would cost hours.
    expect(() => trainer().train({ resumeFrom: 'x' } as TrainOptions)).toThrow(ConfigError);
    expect(() => trainer().train({ resumeFromCheckpoint: 5 } as unknown as TrainOptions)).toThrow(
      'train: `resumeFromCheckpoint`: expected a path, got 5',
    );
    expect(() => trainer().train({ resumeFromCheckpoint: '' })).toThrow(/expected a path, got an empty one/);
  });

  it('of what takes a folder or a model', async () => {
    const nothing = undefined as never;
    const none = /expected a path, got nothing/;
    await expect(KaggleImageFolder.fromFolder(nothing)).rejects.toThrow(none);
    await expect(loadProcessor(nothing)).rejects.toThrow(none);
    await expect(MinistralTokenizer.fromFolder(nothing)).rejects.toThrow(none);
    await expect(ChatTemplate.fromFolder(nothing)).rejects.toThrow(none);
    await expect(mergeAdapter({ adapterDir: 'a' } as never)).rejects.toThrow(none);
    const merge = { checkpointDir: 'a', outputDir: 'b', adapterDir: 5 as never };
    await expect(mergeAdapter(merge)).rejects.toThrow('mergeAdapter: `adapterDir`: expected a path, got 5');
    expect(() => new ChatTemplate(nothing)).toThrow(/expected the source of a Jinja template, got nothing/);
    expect(() => applyLora(nothing, {})).toThrow(/applyLora: expected a model, .*got nothing/);
    expect(() => applyLora(Promise.resolve() as never, {})).toThrow(/got a promise: await it/);
  });

  it('of engine, evaluator and collator', async () => {
    await expect(createEngine('cpu', { thread: 2 } as object)).rejects.toThrow(/did you mean `threads`/);
    expect(() => new Evaluator({ classNames: ['a', 'b'], generat: 1 } as unknown as EvaluatorOptions)).toThrow(
      /unknown option `generat`; did you mean `generate`\?/,
    );
    expect(() => new VlmCollator({ chatTemplate: undefined } as unknown as VlmCollatorOptions)).toThrow(
      /missing `tokenizer`, `chatTemplate`, `imageProcessor`/,
    );
  });

  it('of a model whose engine was not awaited', async () => {
    const engine = createEngine('cpu') as unknown as Engine;
    await expect(loadModel('/nowhere', { engine })).rejects.toThrow(/got a promise: await createEngine/);
    await (await engine).dispose();
  });
});
