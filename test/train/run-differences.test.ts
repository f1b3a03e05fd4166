import { describe, expect, it } from 'vitest';
import { BestModelTracker, judgeOf } from '../../src/train/best-model.js';
import type { TrainerState } from '../../src/train/checkpoint-state.js';
import { changedSettings, compareRuns, evaluationWarnings, runSettings, wayOn } from '../../src/train/compare-runs.js';
import { parseSftConfig, type SftConfigInput } from '../../src/train/sft-config.js';

const dataset = { length: 4, digests: ['a', 'b', 'c', 'd'], texts: 'a' };
const parameters = [
  { name: 'q.lora_A', shape: [2, 8] },
  { name: 'q.lora_B', shape: [8, 2] },
];
const identity = (more: object = {}, config: SftConfigInput = {}) => ({
  ...{ config: parseSftConfig(config), settings: {}, dataset, parameters },
  ...more,
});
const saved = (more: object = {}, config: SftConfigInput = {}) => identity(more, config) as unknown as TrainerState;
const differences = (before: object, now: object) => compareRuns(saved(before), identity(now) as never);

describe('what decides a run', () => {
  it('is named by whose it is', () => {
    const model = { trainingSettings: { rank: 8 }, baseModel: { language: 'abc' }, nameOrPath: 'a/model' };
    const collator = { settings: { maxLength: 5 }, tokenizerDigest: 'def' };
    expect(runSettings(model as never, collator as never)).toEqual({
      'model.rank': 8,
      'collator.maxLength': 5,
      'model.base': { language: 'abc', name: 'a/model' },
      'collator.tokenizer': 'def',
    });
    expect(Object.keys(runSettings({} as never, {} as never))).toEqual([]);
    const nameless = runSettings({ baseModel: { language: 'abc' } } as never, {} as never);
    expect(Object.keys(nameless['model.base'] as object)).toEqual(['language']);
  });
});

describe('two runs', () => {
  it('that are alike have no differences', () => {
    expect(differences({}, {})).toEqual([]);
  });

  it('may write their warm-up in either way', () => {
    const now = identity({}, { warmupSteps: 0.1 }) as never;
    expect(compareRuns(saved({}, { warmupRatio: 0.1 }), now)).toEqual([]);
    expect(compareRuns(saved({}, { warmupSteps: 5 }), now)).toEqual([
      { of: 'setting', name: 'warmupSteps', text: '`warmupSteps` was 5, now 0.1' },
    ]);
  });

  it('differ in settings that one of them has', () => {
    expect(differences({ settings: { 'collator.a': 1 } }, { settings: { 'collator.b': [2] } })).toEqual([
      { of: 'setting', name: 'collator.a', text: '`collator.a` was 1, now not set' },
      { of: 'setting', name: 'collator.b', text: '`collator.b` was not set, now [2]' },
    ]);
  });

  it('differ in options that the version before did not have', () => {
    const { sharePrefix: _, ...config } = parseSftConfig();
    expect(compareRuns(saved({ config }), identity() as never)).toEqual([
      {
        of: 'setting',
        name: 'sharePrefix',
        text: '`sharePrefix` was false, now true (the version that started the run did not have this option)',
      },
    ]);
  });

  it('differ in their base model, by parts and names, where both know it', () => {
    const base = (value: unknown) => ({ settings: { 'model.base': value } });
    const before = { config: 'a', language: 'a', vision: 'a', projector: 'a', other: 'a' };
    expect(differences(base({ ...before, name: 'a/b' }), base({ ...before, vision: 'x', other: 'x' }))).toEqual([
      {
        of: 'base model',
        text:
          'the base model was another, "a/b", now one without a name: it differs in weights of the vision tower, ' +
          'weights of the output head',
      },
    ]);
    expect(differences(base({ ...before, name: 'a/b' }), base({ ...before, name: 'c/d' }))).toEqual([]);
    for (const unknown of [undefined, null, 'text']) {
      expect(differences(base(unknown), base(before))).toEqual([]);
      expect(differences(base(before), base(unknown))).toEqual([]);
    }
  });

  it('differ in their tokenizer, where both know it', () => {
    const tokenizer = (value: unknown) => ({ settings: { 'collator.tokenizer': value } });
    expect(differences(tokenizer('a'), tokenizer('b'))).toEqual([
      { of: 'tokenizer', text: 'the tokenizer was another: it gives other tokens or other ids' },
    ]);
    expect(differences(tokenizer('a'), tokenizer('a'))).toEqual([]);
    expect(differences(tokenizer(undefined), tokenizer('b'))).toEqual([]);
    expect(differences(tokenizer('a'), tokenizer(undefined))).toEqual([]);
  });

  it('differ in what is trained', () => {
    expect(differences({}, { parameters: parameters.slice(1) })).toEqual([
      { of: 'adapter', text: 'there were 2 trainable tensors, now 1' },
    ]);
    expect(differences({}, { parameters: [parameters[0], { name: 'q.lora_B', shape: [8, 4] }] })).toEqual([
      { of: 'adapter', text: 'trainable tensor 1 was q.lora_B [8,2], now q.lora_B [8,4]' },
    ]);
  });

  it('differ in how the best is chosen, once an evaluation was judged', () => {
    const best = { metric: 'evalLoss', greaterIsBetter: false, withoutGain: 1 };
    const now = identity({}, { metricForBestModel: 'accuracy' }) as never;
    const other = [{ of: 'best model', text: expect.stringMatching(/by evalLoss \(less .*now by accuracy \(greater/) }];
    expect(compareRuns(saved({ best }), now)).toEqual(other);
    expect(compareRuns(saved({ best: { ...best, withoutGain: 0, bestValue: 1 } }), now)).toEqual(other);
    expect(compareRuns(saved({ best: { ...best, withoutGain: 0 } }), now)).toEqual([]);
    expect(compareRuns(saved({ best }), identity() as never)).toEqual([]);
  });
});

describe('evaluations before and after a stop', () => {
  const evalDataset = { ...dataset, length: 3 };
  const best = { metric: 'evalLoss', greaterIsBetter: false, withoutGain: 1 };
  const config = { evalStrategy: 'epoch', earlyStoppingPatience: 2, metricForBestModel: 'loss' } as const;

  it('are compared where they decide nothing', () => {
    const shorter = identity({ evalDataset: { ...evalDataset, length: 2 } }) as never;
    expect(evaluationWarnings(saved({ evalDataset }), shorter)).toEqual([
      'the evaluation set had 3 samples, now 2: losses of evaluations before and after cannot be compared',
    ]);
    expect(evaluationWarnings(saved({ evalDataset }), identity({ evalDataset }) as never)).toEqual([]);
    expect(evaluationWarnings(saved({ evalDataset }), identity() as never)).toEqual([
      'until here the run was evaluated, on 3 samples; from here it is not',
    ]);
    expect(evaluationWarnings(saved(), identity({ evalDataset }) as never)).toEqual([
      'until here the run was not evaluated; from here it is, on 3 samples',
    ]);
    expect(evaluationWarnings(saved(), identity() as never)).toEqual([]);
    const old = saved({ dataset: { ...dataset, texts: undefined } });
    expect(evaluationWarnings(old, identity({ evalDataset }) as never)).toEqual([]);
  });

  it('are refused, not warned of, where they decide the best', () => {
    const now = identity({ evalDataset: { ...evalDataset, length: 2 } }, config) as never;
    expect(compareRuns(saved({ best, evalDataset }, config), now)).toEqual([
      { of: 'best model', text: 'the evaluation set, which decides the best model, had 3 samples, now 2' },
    ]);
    expect(evaluationWarnings(saved({ best, evalDataset }, config), now)).toEqual([]);
    // The best is still chosen by the same: only a run that is no longer evaluated is worth a word.
    expect(evaluationWarnings(saved({ best, evalDataset }, config), identity({}, config) as never)).toHaveLength(1);
  });
});

describe('settings that a resume may change', () => {
  it('are said with the step', () => {
    const before = { 'collator.maxLength': 5, 'collator.overlong': 'drop', 'collator.other': 1 };
    expect(changedSettings(before, { 'collator.overlong': 'error' }, 7)).toEqual([
      '`collator.maxLength` was 5, now not set; `collator.overlong` was "drop", now "error": the batches from here on are ' +
        'made so, those of the 7 steps before were not',
    ]);
    expect(changedSettings(before, { ...before, 'collator.other': 2 }, 7)).toEqual([]);
  });
});

describe('the way on from a checkpoint that is refused', () => {
  const setting = (name: string) => ({ of: 'setting', name, text: '' }) as const;

  it('names settings, and what to do about each kind of difference', () => {
    const lines = wayOn([setting('seed'), setting('optim'), { of: 'tokenizer', text: '' }]).split('\n    ');
    expect(lines).toEqual([
      '`seed`, `optim`: part of every step so far; set it back to go on.',
      'The tokenizer: give the one that the checkpoint was trained with.',
      expect.stringContaining('loadAdapter(checkpoint, model), then train() without `resumeFromCheckpoint`'),
      expect.stringMatching(
        /^A resume may change: .*collator\.maxLength, collator\.overlong, collator\.longestEdge\.$/,
      ),
    ]);
    expect(wayOn([{ of: 'adapter', text: '' }]).split('\n    ')).toHaveLength(3);
  });

  it.each([
    ['training set', 'The training set: the order of the samples follows from it'],
    ['base model', 'The base model: load the one'],
    ['adapter', 'The adapter: apply it with the configuration as it was.'],
    ['best model', 'How the best is chosen: as it was, or without `loadBestModelAtEnd`'],
  ] as const)('for the %s', (of, line) => {
    expect(wayOn([{ of, text: '' }])).toContain(line);
  });
});

describe('the best evaluation', () => {
  const tracker = (config: SftConfigInput) => {
    const parsed = parseSftConfig(config);
    return new BestModelTracker(judgeOf(parsed)!, parsed);
  };

  it('is judged by the loss unless another metric is named', () => {
    expect(judgeOf(parseSftConfig())).toBeUndefined();
    for (const metricForBestModel of ['loss', 'eval_loss']) {
      expect(judgeOf(parseSftConfig({ metricForBestModel }))).toEqual({ metric: 'evalLoss', greaterIsBetter: false });
    }
    expect(judgeOf(parseSftConfig({ metricForBestModel: 'dice_loss' }))!.greaterIsBetter).toBe(false);
    expect(judgeOf(parseSftConfig({ metricForBestModel: 'terror' }))!.greaterIsBetter).toBe(true);
    for (const metricForBestModel of ['errorRate', 'error--rate', 'wer', 'top1_error']) {
      expect(() => judgeOf(parseSftConfig({ metricForBestModel }))).toThrow(/Write `greaterIsBetter: false` if less/);
    }
  });

  it('takes its metric with or without the prefix, and says what there is', () => {
    const result = (metrics: object) => ({ evalLoss: 1, metrics }) as never;
    const judged = (metricForBestModel: string, metrics: object) => {
      const best = tracker({ metricForBestModel });
      best.judge(1, 'c', result(metrics));
      return best.best?.value;
    };
    expect(judged('eval_f1', { f1: 0.5 })).toBe(0.5);
    expect(judged('f1', { eval_f1: 0.25 })).toBe(0.25);
    expect(judged('my_eval_f1', { my_eval_f1: 0.125, my_f1: 9 })).toBe(0.125);
    expect(() => judged('my_eval_f1', { my_f1: 9 })).toThrow(/no "my_eval_f1"; it has evalLoss, my_f1/);
    expect(() => judged('f1', {})).toThrow(/Other metrics than the loss are what `computeMetrics` returns/);
    expect(() => tracker({ metricForBestModel: 'f1' }).judge(1, 'c', { evalLoss: 1 } as never)).toThrow(/no "f1"/);
  });

  it('is the first of equal ones, and a gain of just the threshold is none', () => {
    const best = tracker({ evalStrategy: 'epoch', earlyStoppingPatience: 2, earlyStoppingThreshold: 0.5 });
    const judge = (step: number, evalLoss: number) => best.judge(step, `c${step}`, { evalLoss } as never);
    expect([judge(1, 2), judge(2, 2), judge(3, 1.5)]).toEqual([true, false, true]);
    expect(best.best).toEqual({ metric: 'evalLoss', value: 1.5, step: 3, checkpoint: 'c3' });
    expect([best.state.withoutGain, best.isExhausted]).toEqual([2, true]);
  });
});
