/** Which folders are splits, where a data set begins below them, and what only looks like one. */
import { layoutError } from './folder-doubts.js';
import {
  filled,
  isContainer,
  isMaskFolder,
  listNames,
  oppositesAmong,
  plainName,
  type SplitName,
  splitsOf,
} from './folder-evidence.js';
import type { FolderNode } from './folder-tree.js';

export function isFlat(folder: FolderNode): boolean {
  return filled(folder).length === 0;
}

export function isContainerOrMask({ name }: Pick<FolderNode, 'name'>): boolean {
  return isContainer(name) || isMaskFolder(name);
}

function wordCount(name: string): number {
  return name.trim().split(/[^\p{L}\p{N}]+/u).length;
}

export class SplitReading {
  readonly #options: { readonly splits?: Readonly<Record<string, SplitName | false>> | undefined };

  constructor(options: { readonly splits?: Readonly<Record<string, SplitName | false>> | undefined }) {
    this.#options = options;
  }

  splits(folders: readonly FolderNode[]): Map<FolderNode, SplitName> {
    return splitsOf(folders, this.#options);
  }

  /** Descends through folders that hold nothing but one folder. */
  unwrap(folder: FolderNode): FolderNode {
    const [only, ...others] = filled(folder);
    if (!only || others.length > 0 || folder.images.length > 0) return folder;
    // `train` alone is a split, unless splits follow inside it.
    const isSplit = this.splits([only]).size > 0;
    return isSplit && this.splits(only.folders).size === 0 ? folder : this.unwrap(only);
  }

  /** Whether folders of splits, and nothing else, lie in this one. */
  hasSplits(folder: FolderNode): boolean {
    const folders = filled(folder);
    const { size } = this.splits(folders);
    return size > 0 && (size > 1 || size === folders.length);
  }

  /** `seg_train/seg_train`: the archive of each split was unpacked into a folder of its name. */
  repeatsSplits(splits: ReadonlyMap<FolderNode, SplitName>): boolean {
    return [...splits].every(([folder, split]) => {
      const inner = this.splits(filled(folder));
      return inner.size === 1 && [...inner.values()][0] === split;
    });
  }

  /** `bus`, `car`, `train`, `truck`: images lie in all of them, and only one has the name of a split. */
  isClassCalledSplit(folders: readonly FolderNode[], splits: ReadonlyMap<FolderNode, SplitName>): boolean {
    const [folder] = splits.keys();
    const others = folders.filter((one) => one !== folder && !isContainerOrMask(one));
    if (wordCount(folder!.name) > 1 || others.length === 0) return false;
    if (!isFlat(folder!) || !others.every(isFlat)) return false;
    if (others.length > 1 || oppositesAmong(folders.map(({ name }) => name))?.includes(folder!.name)) return true;
    throw layoutError(folder!, `a split, or a class beside ${listNames(others.map(({ name }) => name))}?`, [
      `\`splits: { ${folder!.name}: false }\` makes it a class.`,
    ]);
  }

  /** `test/test/*.jpg`: the archive of test images was unpacked into a folder of its name. */
  isRepeatedFlat(folder: FolderNode): boolean {
    const [only, ...others] = filled(folder);
    return only !== undefined && others.length === 0 && isFlat(only) && this.splits([only]).size > 0;
  }

  /** The data set beside loose test images: `plants/{train,valid}/…` beside `test/test/*.jpg`. */
  setBesideImages(
    top: FolderNode,
    folders: readonly FolderNode[],
    splits: ReadonlyMap<FolderNode, SplitName>,
  ): FolderNode | undefined {
    const [set, ...others] = folders.filter((folder) => !splits.has(folder));
    if (!set || others.length > 0 || splits.size === 0 || top.images.length > 0) return undefined;
    const isLoose = ([folder, split]: [FolderNode, SplitName]) =>
      split !== 'train' && (isFlat(folder) || this.isRepeatedFlat(folder));
    const inner = this.unwrap(set);
    const own = this.splits(filled(inner));
    const isWhole =
      [...own.values()].includes('train') && own.size === filled(inner).length && inner.images.length === 0;
    return isWhole && [...splits].every(isLoose) ? set : undefined;
  }

  splitBelow(folder: FolderNode): FolderNode | undefined {
    const splits = this.splits(filled(folder));
    for (const inner of filled(folder)) {
      const found = splits.has(inner) ? inner : this.splitBelow(inner);
      if (found) return found;
    }
    return undefined;
  }

  /** Below a split: where its class folders lie. `train/train/…`, `train/images/…`, `train/dataset/…` beside `test/dataset/…`. */
  classParent(folder: FolderNode, all: readonly FolderNode[]): FolderNode {
    const [only, ...others] = filled(folder);
    if (!only || others.length > 0 || folder.images.length > 0 || isFlat(only) || only.images.length > 0) return folder;
    const isRepeated = plainName(only.name) === plainName(folder.name) || this.splits([only]).size > 0;
    const twins = all.filter((one) => one !== folder).map((one) => filled(one));
    const names = new Set(filled(only).map(({ name }) => plainName(name)));
    const isWrapper = twins.some(
      ([twin, ...more]) => twin && more.length === 0 && filled(twin).some(({ name }) => names.has(plainName(name))),
    );
    const isShared = twins.some((twin) => twin.some(({ name }) => names.has(plainName(name))));
    return isRepeated || isContainer(only.name) || (isWrapper && names.size > 1) || isShared
      ? this.classParent(only, [])
      : folder;
  }
}
