/**
 * A model of real size with random weights over several cards: speed of training and decoding, peaks of each card, and
 * losses beside those of other runs of this program.
 *
 *   npx tsx test/bench/split.ts --workload FILE [--size 14B] [--devices 0,1] [--budget 20] [--steps 15] [--tokens 24]
 *                               [--losses FILE]
 *
 * `--devices 0,0` makes two engines on one card, which stand for two; `--devices 0` is one engine. --budget is in GiB for
 * each. With --losses, the losses are compared with those in that file, or written there.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../src/data/types.js';
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { createSplitCudaEngine } from '../../src/engine/split/create-split.js';
import { SplitEngine } from '../../src/engine/split/split-engine.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { generate } from '../../src/model/generate.js';
import { countLabels, type PassSummary } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { openCuda } from './open-cuda.js';
import { OPTIMIZER_SETTINGS } from './optimizer-settings.js';
import { randomModel, type Size } from './random-model.js';
import { workloadBatches } from './workload.js';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    devices: { type: 'string', default: '0,1' },
    budget: { type: 'string' },
    steps: { type: 'string', default: '15' },
    micro: { type: 'string', default: '2' },
    accumulation: { type: 'string', default: '4' },
    'gradient-checkpointing': { type: 'string', default: 'auto' },
    'tokens-per-pass': { type: 'string' },
    quantization: { type: 'string' },
    tokens: { type: 'string', default: '24' },
    losses: { type: 'string' },
  },
});
const GIB = 2 ** 30;
const WARMUP = 3;
const gib = (bytes: number): number => Number((bytes / GIB).toFixed(2));
const budget = values.budget === undefined ? undefined : Number(values.budget) * GIB;
const devices = values.devices.split(',').map(Number);
const tokensPerPass = values['tokens-per-pass'];
const options = tokensPerPass === undefined ? {} : { tokensPerPass: Number(tokensPerPass) };

async function open(): Promise<Engine> {
  const of = { ...options, ...(budget === undefined ? {} : { memoryBudget: budget }) };
  if (devices.length === 1) return createCudaEngine({ ...of, device: devices[0]! });
  // On one card each would count the other's memory as that of the context: none of it is counted here.
  if (new Set(devices).size < devices.length)
    return new SplitEngine(devices.map((device) => openCuda({ ...of, device }).engine));
  return createSplitCudaEngine(options, {
    maxMemory: Object.fromEntries(devices.map((device) => [device, budget ?? Number.POSITIVE_INFINITY])),
  });
}

const engine = await open();
console.log(engine.description);
const start = performance.now();
const model = await randomModel(engine, values.size as Size, undefined, values.quantization);
const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
const kind = 'adamw8bit';
const state = engine.createOptimizerState(adapter.parameters, kind);
console.log(`loaded after ${((performance.now() - start) / 1000).toFixed(1)} s, ${adapter.description}`);
const on = engine.devices ?? [{ memory: () => engine.memory(), holds: () => true }];
for (const [i, device] of on.entries()) {
  const [vision, text] = [model.modules.visionLayers, model.modules.textLayers].map(
    (layers) => layers.filter(({ down }) => device.holds(down.weight)).length,
  );
  const { bytesInUse, limitBytes } = device.memory();
  console.log(
    `device ${i}: ${vision} vision and ${text} decoder layers, embedding ${device.holds(model.modules.embedTokens)}, ` +
      `head ${device.holds(model.modules.lmHead)}, ${gib(bytesInUse)} of ${gib(limitBytes)} GiB`,
  );
}

const [micro, accumulation] = [Number(values.micro), Number(values.accumulation)];
const batches = workloadBatches(values.workload!, micro);
const checkpointing = { auto: 'auto', true: true, false: false }[values['gradient-checkpointing']] as 'auto' | boolean;
const next = (): VlmBatch[] => Array.from({ length: accumulation }, () => batches.next().value as VlmBatch);
let plan = '';
let planned = 0;
async function run(window: readonly VlmBatch[], step: number): Promise<() => Promise<[loss: number, norm: number]>> {
  const loss = await accumulateGradients(model, window, {
    labelCount: window.reduce((sum, batch) => sum + countLabels(batch), 0),
    dropoutSeeds: window.map((_, i) => step * 1000 + i),
    gradientCheckpointing: checkpointing,
    autoMicroBatch: true,
    onWarning: (message) => console.log(`step ${step}: ${message}`),
    onPlan: (passes: readonly PassSummary[], describe) => {
      planned = Math.max(planned, ...passes.map(({ bytes }) => bytes));
      if (step === 0) plan = describe();
    },
  });
  const norm = engine.optimizerStep(adapter.parameters, state, { kind, ...OPTIMIZER_SETTINGS });
  engine.zeroGradients(adapter.parameters);
  return async () => [await loss(), await norm()];
}

const losses: number[] = [];
const norms: number[] = [];
let begin = 0;
const steps = Number(values.steps);
let pending: Awaited<ReturnType<typeof run>> | undefined;
async function settle(): Promise<void> {
  if (!pending) return;
  const [loss, norm] = await pending();
  losses.push(loss);
  norms.push(norm);
}
const windows = Array.from({ length: WARMUP + steps }, next);
const held = on.map((device) => device.memory().bytesInUse);
for (const [step, window] of windows.entries()) {
  if (step === WARMUP) {
    await settle();
    pending = undefined;
    begin = performance.now();
    engine.resetPeak();
  }
  const taken = await run(window, step);
  await settle();
  pending = taken;
}
await settle();
const seconds = (performance.now() - begin) / 1000;
console.log(plan);
const samples = steps * micro * accumulation;
const peaks = on.map((device, i) => {
  const { peakBytes, limitBytes, deviceBytes, overheadBytes } = device.memory();
  return {
    peakGiB: gib(peakBytes),
    passGiB: gib(peakBytes - held[i]!),
    limitGiB: gib(limitBytes),
    overheadGiB: overheadBytes && gib(overheadBytes),
    deviceGiB: deviceBytes && gib(deviceBytes),
  };
});

const decoded: number[] = [];
if (Number(values.tokens) > 0) {
  const { labels: _, ...prompt } = workloadBatches(values.workload!, 1, 7).next().value as VlmBatch;
  for (let i = 0; i < 2; i++) {
    const from = performance.now();
    // The prompt's pass is in it.
    await generate(model, prompt, { maxNewTokens: Number(values.tokens), eosTokenIds: [1_000_000] });
    decoded.push((performance.now() - from) / Number(values.tokens));
  }
}
console.log(
  `RESULT ${JSON.stringify({
    bench: 'split',
    size: values.size,
    devices: values.devices,
    budgetGiB: values.budget && Number(values.budget),
    quantization: values.quantization,
    samples,
    samplesPerSecond: Number((samples / seconds).toFixed(2)),
    plannedGiB: gib(planned),
    peaks,
    decodedMs: decoded.map((ms) => Number(ms.toFixed(1))),
    firstLoss: losses[0],
    lastLoss: losses.at(-1),
    firstNorm: norms[0],
  })}`,
);
if (values.losses) {
  if (existsSync(values.losses)) {
    const other = JSON.parse(readFileSync(values.losses, 'utf8')) as { losses: number[]; norms: number[] };
    const differs = (a: readonly number[], b: readonly number[]): number =>
      Math.max(...a.map((value, i) => Math.abs(value / b[i]! - 1)).filter(Number.isFinite));
    const same = losses.filter((loss, i) => loss === other.losses[i]).length;
    console.log(
      `LOSSES ${same} of ${losses.length} equal to the bit, largest relative difference ` +
        `${differs(losses, other.losses)}, of norms ${differs(norms, other.norms)}`,
    );
  } else writeFileSync(values.losses, JSON.stringify({ losses, norms }));
}
await model.dispose();
await engine.dispose();
