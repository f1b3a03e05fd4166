/**
 * Common prefixes of samples are computed once in a pass: each sample reuses the rows of the earlier sample with which it
 * has the longest prefix in common, and adds its own. So prefixes form a tree, and several prompts need no grouping.
 */
import { joinPacked, type PackedBatch } from './packed-batch.js';
import { isSameImage, sliceImages } from './packed-images.js';

/** A shorter prefix saves less time than copying its keys and values takes. */
export const FEWEST_TOKENS = 16;

/** What a sample reuses of an earlier one. */
interface SharedSize {
  readonly tokens: number;
  readonly patches: number;
  readonly features: number;
  /** Labels on these tokens that both have. */
  readonly labels: number;
}

/** First and last token of an image in its sample, and the patches and features up to its end. */
interface ImageExtent {
  readonly firstToken: number;
  readonly lastToken: number;
  readonly patches: number;
  readonly features: number;
}

const NOTHING: SharedSize = { tokens: 0, patches: 0, features: 0, labels: 0 };

export class SharedPrefixes {
  readonly #samples: readonly PackedBatch[];
  readonly #extents: readonly (readonly ImageExtent[])[];
  /** [W, W] length of the common prefix of two samples, below the diagonal. */
  readonly #common: Int32Array;
  /** [W, W] how much of it the later sample reuses: no part of an image, and never its last token. */
  readonly #shareable: Int32Array;
  readonly #sizes = new Map<number, SharedSize>();
  /** Whether no common prefix is long enough. */
  readonly isEmpty: boolean;

  /**
   * Shared rows get the dropout keys of the first sample that has them, however samples are dealt to passes.
   * @param samples of a window, one packed batch each
   */
  constructor(samples: readonly PackedBatch[]) {
    const count = samples.length;
    this.#extents = samples.map(extentsOf);
    const common = new Int32Array(count * count);
    let most = 0;
    for (let b = 1; b < count; b++) {
      for (let a = 0; a < b; a++) {
        const [one, other] = a === 0 ? [0, 0] : [common[a * count]!, common[b * count]!];
        // If their prefixes in common with sample 0 differ in length, the shorter is what they have in common.
        const length = one === other ? this.#compare(samples, a, b, one) : Math.min(one, other);
        common[b * count + a] = length;
        most = Math.max(most, length);
      }
    }
    this.#common = common;
    this.isEmpty = most < FEWEST_TOKENS;
    this.#shareable = common.map((length, at) => this.#shareableOf(samples, Math.floor(at / count), length));
    this.#samples = this.isEmpty ? samples : this.#withCommonKeys(samples);
  }

  /** What the samples of a pass reuse of each other. @param pass indices into the window, ascending */
  sizeIn(pass: readonly number[]): SharedSize {
    const sum = { ...NOTHING };
    for (const [at, sample] of pass.entries()) {
      const shared = this.#sizeOf(sample, this.#sourceOf(sample, pass, at));
      sum.tokens += shared.tokens;
      sum.patches += shared.patches;
      sum.features += shared.features;
      sum.labels += shared.labels;
    }
    return sum;
  }

  /** The samples of a pass as one batch, shared prefixes once. @param pass indices into the window, ascending */
  join(pass: readonly number[]): PackedBatch {
    const starts = new Int32Array(pass.length + 1);
    const rows: Int32Array[] = [];
    const labels = new LabelSet();
    let own = 0;
    let shared = 0;
    const parts = pass.map((sample, at) => {
      const whole = this.#samples[sample]!;
      const source = this.#sourceOf(sample, pass, at);
      const { tokens } = this.#sizeOf(sample, source);
      const keys = Int32Array.from(whole.ids, (_, t) => own + t - tokens);
      if (tokens > 0) keys.set(rows[pass.indexOf(source!)]!.subarray(0, tokens));
      rows.push(keys);
      for (const [i, row] of whole.labelRows.entries()) labels.add(keys[row]!, whole.labelTargets[i]!);
      own += whole.ids.length - tokens;
      shared += tokens;
      starts[at + 1] = starts[at]! + keys.length;
      return this.#withoutFirst(sample, tokens);
    });
    const joined = { ...joinPacked(parts), ...labels.sorted() };
    if (shared === 0) return joined;
    const all = new Int32Array(starts.at(-1)!);
    for (const [at, keys] of rows.entries()) all.set(keys, starts[at]!);
    return { ...joined, sharedKeys: { rows: all, starts } };
  }

  /** The earlier sample of the pass of which this one reuses most. */
  #sourceOf(sample: number, pass: readonly number[], at: number): number | undefined {
    let best: number | undefined;
    let most = 0;
    const row = sample * this.#samples.length;
    for (let i = 0; i < at; i++) {
      const tokens = this.#shareable[row + pass[i]!]!;
      if (tokens <= most) continue;
      best = pass[i];
      most = tokens;
    }
    return best;
  }

  #sizeOf(sample: number, source: number | undefined): SharedSize {
    if (source === undefined) return NOTHING;
    const key = sample * this.#samples.length + source;
    let size = this.#sizes.get(key);
    if (!size) {
      size = this.#measure(sample, source);
      this.#sizes.set(key, size);
    }
    return size;
  }

  #shareableOf(samples: readonly PackedBatch[], sample: number, common: number): number {
    if (common < FEWEST_TOKENS) return 0;
    // Each sample keeps a row of its own: generation asks for its last one.
    const most = Math.min(common, samples[sample]!.ids.length - 1);
    const cut = this.#extents[sample]!.find(({ firstToken, lastToken }) => firstToken < most && most <= lastToken);
    const tokens = cut ? cut.firstToken : most;
    return tokens < FEWEST_TOKENS ? 0 : tokens;
  }

  #measure(sample: number, source: number): SharedSize {
    const tokens = this.#shareable[sample * this.#samples.length + source]!;
    if (tokens === 0) return NOTHING;
    const { labelRows, labelTargets } = this.#samples[sample]!;
    const last = this.#extents[sample]!.findLast(({ lastToken }) => lastToken < tokens);
    const other = this.#samples[source]!;
    const targets = new Map(Array.from(other.labelRows, (row, i) => [row, other.labelTargets[i]!]));
    let labels = 0;
    for (let i = 0; i < labelRows.length && labelRows[i]! < tokens; i++) {
      if (targets.get(labelRows[i]!) === labelTargets[i]) labels++;
    }
    return { tokens, patches: last?.patches ?? 0, features: last?.features ?? 0, labels };
  }

  /** The sample without the tokens and images that it reuses, and without labels. */
  #withoutFirst(sample: number, tokens: number): PackedBatch {
    const whole = this.#samples[sample]!;
    const none = new Int32Array(0);
    if (tokens === 0) return { ...whole, labelRows: none, labelTargets: none };
    const { images } = whole;
    const extents = this.#extents[sample]!;
    const first = extents.filter(({ lastToken }) => lastToken < tokens).length;
    const features = [extents[first - 1]?.features ?? 0, extents.at(-1)?.features ?? 0] as const;
    return {
      ids: whole.ids.subarray(tokens),
      positions: whole.positions.subarray(tokens),
      starts: Int32Array.of(0, whole.ids.length - tokens),
      labelRows: none,
      labelTargets: none,
      rowKeys: whole.rowKeys?.subarray(tokens),
      images:
        images && first < extents.length ? sliceImages(images, [first, extents.length], features, tokens) : undefined,
    };
  }

  /** @param from length that is known to be common */
  #compare(samples: readonly PackedBatch[], a: number, b: number, from: number): number {
    const [one, other] = [samples[a]!, samples[b]!];
    const most = Math.min(one.ids.length, other.ids.length);
    let length = from;
    while (length < most && one.ids[length] === other.ids[length]) length++;
    for (const [n, { firstToken, lastToken }] of this.#extents[b]!.entries()) {
      if (firstToken < from) continue;
      if (firstToken >= length) break;
      // All images have the same tokens: pixels decide.
      if (lastToken >= length || !isSameImage(one.images!, n, other.images!, n)) return firstToken;
    }
    return length;
  }

  #withCommonKeys(samples: readonly PackedBatch[]): PackedBatch[] {
    const known: PackedBatch[] = [];
    for (const [b, sample] of samples.entries()) {
      const { rowKeys, images } = sample;
      const row = this.#common.subarray(b * samples.length, b * samples.length + b);
      const length = row.reduce((most, value) => Math.max(most, value), 0);
      if (!rowKeys || length < FEWEST_TOKENS) {
        known.push(sample);
        continue;
      }
      const source = known[row.indexOf(length)]!;
      const last = this.#extents[b]!.findLast(({ lastToken }) => lastToken < length);
      const taken = (keys: Int32Array | undefined, from: Int32Array | undefined, count = 0) => {
        if (!keys || !from) return keys;
        const copy = keys.slice();
        copy.set(from.subarray(0, count));
        return copy;
      };
      known.push({
        ...sample,
        rowKeys: taken(rowKeys, source.rowKeys, length),
        images: images && {
          ...images,
          rowKeys: taken(images.rowKeys, source.images?.rowKeys, last?.patches),
          mergedRowKeys: taken(images.mergedRowKeys, source.images?.mergedRowKeys, last?.features),
        },
      });
    }
    return known;
  }
}

function extentsOf({ images }: PackedBatch): ImageExtent[] {
  if (!images) return [];
  const { starts, tokenRows } = images;
  const patchesOfFeature = starts.at(-1)! / tokenRows.length;
  return images.images.map((_, n) => {
    const patches = starts[n + 1]!;
    const features = patches / patchesOfFeature;
    const firstToken = tokenRows[starts[n]! / patchesOfFeature]!;
    return { firstToken, lastToken: tokenRows[features - 1]!, patches, features };
  });
}

interface Label {
  readonly row: number;
  readonly target: number;
  weight: number;
}

/** Labels by row: equal labels of a shared row are merged, weighted by the number of samples. */
class LabelSet {
  readonly #labels: Label[] = [];
  readonly #byRow = new Map<number, readonly Label[]>();

  add(row: number, target: number): void {
    const present = this.#byRow.get(row) ?? [];
    const same = present.find((label) => label.target === target);
    if (same) {
      same.weight++;
      return;
    }
    const label = { row, target, weight: 1 };
    this.#labels.push(label);
    this.#byRow.set(row, [...present, label]);
  }

  sorted(): Pick<PackedBatch, 'labelRows' | 'labelTargets' | 'labelWeights'> {
    const sorted = this.#labels.sort((a, b) => a.row - b.row);
    const weights = sorted.some(({ weight }) => weight > 1)
      ? { labelWeights: Float32Array.from(sorted, ({ weight }) => weight) }
      : {};
    return {
      labelRows: Int32Array.from(sorted, ({ row }) => row),
      labelTargets: Int32Array.from(sorted, ({ target }) => target),
      ...weights,
    };
  }
}
