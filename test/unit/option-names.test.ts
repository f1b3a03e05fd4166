import { describe, expect, it } from 'vitest';
import { checkNames } from '../../src/config.js';
import { VlmCollator, type VlmCollatorOptions } from '../../src/data/vlm-collator.js';
import { createEngine } from '../../src/engine/create-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { ConfigError } from '../../src/errors.js';
import { Evaluator, type EvaluatorOptions } from '../../src/eval/evaluator.js';
import { loadMinistral3 } from '../../src/model/load.js';
import { SftTrainer, type SftTrainerOptions, type TrainOptions } from '../../src/train/sft-trainer.js';
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
  });

  it('of engine, evaluator and collator', async () => {
    await expect(createEngine('cpu', { thread: 2 } as object)).rejects.toThrow(/did you mean `threads`/);
    expect(() => new Evaluator({ classNames: ['a', 'b'], generat: 1 } as unknown as EvaluatorOptions)).toThrow(
      /`generate` is missing; unknown option `generat`/,
    );
    expect(() => new VlmCollator({ chatTemplate: undefined } as unknown as VlmCollatorOptions)).toThrow(
      /missing `tokenizer`, `chatTemplate`, `imageProcessor`/,
    );
  });

  it('of a model whose engine was not awaited', async () => {
    const engine = createEngine('cpu') as unknown as Engine;
    await expect(loadMinistral3('/nowhere', { engine })).rejects.toThrow(/got a promise: await createEngine/);
    await (await engine).dispose();
  });
});
