/** Real sizes over cards that only keep the books: placement, budgets of each card, and the planner's estimates. */
import { describe, expect, it } from 'vitest';
import { CudaEngine, type CudaEngineOptions } from '../../../src/engine/cuda/cuda-engine.js';
import { SplitEngine } from '../../../src/engine/split/split-engine.js';
import { OutOfMemoryError } from '../../../src/errors.js';
import { LAYER_PROJECTIONS } from '../../../src/lora/lora-config.js';
import type { VisionLanguageModel } from '../../../src/model/network/vision-language-model.js';
import type { PassSummary } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { standInAdapter, standInEngine, standInModel } from '../cuda/stand-in.js';

const GIB = 2 ** 30;
const CARD = 80 * GIB;

function sampleOf(tokens: number) {
  const shape = [1, tokens];
  const data = new Int32Array(tokens).fill(1000);
  const labels = new Int32Array(tokens).fill(-100).fill(7, tokens - 40);
  return {
    inputIds: { data, shape },
    attentionMask: { data: new Int32Array(tokens).fill(1), shape },
    labels: { data: labels, shape },
  };
}

function cards(budgets: readonly number[], options: CudaEngineOptions = {}) {
  const parts = budgets.map((memoryBudget) => standInEngine(CARD, { memoryBudget, ...options }));
  return { engine: new SplitEngine(parts.map(({ engine }) => engine)), memories: parts.map(({ memory }) => memory) };
}

/** How many layers of each tower lie on each card. */
function layersOn({ engine, modules }: VisionLanguageModel): number[][] {
  return engine.devices!.map((device) =>
    [modules.visionLayers, modules.textLayers].map(
      (layers) => layers.filter(({ down }) => device.holds(down.weight)).length,
    ),
  );
}

it('x', async () => {
  for (const [budgets, tokens] of [[[20, 20], 5], [[20,20],2],[[16, 24],5],[[12, 12, 12], 5], [[40,40], 8]] as const) {
    const { engine, memories } = cards(budgets.map((b) => b * GIB));
    const t0 = performance.now();
    const model = await standInModel(engine as unknown as CudaEngine, '14B');
    const t1 = performance.now();
    const adapter = standInAdapter(model, { r: 16, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
    engine.createOptimizerState(adapter.parameters, 'adamw8bit');
    const held = engine.devices!.map((device) => device.memory().bytesInUse);
    for (const gradientCheckpointing of ['auto', true] as const) {
    let passes: readonly PassSummary[] = [];
    engine.resetPeak();
    const loss = await accumulateGradients(model, Array.from({ length: tokens }, (_, i) => sampleOf(900 + 50 * i)), {
      labelCount: 160,
      dropoutSeeds: Array.from({ length: tokens }, (_, i) => i),
      gradientCheckpointing,
      onPlan: (planned) => {
        passes = planned;
      },
    });
    await loss();
    console.log(budgets, layersOn(model), (t1 - t0).toFixed(), 'plan', passes.map((p) => [(p.bytes / GIB).toFixed(2), p.recomputedLayers, p.tokens - p.sharedTokens]),
      engine.devices!.map((device, i) => { const m = device.memory(); return [held[i]! / GIB, (m.peakBytes - held[i]!) / GIB, m.limitBytes / GIB, (CARD - memories[i]!.memoryInfo().free) / GIB].map((x) => x.toFixed(2)); }), engine.storage.streamedBytes);
    }
    await engine.dispose();
  }
}, 100000);
