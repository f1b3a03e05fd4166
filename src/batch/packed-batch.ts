/**
 * The model's door: a padded VlmBatch becomes packed tokens and packed image patches. Nothing inside is padded, so a
 * padded batch, a packed one and single samples give the same result.
 */

import { IGNORE_INDEX, type VlmBatch } from '../data/types.js';
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import type { RowNoise } from '../random.js';
import { type DropoutStream, dropoutKeys } from './dropout-keys.js';
import { checkShape, type PackedImages, packImages } from './packed-images.js';

/** B samples without padding: T tokens, of which L are followed by a label. */
export interface PackedBatch {
  /** Token ids of all samples, one after the other [T]. */
  readonly ids: Int32Array;
  /** Position of each token in its own sample [T]. */
  readonly positions: Int32Array;
  /** Offset of each sample's own tokens, and T at the end [B + 1]. */
  readonly starts: Int32Array;
  /** Tokens whose successor is labelled, ascending [L]; a shared token once for each distinct label. */
  readonly labelRows: Int32Array;
  /** Those labels: token ids [L]. */
  readonly labelTargets: Int32Array;
  /** Number of samples that have each label [L]. Default: 1 each. */
  readonly labelWeights?: Float32Array | undefined;
  /** What each sample attends to, where samples share a prefix. Default: its own tokens, which are all it has. */
  readonly sharedKeys?: SharedKeys | undefined;
  /** Dropout key of each token [T]; without, dropout is off. */
  readonly rowKeys?: Int32Array | undefined;
  /** Undefined for text alone. */
  readonly images: PackedImages | undefined;
}

/** All tokens of each sample, by their rows in a batch that stores shared prefixes once. */
export interface SharedKeys {
  /** Row of each token in the batch, one sample after the other [K]. */
  readonly rows: Int32Array;
  /** Offset of each sample in `rows`, and K at the end [B + 1]. */
  readonly starts: Int32Array;
}

interface PackOptions {
  readonly patchSize: number;
  readonly mergeSize: number;
  readonly imageTokenId: number;
  readonly vocabSize: number;
}

/**
 * @param dropout switches dropout on
 * @throws DataError if shapes disagree, an id is out of range, or image tokens and images do not match
 */
export function packBatch(batch: VlmBatch, options: PackOptions, dropout?: DropoutStream): PackedBatch {
  const [rows, columns] = batch.inputIds.shape as [number, number];
  checkShape('attentionMask', batch.attentionMask.shape, [rows, columns]);
  if (batch.labels) checkShape('labels', batch.labels.shape, [rows, columns]);
  const inputIds = batch.inputIds.data;
  const mask = batch.attentionMask.data;
  const ids: number[] = [];
  const positions: number[] = [];
  const starts = new Int32Array(rows + 1);
  const labelRows: number[] = [];
  const labelTargets: number[] = [];
  const tokenRows: number[] = [];
  for (let b = 0; b < rows; b++) {
    for (let t = 0; t < columns; t++) {
      const at = b * columns + t;
      if (!mask[at]) continue;
      const id = inputIds[at]!;
      if (id < 0 || id >= options.vocabSize) {
        throw new DataError(
          `token id ${id} of ${nameOf(batch, b)} is outside the model's vocabulary of ${options.vocabSize}`,
          {
            hint: 'use the tokenizer of the same checkpoint',
          },
        );
      }
      const position = ids.length - starts[b]!;
      if (position > 0 && !mask[at - 1]) {
        throw new DataError(
          `attentionMask of ${nameOf(batch, b)} has a hole before column ${t}; padding belongs to one side`,
        );
      }
      const label = batch.labels?.data[at] ?? IGNORE_INDEX;
      // The label of a token is predicted by the one before it; a first token is predicted by nothing.
      if (label !== IGNORE_INDEX && position > 0) {
        if (label < 0 || label >= options.vocabSize) {
          throw new DataError(
            `label ${label} of ${nameOf(batch, b)} is outside the model's vocabulary of ${options.vocabSize}`,
          );
        }
        labelRows.push(ids.length - 1);
        labelTargets.push(label);
      }
      if (id === options.imageTokenId) tokenRows.push(ids.length);
      ids.push(id);
      positions.push(position);
    }
    starts[b + 1] = ids.length;
  }
  const images = packImages(batch, Int32Array.from(tokenRows), options);
  const keys = dropout && dropoutKeys(dropout, starts, images);
  return {
    ids: Int32Array.from(ids),
    positions: Int32Array.from(positions),
    starts,
    labelRows: Int32Array.from(labelRows),
    labelTargets: Int32Array.from(labelTargets),
    rowKeys: keys?.tokens,
    images: images && { ...images, rowKeys: keys?.patches, mergedRowKeys: keys?.features },
  };
}

/** Several packed batches as one. Nothing of it attends across the seams, so the losses are those of the parts. */
export function joinPacked(parts: readonly PackedBatch[]): PackedBatch {
  if (parts.length === 1) return parts[0]!;
  for (const part of parts) requireUnshared(part);
  const tokenOffsets = offsetsOf(parts.map(({ ids }) => ids.length));
  const shift = (values: Int32Array, by: number): Int32Array => values.map((value) => value + by);
  const images = parts.flatMap((part, i) => (part.images ? [{ ...part.images, offset: tokenOffsets[i]! }] : []));
  const patchOffsets = offsetsOf(images.map(({ starts }) => starts.at(-1)!));
  const joinStarts = (starts: readonly Int32Array[], offsets: readonly number[]): Int32Array =>
    joinIntegers([Int32Array.of(0), ...starts.map((part, i) => shift(part.subarray(1), offsets[i]!))]);
  return {
    ids: joinIntegers(parts.map(({ ids }) => ids)),
    positions: joinIntegers(parts.map(({ positions }) => positions)),
    starts: joinStarts(
      parts.map(({ starts }) => starts),
      tokenOffsets,
    ),
    labelRows: joinIntegers(parts.map(({ labelRows }, i) => shift(labelRows, tokenOffsets[i]!))),
    labelTargets: joinIntegers(parts.map(({ labelTargets }) => labelTargets)),
    rowKeys: joinKeys(parts.map(({ rowKeys }) => rowKeys)),
    images:
      images.length === 0
        ? undefined
        : {
            images: images.flatMap((part) => part.images),
            patchSize: images[0]!.patchSize,
            grids: joinIntegers(images.map(({ grids }) => grids)),
            starts: joinStarts(
              images.map(({ starts }) => starts),
              patchOffsets,
            ),
            tokenRows: joinIntegers(images.map(({ tokenRows, offset }) => shift(tokenRows, offset))),
            rowKeys: joinKeys(images.map(({ rowKeys }) => rowKeys)),
            mergedRowKeys: joinKeys(images.map(({ mergedRowKeys }) => mergedRowKeys)),
          },
  };
}

/** @throws DataError for a batch whose samples share tokens: it is ready for a pass, and cannot be split or joined */
export function requireUnshared({ sharedKeys }: PackedBatch): void {
  if (sharedKeys)
    throw new DataError('expected a packed batch in which each sample has its own tokens, got shared tokens');
}

function offsetsOf(lengths: readonly number[]): number[] {
  let sum = 0;
  return lengths.map((length) => {
    sum += length;
    return sum - length;
  });
}

function joinIntegers(parts: readonly Int32Array[]): Int32Array {
  const joined = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  const offsets = offsetsOf(parts.map(({ length }) => length));
  for (const [i, part] of parts.entries()) joined.set(part, offsets[i]);
  return joined;
}

function joinKeys(parts: readonly (Int32Array | undefined)[]): Int32Array | undefined {
  const known = parts.filter((part) => part !== undefined);
  if (known.length === 0) return undefined;
  if (known.length === parts.length) return joinIntegers(known);
  throw new DataError(`${known.length} of ${parts.length} batches of a pass have dropout keys, expected all or none`);
}

/** The noise of NEFTune for rows of `columns` values; undefined without dropout keys: in evaluation and generation. */
export function embeddingNoise(packed: PackedBatch, alpha: number | undefined, columns: number): RowNoise | undefined {
  const { rowKeys, starts } = packed;
  if (!alpha || !rowKeys) return undefined;
  // The bound depends on the length of the sample.
  requireUnshared(packed);
  const bounds = new Float32Array(rowKeys.length);
  for (let b = 0; b + 1 < starts.length; b++) {
    const [first, end] = [starts[b]!, starts[b + 1]!];
    bounds.fill(alpha / Math.sqrt((end - first) * columns), first, end);
  }
  return { rowKeys, bounds };
}

function nameOf(batch: VlmBatch, index: number): string {
  return `sample ${oneLine(batch.sampleIds?.[index] ?? String(index))}`;
}
