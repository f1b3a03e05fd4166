/**
 * The first optimizer steps of a run with a real-sized model: each one's time, and what all together lose against the
 * last ones. Loading the
 * kernels of the last run with the same parameters is a time of its own.
 *
 *   npx tsx test/bench/first-steps.ts --workload FILE [--size 14B] [--steps 20] [--precision bf16|fp8-backward|fp8]
 *                                     [--cold] [--repeat 1]
 *
 * --cold    without that preparation
 * --repeat  runs so many times, with the same windows: the second is the warm one
 */
import { parseArgs } from 'node:util';
import { eventLoopTurn } from '../../src/async/event-loop.js';
import type { VlmBatch } from '../../src/data/types.js';
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import type { Precision } from '../../src/engine/operations.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { OPTIMIZER_SETTINGS } from './optimizer-settings.js';
import { randomModel, type Size } from './random-model.js';
import { workloadWindows } from './workload.js';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    steps: { type: 'string', default: '20' },
    precision: { type: 'string', default: 'bf16' },
    cold: { type: 'boolean', default: false },
    repeat: { type: 'string', default: '1' },
  },
});
const precision = options.precision as Precision;
const engine = createCudaEngine();
const model = await randomModel(engine, options.size as Size);
const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
const state = engine.createOptimizerState(adapter.parameters, 'adamw8bit');
const windows = workloadWindows(options.workload!, Number(options.steps), 2, 4);

async function step(window: readonly VlmBatch[], number: number): Promise<() => Promise<number>> {
  const loss = await accumulateGradients(model, window, {
    labelCount: window.reduce((sum, batch) => sum + countLabels(batch), 0),
    dropoutSeeds: window.map((_, i) => number * 1000 + i),
    gradientCheckpointing: 'auto',
    precision,
    onPlan: () => {
      begun ||= performance.now();
    },
  });
  const norm = engine.optimizerStep(adapter.parameters, state, { kind: 'adamw8bit', ...OPTIMIZER_SETTINGS });
  engine.zeroGradients(adapter.parameters);
  return async () => {
    await norm();
    return loss();
  };
}
let begun = 0;
for (let run = 0; run < Number(options.repeat); run++) {
  const start = performance.now();
  let loads = 0;
  if (!options.cold) {
    for (const _ of engine.prepareTraining(adapter.parameters)) {
      loads++;
      await eventLoopTurn();
    }
  }
  const prepared = performance.now() - start;
  begun = 0;
  const times: number[] = [];
  let last = 0;
  let pending: (() => Promise<number>) | undefined;
  const losses: number[] = [];
  for (const [number, window] of windows.entries()) {
    const late = await step(window, number);
    last ||= begun;
    if (pending) losses.push(await pending());
    pending = late;
    times.push(performance.now() - last);
    last = performance.now();
  }
  losses.push(await pending!());
  const end = performance.now();
  console.log(
    `RESULT ${JSON.stringify({
      bench: 'first steps',
      size: options.size,
      precision,
      cold: options.cold,
      run,
      beforeFirstMs: Math.round(begun - start),
      preparedMs: Math.round(prepared),
      loads,
      stepsMs: Math.round(end - begun),
      allMs: Math.round(end - start),
      stepMs: times.map(Math.round),
      bytesInUse: engine.memory().bytesInUse,
      losses: [losses[0], losses.at(-1)],
    })}`,
  );
}
engine.releaseOptimizerState(adapter.parameters, state);
await engine.dispose();
