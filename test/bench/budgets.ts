/**
 * Checks device memory budgets with training steps of a real-sized model with random weights: planned bytes, the peak
 * that nvidia-smi shows, and samples per second.
 *
 *   npx tsx test/bench/budgets.ts --workload FILE [--size 14B] [--budgets 12,14,16,20,24,28,32,40,50,60]
 *                                 [--steps 6] [--micro 2] [--accumulation 4] [--quantization nf4|fp8] [--smallest]
 *
 * Each budget (GiB) runs in a process of its own. The plan is the estimate of weights, training state, largest pass and
 * process overhead. With --smallest: a budget that is too small, then the smallest one that its error names.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import { TuneError } from '../../src/errors.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { countLabels, type PassSummary } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { median } from './median.js';
import { OPTIMIZER_SETTINGS } from './optimizer-settings.js';
import { randomModel, type Size } from './random-model.js';
import { watchMemory } from './watch-memory.js';
import { workloadWindows } from './workload.js';

const GIB = 2 ** 30;
const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    budgets: { type: 'string', default: '12,14,16,20,24,28,32,40,50,60' },
    steps: { type: 'string', default: '6' },
    micro: { type: 'string', default: '2' },
    accumulation: { type: 'string', default: '4' },
    quantization: { type: 'string' },
    smallest: { type: 'boolean', default: false },
    /** In a child process: its budget in bytes. */
    one: { type: 'string' },
  },
});

/** Result of a child process. */
interface Outcome {
  readonly planBytes?: number;
  readonly overheadBytes?: number;
  readonly deviceBytes?: number;
  readonly streamedBytes?: number;
  readonly passes?: string;
  readonly samplesPerSecond?: number;
  readonly loadSeconds?: number;
  readonly error?: string;
  readonly smallestBudgetBytes?: number;
}

async function tryBudget(memoryBudget: number): Promise<Outcome> {
  try {
    return await train(memoryBudget);
  } catch (error) {
    const details = error instanceof TuneError ? error.details : {};
    return { error: String(error), smallestBudgetBytes: details.smallestBudgetBytes as number };
  }
}

async function train(memoryBudget: number): Promise<Outcome> {
  const engine = createCudaEngine({ memoryBudget });
  const start = performance.now();
  const model = await randomModel(engine, values.size as Size, undefined, values.quantization);
  engine.synchronize();
  const loadSeconds = (performance.now() - start) / 1000;
  const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
  const state = engine.createOptimizerState(adapter.parameters, 'adamw8bit');
  const [micro, accumulation] = [Number(values.micro), Number(values.accumulation)];
  const windows = workloadWindows(values.workload!, Number(values.steps), micro, accumulation);
  let planBytes = 0;
  let passes = '';
  const times: number[] = [];
  for (const [step, window] of windows.entries()) {
    const begin = performance.now();
    const { bytesInUse, overheadBytes = 0 } = engine.memory();
    const loss = await accumulateGradients(model, window, {
      labelCount: window.reduce((sum, batch) => sum + countLabels(batch), 0),
      dropoutSeeds: window.map((_, i) => step * 1000 + i),
      gradientCheckpointing: 'auto',
      autoMicroBatch: true,
      onWarning: (message) => console.error(message),
      onPlan: (planned: readonly PassSummary[]) => {
        planBytes = Math.max(planBytes, overheadBytes + bytesInUse + Math.max(...planned.map(({ bytes }) => bytes)));
        passes = `${planned.length}, recomputed ${planned[0]!.recomputedLayers.vision}+${planned[0]!.recomputedLayers.text}`;
      },
    });
    const norm = engine.optimizerStep(adapter.parameters, state, {
      kind: 'adamw8bit',
      ...OPTIMIZER_SETTINGS,
    });
    engine.zeroGradients(adapter.parameters);
    await norm();
    await loss();
    times.push((performance.now() - begin) / 1000);
  }
  // A measurement is reused for a second.
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const { overheadBytes = 0, deviceBytes = 0 } = engine.memory();
  const { streamedBytes = 0 } = engine.storage;
  await engine.dispose();
  const samplesPerSecond = (micro * accumulation) / median(times.slice(2));
  return { planBytes, overheadBytes, deviceBytes, streamedBytes, passes, samplesPerSecond, loadSeconds };
}

function inProcess(bytes: number): Promise<Outcome> {
  const path = fileURLToPath(import.meta.url);
  const others = ['size', 'workload', 'steps', 'micro', 'accumulation', 'quantization'] as const;
  const given = others.flatMap((name) => (values[name] === undefined ? [] : [`--${name}`, values[name]]));
  const child = spawn(process.execPath, [...process.execArgv, path, '--one', String(bytes), ...given]);
  let text = '';
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
  });
  child.stderr.pipe(process.stderr);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const line = text.split('\n').find((one) => one.startsWith('OUTCOME '));
      resolve(line ? (JSON.parse(line.slice(8)) as Outcome) : { error: `ended with ${code}: ${text.slice(-500)}` });
    });
  });
}

const shown = (bytes: number | undefined): string => (bytes === undefined ? '-' : (bytes / GIB).toFixed(2)).padStart(7);

async function report(bytes: number): Promise<Outcome> {
  const { result, processes, card } = await watchMemory(() => inProcess(bytes));
  if (result.error !== undefined) console.log(`${shown(bytes)}  ${result.error.split('\n')[0]}`);
  else {
    const { planBytes = 0, overheadBytes, deviceBytes, streamedBytes, passes, samplesPerSecond, loadSeconds } = result;
    const peak = processes > 0 ? processes : card;
    const columns = [bytes, planBytes, peak, card, deviceBytes, overheadBytes, streamedBytes].map(shown).join(' ');
    const off = (100 * (peak / planBytes - 1)).toFixed(1).padStart(6);
    console.log(`${columns} ${off} %  ${samplesPerSecond!.toFixed(2)}/s  load ${loadSeconds!.toFixed(1)} s  ${passes}`);
  }
  console.log(
    `RESULT ${JSON.stringify({ bench: 'budgets', size: values.size, budgetBytes: bytes, processes, card, ...result })}`,
  );
  return result;
}

if (values.one) console.log(`OUTCOME ${JSON.stringify(await tryBudget(Number(values.one)))}`);
else {
  console.log(' budget    plan    peak    card  device beside streamed  peak/plan');
  for (const budget of values.budgets.split(',').filter(Boolean)) await report(Number(budget) * GIB);
  if (values.smallest) {
    for (let bytes = GIB; ; ) {
      const { smallestBudgetBytes } = await report(bytes);
      if (!smallestBudgetBytes || smallestBudgetBytes <= bytes) break;
      bytes = smallestBudgetBytes;
    }
  }
}
