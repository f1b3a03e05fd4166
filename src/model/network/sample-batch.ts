/** A small batch that has in it what training batches have: images, a common prefix, labels. */
import { IGNORE_INDEX, type VlmBatch } from '../../data/types.js';
import type { ModelConfig } from '../model-config.js';

const SAMPLES = 2;
/** Image tokens along each side. */
const SIDE = 8;
/** Rows of tokens, patches and labels are in proportions as in real data, where images take most. */
const PROMPT = 4;
const ANSWER = 16;

/** Two samples of which the second has another answer to the same image. */
export function sampleBatch({ text, vision, imageTokenId, spatialMergeSize }: ModelConfig): VlmBatch {
  const word = (i: number): number => {
    const id = i % text.vocabSize;
    return id === imageTokenId ? (id + 1) % text.vocabSize : id;
  };
  const image = SIDE * SIDE;
  const columns = PROMPT + image + ANSWER;
  const shape = [SAMPLES, columns];
  const inputIds = new Int32Array(SAMPLES * columns);
  const labels = new Int32Array(SAMPLES * columns).fill(IGNORE_INDEX);
  for (let sample = 0; sample < SAMPLES; sample++) {
    const ids = inputIds.subarray(sample * columns, (sample + 1) * columns).fill(imageTokenId, PROMPT);
    for (let i = 0; i < PROMPT; i++) ids[i] = word(i);
    for (let i = 0; i < ANSWER; i++) ids[PROMPT + image + i] = word(1 + sample + 2 * i);
    labels.set(ids.subarray(PROMPT + image), sample * columns + PROMPT + image);
  }
  const pixels = SIDE * spatialMergeSize * vision.patchSize;
  return {
    inputIds: { data: inputIds, shape },
    attentionMask: { data: new Int32Array(SAMPLES * columns).fill(1), shape },
    labels: { data: labels, shape },
    pixelValues: { data: new Float32Array(SAMPLES * 3 * pixels * pixels), shape: [SAMPLES, 3, pixels, pixels] },
    imageSizes: { data: new Int32Array(SAMPLES * 2).fill(pixels), shape: [SAMPLES, 2] },
  };
}
