/** Classes as the user says them: by a pattern of folders, or by a function of the path. */
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import {
  depthOf,
  layoutError,
  type MaskCount,
  maskWarnings,
  refuseLooseImages,
  withoutMasks,
} from './folder-doubts.js';
import {
  filled,
  imagesBelow,
  type LayoutOptions,
  type PlacedImage,
  type Placement,
  type SplitName,
  splitsOf,
} from './folder-evidence.js';
import type { FolderNode } from './folder-tree.js';

/** @throws DataError if the function gives what is no class, or no class at all */
export function placeByCallback(
  root: FolderNode,
  classOf: (path: string) => string | undefined,
  options: LayoutOptions,
): Placement {
  const placed: PlacedImage[] = [];
  let without = 0;
  const walk = (folder: FolderNode, split: SplitName | undefined): void => {
    const splits = splitsOf(filled(folder), options);
    for (const file of folder.images) {
      const className = classOf(file.key);
      if (className === undefined) without++;
      else if (typeof className === 'string' && className !== '') {
        placed.push({ file, className, split: split ?? 'train' });
      } else {
        throw new DataError(`${oneLine(file.path)}: \`classOf\` gave ${showValue(className)}, no class name`, {
          hint: 'Return a name, or undefined for an image to leave out.',
          details: { path: file.path },
        });
      }
    }
    for (const inner of filled(folder)) walk(inner, split ?? splits.get(inner));
  };
  walk(root, undefined);
  if (placed.length === 0) {
    const [first] = imagesBelow(root);
    throw new DataError(`${oneLine(root.path)}: \`classOf\` gave no class for any of ${without} images`, {
      hint: `It is called with paths below the folder, such as ${JSON.stringify(first?.key)}.`,
      details: { path: root.path },
    });
  }
  const warnings = without > 0 ? [`\`classOf\` gave no class for ${without} images; they are left out`] : [];
  return { placed, warnings, unlabelled: [], classFolders: [] };
}

/** @param pattern `class`, `split` or `*` for each level of folders. @throws DataError where the folders are others */
export function placeByPattern(root: FolderNode, pattern: readonly string[], options: LayoutOptions): Placement {
  const placed: PlacedImage[] = [];
  const classFolders: FolderNode[] = [];
  const masks: MaskCount = new Map();
  const descend = (
    folder: FolderNode,
    [segment, ...rest]: readonly string[],
    className: string | undefined,
    split: SplitName,
  ): void => {
    if (segment === undefined) {
      for (const file of withoutMasks(folder, masks)) placed.push({ file, className: className!, split });
      return;
    }
    refuseLooseImages(folder);
    const splits = splitsOf(filled(folder), options);
    for (const inner of filled(folder)) {
      if (segment === 'class') classFolders.push(inner);
      if (segment === 'split' && !splits.has(inner)) {
        const name = JSON.stringify(inner.name);
        throw layoutError(inner, 'a split folder was expected here by `layout`', [
          `Write \`splits: { ${name}: 'train' }\` (or 'test', 'validation'), or \`ignore: [${name}]\`.`,
        ]);
      }
      const [innerClass, innerSplit] = [
        segment === 'class' ? inner.name : className,
        segment === 'split' ? splits.get(inner)! : split,
      ];
      descend(inner, rest, innerClass, innerSplit);
    }
  };
  descend(unwrapFor(root, pattern, options), pattern, undefined, 'train');
  return { placed, warnings: maskWarnings(masks), unlabelled: [], classFolders };
}

/** Below wrapping folders, which hold nothing but one folder; a lone split or class belongs to the pattern. */
function unwrapFor(root: FolderNode, pattern: readonly string[], options: LayoutOptions): FolderNode {
  let top = root;
  for (;;) {
    const [only, ...others] = filled(top);
    if (!only || others.length > 0 || top.images.length > 0) return top;
    if (pattern[0] === 'split' && splitsOf([only], options).size > 0) return top;
    if (depthOf(only) < pattern.length) return top;
    top = only;
  }
}
