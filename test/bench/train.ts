/**
 * LoRA training steps of a real-sized model with random weights on a real data set's sizes.
 *
 *   npm run bench:train -- --size 14B --workload FILE [--samples 120] [--micro 2] [--accumulation 4]
 *                          [--gradient-checkpointing auto|true|false] [--tokens-per-pass N] [--budget GIB]
 *                          [--auto-micro-batch] [--warmup STEPS] [--optim adamw8bit] [--repeat 1]
 *                          [--share-prefix true|false|true,false] [--quantization nf4|fp8]
 *                          [--precision bf16|fp8-backward|fp8] [--engine cuda|webgpu|tfjs|cpu]
 *                          [--layers TEXT,VISION] [--tfjs FOLDER [--backend NAME]] [--dropout 0.05] [--limit SECONDS]
 *                          [--peer FILE [--python python3] [--variants "sdpa,0,0,2;eager,1,0,2"] [--peer-micro 24]
 *                           [--peer-args ARGS]]
 *
 * Prints how the windows were run (passes, recomputed layers of the vision tower + decoder, estimated and real peak) and
 * a RESULT line for each repetition: samples and tokens a second after the warm-up, utilisation (4N count), peak memory,
 * memory in use after steps 20 and 200. --layers has fewer of both towers, for engines that are slow; --limit ends a
 * measurement after the step that passes it, and what was done until then counts. --tfjs is the project whose node_modules
 * has TensorFlow.js, --backend one of its backends (default: the first), MINISTRAL_TUNE_WEBGPU the project with `webgpu`.
 * With --peer, then runs that program (transformers + peft) on the same card, each variant as often, and prints a RESULT
 * line with the medians and their ratios.
 */
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../src/data/types.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import type { Precision } from '../../src/engine/operations.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { countLabels, type PassSummary } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { findTfjs, openTfjsWebgpu } from '../engine/tfjs/installation.js';
import { openTestEngine } from '../engine/webgpu/open.js';
import { median } from './median.js';
import { OPTIMIZER_SETTINGS } from './optimizer-settings.js';
import { PEER_OPTIONS, runPeer } from './peer.js';
import { randomModel, type Size } from './random-model.js';
import { workloadBatches } from './workload.js';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    samples: { type: 'string', default: '120' },
    warmup: { type: 'string', default: '3' },
    micro: { type: 'string', default: '2' },
    accumulation: { type: 'string', default: '4' },
    'gradient-checkpointing': { type: 'string', default: 'auto' },
    'auto-micro-batch': { type: 'boolean', default: false },
    'tokens-per-pass': { type: 'string' },
    budget: { type: 'string' },
    'share-prefix': { type: 'string', default: 'true' },
    precision: { type: 'string', default: 'bf16' },
    optim: { type: 'string', default: 'adamw8bit' },
    repeat: { type: 'string', default: '1' },
    quantization: { type: 'string' },
    engine: { type: 'string', default: 'cuda' },
    layers: { type: 'string' },
    tfjs: { type: 'string' },
    backend: { type: 'string' },
    dropout: { type: 'string', default: '0.05' },
    limit: { type: 'string' },
    ...PEER_OPTIONS,
    variants: { type: 'string', default: 'sdpa,0,0,2;eager,1,0,2' },
    'peer-micro': { type: 'string', default: '24' },
  },
});
const micro = Number(values.micro);
const accumulation = Number(values.accumulation);
const checkpointing = ({ auto: 'auto', true: true, false: false } as const)[
  values['gradient-checkpointing'] as 'auto' | 'true' | 'false'
];
/** One or several, by commas: measured in turn. */
const sharings = values['share-prefix'].split(',').map((value) => value !== 'false');
let sharePrefix = sharings[0]!;
const limitMs = values.limit ? 1000 * Number(values.limit) : Number.POSITIVE_INFINITY;
if (checkpointing === undefined) throw new Error('--gradient-checkpointing: expected auto, true or false');
const limits = {
  ...(values.budget ? { memoryBudget: Number(values.budget) * 2 ** 30 } : {}),
  ...(values['tokens-per-pass'] ? { tokensPerPass: Number(values['tokens-per-pass']) } : {}),
};
const engine = await openEngine();
console.log(engine.description);
const loadStart = performance.now();
const [text, vision] = values.layers?.split(',').map(Number) ?? [];
const fewer = text ? { text, ...(vision && { vision }) } : undefined;
const model = await randomModel(engine, values.size as Size, fewer, values.quantization);
const adapter = applyLora(model, {
  r: 16,
  alpha: 32,
  dropout: Number(values.dropout),
  targetModules: [...LAYER_PROJECTIONS],
});
const kind = values.optim as 'adamw' | 'adamw8bit';
const state = engine.createOptimizerState(adapter.parameters, kind);
console.log(`model on the card after ${((performance.now() - loadStart) / 1000).toFixed(1)} s, ${adapter.description}`);

async function openEngine(): Promise<Engine> {
  if (values.engine === 'cuda') return createCudaEngine(limits);
  if (values.engine === 'cpu') return createCpuEngine();
  if (values.engine === 'tfjs') return openTfjs();
  return openTestEngine({ software: false, budget: limits.memoryBudget ?? 24 * 2 ** 30, smallProducts: false });
}

async function openTfjs(): Promise<Engine> {
  const folder = values.tfjs ?? process.env.MINISTRAL_TUNE_TFJS;
  if (values.backend === 'webgpu') return openTfjsWebgpu(folder ?? '.', limits.memoryBudget ?? 64 * 2 ** 30);
  const found = await findTfjs(folder);
  if (typeof found === 'string') throw new Error(found);
  return found.createEngine(values.backend ?? found.backends[0]!);
}

const batches = workloadBatches(values.workload!, micro);
const next = (): VlmBatch[] => Array.from({ length: accumulation }, () => batches.next().value as VlmBatch);
let step = 0;
let flops = 0;
/** What the call takes: the whole update on engines that make it on the host. */
let optimizerMs = 0;
/** How often windows were run in each way, and the estimates of their peaks over the real ones. */
const plans = new Map<string, number>();
/** Tokens of the data, those of them that are computed with others, and passes: of the windows that are measured. */
const computed = { tokens: 0, sharedTokens: 0, passes: 0 };
const ratios: number[] = [];
let peakBytes = 0;
const inUse: Record<number, number> = {};
function sizeOf(window: readonly VlmBatch[], labels: number) {
  let [tokens, patches] = [0, 0];
  for (const { attentionMask, imageSizes } of window) {
    for (const real of attentionMask.data) tokens += real;
    const sizes = imageSizes?.data ?? [];
    for (let i = 0; i + 1 < sizes.length; i += 2) patches += (sizes[i]! * sizes[i + 1]!) / 14 ** 2;
  }
  return { tokens, patches, features: patches / 4, labels };
}
async function run(window: readonly VlmBatch[]): Promise<() => Promise<number>> {
  const labelCount = window.reduce((sum, batch) => sum + countLabels(batch), 0);
  step++;
  flops += model.trainingFlops(sizeOf(window, labelCount));
  let passes: readonly PassSummary[] = [];
  engine.resetPeak();
  const held = engine.memory().bytesInUse;
  const loss = await accumulateGradients(model, window, {
    labelCount,
    dropoutSeeds: window.map((_, i) => step * 1000 + i),
    gradientCheckpointing: checkpointing!,
    autoMicroBatch: values['auto-micro-batch'],
    sharePrefix,
    precision: values.precision as Precision,
    onWarning: (message) => console.log(`step ${step}: ${message}`),
    onPlan: (planned) => {
      passes = planned;
    },
  });
  const real = engine.memory().peakBytes;
  peakBytes = Math.max(peakBytes, real);
  ratios.push(Math.max(...passes.map(({ bytes }) => bytes)) / (real - held));
  for (const { tokens, sharedTokens } of passes) {
    computed.tokens += tokens;
    computed.sharedTokens += sharedTokens;
    computed.passes++;
  }
  const layers = passes.map(({ recomputedLayers: { vision, text } }) => `${vision}+${text}`);
  const plan = `${passes.length} passes, recomputed ${new Set(layers).size === 1 ? layers[0] : layers.join(' ')}`;
  plans.set(plan, (plans.get(plan) ?? 0) + 1);
  // Backend webgpu of TensorFlow.js gives the optimizer, which asks synchronously, only what has been read before.
  if (values.engine === 'tfjs') await engine.readGradients(adapter.parameters);
  const optimizerStart = performance.now();
  const norm = engine.optimizerStep(adapter.parameters, state, {
    kind,
    ...OPTIMIZER_SETTINGS,
  });
  optimizerMs += performance.now() - optimizerStart;
  engine.zeroGradients(adapter.parameters);
  if (step === 20 || step === 200) inUse[step] = Number((engine.memory().bytesInUse / 2 ** 30).toFixed(3));
  return async () => {
    await norm();
    return loss();
  };
}
const losses: number[] = [];
const warmupStart = performance.now();
for (let i = 0; i < Number(values.warmup) && !(performance.now() - warmupStart > limitMs); i++) {
  losses.push(await (await run(next()))());
  console.log(`warm-up ${i + 1}: ${((performance.now() - warmupStart) / 1000).toFixed(1)} s, loss ${losses.at(-1)}`);
}
const matrixTflops = engine.matrixTflops?.();
const steps = Math.ceil(Number(values.samples) / (micro * accumulation));
interface Rates {
  readonly samplesPerSecond: number;
  readonly tokensPerSecond: number;
}
async function measure(): Promise<Rates> {
  // Batches are made before the clock runs: this measures the engine, not the noise generator.
  const windows = Array.from({ length: steps }, next);
  [flops, optimizerMs, peakBytes] = [0, 0, 0];
  Object.assign(computed, { tokens: 0, sharedTokens: 0, passes: 0 });
  let pending: (() => Promise<number>) | undefined;
  let tokens = 0;
  const start = performance.now();
  const times: number[] = [];
  for (const window of windows) {
    for (const batch of window) for (const real of batch.attentionMask.data) tokens += real;
    const deferred = await run(window);
    if (pending) losses.push(await pending());
    pending = deferred;
    times.push(performance.now());
    if (times.at(-1)! - start > limitMs) break;
  }
  const samples = times.length * micro * accumulation;
  losses.push(await pending!());
  times.push(performance.now());
  const seconds = (performance.now() - start) / 1000;
  const tflops = flops / seconds / 1e12;
  console.log(
    `RESULT ${JSON.stringify({
      bench: 'train',
      size: values.size,
      micro,
      accumulation,
      checkpointing,
      precision: values.precision,
      budgetGiB: values.budget && Number(values.budget),
      tokensPerPass: engine.tokensPerPass,
      optim: kind,
      dropout: Number(values.dropout),
      layers: fewer,
      samples,
      seconds: Number(seconds.toFixed(3)),
      samplesPerSecond: Number((samples / seconds).toFixed(2)),
      tokensPerSecond: Math.round(tokens / seconds),
      sharePrefix,
      ...computed,
      epoch989Seconds: Number(((989 * seconds) / samples).toFixed(1)),
      modelTflops4N: Number(tflops.toFixed(1)),
      matrixTflops: matrixTflops && Number(matrixTflops.toFixed(1)),
      modelFlopsUtilization: matrixTflops && Number((tflops / matrixTflops).toFixed(3)),
      peakGiB: Number((peakBytes / 2 ** 30).toFixed(2)),
      inUseGiB: Number((engine.memory().bytesInUse / 2 ** 30).toFixed(3)),
      inUseGiBAfterStep: inUse,
      optimizerMs: Math.round(optimizerMs),
      stepMs: times.map((time, i) => Math.round(time - (i === 0 ? start : times[i - 1]!))),
      firstLoss: losses[0],
      lastLoss: losses.at(-1),
      losses: losses.length <= 12 ? losses : undefined,
    })}`,
  );
  return { samplesPerSecond: samples / seconds, tokensPerSecond: tokens / seconds };
}

const rounds: Rates[] = [];
for (let i = 0; i < Number(values.repeat); i++) {
  for (const sharing of sharings) {
    sharePrefix = sharing;
    rounds.push(await measure());
  }
}
console.log('how the windows were run, warm-up included:');
for (const [plan, count] of [...plans].sort((a, b) => b[1] - a[1]).slice(0, 12)) console.log(`  ${count} × ${plan}`);
if (plans.size > 12) console.log(`  and ${plans.size - 12} other ways`);
// The first pass of an adapter copies what later ones have room for.
const later = ratios.slice(1);
console.log(`estimated over real peak: ${Math.min(...later).toFixed(3)} to ${Math.max(...later).toFixed(3)}`);
await engine.dispose();
if (values.peer) {
  const variants = values.variants.split(';');
  const measured = await runPeer(values.python, values.peer, [
    ...['--size', values.size, '--workload', values.workload!, '--micro', values['peer-micro']],
    ...['--variants', rounds.flatMap(() => variants).join(';')],
    ...values['peer-args'].split(' ').filter(Boolean),
  ]);
  /** Medians and all runs; the two programs draw different samples, so tokens are compared as well. */
  const rates = (runs: readonly Rates[]) => ({
    samplesPerSecond: median(runs.map((run) => run.samplesPerSecond)),
    tokensPerSecond: median(runs.map((run) => run.tokensPerSecond)),
    runs: runs.map((run) => Number(run.samplesPerSecond.toFixed(2))),
  });
  const ours = rates(rounds);
  const peers = variants.map((variant) => {
    const runs = measured.training.filter((run) => run.variant === variant);
    const peer = rates(runs);
    return {
      variant,
      ...peer,
      peakGiB: Math.max(...runs.map((run) => run.peakGiB)),
      ratio: Number((ours.samplesPerSecond / peer.samplesPerSecond).toFixed(2)),
      tokenRatio: Number((ours.tokensPerSecond / peer.tokensPerSecond).toFixed(2)),
    };
  });
  console.log(`RESULT ${JSON.stringify({ bench: 'train beside peer', size: values.size, ours, peers })}`);
}
