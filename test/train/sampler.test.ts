import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Sampler, type SamplerOptions } from '../../src/train/sampler.js';

const options: SamplerOptions = {
  length: 7,
  batchSize: 2,
  gradientAccumulationSteps: 2,
  dropLast: false,
  seed: 11,
  numTrainEpochs: 3,
  maxSteps: -1,
};

function epochOrder(sampler: Sampler, epoch: number): number[] {
  const { stepsPerEpoch } = sampler;
  return Array.from({ length: stepsPerEpoch }, (_, i) => sampler.window(epoch * stepsPerEpoch + i).microBatches).flat(
    2,
  );
}

describe('Sampler', () => {
  it('orders epochs as torch.randperm with seed + epoch', () => {
    const sampler = new Sampler(options);
    expect(epochOrder(sampler, 0)).toEqual([4, 0, 2, 6, 3, 1, 5]);
    expect(epochOrder(sampler, 1)).toEqual([5, 2, 4, 1, 0, 3, 6]);
    expect(epochOrder(new Sampler({ ...options, length: 23, seed: 42 }), 0)).toEqual([
      16, 8, 6, 17, 2, 0, 1, 11, 18, 5, 14, 21, 15, 3, 10, 19, 22, 4, 20, 7, 12, 13, 9,
    ]);
    expect(epochOrder(new Sampler({ ...options, length: 10, seed: 0 }), 0)).toEqual([4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
  });

  it('never accumulates across an epoch', () => {
    const sampler = new Sampler({ ...options, gradientAccumulationSteps: 3 });
    expect(sampler.stepsPerEpoch).toBe(2);
    expect(sampler.window(1)).toEqual({
      step: 1,
      epoch: 0,
      epochAfter: 1,
      endsEpoch: true,
      microBatches: [[5]],
      firstMicroBatch: 3,
    });
    expect(sampler.window(2)).toMatchObject({ epoch: 1, epochAfter: 1.75, endsEpoch: false, firstMicroBatch: 4 });
    expect(sampler.window(2).microBatches).toEqual([
      [5, 2],
      [4, 1],
      [0, 3],
    ]);
  });

  it('counts steps as transformers does', () => {
    expect(new Sampler(options).totalSteps).toBe(6);
    expect(new Sampler({ ...options, numTrainEpochs: 0.6 }).totalSteps).toBe(2);
    expect(new Sampler({ ...options, numTrainEpochs: 0.4 }).totalSteps).toBe(1);
    expect(new Sampler({ ...options, maxSteps: 5 }).totalSteps).toBe(5);
    expect(new Sampler({ ...options, length: 989, gradientAccumulationSteps: 4, numTrainEpochs: 1 }).totalSteps).toBe(
      124,
    );
    expect(new Sampler({ ...options, dropLast: true }).microBatchesPerEpoch).toBe(3);
    expect(new Sampler({ ...options, dropLast: true, length: 1 }).microBatchesPerEpoch).toBe(0);
  });

  it('shows every sample once an epoch, whatever the sizes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 6 }),
        fc.nat(1000),
        (length, batchSize, gradientAccumulationSteps, seed) => {
          const sampler = new Sampler({
            ...options,
            length,
            batchSize,
            gradientAccumulationSteps,
            seed,
            numTrainEpochs: 2,
          });
          for (const epoch of [1, 0]) {
            const first = epoch * sampler.stepsPerEpoch;
            const windows = Array.from({ length: sampler.stepsPerEpoch }, (_, i) => sampler.window(first + i));
            const indices = windows.flatMap((window) => window.microBatches.flat());
            expect([...indices].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
            expect(windows.every((window, i) => window.endsEpoch === (i === windows.length - 1))).toBe(true);
            expect(windows.at(-1)!.epochAfter).toBe(epoch + 1);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('makes nothing ahead: a run of any length, its micro-batches one after the other', () => {
    const sampler = new Sampler({ ...options, maxSteps: 1e9 });
    const lists = sampler.microBatches(3);
    const after = [3, 4, 5, 6].flatMap((step) => sampler.window(step).microBatches);
    expect(after.map(() => lists.next().value)).toEqual(after);
    // The place of a step needs no order of its epoch.
    expect(new Sampler({ ...options, length: 0xffffffff, batchSize: 1, maxSteps: 1e9 }).place(1e9 - 1)).toEqual({
      step: 1e9 - 1,
      epoch: 0,
      epochAfter: 2e9 / 0xffffffff,
      endsEpoch: false,
      firstMicroBatch: 2e9 - 2,
    });
    const last = [...new Sampler({ ...options, maxSteps: 3 }).microBatches(2)];
    expect(last).toEqual(sampler.window(2).microBatches);
  });
});
