/**
 * What `plan` says beside what a card does: training steps of a real-sized model with random weights, on a real data set's
 * sizes. Memory is what nvidia-smi shows of the process, time that of a step.
 *
 *   npx tsx test/bench/plan.ts --workload FILE [--size 14B] [--settings bf16,fp8,nf4,bf16:24,fp8:20,nf4:14] [--steps 8]
 *                              [--card h200] [--precision bf16] [--micro 2] [--accumulation 4]
 *
 * A setting is the format of the decoder's weights and, behind a colon, a budget in GiB. Each runs in a process of its own.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { packBatch } from '../../src/batch/packed-batch.js';
import { PackedWindow } from '../../src/batch/packed-window.js';
import type { VlmBatch } from '../../src/data/types.js';
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import { sizeOf } from '../../src/formats/weight-source.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS, LoraConfig } from '../../src/lora/lora-config.js';
import { modulesOf } from '../../src/model/network/modules.js';
import { largestPassOf, memoryOf, planWindows } from '../../src/plan/card-run.js';
import { cardNamed } from '../../src/plan/cards.js';
import { rehearse } from '../../src/plan/rehearsal.js';
import { secondsOf } from '../../src/plan/step-time.js';
import type { WeightFormat } from '../../src/plan/training-plan.js';
import { parseSftConfig, type SftConfig } from '../../src/train/sft-config.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { median } from './median.js';
import { OPTIMIZER_SETTINGS } from './optimizer-settings.js';
import { configOf, randomModel, SIZES, type Size } from './random-model.js';
import { watchMemory } from './watch-memory.js';
import { workloadWindows } from './workload.js';

const GIB = 2 ** 30;
const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    settings: { type: 'string', default: 'bf16,fp8,nf4,bf16:24,fp8:20,nf4:14' },
    steps: { type: 'string', default: '8' },
    micro: { type: 'string', default: '2' },
    accumulation: { type: 'string', default: '4' },
    precision: { type: 'string', default: 'bf16' },
    card: { type: 'string', default: 'h200' },
    /** In a child process: its setting. */
    one: { type: 'string' },
  },
});
/** Steps in which the card loads code. */
const WARM_UP = 3;
const size = values.size as Size;
const [micro, accumulation] = [Number(values.micro), Number(values.accumulation)];
const precision = values.precision as SftConfig['precision'];
const LORA = { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] };

interface Setting {
  readonly name: string;
  readonly format: WeightFormat;
  readonly memoryBudget: number | undefined;
}

function settingOf(name: string): Setting {
  const [format, budget] = name.split(':');
  return { name, format: format as WeightFormat, memoryBudget: budget ? Number(budget) * GIB : undefined };
}

const windowsOf = (): VlmBatch[][] => workloadWindows(values.workload!, Number(values.steps), micro, accumulation);

interface Figures {
  readonly bytes: number;
  readonly secondsOfStep: number;
  readonly detail: string;
}

async function planned({ format, memoryBudget }: Setting, windows: readonly VlmBatch[][]): Promise<Figures> {
  const config = configOf(size);
  const { vision, spatialMergeSize, imageTokenId, text } = config;
  const packing = { patchSize: vision.patchSize, mergeSize: spatialMergeSize, imageTokenId, vocabSize: text.vocabSize };
  const packed = windows.map(
    (window) =>
      new PackedWindow(
        window.map((batch) => packBatch(batch, packing)),
        { sharePrefix: true },
      ),
  );
  const card = cardNamed(values.card, 'bench');
  const run = parseSftConfig({ optim: 'adamw_8bit', precision, autoMicroBatch: true });
  const model = { name: size, config, tied: SIZES[size].tied };
  const lora = new LoraConfig(LORA);
  const rehearsal = await rehearse({ model, lora, config: run, format, card, memoryBudget });
  const { engine, costs, modules } = rehearsal;
  const plans = planWindows(engine, costs, packed, run);
  const largest = largestPassOf(plans);
  const { totalBytes } = memoryOf(rehearsal, largest);
  const held = modules.textLayers.flatMap(modulesOf).filter(({ weight }) => weight.held !== undefined);
  const heldValues = held.reduce((sum, { weight }) => sum + sizeOf(weight.shape), 0);
  const { storage } = engine;
  const weightBytes = rehearsal.weightBytes + (storage.streamedBytes ?? 0);
  const timed = { weightBytes, card, format, precision, model: config, costs, storage, heldValues, imageShare: 1 };
  const times = plans.slice(WARM_UP).map((plan) => secondsOf([plan], timed));
  await engine.dispose();
  const { recompute } = largest;
  const detail =
    `${Math.max(...plans.map(({ plan }) => plan.passes.length))} passes, recomputed ${recompute.vision}+${recompute.text}, ` +
    `streamed ${((storage.streamedBytes ?? 0) / GIB).toFixed(2)} GiB`;
  return { bytes: totalBytes, secondsOfStep: median(times), detail };
}

async function measured({ format, memoryBudget }: Setting, windows: readonly VlmBatch[][]) {
  const engine = createCudaEngine(memoryBudget === undefined ? {} : { memoryBudget });
  const model = await randomModel(engine, size, undefined, { bf16: undefined, fp8: 'fp8', nf4: 'nf4' }[format]);
  const adapter = applyLora(model, LORA);
  const state = engine.createOptimizerState(adapter.parameters, 'adamw8bit');
  const times: number[] = [];
  for (const [step, window] of windows.entries()) {
    const begin = performance.now();
    const loss = await accumulateGradients(model, window, {
      labelCount: window.reduce((sum, batch) => sum + countLabels(batch), 0),
      dropoutSeeds: window.map((_, i) => step * 1000 + i),
      gradientCheckpointing: 'auto',
      autoMicroBatch: true,
      precision,
    });
    const norm = engine.optimizerStep(adapter.parameters, state, { kind: 'adamw8bit', ...OPTIMIZER_SETTINGS });
    engine.zeroGradients(adapter.parameters);
    await norm();
    await loss();
    times.push((performance.now() - begin) / 1000);
  }
  // A measurement is reused for a second.
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const { overheadBytes = 0, deviceBytes = 0, peakBytes } = engine.memory();
  await engine.dispose();
  return { secondsOfStep: median(times.slice(WARM_UP)), overheadBytes, deviceBytes, peakBytes };
}

function inProcess(setting: string): Promise<Awaited<ReturnType<typeof measured>>> {
  const others = ['size', 'workload', 'steps', 'micro', 'accumulation', 'precision'] as const;
  const given = others.flatMap((name) => (values[name] === undefined ? [] : [`--${name}`, values[name]]));
  const path = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [...process.execArgv, path, '--one', setting, ...given]);
  let text = '';
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
  });
  child.stderr.pipe(process.stderr);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const line = text.split('\n').find((one) => one.startsWith('OUTCOME '));
      if (line) resolve(JSON.parse(line.slice(8)) as Awaited<ReturnType<typeof measured>>);
      else reject(new Error(`${setting} ended with ${code}: ${text.slice(-500)}`));
    });
  });
}

const percent = (value: number): string => `${value >= 0 ? '+' : ''}${(100 * value).toFixed(1)} %`.padStart(8);

if (values.one) console.log(`OUTCOME ${JSON.stringify(await measured(settingOf(values.one), windowsOf()))}`);
else {
  console.log('setting      GiB: plan  nvidia-smi       off   ms a step: plan  measured       off');
  const windows = windowsOf();
  for (const name of values.settings.split(',').filter(Boolean)) {
    const setting = settingOf(name);
    try {
      const told = await planned(setting, windows);
      const { result, processes, card } = await watchMemory(() => inProcess(name));
      const bytes = processes > 0 ? processes : card;
      const columns = [
        name.padEnd(11),
        (told.bytes / GIB).toFixed(2).padStart(10),
        (bytes / GIB).toFixed(2).padStart(11),
        percent(told.bytes / bytes - 1).padStart(9),
        (1000 * told.secondsOfStep).toFixed(0).padStart(16),
        (1000 * result.secondsOfStep).toFixed(0).padStart(9),
        percent(told.secondsOfStep / result.secondsOfStep - 1).padStart(9),
      ];
      console.log(`${columns.join(' ')}   ${told.detail}`);
      console.log(
        `RESULT ${JSON.stringify({ bench: 'plan', size, precision, ...setting, told, processes, card, ...result })}`,
      );
    } catch (error) {
      console.log(`${name}: ${String(error).split('\n')[0]}`);
    }
  }
}
