import { describe, expect, it } from 'vitest';
import type { CudaEngineOptions } from '../../../src/engine/cuda/cuda-options.js';
import type { Precision } from '../../../src/engine/operations.js';
import { LAYER_PROJECTIONS } from '../../../src/lora/lora-config.js';
import type { PassSummary } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { standInAdapter, standInEngine, standInModel } from './stand-in.js';

const GIB = 2 ** 30;

/** A sample of text alone, which has nothing in common with one of another length. */
function textOf(tokens: number) {
  const shape = [1, tokens];
  const labels = new Int32Array(tokens).fill(-100);
  labels[tokens - 1] = 7;
  return {
    inputIds: { data: new Int32Array(tokens).fill(tokens), shape },
    attentionMask: { data: new Int32Array(tokens).fill(1), shape },
    labels: { data: labels, shape },
  };
}

interface Setting {
  readonly quantization?: string;
  readonly precision?: Precision;
  readonly offload?: CudaEngineOptions['offload'];
}

/** A model on a card of 24 GiB, and what runs a window of four samples on it. */
async function prepare({ quantization, precision = 'bf16', offload = 'auto' }: Setting) {
  const { engine, memory } = standInEngine(24 * GIB, { tokensPerPass: 10_000, offload });
  const model = await standInModel(engine, '3B', quantization);
  // Before the steps, so that it does not count as left behind by them.
  model.preparePrecision(precision);
  standInAdapter(model, { r: 4, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
  const window = [800, 700, 900, 600].map(textOf);
  const run = async (): Promise<{ plans: (readonly PassSummary[])[]; warnings: string[] }> => {
    const plans: (readonly PassSummary[])[] = [];
    const warnings: string[] = [];
    const loss = await accumulateGradients(model, window, {
      labelCount: 4,
      dropoutSeeds: [0, 1, 2, 3],
      gradientCheckpointing: 'auto',
      precision,
      onPlan: (passes) => plans.push(passes),
      onWarning: (message) => warnings.push(message),
    });
    await loss();
    return { plans, warnings };
  };
  return { engine, memory, run };
}

describe('the cuda engine on a card that another program fills later', () => {
  it.each<[left: number, setting: Setting]>([
    [1, {}],
    [2, {}],
    [3, {}],
    [4, {}],
    // Products that widen, and e4m3 products whose operands are made for each.
    [1, { quantization: 'nf4' }],
    [1, { quantization: 'nf4', precision: 'fp8' }],
    [2, { precision: 'fp8' }],
    [1, { offload: { activations: true } }],
  ])('begins a window again in smaller passes, and leaves nothing behind (%i GiB left, %j)', async (left, setting) => {
    const alone = await prepare(setting);
    expect((await alone.run()).plans).toHaveLength(1);
    const { engine, memory, run } = await prepare(setting);
    memory.map(2 ** 45, memory.memoryInfo().free - left * GIB);
    const first = await run();
    expect(first.plans[0]).toHaveLength(1);
    expect(first.plans.length).toBeGreaterThan(1);
    expect(first.plans.at(-1)!.length).toBeGreaterThan(1);
    expect(first.warnings).toHaveLength(first.plans.length - 1);
    expect(first.warnings[0]).toMatch(/^out of device memory: .*; the step is begun again in/);
    expect(engine.memory().bytesInUse).toBe(alone.engine.memory().bytesInUse);
    const second = await run();
    expect([second.plans.length, second.warnings.length]).toEqual([1, 0]);
    expect(engine.memory().bytesInUse).toBe(alone.engine.memory().bytesInUse);
    memory.release({ address: 2 ** 45, bytes: memory.mapped.get(2 ** 45)! });
    await alone.engine.dispose();
    await engine.dispose();
  });
});
