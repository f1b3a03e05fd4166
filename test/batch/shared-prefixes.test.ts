import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PackedBatch } from '../../src/batch/packed-batch.js';
import { joinPacked, packBatch } from '../../src/batch/packed-batch.js';
import { PackedWindow, sharePrefixes, splitPacked } from '../../src/batch/packed-window.js';
import type { VlmBatch } from '../../src/data/types.js';

const IMAGE = 3;
const OPTIONS = { patchSize: 1, mergeSize: 2, imageTokenId: IMAGE, vocabSize: 100 };

interface Sample {
  readonly ids: readonly number[];
  /** Token ids; -100 for none. Default: none. */
  readonly labels?: readonly number[];
  /** Rows and columns of cells, and the value of all pixels. */
  readonly images?: readonly (readonly [number, number, number])[];
}

function batchOf(samples: readonly Sample[], side: 'left' | 'right' = 'right'): VlmBatch {
  const columns = Math.max(...samples.map(({ ids }) => ids.length));
  const fill = (value: number, pick: (sample: Sample) => readonly number[]) => {
    const data = new Int32Array(samples.length * columns).fill(value);
    for (const [b, sample] of samples.entries()) {
      data.set(pick(sample), b * columns + (side === 'left' ? columns - sample.ids.length : 0));
    }
    return { data, shape: [samples.length, columns] };
  };
  const images = samples.flatMap((sample) => sample.images ?? []);
  const [height, width] = [0, 1].map((at) => 2 * Math.max(...images.map((image) => image[at]!))) as [number, number];
  const pixels = new Float32Array(images.length * 3 * Math.max(0, height * width));
  for (const [n, [rows, cells, value]] of images.entries()) {
    for (let c = 0; c < 3; c++) {
      // What lies beyond the image is padding, and differs.
      for (let i = 0; i < height * width; i++) {
        const isInside = Math.floor(i / width) < 2 * rows && i % width < 2 * cells;
        pixels[(n * 3 + c) * height * width + i] = isInside ? value : n;
      }
    }
  }
  return {
    inputIds: fill(0, ({ ids }) => ids),
    attentionMask: fill(0, ({ ids }) => ids.map(() => 1)),
    labels: fill(-100, ({ ids, labels }) => labels ?? ids.map(() => -100)),
    ...(images.length > 0 && {
      pixelValues: { data: pixels, shape: [images.length, 3, height, width] },
      imageSizes: { data: Int32Array.from(images.flatMap(([h, w]) => [2 * h, 2 * w])), shape: [images.length, 2] },
    }),
  };
}

const pack = (samples: readonly Sample[], dropout?: { seed: number }): PackedBatch =>
  packBatch(batchOf(samples), OPTIONS, dropout);
const range = (count: number, first = 10): number[] => Array.from({ length: count }, (_, i) => first + (i % 60));
const tokens = ({ ids }: PackedBatch): number => ids.length;

/** The rows of each sample. */
function rowsOf({ starts, sharedKeys }: PackedBatch): Int32Array[] {
  const keys = sharedKeys ?? { rows: Int32Array.from({ length: starts.at(-1)! }, (_, i) => i), starts };
  return Array.from({ length: starts.length - 1 }, (_, b) => keys.rows.subarray(keys.starts[b]!, keys.starts[b + 1]!));
}

/** Labels by where they lie: what comes before them, and the label. */
function labelsOf(packed: PackedBatch): Map<string, number> {
  const paths = new Map<number, string>();
  for (const rows of rowsOf(packed)) {
    let path = '';
    for (const row of rows) {
      path += ` ${packed.ids[row]}`;
      paths.set(row, path);
    }
  }
  const labels = new Map<string, number>();
  for (const [i, row] of packed.labelRows.entries()) {
    const key = `${paths.get(row)} -> ${packed.labelTargets[i]}`;
    labels.set(key, (labels.get(key) ?? 0) + (packed.labelWeights?.[i] ?? 1));
  }
  return labels;
}

describe('sharePrefixes', () => {
  it('lets samples take over the rows of an earlier one, and keeps their order', () => {
    const prompt = range(20);
    const shared = sharePrefixes(pack([{ ids: [...prompt, 1, 2] }, { ids: [...prompt, 4, 5, 6] }]));
    expect(shared.ids).toEqual(Int32Array.from([...prompt, 1, 2, 4, 5, 6]));
    expect(shared.positions).toEqual(Int32Array.from([...Array(22).keys(), 20, 21, 22]));
    expect(shared.starts).toEqual(Int32Array.of(0, 22, 25));
    expect(shared.sharedKeys!.starts).toEqual(Int32Array.of(0, 22, 45));
    expect(rowsOf(shared)[1]).toEqual(Int32Array.from([...Array(20).keys(), 22, 23, 24]));
  });

  it('leaves a batch as it is where nothing, or little, is common', () => {
    for (const samples of [[{ ids: range(30) }], [{ ids: range(30) }, { ids: range(30, 11) }]]) {
      const packed = pack(samples);
      expect(sharePrefixes(packed)).toEqual(packed);
    }
    expect(sharePrefixes(pack([{ ids: [...range(15), 1] }, { ids: [...range(15), 2] }])).sharedKeys).toBeUndefined();
    expect(tokens(sharePrefixes(pack([{ ids: [...range(16), 1] }, { ids: [...range(16), 2] }])))).toBe(18);
  });

  it('shares several prompts each among their own samples, and prompts that begin alike as far as they do', () => {
    const [a, b] = [range(40), [...range(20), ...range(30, 50)]];
    const order = [a, b, a, b, a].map((prompt, i) => ({ ids: [...prompt, 90 + i] }));
    // 40 and 30 + 20 tokens once, and the last of each sample.
    expect(tokens(sharePrefixes(pack(order)))).toBe(40 + 30 + 5);
  });

  it('leaves each sample a row of its own, be it the beginning of another one or the same', () => {
    const [short, long] = [range(20), range(30)];
    const shared = sharePrefixes(pack([{ ids: short }, { ids: long }, { ids: short }, { ids: long }]));
    expect(shared.starts).toEqual(Int32Array.of(0, 20, 30, 31, 32));
    for (const [b, ids] of [short, long, short, long].entries()) {
      expect(Array.from(rowsOf(shared)[b]!, (row) => shared.ids[row]!)).toEqual(ids);
    }
  });

  it('counts a label once for each sample that has it, also where the prefix ends', () => {
    const prompt = range(20);
    const none = prompt.map(() => -100);
    const labelled = [...none.slice(0, 18), prompt[18]!, prompt[19]!];
    const shared = sharePrefixes(
      pack([
        { ids: [...prompt, 1], labels: [...labelled, 1] },
        { ids: [...prompt, 2], labels: [...none, 2] },
        { ids: [...prompt, 4], labels: [...labelled, 4] },
        // Not its own id, so another label on the same token.
        { ids: [...prompt, 5], labels: [...none.slice(0, 19), 7, 1] },
      ]),
    );
    expect(shared.labelRows).toEqual(Int32Array.of(17, 18, 18, 19, 19, 19));
    expect(shared.labelTargets).toEqual(Int32Array.of(prompt[18]!, prompt[19]!, 7, 1, 2, 4));
    expect(shared.labelWeights).toEqual(Float32Array.of(2, 2, 1, 2, 1, 1));
  });

  it('shares an image if its pixels are the same, and ends before one that differs', () => {
    const [before, image] = [range(20), [IMAGE, IMAGE, 4, IMAGE, IMAGE, 5]];
    const ids = [...before, ...image, ...range(8, 40)];
    const of = (value: number, end: number): Sample => ({ ids: [...ids, end], images: [[2, 2, value]] });
    const same = sharePrefixes(pack([of(1, 7), of(1, 8)]));
    expect(tokens(same)).toBe(ids.length + 2);
    expect(same.images!.images).toHaveLength(1);
    expect(same.images!.tokenRows).toEqual(Int32Array.of(20, 21, 23, 24));
    const other = sharePrefixes(pack([of(1, 7), of(2, 8)]));
    expect(tokens(other)).toBe(20 + 2 * (ids.length + 1 - 20));
    expect(other.images!.starts).toEqual(Int32Array.of(0, 16, 32));
    // As many tokens, another shape.
    const wide: Sample = { ids: [...ids, 8], images: [[1, 4, 1]] };
    expect(tokens(sharePrefixes(pack([of(1, 7), wide])))).toBe(tokens(other));
    const second: Sample = { ids: [...ids, ...image, 9], images: [...of(1, 0).images!, [2, 2, 3]] };
    const third: Sample = { ids: [...ids, ...image, 9], images: [...of(1, 0).images!, [2, 2, 4]] };
    const two = sharePrefixes(pack([second, third]));
    expect(tokens(two)).toBe(ids.length + 2 * 7);
    expect(two.images!.images).toHaveLength(3);
    expect(two.images!.tokenRows).toEqual(
      Int32Array.of(20, 21, 23, 24, ...[0, 1, 3, 4].map((t) => 34 + t), ...[0, 1, 3, 4].map((t) => 41 + t)),
    );
    // Nor is an image cut that ends a sample.
    const last: Sample = { ids: [...before, IMAGE, IMAGE], images: [[1, 2, 1]] };
    expect(tokens(sharePrefixes(pack([last, last])))).toBe(24);
  });

  it('finds the same in a batch that is padded on the left', () => {
    const samples = [3, 1, 2].map((n) => ({ ids: [...range(20), ...range(n, 70)], labels: range(20 + n, 5) }));
    const left = packBatch(batchOf(samples, 'left'), OPTIONS);
    expect(sharePrefixes(left)).toEqual(sharePrefixes(pack(samples)));
  });

  it('refuses what is shared already', () => {
    const shared = sharePrefixes(pack([{ ids: [...range(20), 1] }, { ids: [...range(20), 2] }]));
    expect(() => joinPacked([shared, shared])).toThrow(/its own tokens/);
    expect(() => splitPacked(shared)).toThrow(/its own tokens/);
  });
});

describe('PackedWindow', () => {
  /** Samples that branch from each other anywhere. */
  const trees = fc.array(
    fc.record({
      from: fc.nat(9),
      keep: fc.nat(60),
      own: fc.array(fc.integer({ min: 4, max: 6 }), { maxLength: 20 }),
      isLabelled: fc.boolean(),
    }),
    { minLength: 1, maxLength: 10 },
  );
  const samplesOf = (tree: readonly { from: number; keep: number; own: number[]; isLabelled: boolean }[]): Sample[] => {
    const made: Sample[] = [];
    for (const { from, keep, own, isLabelled } of tree) {
      const source = made[from % Math.max(1, made.length)]?.ids ?? range(40);
      const ids = [...source.slice(0, keep), ...own, 9];
      made.push({ ids, ...(isLabelled && { labels: ids }) });
    }
    return made;
  };

  it('keeps ids, positions and labels of every sample, whatever samples a pass has', () => {
    fc.assert(
      fc.property(trees, fc.nat(), (tree, chosen) => {
        const window = new PackedWindow([pack(samplesOf(tree))], { sharePrefix: true });
        const some = window.samples.filter((_, i) => i === 0 || (chosen >> i) & 1);
        const plain = new PackedWindow([pack(samplesOf(tree))]).join(some);
        const shared = window.join(some);
        const size = window.sizeOf(some);
        expect([size.tokens, size.labels >= shared.labelRows.length]).toEqual([shared.ids.length, true]);
        expect(size.keys ?? size.tokens).toBe(plain.ids.length);
        for (const [b, rows] of rowsOf(shared).entries()) {
          const [first, end] = [plain.starts[b]!, plain.starts[b + 1]!];
          expect(rows.map((row) => shared.ids[row]!)).toEqual(plain.ids.subarray(first, end));
          expect(rows.map((row) => shared.positions[row]!)).toEqual(plain.positions.subarray(first, end));
          // Its own rows are its last ones, one at least.
          const own = shared.starts[b + 1]! - shared.starts[b]!;
          expect(own).toBeGreaterThan(0);
          expect(rows.slice(-own)).toEqual(Int32Array.from({ length: own }, (_, i) => shared.starts[b]! + i));
        }
        expect(labelsOf(shared)).toEqual(labelsOf(plain));
        expect(shared.labelRows).toEqual(shared.labelRows.toSorted());
      }),
      { numRuns: 300, seed: 4 },
    );
  });

  it('gives a common row the dropout key of the first sample of the window, in whatever pass it runs', () => {
    fc.assert(
      fc.property(trees, (tree) => {
        const window = new PackedWindow([pack(samplesOf(tree), { seed: 7 })], { sharePrefix: true });
        const keysOf = (packed: PackedBatch) => rowsOf(packed).map((rows) => rows.map((row) => packed.rowKeys![row]!));
        const together = keysOf(window.join(window.samples));
        const apart = window.samples.flatMap((sample) => keysOf(window.join([sample])));
        expect(together).toEqual(apart);
      }),
      { numRuns: 200, seed: 4 },
    );
    const image = { ids: [...range(20), IMAGE, ...range(5)], images: [[1, 1, 1] as const] };
    const { images } = pack([image, image], { seed: 7 });
    const window = new PackedWindow([pack([image, image], { seed: 7 })], { sharePrefix: true });
    const second = window.join([window.samples[1]!]).images!;
    expect(second.rowKeys).toEqual(images!.rowKeys!.subarray(0, 4));
    expect(second.mergedRowKeys).toEqual(images!.mergedRowKeys!.subarray(0, 1));
    expect(images!.rowKeys!.subarray(4)).not.toEqual(second.rowKeys);
  });
});
