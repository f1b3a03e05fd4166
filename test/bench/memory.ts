/**
 * Does memory stay flat? Training steps of the tiny model with checkpoints, then evaluations: loss, and answers.
 *
 *   node --expose-gc --import tsx test/bench/memory.ts [--engine cpu|cuda] [--steps 200] [--evaluations 100]
 *                                                      [--checkpoint DIR]
 *
 * Without --checkpoint the tiny model of the tests is used. Pictures are read from files, through the loader, as in a real
 * run. Prints a line every 20 steps or evaluations and a RESULT line, and fails if the engine's bytes, the heap after
 * a collection or the resident memory grow from step 20 to the end by more than the allowance that is printed.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { IndexedDataset } from '../../src/data/dataset.js';
import { ImageFile } from '../../src/data/decode-image.js';
import { ImagePool } from '../../src/data/image-pool.js';
import type { RgbImage, SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { generateText } from '../../src/model/generate.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { ANSWERS, makeExamples, writeTinyModel } from '../e2e/tiny-model.js';

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'cpu' },
    steps: { type: 'string', default: '200' },
    evaluations: { type: 'string', default: '100' },
    checkpoint: { type: 'string' },
  },
});
const steps = Number(values.steps);
const evaluations = Number(values.evaluations);
if (!globalThis.gc) throw new Error('run with node --expose-gc: the heap is measured after a collection');
const collectGarbage = globalThis.gc;
/** Growth that is let pass, in bytes: noise of the heap, and of what the allocator keeps of freed pages. */
const ALLOWED = { engine: 0, heap: 2 * 2 ** 20, external: 4 * 2 ** 20, rss: 32 * 2 ** 20 };

const dir = await mkdtemp(join(tmpdir(), 'memory-'));
const checkpoint = values.checkpoint ?? join(dir, 'model');
if (!values.checkpoint) await writeTinyModel(checkpoint);
const examples = await writePictures(makeExamples(32), join(dir, 'pictures'));
const engine = await createEngine(values.engine as EngineChoice);
console.log(engine.description);
const model = await loadModel(checkpoint, { engine });
const { tokenizer, chatTemplate, imageProcessor } = await loadProcessor(checkpoint);
const imagePool = new ImagePool(imageProcessor, { workers: 1 });
const collator = new VlmCollator({ tokenizer, chatTemplate: chatTemplate!, imageProcessor, imagePool });
const adapter = applyLora(model, { r: 8, alpha: 16, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
const evaluator = new Evaluator({
  classNames: ANSWERS,
  batchSize: 4,
  generate: async (prompts) =>
    generateText(model, tokenizer, await collator.collatePrompts(prompts), { maxNewTokens: 6 }),
});
const labelled = IndexedDataset.from(
  examples.slice(0, 8).map((example, i) => ({ example, label: i % ANSWERS.length })),
);

type Memory = Record<keyof typeof ALLOWED, number>;
/** Twice, because finalizers free more; and late enough that the loader and the log are at rest. */
async function measure(what: string): Promise<Memory> {
  for (let i = 0; i < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    collectGarbage();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  const memory = { engine: engine.memory().bytesInUse, heap: heapUsed, external, rss };
  const shown = Object.entries(memory).map(([name, bytes]) => `${name} ${(bytes / 2 ** 20).toFixed(2)}`);
  console.log(`${what.padEnd(16)} ${shown.join('  ')} MiB`);
  return memory;
}

const trainer = new SftTrainer({
  model,
  trainDataset: IndexedDataset.from(examples),
  evalDataset: IndexedDataset.from(examples.slice(0, 8)),
  collator,
  saveAdapter: (directory) => saveAdapter(adapter, directory),
  config: {
    outputDir: join(dir, 'out'),
    progress: 'none',
    maxSteps: steps,
    perDeviceTrainBatchSize: 2,
    gradientAccumulationSteps: 2,
    perDeviceEvalBatchSize: 4,
    optim: 'adamw_8bit',
    learningRate: 1e-4,
    loggingSteps: 10,
    evalStrategy: 'steps',
    evalSteps: 20,
    saveSteps: 20,
    saveTotalLimit: 2,
    onNonFiniteLoss: 'skip',
  },
  // Called between two steps, when nothing is under way: the place to measure.
  computeMetrics: async () => {
    trained.push(await measure(`step ${20 * (trained.length + 1)}`));
    return {};
  },
});
const trained: Memory[] = [];
await trainer.train();

const evaluated: Memory[] = [];
for (let i = 1; i <= evaluations; i++) {
  // Half of them losses over the set, half answers.
  if (i % 2 === 1) await trainer.evaluate(IndexedDataset.from(examples.slice(0, 8)));
  else await evaluator.evaluate(labelled, { toExample: ({ example }) => example });
  if (i % 20 === 0) evaluated.push(await measure(`evaluation ${i}`));
}

const growth = (list: readonly Memory[], from: Memory = list[0]!): Memory => {
  const last = list.at(-1)!;
  const entries = Object.keys(ALLOWED).map((name) => {
    return [name, last[name as keyof Memory] - from[name as keyof Memory]];
  });
  return Object.fromEntries(entries) as Memory;
};
const inTraining = growth(trained);
const inEvaluation = growth(evaluated);
const grown = ([what, memory]: [string, Memory]): string[] => {
  return Object.entries(ALLOWED).flatMap(([name, allowed]) => {
    const bytes = memory[name as keyof Memory];
    return bytes > allowed ? [`${name} grew by ${bytes} bytes in ${what}, allowed are ${allowed}`] : [];
  });
};
const faults = [
  ...grown([`training, step 20 to ${steps}`, inTraining]),
  ...grown([`evaluation, 20 to ${evaluations}`, inEvaluation]),
];
console.log(
  `RESULT ${JSON.stringify({
    ...{ bench: 'memory', engine: engine.name, steps, evaluations },
    ...{ after20Steps: trained[0], afterTraining: trained.at(-1), afterEvaluation: evaluated.at(-1) },
    ...{ inTraining, inEvaluation, allowed: ALLOWED, isFlat: faults.length === 0 },
  })}`,
);
await imagePool.close();
model.dispose();
await engine.dispose();
await rm(dir, { recursive: true, force: true });
if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exitCode = 1;
}

/** The same examples with their pictures in files. */
async function writePictures(given: readonly SftExample[], into: string): Promise<SftExample[]> {
  await mkdir(into, { recursive: true });
  return Promise.all(
    given.map(async (example, i) => {
      const path = join(into, `${i}.png`);
      const messages = await Promise.all(
        example.messages.map(async ({ role, content }) => {
          if (typeof content === 'string') return { role, content };
          const parts = content.map(async (part) => {
            if (part.type !== 'image') return part;
            const { width, height, data } = part.image as RgbImage;
            await sharp(data, { raw: { width, height, channels: 3 } })
              .png()
              .toFile(path);
            return { type: 'image' as const, image: new ImageFile(path) };
          });
          return { role, content: await Promise.all(parts) };
        }),
      );
      return { ...example, messages };
    }),
  );
}
