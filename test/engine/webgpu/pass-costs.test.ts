/** What passes are planned to take, against the engine's own books: a model of real size on a device without bytes. */
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.js';
import { CountingDevice } from '../../../src/engine/webgpu/counting-device.js';
import { createWebgpuEngine } from '../../../src/engine/webgpu/create-webgpu.js';
import { findUnit, type MatrixUnit } from '../../../src/engine/webgpu/matrix-unit.js';
import type { LoraConfigOptions } from '../../../src/lora/lora-config.js';
import { LAYER_PROJECTIONS } from '../../../src/lora/lora-config.js';
import { countLabels, type PassSummary } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { batchOf, standInAdapter, standInModel } from '../cuda/stand-in.js';
import { FakeDevice } from './fake-device.js';

const GIB = 2 ** 30;
const COUNTED = new CountingDevice();
/** What a plan counts. */
const UNIT = findUnit(COUNTED, COUNTED.adapterInfo) as MatrixUnit;
const LORA: LoraConfigOptions = { r: 4, alpha: 8, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] };
const WINDOW = [batchOf([20, 17], [14, 23]), batchOf([23, 12], [21, 8])];

async function step(
  engine: Engine,
  model: Awaited<ReturnType<typeof standInModel>>,
  options: { readonly gradientCheckpointing: boolean | 'auto'; readonly memoryBudget?: number },
) {
  let passes: readonly PassSummary[] = [];
  engine.resetPeak();
  const held = engine.memory().bytesInUse;
  const loss = await accumulateGradients(model, WINDOW, {
    labelCount: WINDOW.reduce((sum, batch) => sum + countLabels(batch), 0),
    dropoutSeeds: [0, 1],
    ...options,
    autoMicroBatch: true,
    onPlan: (planned) => {
      passes = planned;
    },
  });
  await loss();
  const taken = engine.memory().peakBytes - held;
  const planned = Math.max(...passes.map(({ bytes }) => bytes));
  return { passes: passes.length, ratio: planned / taken, takenGib: taken / GIB };
}

describe('PassCosts, against the books of the webgpu engine at real sizes', () => {
  for (const matrices of [undefined, UNIT]) {
    it(`are never below what a pass takes, close to it, and within a budget, ${matrices ? 'on' : 'without'} subgroup matrices`, async () => {
      const device = new FakeDevice({ bindingBytes: 2 ** 31, keepsBytes: false });
      const engine = await createWebgpuEngine({ device, memoryBudget: 64 * GIB });
      engine.store.matrices = matrices;
      const model = await standInModel(engine, '3B');
      const adapter = standInAdapter(model, LORA);
      engine.createOptimizerState(adapter.parameters, 'adamw');
      for (const gradientCheckpointing of [false, true] as const) {
        const { ratio, takenGib } = await step(engine, model, { gradientCheckpointing });
        const what = `recomputed: ${gradientCheckpointing}, ${takenGib} GiB`;
        expect(ratio, what).toBeGreaterThanOrEqual(1);
        expect(ratio, what).toBeLessThan(1.25);
      }
      // The weights and the adapter's state hold 7.8 of it.
      const memoryBudget = 16 * GIB;
      const { ratio } = await step(engine, model, { gradientCheckpointing: 'auto', memoryBudget });
      expect(ratio).toBeGreaterThanOrEqual(1);
      expect(engine.memory().peakBytes).toBeLessThan(memoryBudget);
      await engine.dispose();
    }, 120_000);
  }
});
