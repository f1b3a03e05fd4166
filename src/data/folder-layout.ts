/** From a tree of folders to classes and splits: which layout it is, or why it is none. */
import { dirname } from 'node:path';
import type { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import {
  checkClassFolders,
  detectionEvidence,
  dropCopies,
  fileNameHint,
  layoutError,
  type MaskCount,
  maskWarnings,
  namesHoldClasses,
  partsError,
  refuseEqualChildren,
  refuseLooseImages,
  withoutMasks,
} from './folder-doubts.js';
import {
  arePartNames,
  filled,
  imagesBelow,
  isContainer,
  isMaskFolder,
  type LayoutOptions,
  listNames,
  type PlacedImage,
  type Placement,
  plainName,
  type SplitName,
  splitInName,
  splitsOf,
} from './folder-evidence.js';
import { isContainerOrMask, isFlat, SplitReading } from './folder-splits.js';
import type { FolderNode } from './folder-tree.js';
import { placeByCallback, placeByPattern } from './said-layout.js';

export type { SplitName } from './folder-evidence.js';

/**
 * Gives every image its class and split.
 * @throws DataError naming the folder or file that fits no layout: nothing is left out silently
 */
export function placeFolderImages(root: FolderNode, options: LayoutOptions = {}): Placement {
  if (options.classOf) return placeByCallback(root, options.classOf, options);
  if (options.layout !== undefined) return placeByPattern(root, options.layout.split('/'), options);
  return new Placing(root, options).byEvidence();
}

export function emptySplitFolders(root: FolderNode, split: SplitName, options: LayoutOptions = {}): string[] {
  const splits = splitsOf(root.folders, options);
  return root.folders.flatMap((folder) => [
    ...(splits.get(folder) === split && folder.total === 0 ? [folder.path] : []),
    ...emptySplitFolders(folder, split, options),
  ]);
}

class Placing implements Placement {
  readonly placed: PlacedImage[] = [];
  readonly warnings: string[] = [];
  readonly unlabelled: FolderNode[] = [];
  readonly classFolders: FolderNode[] = [];
  readonly #root: FolderNode;
  readonly #options: LayoutOptions;
  readonly #reading: SplitReading;
  readonly #masks: MaskCount = new Map();

  constructor(root: FolderNode, options: LayoutOptions) {
    this.#root = root;
    this.#options = options;
    this.#reading = new SplitReading(options);
  }

  byEvidence(): Placement {
    this.#place();
    this.warnings.push(...maskWarnings(this.#masks));
    return this;
  }

  #place(): void {
    const top = dropCopies(this.#reading.unwrap(this.#root), (folder) => this.#reading.unwrap(folder), this.warnings);
    let folders = filled(top);
    let splits = this.#reading.splits(folders);
    const set = this.#reading.setBesideImages(top, folders, splits);
    if (set) {
      this.unlabelled.push(...folders.filter((folder) => folder !== set));
      folders = filled(this.#reading.unwrap(set));
      this.#placeSplits(folders, this.#reading.splits(folders));
      return;
    }
    if (folders.length > 1 && splits.size === 0 && folders.every(isContainerOrMask)) {
      const inner = this.#onlyContainer(top, folders);
      if (inner) {
        this.#placeClasses(inner, 'train', true);
        return;
      }
    }
    if (splits.size === 1 && this.#reading.isClassCalledSplit(folders, splits)) splits = new Map();
    const hasInnerSplits = folders.filter((folder) => this.#reading.hasSplits(folder));
    if (splits.size === 0 || (hasInnerSplits.length === folders.length && !this.#reading.repeatsSplits(splits))) {
      if (folders.length === 0) {
        this.#placeLone(top);
        return;
      }
      refuseLooseImages(top);
      if (hasInnerSplits.length > 0) {
        const hollow = top.folders.find(
          (folder) => folder.total === 0 && splitsOf(folder.folders, this.#options).size > 0,
        );
        if (hollow) throw layoutError(hollow, 'this class folder holds no images');
        this.#placeClassesWithSplits(folders);
        return;
      }
      this.#placeClasses(top, 'train', true);
      return;
    }
    if (folders.every(({ images }) => images.length > 0) && folders.every(isFlat)) {
      // All images lie in the splits themselves: of one class, if a folder that is no split holds the splits.
      if (
        splits.size === folders.length &&
        top !== this.#root &&
        !isContainerOrMask(top) &&
        !namesHoldClasses(imagesBelow(top))
      ) {
        this.classFolders.push(top);
        this.#placeClassesWithSplits([top]);
        return;
      }
      const others = folders.filter((folder) => !splits.has(folder) && !isContainerOrMask(folder));
      if (others.length > 0) {
        const names = (list: readonly FolderNode[]) => listNames(list.map(({ name }) => name));
        throw layoutError(top, `${names([...splits.keys()])}: splits, or classes beside ${names(others)}?`, [
          "If all of them are classes: `layout: 'class'`.",
        ]);
      }
      throw this.#noClassFolders(top, folders);
    }
    refuseLooseImages(top);
    folders = folders.filter((folder) => splits.has(folder) || !this.#isBesideSplits(folder));
    this.#placeSplits(folders, splits);
    this.#warnRepeated(splits);
  }

  /** Two folders of one split may hold the same images, as a set and a sample of it do. */
  #warnRepeated(splits: ReadonlyMap<FolderNode, SplitName>): void {
    for (const split of new Set(splits.values())) {
      const folders = [...splits].flatMap(([folder, own]) => (own === split ? [folder] : []));
      const [least, ...others] = folders
        .filter((folder) => !this.unlabelled.includes(folder))
        .sort((a, b) => a.total - b.total);
      if (!least || others.length === 0) continue;
      this.warnings.push(
        `${listNames([least, ...others].map(({ name }) => name))} are taken together as ${split}; if one repeats another: \`ignore: [${JSON.stringify(least.name)}]\``,
      );
    }
  }

  #placeLone(top: FolderNode): void {
    if (top === this.#root || isContainerOrMask(top) || namesHoldClasses(top.images)) {
      throw this.#noClassFolders(top, []);
    }
    this.classFolders.push(top);
    this.#placeAll(top, top.name, 'train');
  }

  #onlyContainer(parent: FolderNode, folders: readonly FolderNode[]): FolderNode | undefined {
    if (!folders.some(({ name }) => isMaskFolder(name))) {
      refuseEqualChildren(parent, folders, (folder) => this.#reading.unwrap(folder));
    }
    const containers = folders.filter(({ name }) => isContainer(name) && !isMaskFolder(name));
    const [container] = containers;
    const others = folders.filter((folder) => folder !== container);
    const hasClasses = containers.length === 1 && filled(container!).length > 0 && container!.images.length === 0;
    if (arePartNames(folders.map(({ name }) => name))) return undefined;
    if (!hasClasses) throw this.#noClassFolders(parent, folders);
    const total = others.reduce((sum, folder) => sum + folder.total, 0);
    this.warnings.push(
      `${listNames(others.map(({ name }) => name))} beside \`${oneLine(container!.name)}\`: ${total} images left out as masks or annotations`,
    );
    return container;
  }

  /** A folder beside splits that is none: left out if its images have no class, or are masks. */
  #isBesideSplits(folder: FolderNode): boolean {
    const inner = this.#reading.unwrap(folder);
    if (isMaskFolder(folder.name)) {
      this.warnings.push(
        `\`${oneLine(folder.name)}\` beside the splits: ${folder.total} images left out as masks or annotations`,
      );
      return true;
    }
    const [only] = filled(folder);
    const isChain = isFlat(folder) || plainName(only!.name) === plainName(folder.name) || isContainer(only!.name);
    if (!isFlat(inner) || !isChain) return false;
    this.unlabelled.push(folder);
    return true;
  }

  /** <split>/<class>/** */
  #placeSplits(folders: readonly FolderNode[], splits: ReadonlyMap<FolderNode, SplitName>): void {
    const inner = new Map(folders.map((folder) => [folder, this.#reading.classParent(folder, folders)]));
    // Kaggle's test images have no classes; those of a training split must have.
    const hasClasses = (folder: FolderNode) =>
      filled(inner.get(folder)!).some(({ name }) => !isContainerOrMask({ name })) ||
      filled(inner.get(folder)!).length > 1;
    const train = folders.filter((folder) => splits.get(folder) === 'train');
    const isTrained = (train.length > 0 ? train : folders).some(hasClasses);
    const trained = new Set(train.flatMap((folder) => filled(inner.get(folder)!).map(({ name }) => plainName(name))));
    for (const folder of folders) {
      const split = splits.get(folder);
      if (!split) {
        throw layoutError(folder, 'this folder stands beside train or test folders and is none', [
          `Write \`splits: { ${JSON.stringify(folder.name)}: '${splitInName(folder.name) ?? 'test'}' }\` or \`ignore: [${JSON.stringify(folder.name)}]\`.`,
        ]);
      }
      const parent = inner.get(folder)!;
      const isUnlabelled =
        (isFlat(this.#reading.unwrap(parent)) || this.#reading.isRepeatedFlat(parent)) &&
        !filled(parent).some(({ name }) => trained.has(plainName(name)));
      const isNamedUnlabelled = filled(parent).every(
        ({ name }) =>
          isContainerOrMask({ name }) ||
          plainName(name) === plainName(folder.name) ||
          /^(unknown|unlabell?ed|none)$/i.test(name.trim()) ||
          this.#reading.splits(filled(parent)).size > 0,
      );
      if (split !== 'train' && isTrained && isUnlabelled && isNamedUnlabelled) this.unlabelled.push(folder);
      else this.#placeClasses(parent, split, folder === folders.find((one) => hasClasses(one)));
    }
  }

  /** <class>/** @param isFirst whether doubts are looked for here, once for a data set */
  #placeClasses(parent: FolderNode, split: SplitName, isFirst: boolean): void {
    refuseLooseImages(parent);
    const folders = filled(parent);
    const splits = this.#reading.splits(folders);
    const isClass = splits.size === 1 && folders.length > 1 && this.#reading.isClassCalledSplit(folders, splits);
    const [stray] = isClass ? [] : splits.keys();
    if (stray) {
      throw layoutError(stray, 'a split folder where a class folder was expected', [
        `If it is a class: \`splits: { ${JSON.stringify(stray.name)}: false }\`.`,
      ]);
    }
    if (folders.length > 0 && folders.every(isContainerOrMask)) {
      const inner = folders.length === 1 ? undefined : this.#onlyContainer(parent, folders);
      if (!inner) throw this.#noClassFolders(parent, folders);
      this.#placeClasses(inner, split, isFirst);
      return;
    }
    const deeper = folders.map((folder) => this.#reading.splitBelow(folder)).find((folder) => folder !== undefined);
    if (deeper) {
      const above = folders.find(({ path }) => deeper.path.startsWith(path))!;
      throw layoutError(deeper, 'this split folder lies deeper than those of a single data set', [
        `Load ${JSON.stringify(dirname(deeper.path))} alone, or leave it out: \`ignore: [${JSON.stringify(above.name)}]\`.`,
      ]);
    }
    const [lone] = folders;
    const isRepeatedSplit =
      folders.length === 1 && plainName(lone!.name) === plainName(parent.name) && splitInName(lone!.name) !== undefined;
    if (isRepeatedSplit) throw this.#noClassFolders(parent, folders);
    if (isFirst) checkClassFolders(parent, folders, (folder) => this.#reading.unwrap(folder), this.warnings);
    this.classFolders.push(
      ...parent.folders.filter((folder) => folder.total > 0 || folder.others.length > 0 || folder.folders.length === 0),
    );
    for (const folder of folders) this.#placeAll(folder, folder.name, split);
  }

  /** <class>/<split>/** */
  #placeClassesWithSplits(folders: readonly FolderNode[]): void {
    this.classFolders.push(...folders);
    const insides: FolderNode[] = [];
    const divided = folders.find((folder) => this.#reading.splits(filled(folder)).size > 0);
    for (const folder of folders) {
      if (isFlat(folder) && divided !== undefined && folders.length > 1) {
        throw layoutError(
          folder,
          `images without a split, beside \`${oneLine(divided.name)}\`, which has ${listNames(filled(divided).map(({ name }) => name))}`,
          [
            `Move them into \`${oneLine(folder.name)}/train\`, or leave one out: \`ignore: [${JSON.stringify(folder.name)}]\` or \`ignore: [${JSON.stringify(divided.name)}]\`.`,
          ],
        );
      }
      refuseLooseImages(folder);
      const splits = this.#reading.splits(filled(folder));
      for (const inner of filled(folder)) {
        const split = splits.get(inner);
        if (!split && isMaskFolder(inner.name)) {
          this.warnings.push(
            `\`${oneLine(folder.name)}/${oneLine(inner.name)}\`: ${inner.total} images left out as masks or annotations`,
          );
          continue;
        }
        if (!split) throw layoutError(inner, 'this folder stands where the other classes have train or test folders');
        insides.push(inner);
        this.#placeAll(inner, folder.name, split);
      }
    }
    const [nested] = insides.filter(({ images }) => images.length === 0);
    const isDoubtful =
      insides.some((one) => filled(one).some((inner) => !isContainerOrMask(inner))) &&
      insides.every(({ images }) => images.length === 0) &&
      insides.some((one) => filled(one).length > 1);
    if (nested && isDoubtful) {
      const names = [...new Set(insides.flatMap((one) => filled(one).map(({ name }) => name)))];
      throw layoutError(
        nested,
        `folders in each split (${listNames(names)}): are these the classes, or ${listNames(folders.map(({ name }) => name))}?`,
        ["Write `layout: '*/split/class'` or `layout: 'class/split'`, or load one of the folders alone."],
      );
    }
  }

  #placeAll(folder: FolderNode, className: string, split: SplitName): void {
    for (const file of withoutMasks(folder, this.#masks)) this.placed.push({ file, className, split });
  }

  #noClassFolders(top: FolderNode, folders: readonly FolderNode[]): DataError {
    const detection = detectionEvidence(this.#root);
    if (detection) {
      return layoutError(
        top,
        `looks like a detection or segmentation data set (${detection}): there are no class folders`,
        [
          'Cut out one image for each box, or give classes by `classOf: (path) => …` or a table: `ImageFolder.fromTable(…)`.',
          namesHoldClasses(top.images) || folders.some(({ images }) => namesHoldClasses(images))
            ? fileNameHint(imagesBelow(top))
            : '',
        ],
      );
    }
    const names = folders.map(({ name }) => name);
    if (arePartNames(names) && folders.some((folder) => filled(folder).length > 0)) return partsError(top, names);
    const images = imagesBelow(top);
    const where = folders.length === 0 ? 'directly in this folder' : `directly in ${listNames(names)}`;
    const splits = this.#reading.splits(folders).size > 0;
    return layoutError(
      top,
      `no class folders: ${images.length} images lie ${where}${splits ? ', which are splits' : ''}`,
      [fileNameHint(images)],
    );
  }
}
