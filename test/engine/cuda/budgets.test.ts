import { describe, expect, it } from 'vitest';
import type { CudaEngineOptions } from '../../../src/engine/cuda/cuda-options.js';
import { OutOfMemoryError } from '../../../src/errors.js';
import { LAYER_PROJECTIONS } from '../../../src/lora/lora-config.js';
import type { PassSummary } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { standInAdapter, standInEngine, standInModel, textBatch } from './stand-in.js';

const GIB = 2 ** 30;
const CARD = 80 * GIB;

/** A window of an 8B model in a budget. */
async function train(memoryBudget: number, offload: CudaEngineOptions['offload'] = 'auto') {
  const { engine, memory } = standInEngine(CARD, { memoryBudget, offload });
  try {
    const model = await standInModel(engine, '8B');
    const adapter = standInAdapter(model, { r: 16, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
    engine.createOptimizerState(adapter.parameters, 'adamw8bit');
    let planBytes = 0;
    let passes: readonly PassSummary[] = [];
    const { bytesInUse } = engine.memory();
    const loss = await accumulateGradients(model, [900, 700, 800, 1000].map(textBatch), {
      labelCount: 160,
      dropoutSeeds: [0, 1, 2, 3],
      gradientCheckpointing: 'auto',
      onPlan: (planned) => {
        passes = planned;
        planBytes = bytesInUse + Math.max(...planned.map(({ bytes }) => bytes));
      },
    });
    await loss();
    const { streamedBytes = 0 } = engine.storage;
    const offloads = passes.some(({ recomputedLayers }) => recomputedLayers.offloadInputs);
    return { planBytes, passes: passes.length, offloads, streamedBytes, takenBytes: CARD - memory.memoryInfo().free };
  } finally {
    await engine.dispose();
  }
}

describe('a budget of the cuda engine', () => {
  it.each([5, 24])('of %i GiB holds, and is planned for to a twentieth of what is taken', async (gibibytes) => {
    const { planBytes, streamedBytes, takenBytes } = await train(gibibytes * GIB);
    expect(takenBytes).toBeLessThanOrEqual(gibibytes * GIB);
    expect(Math.abs(takenBytes / planBytes - 1)).toBeLessThan(0.05);
    // All of the 8B model are 16.6 GiB.
    expect(streamedBytes > 0).toBe(gibibytes < 20);
  });

  it('that cannot work says the smallest that can: it can, and less cannot', async () => {
    const refusal = async (bytes: number, offload?: CudaEngineOptions['offload']): Promise<number> => {
      const error = await train(bytes, offload).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OutOfMemoryError);
      return (error as OutOfMemoryError).details.smallestBudgetBytes as number;
    };
    // Not even the weights, then the weights but no pass.
    const trains = await refusal(GIB);
    expect((await train(trains)).passes).toBeGreaterThan(0);
    const smallest = await refusal(trains - 400 * 2 ** 20);
    expect(smallest).toBeLessThanOrEqual(trains);
    const least = await train(smallest);
    expect([least.passes, least.offloads]).toEqual([3, true]);
    expect(least.takenBytes).toBeLessThanOrEqual(smallest);
    // Without what layers keep: 300 MiB more.
    const more = await refusal(smallest, { embedding: true, layers: 34 });
    expect(more - smallest).toBeGreaterThan(200 * 2 ** 20);
    expect(await refusal(smallest - 2 ** 20)).toBeGreaterThanOrEqual(smallest - 1);
  });
});
