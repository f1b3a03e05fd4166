/** What shows the package without data, weights or a card: drawn images, a tiny random model, and what it learns well with. */
import { join } from 'node:path';
import { z } from 'zod';
import { callback, lazySchema, parseOptions, pathOption } from '../config.js';
import { classPrompt } from '../data/class-example.js';
import { requireOneObject } from '../require-given.js';
import type { SftConfigInput } from '../train/sft-config.js';
import { DEMONSTRATION_SEED, drawRadiographs, FRACTURE_CLASSES } from './radiographs.js';
import { writeTinyCheckpoint } from './tiny-checkpoint.js';

/**
 * Training options that the tiny model learns well with. It starts from random weights, so it needs a higher rate and more
 * passes than a pretrained one.
 */
export const DEMONSTRATION_CONFIG = {
  numTrainEpochs: 2,
  perDeviceTrainBatchSize: 8,
  gradientAccumulationSteps: 1,
  learningRate: 2e-3,
} satisfies SftConfigInput;

export const TRAIN_PER_CLASS = 240;
const TEST_PER_CLASS = 20;

/** Options of {@link prepareDemonstration}. */
export interface DemonstrationOptions {
  /** Folder that receives everything; made if it does not exist. Required. */
  readonly outputDir: string;
  /** Whether to draw the images. Default: true. */
  readonly data?: boolean | undefined;
  /** Whether to make the model. Default: true. */
  readonly model?: boolean | undefined;
  /** Training images of each of the ten classes; with fewer than the default it learns less. Default: 240. */
  readonly trainPerClass?: number | undefined;
  /** Test images of each class. Default: 20. */
  readonly testPerClass?: number | undefined;
  /** The question that the model will be asked, for its vocabulary. Default: the plain prompt for class folders. */
  readonly prompt?: string | undefined;
  /** Of images and weights: a whole number from 0. Default: 42. */
  readonly seed?: number | undefined;
  /** Receives what was made, a line each. Default: nothing is said. */
  readonly onNote?: ((line: string) => void) | undefined;
}

/** What {@link prepareDemonstration} made. */
export interface Demonstration {
  /** Folder of images, `<class>/{Train,Test}/*.png`; with `data: false` it is not made. */
  readonly data: string;
  /** Folder of the checkpoint; with `model: false` it is not made. */
  readonly model: string;
}

const schema = lazySchema(() =>
  z.strictObject({
    outputDir: pathOption(),
    data: z.boolean().optional(),
    model: z.boolean().optional(),
    trainPerClass: z.int().positive().optional(),
    testPerClass: z.int().positive().optional(),
    prompt: z.string().optional(),
    seed: z.int().min(0).optional(),
    onNote: callback<string>().optional(),
  } satisfies Record<keyof DemonstrationOptions, z.ZodType>),
);

const ALIASES: Readonly<Record<string, string>> = { dir: 'outputDir', out: 'outputDir', folder: 'outputDir' };

/**
 * Draws a data set and makes a tiny model for it, so that everything can be tried without a download, an account or a card.
 *
 * ```ts
 * const { data, model } = await prepareDemonstration({ outputDir: 'demonstration' });
 * const images = await ImageFolder.load(data);
 * const pretrained = await fromPretrained(model);
 * ```
 * @returns the folders
 * @throws ConfigError for wrong options, or if sharp, which writes images, cannot be loaded
 */
export async function prepareDemonstration(options: DemonstrationOptions): Promise<Demonstration> {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'prepareDemonstration', 'await prepareDemonstration({ outputDir })');
  const parsed = parseOptions(schema, options, 'prepareDemonstration', ALIASES);
  const { outputDir, trainPerClass = TRAIN_PER_CLASS, testPerClass = TEST_PER_CLASS, onNote } = parsed;
  const { seed = DEMONSTRATION_SEED, prompt = classPrompt(FRACTURE_CLASSES) } = parsed;
  const folders = {
    data: join(outputDir, `synthetic-radiographs-${trainPerClass}-${testPerClass}`),
    model: join(outputDir, 'tiny-model'),
  };
  if (parsed.data !== false) {
    await drawRadiographs({ outputDir: folders.data, seed, trainPerClass, testPerClass });
    onNote?.(`drew ${FRACTURE_CLASSES.length} × (${trainPerClass} + ${testPerClass}) images into ${folders.data}`);
  }
  if (parsed.model !== false) {
    await writeTinyCheckpoint({ outputDir: folders.model, seed, corpus: [prompt, ...FRACTURE_CLASSES] });
    onNote?.(`made a tiny model of random weights in ${folders.model}`);
  }
  return folders;
}
