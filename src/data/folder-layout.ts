/** From a tree of folders to classes and splits: which of the three layouts it is, or why it is none. */
import { DataError } from '../errors.js';
import { oneLine } from '../one-line.js';
import type { FolderNode, PictureFile } from './folder-tree.js';

/** Splits as they are called here: a folder `training` is `train`, `val` and `valid` are `validation`. */
export type SplitName = 'train' | 'test' | 'validation';

export interface PlacedPicture {
  readonly file: PictureFile;
  readonly className: string;
  readonly split: SplitName;
}

/** Folder names of a split, in lower case. */
const SPLIT_NAMES: ReadonlyMap<string, SplitName> = new Map([
  ['train', 'train'],
  ['training', 'train'],
  ['test', 'test'],
  ['testing', 'test'],
  ['val', 'validation'],
  ['valid', 'validation'],
  ['validation', 'validation'],
]);

const LAYOUTS = 'Layouts: <class>/<split>/*, <split>/<class>/*, or <class>/*, below any number of wrapping folders.';

/**
 * Gives every picture its class and split.
 * @throws DataError naming the folder or file that fits no layout: nothing is left out silently
 */
export function placePictures(root: FolderNode): PlacedPicture[] {
  const top = unwrap(root);
  const folders = filled(top);
  const inSplits = folders.some(isSplit);
  // A lone class folder was unwrapped too: its own pictures or splits are what is left.
  const lone = inSplits ? folders.every((folder) => folder.pictures.length > 0) : folders.length === 0;
  if (lone) {
    if (top === root) throw layoutError(root, 'no class folders: pictures lie directly in this folder or its splits');
    return inSplits ? placeClassWithSplits(top) : placeAll(top, top.name, 'train');
  }
  refuseLoosePictures(top);
  if (inSplits) return placeSplits(top);
  if (folders.some((folder) => folder.folders.some(isSplit))) {
    const hollow = top.folders.find((folder) => folder.total === 0 && folder.folders.some(isSplit));
    if (hollow) throw layoutError(hollow, 'this class folder holds no pictures');
    return folders.flatMap(placeClassWithSplits);
  }
  const stray = folders.map(splitBelow).find((folder) => folder !== undefined);
  if (stray) throw layoutError(stray, 'this split folder lies deeper than those of a single data set');
  return folders.flatMap((folder) => placeAll(folder, folder.name, 'train'));
}

/** Paths of the folders of a split that hold no picture. */
export function emptySplitFolders(root: FolderNode, split: SplitName): string[] {
  return root.folders.flatMap((folder) => [
    ...(splitOf(folder) === split && folder.total === 0 ? [folder.path] : []),
    ...emptySplitFolders(folder, split),
  ]);
}

/** Descends through folders that hold nothing but one folder. */
function unwrap(folder: FolderNode): FolderNode {
  const [only, ...others] = filled(folder);
  if (!only || others.length > 0 || folder.pictures.length > 0) return folder;
  // `train` alone is a split, unless splits follow inside it.
  return isSplit(only) && !only.folders.some(isSplit) ? folder : unwrap(only);
}

/** <split>/<class>/** */
function placeSplits(top: FolderNode): PlacedPicture[] {
  return filled(top).flatMap((folder) => {
    const split = splitOf(folder);
    if (!split) throw layoutError(folder, 'this folder stands beside train or test folders and is none');
    refuseLoosePictures(folder);
    return filled(folder).flatMap((classFolder) => {
      if (isSplit(classFolder)) throw layoutError(classFolder, 'a split folder where a class folder was expected');
      return placeAll(classFolder, classFolder.name, split);
    });
  });
}

/** <class>/<split>/** */
function placeClassWithSplits(classFolder: FolderNode): PlacedPicture[] {
  refuseLoosePictures(classFolder);
  return filled(classFolder).flatMap((folder) => {
    const split = splitOf(folder);
    if (!split) throw layoutError(folder, 'this folder stands where the other classes have train or test folders');
    return placeAll(folder, classFolder.name, split);
  });
}

function placeAll(folder: FolderNode, className: string, split: SplitName): PlacedPicture[] {
  return [
    ...folder.pictures.map((file) => ({ file, className, split })),
    ...folder.folders.flatMap((inner) => placeAll(inner, className, split)),
  ];
}

function filled(folder: FolderNode): FolderNode[] {
  return folder.folders.filter(({ total }) => total > 0);
}

function splitOf(folder: FolderNode): SplitName | undefined {
  return SPLIT_NAMES.get(folder.name.toLowerCase());
}

function isSplit(folder: FolderNode): boolean {
  return splitOf(folder) !== undefined;
}

/** A split folder with pictures anywhere below. */
function splitBelow(folder: FolderNode): FolderNode | undefined {
  for (const inner of filled(folder)) {
    const found = isSplit(inner) ? inner : splitBelow(inner);
    if (found) return found;
  }
  return undefined;
}

function refuseLoosePictures(folder: FolderNode): void {
  const [loose] = folder.pictures;
  if (!loose) return;
  throw new DataError(
    `${oneLine(loose.path)}: a picture outside of any class folder, one of ${folder.pictures.length} in ${oneLine(folder.path)}`,
    { hint: `Move it into its class, or remove it. ${LAYOUTS}`, details: { path: loose.path } },
  );
}

function layoutError(folder: FolderNode, why: string): DataError {
  return new DataError(`${oneLine(folder.path)}: ${why}`, { hint: LAYOUTS, details: { path: folder.path } });
}
