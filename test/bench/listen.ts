/**
 * How long the embedded engine lets timers, signals of the system and aborts wait while it trains, evaluates and
 * generates: the longest times, in milliseconds.
 *
 *   npm run bench:listen -- [--size tiny|3B] [--layers N] [--seconds 5] [--tokens 200] [--threads N]
 *
 * `tiny` is the model of the example. 3B has random weights, with `--layers` fewer layers in both towers, and `--tokens`
 * of a prompt with an image of 420 × 420. A timer ticks every 5 ms, a thread sends a signal every 40 ms, and after
 * `--seconds` a timer aborts: its time counts from when it was due to when the work has ended with the reason. `busy`
 * (from Node 23.9 on) is the most that this thread computed between two ticks: what it would be on an idle machine.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { RgbImage, SftExample, VlmBatch } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { generate, generateTokens } from '../../src/model/generate.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { randomModel } from './random-model.js';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: 'tiny' },
    layers: { type: 'string' },
    seconds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '200' },
    threads: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const dir = await mkdtemp(join(tmpdir(), 'ministral-listen-'));
const engine = createCpuEngine({ threads: values.threads ? Number(values.threads) : undefined });
const NO_END = { eosTokenIds: [1_000_000] };

interface Subject {
  readonly model: VisionLanguageModel;
  readonly collate: (examples: readonly SftExample[]) => Promise<VlmBatch>;
  readonly prompts: VlmBatch;
}

async function tinySubject(): Promise<Subject> {
  const text = 'Which fracture is it: hairline, spiral, oblique, greenstick, impacted?';
  await writeTinyCheckpoint({ outputDir: join(dir, 'tiny'), seed: 1, corpus: [text] });
  const model = await loadModel(join(dir, 'tiny'), { engine });
  const processor = await loadProcessor(join(dir, 'tiny'));
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
  const [width, height] = [112, 112];
  const image: RgbImage = { width, height, data: new Uint8Array(3 * width * height).fill(77) };
  const sample: SftExample = {
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text },
          { type: 'image', image },
        ],
      },
      { role: 'assistant', content: 'hairline' },
    ],
  };
  const prompts = await collator.collatePrompts(Array(8).fill({ messages: sample.messages.slice(0, 1) }));
  return { model, prompts, collate: (examples) => collator.collate(examples.map(() => sample)) };
}

async function largeSubject(): Promise<Subject> {
  const layers = values.layers ? { text: Number(values.layers), vision: Number(values.layers) } : undefined;
  const model = await randomModel(engine, '3B', layers);
  const cells = 15;
  const ids = Array.from({ length: Number(values.tokens) }, (_, i) => 1000 + ((i * 7919) % 100_000));
  for (let row = 0; row < cells; row++) ids.push(...Array(cells).fill(10), row + 1 < cells ? 12 : 13);
  const answer = [5000, 6000, 7000, 2];
  const side = 28 * cells;
  const batchOf = (tokens: number[], labels?: number[]): VlmBatch => {
    const shape = [1, tokens.length];
    return {
      inputIds: { data: Int32Array.from(tokens), shape },
      attentionMask: { data: new Int32Array(tokens.length).fill(1), shape },
      ...(labels && { labels: { data: Int32Array.from(labels), shape } }),
      pixelValues: { data: new Float32Array(3 * side * side).fill(0.3), shape: [1, 3, side, side] },
      imageSizes: { data: Int32Array.of(side, side), shape: [1, 2] },
    };
  };
  const batch = batchOf([...ids, ...answer], [...ids.map(() => -100), ...answer]);
  return { model, prompts: batchOf(ids), collate: async () => batch };
}

/** Processor time of this thread; 0 where Node does not tell it. */
function threadMilliseconds(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage };
  const { user, system } = threadCpuUsage?.call(process) ?? { user: 0, system: 0 };
  return (user + system) / 1000;
}

/** Runs the work again and again until the abort is heard, and prints the longest waits. */
async function measure(what: string, work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const controller = new AbortController();
  const waits = { timer: 0, signal: 0, abort: 0, busy: 0 };
  const sent = new BigInt64Array(new SharedArrayBuffer(8));
  const now = process.hrtime.bigint;
  const since = (start: bigint): number => Number(now() - start) / 1e6;
  const heard = (): void => {
    const start = Atomics.exchange(sent, 0, 0n);
    if (start) waits.signal = Math.max(waits.signal, since(start));
  };
  process.on('SIGUSR2', heard);
  const sender = new Worker(
    `const { workerData: sent } = require('node:worker_threads');
    setInterval(() => {
      if (Atomics.compareExchange(sent, 0, 0n, process.hrtime.bigint()) === 0n) process.kill(process.pid, 'SIGUSR2');
    }, 40);`,
    { eval: true, workerData: sent },
  );
  let due = now() + 5_000_000n;
  let used = threadMilliseconds();
  const tick = (): void => {
    waits.busy = Math.max(waits.busy, threadMilliseconds() - used);
    used = threadMilliseconds();
    waits.timer = Math.max(waits.timer, since(due));
    due = now() + 5_000_000n;
    timer = setTimeout(tick, 5);
  };
  let timer = setTimeout(tick, 5);
  const abortAt = now() + BigInt(Math.round(seconds * 1e9));
  const reason = new Error('enough');
  setTimeout(() => controller.abort(reason), 1000 * seconds);
  let rounds = 0;
  try {
    for (; ; rounds++) await work(controller.signal);
  } catch (error) {
    if (error !== reason) throw error;
  }
  waits.abort = since(abortAt);
  clearTimeout(timer);
  await sender.terminate();
  process.off('SIGUSR2', heard);
  const rounded = Object.fromEntries(Object.entries(waits).map(([name, wait]) => [name, Number(wait.toFixed(1))]));
  console.log(
    `RESULT ${JSON.stringify({ bench: 'listen', size: values.size, layers: values.layers, what, ...rounded, rounds })}`,
  );
}

try {
  const { model, collate, prompts } = await (values.size === 'tiny' ? tinySubject() : largeSubject());
  console.log(`${engine.description}; ${prompts.inputIds.shape.join(' × ')} prompt tokens`);
  const adapter = applyLora(model, { r: 16, alpha: 32, targetModules: [...LAYER_PROJECTIONS] });
  const examples: SftExample[] = Array.from({ length: 64 }, (_, i) => ({
    id: String(i),
    messages: [
      { role: 'user', content: 'which' },
      { role: 'assistant', content: 'hairline' },
    ],
  }));
  const trainerOf = (evaluates: boolean): SftTrainer =>
    new SftTrainer({
      model,
      trainDataset: examples,
      evalDataset: examples,
      collator: { collate },
      config: {
        ...{ outputDir: join(dir, 'out'), progress: 'none', saveStrategy: 'no', loggingSteps: 1, maxSteps: 5000 },
        ...{ perDeviceTrainBatchSize: 4, perDeviceEvalBatchSize: 8, gradientCheckpointing: values.size !== 'tiny' },
        ...(evaluates && { evalStrategy: 'steps', evalSteps: 1 }),
      },
    });
  const evaluator = new Evaluator({
    classNames: ['hairline', 'spiral'],
    generate: async (asked, signal) => {
      await generate(model, prompts, { ...NO_END, maxNewTokens: 8, ...(signal && { signal }) });
      return asked.map(() => 'hairline');
    },
  });
  const labelled = examples.map(({ messages }) => ({ label: 0, messages }));
  const dataset = IndexedDataset.from(labelled);
  const start = performance.now();
  let first = 0;
  for await (const { sequence } of generateTokens(model, prompts, { ...NO_END, maxNewTokens: 5 })) {
    if (sequence === 0 && !first) first = performance.now();
  }
  const token = (performance.now() - first) / 4;
  console.log(`prefill ${(first - start).toFixed(0)} ms, token ${token.toFixed(1)} ms`);
  await measure('generate', (signal) => generate(model, prompts, { ...NO_END, maxNewTokens: 40, signal }));
  await measure('Evaluator', (signal) => evaluator.evaluate(dataset, { toExample: (item) => item, signal }));
  await measure('trainer.evaluate', (signal) => trainerOf(false).evaluate(undefined, signal));
  await measure('train', async (signal) => trainerOf(false).train({ signal }));
  await measure('train with evaluations', async (signal) => trainerOf(true).train({ signal }));
  adapter.dispose();
  model.dispose();
} finally {
  await engine.dispose();
  await rm(dir, { recursive: true, force: true });
}
