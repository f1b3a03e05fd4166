/** The embedded default of the example: images drawn on the spot, a tiny random model, and what it learns well with. */
import { join } from 'node:path';
import { drawSyntheticRadiographs, FRACTURE_CLASSES } from './synthetic-radiographs.js';
import { writeTinyCheckpoint } from './tiny-checkpoint.js';

/**
 * In place of the tutorial's settings: a random model starts from nothing, so it needs a higher rate and more passes
 * than a pretrained one.
 */
export const DEMONSTRATION = {
  numTrainEpochs: 2,
  perDeviceTrainBatchSize: 8,
  gradientAccumulationSteps: 1,
  learningRate: 2e-3,
  maxNewTokens: 12,
};

/** Seed of the images and of the weights. */
export const SEED = 42;
export const TRAIN_PER_CLASS = 240;
const TEST_PER_CLASS = 20;

export interface DemonstrationOptions {
  /** Whether to draw the data, and whether to make the model. */
  data: boolean;
  model: boolean;
  prompt: (classNames: readonly string[]) => string;
}

/** Makes what is asked for below `out`; gives the folders. */
export async function prepareDemonstration(
  out: string,
  options: DemonstrationOptions,
): Promise<{ data: string; model: string }> {
  const name = `synthetic-radiographs-${TRAIN_PER_CLASS}-${TEST_PER_CLASS}`;
  const folders = { data: join(out, name), model: join(out, 'tiny-model') };
  if (options.data) {
    await drawSyntheticRadiographs({
      dir: folders.data,
      seed: SEED,
      trainPerClass: TRAIN_PER_CLASS,
      testPerClass: TEST_PER_CLASS,
    });
    console.log(
      `drew ${FRACTURE_CLASSES.length} × (${TRAIN_PER_CLASS} + ${TEST_PER_CLASS}) images into ${folders.data}`,
    );
  }
  if (options.model) {
    const corpus = [options.prompt(FRACTURE_CLASSES), ...FRACTURE_CLASSES];
    await writeTinyCheckpoint({ dir: folders.model, seed: SEED, corpus });
    console.log(`made a tiny model of random weights in ${folders.model}`);
  }
  return folders;
}
