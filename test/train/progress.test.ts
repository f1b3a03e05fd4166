import { describe, expect, it } from 'vitest';
import type { TrainingEvent } from '../../src/train/events.js';
import { formatDuration, Progress } from '../../src/train/progress.js';
import { parseSftConfig } from '../../src/train/sft-config.js';

const start: TrainingEvent = {
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
    const text = shown([start, step, log, step], { isTTY: true, columns: 60 });
    const parts = text.split('\r\x1b[2K');
    expect(parts[1]).toMatch(/^█{2}░{22} step {2}12\/124/);
    expect(parts[1]!.length).toBe(59);
    expect(parts[2]).toMatch(/^step .* left\n$/);
    expect(text.endsWith('\n')).toBe(true);
  });

  it('says durations briefly', () => {
    expect([0.4, 59.6, 187, 7500].map(formatDuration)).toEqual(['0s', '1m 00s', '3m 07s', '2h 05m']);
  });
});
