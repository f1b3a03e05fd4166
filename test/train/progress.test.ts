import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { formatDuration } from '../../src/messages/format-duration.js';
import type { TrainingEvent, TrainOutput } from '../../src/train/events.js';
import { Progress } from '../../src/train/progress.js';
import { parseSftConfig } from '../../src/train/sft-config.js';

const start: Extract<TrainingEvent, { type: 'start' }> = {
  type: 'start',
  config: parseSftConfig(),
  samples: 989,
  totalSteps: 124,
  trainableParameters: 67_567_616,
  step: 0,
};
const values = { step: 12, epoch: 0.0968, loss: 1.23456, gradNorm: 0.8125, learningRate: 9.6e-5 };
const log: TrainingEvent = {
  type: 'log',
  ...values,
  tokensPerSecond: 1234.4,
  seconds: 9,
  dataWaitShare: 0.01,
  modelTflops: 310.4,
  modelFlopsUtilization: 0.412,
  memoryBytes: 27 * 2 ** 30,
  peakMemoryBytes: 39.8 * 2 ** 30,
};
const step: TrainingEvent = { type: 'step', ...values, tokens: 4000, sharedTokens: 0, labels: 90 };

function shown(events: TrainingEvent[], stream: { isTTY?: boolean; columns?: number }): string {
  let text = '';
  let now = 0;
  const progress = new Progress('auto', { ...stream, write: (part) => (text += part) }, () => now);
  for (const event of events) {
    progress.show(event);
    now += 6000;
  }
  progress.close();
  return text;
}

beforeEach(() => {
  for (const name of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) vi.stubEnv(name, undefined);
});
afterEach(() => void vi.unstubAllEnvs());

describe('Progress', () => {
  it('writes plain lines where there is no terminal', () => {
    expect(shown([start, step, log, { type: 'warning', step: 12, message: 'careful' }], {})).toBe(
      'training: 989 samples, 124 steps, 67,567,616 trainable parameters\n' +
        'step  12/124  epoch 0.10  loss 1.2346  lr 9.60e-5  grad 0.813  1234 tok/s  310 TFLOP/s (41 %)  data 1 %  39.80 GiB  1m 52s left\n' +
        'warning: careful\n',
    );
  });

  it('says once how many tokens samples share', () => {
    const sharing = { ...step, tokens: 4128, sharedTokens: 1127 };
    expect(shown([start, step, { ...sharing, step: 13 }, { ...sharing, step: 14 }], {})).toBe(
      'training: 989 samples, 124 steps, 67,567,616 trainable parameters\n' +
        'sharePrefix: step 13 reused 1,127 of its 4,128 tokens from common prefixes\n',
    );
  });

  it('shows what is known: no rate without a count, no share without a rate of the engine', () => {
    const { modelTflops: _, modelFlopsUtilization, ...rest } = log;
    expect(shown([start, rest], {})).toContain('1234 tok/s  data 1 %  39.80 GiB  ');
    const small = { ...rest, modelTflops: 0.0123, peakMemoryBytes: 279 * 2 ** 20 };
    expect(shown([start, small], {})).toContain('1234 tok/s  12.3 GFLOP/s  data 1 %  279.00 MiB  ');
  });

  it('shows the metrics of an evaluation, and which step was taken at the end', () => {
    const times = { evalRuntime: 3.4, evalSamplesPerSecond: 41 };
    const evaluate = {
      ...{ type: 'evaluate', step: 60, epoch: 0.5, evalLoss: 0.75 },
      ...times,
      metrics: { accuracy: 0.9 },
    };
    const best = {
      type: 'loadBest',
      metric: 'accuracy',
      value: 0.9,
      step: 60,
      checkpoint: 'out/checkpoint-60',
    } as const;
    const text = shown([start, evaluate as TrainingEvent, best], {});
    expect(text).toContain('step  60/124  epoch 0.50  eval loss 0.7500  accuracy 0.9000  3s\n');
    expect(text).toContain('took the best step, 60 (accuracy 0.90000), from out/checkpoint-60\n');
  });

  it('draws a bar in a terminal, no wider than it, and clears it for lines', () => {
    const text = shown([start, step, log, step], { isTTY: true, columns: 80 });
    const parts = text.split('\r\x1b[2K').map(stripVTControlCharacters);
    expect(parts[1]).toBe('░░░░░░░░░░░░░░░░░░░░░░░░ step   0/124  preparing the first step');
    expect(parts[2]).toBe('█░░░░░░░ step  12/124  epoch 0.10  loss 1.2346  lr 9.60e-5  667 tok/s  56s left');
    expect(parts[3]).toBe('step  12/124  loss 1.2346  lr 9.60e-5  1234 tok/s  39.80 GiB  1m 52s left\n');
    expect(text.endsWith('\n')).toBe(true);
  });

  it('keeps the time that is left, and what matters most, in any width', () => {
    const barAt = (columns: number): string => {
      const text = shown([start, step, log], { isTTY: true, columns });
      return stripVTControlCharacters(text.split('\r\x1b[2K')[2]!);
    };
    expect(barAt(140)).toMatch(/^█{2}░{22} step {2}12\/124 {2}epoch 0.10 .* grad 0.813 {2}667 tok\/s {2}56s left$/);
    expect(barAt(60)).toBe('█░░░░░░░░░░░ step  12/124  loss 1.2346  667 tok/s  56s left');
    expect(barAt(40)).toBe('██░░░░░░░░░░░░░░ step  12/124  56s left');
    expect(barAt(26)).toBe('step  12/124  56s left');
    expect(barAt(16)).toBe('56s left');
    expect(barAt(6)).toBe('56s l');
    for (let columns = 2; columns < 160; columns++) expect(barAt(columns).length).toBeLessThan(columns);
  });

  it('shows how far an evaluation is: in a terminal all the time, elsewhere now and then', () => {
    const evaluate = (stream: { isTTY?: boolean; columns?: number }): string => {
      let text = '';
      let now = 0;
      const progress = new Progress('auto', { ...stream, write: (part) => (text += part) }, () => now);
      progress.show(start);
      for (let done = 0; done <= 140; done += 20, now += 12_000) progress.evaluating(done, 140);
      progress.close();
      return text.replaceAll('\r\u001b[2K', '|');
    };
    expect(stripVTControlCharacters(evaluate({ isTTY: true, columns: 60 }))).toContain(
      '|██████████████░░░░░░░░░░ evaluating  80/140  36s left|',
    );
    expect(evaluate({}).split('\n').slice(1)).toEqual([
      'evaluating  60/140  48s left',
      'evaluating  120/140  12s left',
      '',
    ]);
  });

  it('says that metrics are computed once the loss is known, and takes the line away', () => {
    const evaluate = (style: 'auto' | 'none', stream: { isTTY?: boolean }): string => {
      let text = '';
      const progress = new Progress(style, { ...stream, columns: 60, write: (part) => (text += part) }, () => 0);
      progress.evaluating(0, 140);
      progress.evaluating(140, 140);
      progress.measuring();
      progress.clear();
      progress.close();
      return stripVTControlCharacters(text.replaceAll('\r\u001b[2K', '|'));
    };
    expect(evaluate('auto', { isTTY: true })).toMatch(
      /^\|░+ evaluating {2}0\/140\|█+ evaluating {2}computing metrics\|$/,
    );
    expect(evaluate('auto', {})).toBe('');
    expect(evaluate('none', { isTTY: true })).toBe('');
  });

  it('says that a run is held, and leaves the time out of what is left', () => {
    const held: TrainingEvent[] = [
      { type: 'pause', step: 12 },
      { type: 'resume', step: 12, seconds: 6 },
    ];
    const text = stripVTControlCharacters(shown([start, step, ...held, step], { isTTY: true, columns: 70 }));
    expect(text).toContain('paused after step 12: a callback holds the run\n');
    expect(text).toContain('step  12/124  paused\rresumed after 6s\n');
    // Of 24 s, 6 were held: 18 s for 12 steps.
    expect(text).toContain('  2m 48s left\n');
  });

  it('has colours where the terminal does, and plain lines elsewhere', () => {
    const warning: TrainingEvent = { type: 'warning', step: 12, message: 'careful \u001b[31m' };
    const terminal = { isTTY: true, columns: 80 };
    const withEnv = (env: NodeJS.ProcessEnv, stream: object): string => {
      for (const name of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) vi.stubEnv(name, env[name]);
      return shown([start, step, warning], stream);
    };
    const colour = '\u001b[33mwarning: careful \\u001b[31m\u001b[39m\n';
    expect(withEnv({}, terminal)).toContain(colour);
    expect(withEnv({ FORCE_COLOR: '1' }, {})).toContain(colour);
    const plain = [withEnv({ NO_COLOR: '1' }, terminal), withEnv({ TERM: 'dumb' }, terminal), withEnv({}, {})];
    for (const text of plain) {
      expect(text).toContain('warning: careful \\u001b[31m\n');
      expect(text.replaceAll('\r\u001b[2K', '')).not.toContain('\u001b');
    }
    expect(plain[1]).not.toContain('\r');
  });

  it('says durations briefly', () => {
    expect([0.4, 59.6, 187, 7500].map(formatDuration)).toEqual(['0s', '1m 00s', '3m 07s', '2h 05m']);
  });

  const output: TrainOutput = {
    ...{ globalStep: 124, trainingLoss: 0.5, logHistory: [], skippedSteps: 0, samples: 989, droppedSamples: 0 },
    ...{ firstLoss: 2.25, lastLoss: 0.125, outputDir: '/out', checkpoints: ['/out/checkpoint-124'] },
    adapterDir: '/out/checkpoint-124',
    metrics: {
      ...{ trainRuntime: 42, trainSamplesPerSecond: 23.547, trainStepsPerSecond: 3, trainTokensPerSecond: 12_034.2 },
      ...{ trainLoss: 0.5, epoch: 1 },
    },
  };
  const ended = (more: Partial<TrainOutput>, first = start): string[] => {
    const end: TrainingEvent = { type: 'end', step: 124, output: { ...output, ...more } };
    return shown([first, end], {}).split('\n').slice(1, -1);
  };

  it('sums a run up at its end', () => {
    expect(ended({})).toEqual([
      'done: 124 steps, 989 samples in 42s; 23.5 samples/s, 12034 tok/s',
      'loss 2.2500 → 0.1250, mean 0.5000',
      'adapter: /out/checkpoint-124',
    ]);
  });

  it('says at the end what was stopped, resumed, left out, and what was best', () => {
    const best = { metric: 'accuracy', value: 0.9, step: 60, checkpoint: '/out/checkpoint-60' };
    const checkpoints = ['/out/checkpoint-60', '/out/checkpoint-100'];
    const more = { best, checkpoints, adapterDir: best.checkpoint, droppedSamples: 3, skippedSteps: 1, samples: 1 };
    expect(ended({ ...more, globalStep: 100, stopped: true }, { ...start, step: 40 })).toEqual([
      'stopped: 100 of 124 steps, 60 of them now, 1 sample, 3 left out by the collator, 1 step left out, not finite in 42s; ' +
        '23.5 samples/s, 12034 tok/s',
      'loss 2.2500 → 0.1250, mean 0.5000; best accuracy 0.90000 at step 60',
      'adapter: /out/checkpoint-60, beside 1 checkpoint in /out',
    ]);
    expect(ended({ checkpoints, adapterDir: undefined }).at(-1)).toBe(
      '2 checkpoints in /out, the last /out/checkpoint-100',
    );
    const none = { firstLoss: undefined, lastLoss: undefined, checkpoints: [], adapterDir: undefined };
    expect(ended({ ...none, samples: 0 }).slice(1)).toEqual([
      'nothing is saved: trainer.saveModel(folder) writes the adapter',
    ]);
  });

  it('says at the end that patience ended it before its time', () => {
    expect(ended({ globalStep: 100 })[0]).toBe(
      'stopped early, as `earlyStoppingPatience` says: 100 of 124 steps, 989 samples in 42s; 23.5 samples/s, 12034 tok/s',
    );
  });

  it('leaves values to a loop that reads them, and says so once where there is no bar', () => {
    const evaluate = {
      type: 'evaluate',
      step: 12,
      epoch: 0.1,
      evalLoss: 0.5,
      evalRuntime: 1,
    } as unknown as TrainingEvent;
    const read = (style: 'auto' | 'lines' | 'bar', stream: { isTTY?: boolean; columns?: number }): string => {
      let text = '';
      const progress = new Progress(style, { ...stream, write: (part) => (text += part) }, () => 0);
      progress.show(start);
      for (const event of [log, evaluate, log]) progress.show(event, true);
      progress.show({ type: 'warning', step: 12, message: 'careful' }, true);
      progress.close();
      return stripVTControlCharacters(text);
    };
    expect(read('auto', {}).split('\n').slice(1)).toEqual([
      'values are left to the loop that reads this run; `progress: "lines"` prints them here as well',
      'warning: careful',
      '',
    ]);
    expect(read('lines', {}).match(/^step/gm)).toHaveLength(3);
    const terminal = { isTTY: true, columns: 100 };
    expect(read('auto', terminal)).not.toMatch(/loss|values are left/);
    expect(read('auto', terminal)).toContain('warning: careful');
    expect(read('bar', terminal)).toMatch(/loss 1\.2346/);
  });
});
