import { describe, expect, it } from 'vitest';
import type { WindowSample } from '../../src/batch/packed-window.js';
import { OutOfMemoryError } from '../../src/errors.js';
import type { Costs } from '../../src/train/pass-plan.js';
import { PassPlanner, type PlannerEngine } from '../../src/train/pass-planner.js';

const MIB = 2 ** 20;

/** A MiB a token, of which recomputation leaves a quarter. */
const costs: Costs = {
  layers: { vision: 0, text: 4 },
  hostBytes: () => 0,
  peakBytes: ({ tokens }, { text }) => (MIB * tokens * (4 - 0.75 * text)) / 4,
  weight: ({ tokens }) => tokens,
  recomputeTime: ({ tokens }, { text }) => tokens * text,
  tileTime: () => 0,
  passTime: 10,
};

/** Micro-batches of samples of 100 tokens. */
function windowOf(...sizes: number[]): WindowSample[] {
  return sizes.flatMap((size, microBatch) =>
    Array.from({ length: size }, (_, row) => ({
      microBatch,
      row,
      size: { tokens: 100, patches: 400, features: 100, labels: 1 },
    })),
  );
}

function engineWith(freeMiB: number): PlannerEngine {
  return {
    tokensPerPass: 1000,
    storage: {
      elementBytes: 2,
      rematerializes: true,
      keepsMasks: true,
      logits: { most: 1, bytes: 1 },
      temporaries: 0,
      scratchBytes: 0,
      rowTile: 1,
      reserveBytes: 50 * MIB,
    },
    memory: () => ({ bytesInUse: 1000 * MIB, peakBytes: 1000 * MIB, limitBytes: (1050 + freeMiB) * MIB }),
  };
}

describe('PassPlanner', () => {
  it('plans for what is free: the limit or a lower budget, less what is held and a reserve', () => {
    const window = windowOf(2, 2);
    const passes = (freeMiB: number, memoryBudget?: number): number =>
      new PassPlanner(engineWith(freeMiB)).plan(window, costs, { gradientCheckpointing: 'auto', memoryBudget }).passes
        .length;
    expect(passes(400)).toBe(1);
    expect(passes(399)).toBe(2);
    expect(passes(400, 1449 * MIB)).toBe(2);
    expect(passes(300, 9999 * MIB)).toBe(2);
  });

  it('says what was needed, what was free and which options lower it', () => {
    const planner = new PassPlanner(engineWith(40));
    const attempt = () => planner.plan(windowOf(2), costs, { gradientCheckpointing: 'auto' });
    expect(attempt).toThrow(OutOfMemoryError);
    expect(attempt).toThrow(
      /2 samples of 200 tokens and 800 image patches need 50\.00 MiB with every layer recomputed, 40\.00 MiB are free/,
    );
    expect(attempt).toThrow(/hint: .*gradientCheckpointing.*autoMicroBatch.*perDeviceTrainBatchSize.*memoryBudget/);
    expect(attempt).toThrow(expect.objectContaining({ neededBytes: 50 * MIB, freeBytes: 40 * MIB }));
    expect(() => planner.plan(windowOf(2), costs, { gradientCheckpointing: false })).toThrow('without recomputation');
    const tight = () => planner.plan(windowOf(2), costs, { gradientCheckpointing: true, memoryBudget: 1060.3 * MIB });
    expect(tight).toThrow(expect.objectContaining({ freeBytes: Math.floor(10.3 * MIB) }));
  });

  it('halves a micro-batch that does not fit where it may, and says so once for each size', () => {
    const planner = new PassPlanner(engineWith(60));
    const warnings: string[] = [];
    const plan = (...sizes: number[]) =>
      planner.plan(windowOf(...sizes), costs, {
        gradientCheckpointing: 'auto',
        autoMicroBatch: true,
        onWarning: (message) => warnings.push(message),
      });
    expect(plan(8).passes.map(({ samples }) => samples.length)).toEqual([2, 2, 2, 2]);
    expect(plan(8).microBatchSize).toBe(2);
    expect(warnings).toEqual([expect.stringMatching(/^micro-batches of 8 samples do not fit.* at most 2 are run/)]);
    plan(2);
    expect(warnings).toHaveLength(1);
  });

  it('plans smaller after a pass that ran out of memory, until nothing is left to lower', () => {
    const planner = new PassPlanner(engineWith(1000));
    const options = { gradientCheckpointing: 'auto' } as const;
    const window = windowOf(2, 2);
    const failure = new OutOfMemoryError('a pass ran out of memory');
    let plan = planner.plan(window, costs, options);
    const largest: number[] = [];
    for (let failures = 0; failures < 50; failures++) {
      largest.push(Math.max(...plan.passes.map(({ bytes }) => bytes)));
      try {
        plan = planner.planSmaller(plan, failure, window, costs, options);
      } catch (error) {
        expect(error).toMatchObject({ cause: failure, hint: expect.stringContaining('autoMicroBatch') });
        break;
      }
    }
    expect(largest[0]).toBe(400 * MIB);
    for (const [i, bytes] of largest.slice(1).entries()) expect(bytes).toBeLessThan(0.86 * largest[i]!);
    // Two passes of two samples with all recomputed are the least.
    expect(largest.at(-1)).toBeLessThan(60 * MIB);
    expect(() => planner.plan(window, costs, options)).toThrow('out of memory');
  });
});
