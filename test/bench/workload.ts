/**
 * Micro-batches with the sizes of a real data set: random tokens and pixels, real image grids and lengths. The prompt
 * before the image is the same in all samples, as it is there.
 */
import { readFileSync } from 'node:fs';
import { IndexedDataset } from '../../src/data/dataset.js';
import { withImages } from '../../src/data/pad-batch.js';
import type { Dataset, SftExample, VlmBatch } from '../../src/data/types.js';
import { MersenneTwister, randomPermutation } from '../../src/random.js';

interface Workload {
  readonly promptTokens: number;
  readonly answerTokens: readonly number[];
  /** [label, split, width, height, gridH, gridW] */
  readonly rows: readonly (readonly [number, number, number, number, number, number])[];
}

const [IMG, BREAK, END, PAD] = [10, 12, 13, 11];

/** The training rows in the order of a seed, in micro-batches. */
export function* workloadBatches(path: string, batchSize: number, seed = 42): Generator<VlmBatch> {
  const workload = JSON.parse(readFileSync(path, 'utf8')) as Workload;
  const train = workload.rows.filter((row) => row[1] === 0);
  const random = new MersenneTwister(seed);
  const prompt = [1, ...wordsOf(random, workload.promptTokens - 2)];
  const noise = Float32Array.from({ length: 1 << 20 }, () => random.nextNormal());
  for (let epoch = 0; ; epoch++) {
    const order = randomPermutation(train.length, seed + epoch);
    for (let at = 0; at < order.length; at += batchSize) {
      yield makeBatch(
        order.slice(at, at + batchSize).map((i) => train[i]!),
        workload,
        prompt,
        random,
        noise,
      );
    }
  }
}

/** The micro-batches of each optimizer step. */
export function workloadWindows(path: string, steps: number, micro: number, accumulation: number): VlmBatch[][] {
  const batches = workloadBatches(path, micro);
  return Array.from({ length: steps }, () =>
    Array.from({ length: accumulation }, () => batches.next().value as VlmBatch),
  );
}

/**
 * The training rows as a data set of their own, and what makes batches of them: the same of each sample, in whatever batch
 * and process it is asked for.
 */
export function workloadSet(path: string): {
  readonly dataset: Dataset<SftExample>;
  readonly collator: { collate(examples: readonly SftExample[]): Promise<VlmBatch> };
} {
  const workload = JSON.parse(readFileSync(path, 'utf8')) as Workload;
  const train = workload.rows.filter((row) => row[1] === 0);
  const random = new MersenneTwister(42);
  const prompt = [1, ...wordsOf(random, workload.promptTokens - 2)];
  // Of 8 bits, as pixels are.
  const noise = Float32Array.from({ length: 1 << 20 }, () => (random.nextUint32() & 255) / 64 - 2);
  const examples = train.map((_, i): SftExample => {
    return { id: String(i), messages: [{ role: 'user', content: String(i) }] };
  });
  return {
    dataset: IndexedDataset.from(examples),
    collator: {
      collate: async (chosen) => {
        const ids = chosen.map(({ id }) => id!);
        const single = ids.map((id) => {
          return makeBatch([train[Number(id)]!], workload, prompt, new MersenneTwister(1000 + Number(id)), noise);
        });
        return stacked(single, ids);
      },
    },
  };
}

/** Batches of one sample each as one, padded; its images are not, as those of `VlmCollator`. */
function stacked(single: readonly VlmBatch[], sampleIds: readonly string[]): VlmBatch {
  const width = Math.max(...single.map(({ inputIds }) => inputIds.shape[1]!));
  const rows = (of: 'inputIds' | 'attentionMask' | 'labels', padding: number) => {
    const data = new Int32Array(single.length * width).fill(padding);
    for (const [r, batch] of single.entries()) data.set(batch[of]!.data, r * width);
    return { data, shape: [single.length, width] };
  };
  const images = single.map(({ pixelValues }) => {
    const [, , height, columns] = pixelValues!.shape as [number, number, number, number];
    return { pixelValues: pixelValues!.data, height, width: columns };
  });
  const batch = {
    inputIds: rows('inputIds', PAD),
    attentionMask: rows('attentionMask', 0),
    labels: rows('labels', -100),
    sampleIds,
  };
  return withImages(batch, images);
}

function wordsOf(random: MersenneTwister, count: number): number[] {
  return Array.from({ length: count }, () => 1000 + (random.nextUint32() % 129000));
}

function makeBatch(
  rows: readonly Workload['rows'][number][],
  workload: Workload,
  before: readonly number[],
  random: MersenneTwister,
  noise: Float32Array,
): VlmBatch {
  const sequences = rows.map(([label, , , , gridH, gridW]) => {
    const image: number[] = [];
    for (let r = 0; r < gridH; r++) {
      for (let c = 0; c < gridW; c++) image.push(IMG);
      image.push(r + 1 < gridH ? BREAK : END);
    }
    const prompt = [...before, ...image, ...wordsOf(random, 1)];
    return { prompt, answer: wordsOf(random, workload.answerTokens[label]!) };
  });
  const width = Math.max(...sequences.map(({ prompt, answer }) => prompt.length + answer.length));
  const size = rows.length * width;
  const inputIds = new Int32Array(size).fill(PAD);
  const attentionMask = new Int32Array(size);
  const labels = new Int32Array(size).fill(-100);
  for (const [b, { prompt, answer }] of sequences.entries()) {
    const ids = [...prompt, ...answer];
    inputIds.set(ids, b * width);
    attentionMask.fill(1, b * width, b * width + ids.length);
    // As the peer counts: every text token is learned, image cells are not.
    for (const [t, id] of ids.entries()) if (id !== IMG) labels[b * width + t] = id;
  }
  const [h, w] = [Math.max(...rows.map((row) => row[4])) * 28, Math.max(...rows.map((row) => row[5])) * 28];
  const pixels = new Float32Array(rows.length * 3 * h * w);
  let offset = random.nextUint32() % noise.length;
  for (const [n, row] of rows.entries()) {
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < row[4] * 28; y++) {
        const at = ((n * 3 + c) * h + y) * w;
        for (let x = 0; x < row[5] * 28; x++) pixels[at + x] = noise[offset++ & (noise.length - 1)]!;
      }
    }
  }
  const shape = [rows.length, width];
  return {
    inputIds: { data: inputIds, shape },
    attentionMask: { data: attentionMask, shape },
    labels: { data: labels, shape },
    pixelValues: { data: pixels, shape: [rows.length, 3, h, w] },
    imageSizes: { data: Int32Array.from(rows.flatMap((row) => [row[4] * 28, row[5] * 28])), shape: [rows.length, 2] },
  };
}
