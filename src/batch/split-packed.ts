/** A packed batch taken apart into its samples, so that passes can be made of any of them. Arrays are not copied. */

import type { PackedSize } from '../model/ministral3/pass-costs.js';
import type { PackedBatch } from './packed-batch.js';
import type { PackedImages } from './packed-images.js';

export function sizeOfPacked({ ids, labelRows, images }: PackedBatch): PackedSize {
  return {
    tokens: ids.length,
    patches: images?.starts.at(-1) ?? 0,
    features: images?.tokenRows.length ?? 0,
    labels: labelRows.length,
  };
}

/** One packed batch for each sample, in order. */
export function splitPacked(packed: PackedBatch, mergeSize: number): PackedBatch[] {
  const { ids, positions, starts, labelRows, labelTargets, rowKeys, images } = packed;
  let label = 0;
  let image = 0;
  let feature = 0;
  return Array.from({ length: starts.length - 1 }, (_, b) => {
    const [first, end] = [starts[b]!, starts[b + 1]!];
    const firstLabel = label;
    while (label < labelRows.length && labelRows[label]! < end) label++;
    const [firstImage, firstFeature] = [image, feature];
    // An image belongs to the sample that holds its first feature.
    while (images && image < images.starts.length - 1 && images.tokenRows[feature]! < end) {
      feature += (images.grids[2 * image]! * images.grids[2 * image + 1]!) / mergeSize ** 2;
      image++;
    }
    return {
      ids: ids.subarray(first, end),
      positions: positions.subarray(first, end),
      starts: Int32Array.of(0, end - first),
      labelRows: labelRows.subarray(firstLabel, label).map((row) => row - first),
      labelTargets: labelTargets.subarray(firstLabel, label),
      rowKeys: rowKeys?.subarray(first, end),
      images:
        images && image > firstImage ? sliceImages(images, firstImage, image, firstFeature, feature, first) : undefined,
    };
  });
}

function sliceImages(
  { pictures, patchSize, grids, starts, tokenRows, rowKeys, mergedRowKeys }: PackedImages,
  first: number,
  end: number,
  firstFeature: number,
  endFeature: number,
  firstToken: number,
): PackedImages {
  const from = starts[first]!;
  return {
    pictures: pictures.slice(first, end),
    patchSize,
    grids: grids.subarray(2 * first, 2 * end),
    starts: starts.slice(first, end + 1).map((start) => start - from),
    tokenRows: tokenRows.subarray(firstFeature, endFeature).map((row) => row - firstToken),
    rowKeys: rowKeys?.subarray(from, starts[end]!),
    mergedRowKeys: mergedRowKeys?.subarray(firstFeature, endFeature),
  };
}
