/** Runs that must learn: a handful of drawn radiographs until their loss is gone, and the demonstration of the example. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { RgbImage, SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { DEMONSTRATION_CONFIG } from '../../src/demo/demonstration.js';
import { drawRadiograph, FRACTURE_CLASSES, RADIOGRAPH_HEIGHT, RADIOGRAPH_WIDTH } from '../../src/demo/radiographs.js';
import type { Precision } from '../../src/engine/operations.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { generateText } from '../../src/model/generate.js';
import type { ModelProcessor } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';

export const OVERFIT_PROMPT = `Which fracture is it? Answer with one of: ${FRACTURE_CLASSES.join(', ')}.`;

/** Grey levels as an image of three equal channels. */
export function imageOf(grey: Uint8Array): RgbImage {
  const data = Uint8Array.from({ length: 3 * grey.length }, (_value, at) => grey[Math.floor(at / 3)]!);
  return { width: RADIOGRAPH_WIDTH, height: RADIOGRAPH_HEIGHT, data };
}

export function exampleOf(id: string, prompt: string, image: RgbImage, className: string): SftExample {
  const question = [
    { type: 'text' as const, text: prompt },
    { type: 'image' as const, image },
  ];
  return {
    id,
    messages: [
      { role: 'user', content: question },
      { role: 'assistant', content: [{ type: 'text', text: className }] },
    ],
  };
}

export interface LearningRun {
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  /** Of the adapter's float32 values. */
  readonly adapterHash: string;
  readonly seconds: number;
}

interface Parts {
  readonly model: VisionLanguageModel;
  readonly samples: readonly SftExample[];
  readonly collator: VlmCollator;
  readonly config: SftConfigInput;
}

async function learn(adapter: LoraAdapter, { model, samples, collator, config }: Parts): Promise<LearningRun> {
  const trainer = new SftTrainer({ model, trainDataset: IndexedDataset.from(samples), collator, config });
  const losses: number[] = [];
  const gradNorms: number[] = [];
  const start = performance.now();
  for await (const event of trainer.train()) {
    if (event.type !== 'step') continue;
    losses.push(event.loss);
    gradNorms.push(event.gradNorm);
  }
  const seconds = (performance.now() - start) / 1000;
  const values = await model.engine.readParameters(adapter.parameters);
  const adapterHash = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
  return { losses, gradNorms, adapterHash, seconds };
}

function newAdapter(model: VisionLanguageModel): LoraAdapter {
  return applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
}

/** Settings of runs that are compared. */
export interface ComparedSettings {
  readonly precision?: Precision | undefined;
  readonly sharePrefix?: boolean | undefined;
}

export interface OverfitOptions {
  readonly processor: ModelProcessor;
  /** For what the run writes. */
  readonly dir: string;
  readonly seed: number;
  /** An even count. Default 8. */
  readonly samples?: number;
  readonly config: ComparedSettings & { readonly maxSteps: number; readonly learningRate: number };
}

/** The same few samples again and again, with a new adapter that is gone afterwards. */
export async function overfit(model: VisionLanguageModel, options: OverfitOptions): Promise<LearningRun> {
  const { processor, dir, seed, samples: count = 8, config } = options;
  const adapter = newAdapter(model);
  const samples = Array.from({ length: count }, (_, i) => {
    const className = FRACTURE_CLASSES[i % FRACTURE_CLASSES.length]!;
    return exampleOf(
      `${i} ${className}`,
      OVERFIT_PROMPT,
      imageOf(drawRadiograph(className, 100 * seed + i)),
      className,
    );
  });
  const run = await learn(adapter, {
    model,
    samples,
    collator: new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! }),
    config: {
      outputDir: join(dir, 'overfit'),
      perDeviceTrainBatchSize: 2,
      gradientAccumulationSteps: count / 2,
      lrSchedulerType: 'constant',
      optim: 'adamw_8bit',
      saveStrategy: 'no',
      progress: 'none',
      gradientCheckpointing: false,
      seed,
      ...config,
    },
  });
  adapter.dispose();
  return run;
}

export interface DemonstrationParts {
  readonly train: readonly SftExample[];
  readonly test: readonly SftExample[];
  /** Names of the true classes of `test`. */
  readonly testClasses: readonly string[];
  readonly collator: VlmCollator;
  readonly processor: ModelProcessor;
  readonly dir: string;
  readonly config: ComparedSettings & { readonly seed?: number };
}

/** Trains as the example does without options, and asks the model for the class of each test sample. */
export async function demonstrate(
  model: VisionLanguageModel,
  { train, test, testClasses, collator, processor, dir, config }: DemonstrationParts,
): Promise<LearningRun & { readonly accuracy: number }> {
  const settings = DEMONSTRATION_CONFIG;
  const adapter = newAdapter(model);
  const steps = (settings.numTrainEpochs * train.length) / settings.perDeviceTrainBatchSize;
  const run = await learn(adapter, {
    model,
    samples: train,
    collator,
    config: {
      ...settings,
      outputDir: join(dir, 'demonstration'),
      warmupSteps: Math.min(25, Math.floor(steps / 2)),
      autoMicroBatch: true,
      optim: 'adamw_8bit',
      lrSchedulerType: 'linear',
      maxGradNorm: 0.3,
      saveStrategy: 'no',
      progress: 'none',
      ...config,
    },
  });
  const sharePrefix = config.sharePrefix ?? true;
  const evaluator = new Evaluator({
    classNames: FRACTURE_CLASSES,
    batchSize: 50,
    generate: async (examples) => {
      const prompts = await collator.collatePrompts(examples);
      return generateText(model, processor.tokenizer, prompts, { maxNewTokens: 12, sharePrefix });
    },
  });
  const asked = test.map((example, i) => ({ example, label: FRACTURE_CLASSES.indexOf(testClasses[i]!) }));
  const { accuracy } = await evaluator.evaluate(IndexedDataset.from(asked), { toExample: ({ example }) => example });
  adapter.dispose();
  return { ...run, accuracy };
}

/** What differs between two runs, or '' if nothing does. */
export function difference(a: LearningRun, b: LearningRun): string {
  const step = a.losses.findIndex((loss, i) => loss !== b.losses[i]);
  if (step >= 0) return `the losses part at step ${step + 1}: ${a.losses[step]} and ${b.losses[step]}`;
  const norm = a.gradNorms.findIndex((value, i) => value !== b.gradNorms[i]);
  if (norm >= 0) return `the gradient norms part at step ${norm + 1}: ${a.gradNorms[norm]} and ${b.gradNorms[norm]}`;
  return a.adapterHash === b.adapterHash ? '' : `the adapters differ after ${a.losses.length} equal losses`;
}
