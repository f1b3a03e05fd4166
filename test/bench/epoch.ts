/**
 * One epoch over a folder of real pictures, from JPEG files to optimizer steps, as the tutorial trains: how fast, how
 * much of the time goes by waiting for data, and whether memory stays where it is.
 *
 *   npm run bench:epoch -- --data DIR [--size 14B | 8B | 3B | tiny] [--tokenizer DIR] [--engine cuda] [--limit N]
 *                          [--workers N] [--prefetch N] [--checkpointing] [--tokens-per-pass N] [--budget GIB]
 *                          [--precision bf16|fp8-backward|fp8] [--quantization nf4 | fp8]
 *
 * --data       <Class>/{Train,Test}/* at any depth, as on Kaggle; the training split is used
 * --size       random weights in a real shape, with pictures of up to 1540 pixels; or the example's tiny checkpoint
 * --tokenizer  folder with tokenizer.json and tokenizer_config.json of the real model (default: the example's tiny one,
 *              which makes other numbers of text tokens)
 *
 * Prints a line every 20 steps and a RESULT line. The first steps include compiling kernels and choosing algorithms.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { ImagePool } from '../../src/data/image-pool.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { KaggleImageFolder } from '../../src/data/kaggle-image-folder.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import type { Precision } from '../../src/engine/operations.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import type { LogEntry } from '../../src/train/events.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { randomModel, type Size } from './random-model.js';

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    size: { type: 'string', default: '14B' },
    tokenizer: { type: 'string' },
    engine: { type: 'string', default: 'cuda' },
    limit: { type: 'string' },
    workers: { type: 'string' },
    prefetch: { type: 'string' },
    checkpointing: { type: 'boolean', default: false },
    'tokens-per-pass': { type: 'string' },
    budget: { type: 'string' },
    precision: { type: 'string', default: 'bf16' },
    quantization: { type: 'string' },
  },
});
if (!options.data) {
  console.error('usage: npm run bench:epoch -- --data DIR   (a folder <Class>/{Train,Test}/*)');
  process.exit(2);
}
const BATCH = 2;
const ACCUMULATION = 4;
const LOG_EVERY = 20;
const gib = (bytes: number): number => Number((bytes / 2 ** 30).toFixed(3));

const engine = await createEngine(options.engine as EngineChoice, {
  cuda: {
    ...(options['tokens-per-pass'] ? { tokensPerPass: Number(options['tokens-per-pass']) } : {}),
    ...(options.budget ? { memoryBudget: Number(options.budget) * 2 ** 30 } : {}),
  },
});
console.log(engine.description);
const scanStart = performance.now();
const data = await KaggleImageFolder.fromFolder(options.data);
const count = Math.min(data.train.length, Number(options.limit ?? data.train.length));
const train = data.train.select(Array.from({ length: count }, (_, i) => i));
console.log(
  `${count} of ${data.train.length} training pictures in ${data.classNames.length} classes, found in ` +
    `${((performance.now() - scanStart) / 1000).toFixed(1)} s`,
);
const classes = data.classNames.join(', ');
const prompt = [
  'You are a radiology assistant specialised in bone fracture classification.',
  `You must classify the X-ray image into exactly ONE of the following classes:\n${classes}`,
  'Rules:\n- Reply with ONLY the class name.\n- No explanations, no extra words, no markdown, no punctuation.',
  `- Output must be EXACTLY one of: ${classes}`,
].join('\n');

const work = await mkdtemp(join(tmpdir(), 'epoch-'));
try {
  await writeTinyCheckpoint({ outputDir: work, seed: 1, corpus: [prompt, ...data.classNames] });
  const isTiny = options.size === 'tiny';
  const loadStart = performance.now();
  const model = isTiny
    ? await loadModel(work, { engine })
    : await randomModel(engine, options.size as Size, undefined, options.quantization);
  const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
  console.log(`${adapter.description}; loaded in ${((performance.now() - loadStart) / 1000).toFixed(1)} s`);
  const tokenizer = await MinistralTokenizer.fromFolder(options.tokenizer ?? work);
  const { bosToken, eosToken } = tokenizer;
  const imageProcessor = isTiny
    ? (await loadProcessor(work)).imageProcessor
    : new ImageProcessor({ longestEdge: 1540, patchSize: 14, spatialMergeSize: 2 });
  await using imagePool = new ImagePool(imageProcessor, options.workers ? { workers: Number(options.workers) } : {});
  const chatTemplate = new ChatTemplate(TUTORIAL_TEMPLATE, { bosToken, eosToken });
  // The tutorial's collator labels all text.
  const collator = new VlmCollator({ tokenizer, chatTemplate, imageProcessor, imagePool, maskPrompt: false });
  const steps = Math.ceil(count / (BATCH * ACCUMULATION));
  const trainer = new SftTrainer({
    model,
    collator,
    trainDataset: train.map(({ path, image, className }) => ({
      id: path,
      messages: [
        {
          role: 'user' as const,
          content: [
            { type: 'text' as const, text: prompt },
            { type: 'image' as const, image },
          ],
        },
        { role: 'assistant' as const, content: [{ type: 'text' as const, text: className }] },
      ],
    })),
    config: {
      outputDir: join(work, 'run'),
      numTrainEpochs: 1,
      perDeviceTrainBatchSize: BATCH,
      gradientAccumulationSteps: ACCUMULATION,
      optim: 'adamw_8bit',
      precision: options.precision as Precision,
      learningRate: 2e-4,
      warmupSteps: 25,
      maxGradNorm: 0.3,
      loggingSteps: Math.min(LOG_EVERY, steps),
      saveStrategy: 'no',
      progress: 'none',
      gradientCheckpointing: options.checkpointing || 'auto',
      ...(options.prefetch ? { dataloaderPrefetch: Number(options.prefetch) } : {}),
    },
  });
  const logs: LogEntry[] = [];
  const memory: { step: number; peakGiB: number; residentGiB: number }[] = [];
  const note = (step: number): void => {
    memory.push({ step, peakGiB: gib(engine.memory().peakBytes), residentGiB: gib(process.memoryUsage.rss()) });
  };
  const losses: number[] = [];
  const run = trainer.train();
  for await (const event of run) {
    if (event.type === 'step') losses.push(event.loss);
    if (event.type !== 'log') continue;
    logs.push(event);
    note(event.step);
    const { step, loss, seconds, tokensPerSecond, dataWaitShare } = event;
    const { peakGiB, residentGiB } = memory.at(-1)!;
    console.log(
      `step ${step}/${steps}: loss ${loss.toFixed(4)}, ${tokensPerSecond.toFixed(0)} tokens/s, ${seconds.toFixed(2)} s, ` +
        `waiting for data ${(100 * dataWaitShare).toFixed(2)} %, peak ${peakGiB} GiB, resident ${residentGiB} GiB`,
    );
  }
  const { metrics } = await run;
  note(steps);
  const waited = (entries: readonly LogEntry[]): number => {
    const seconds = entries.reduce((sum, entry) => sum + entry.seconds, 0);
    return entries.reduce((sum, entry) => sum + entry.dataWaitShare * entry.seconds, 0) / seconds;
  };
  const later = logs.slice(1);
  const laterSeconds = later.reduce((sum, { seconds }) => sum + seconds, 0);
  console.log(
    `RESULT ${JSON.stringify({
      bench: 'epoch',
      engine: engine.name,
      size: options.size,
      tokenizer: options.tokenizer ? 'given' : 'tiny',
      samples: count,
      epochSeconds: metrics.trainRuntime,
      samplesPerSecond: metrics.trainSamplesPerSecond,
      tokensPerSecond: metrics.trainTokensPerSecond,
      ...(later.length > 0
        ? {
            samplesPerSecondAfterFirstLog: (later.length * LOG_EVERY * BATCH * ACCUMULATION) / laterSeconds,
            waitShareAfterFirstLog: waited(later),
          }
        : {}),
      waitShare: waited(logs),
      memoryEarly: memory[0],
      memoryEnd: memory.at(-1),
      firstLoss: losses[0],
      lastLoss: losses.at(-1),
    })}`,
  );
  adapter.dispose();
  model.dispose();
  await engine.dispose();
} finally {
  await rm(work, { recursive: true, force: true });
}
