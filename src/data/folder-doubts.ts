/** What speaks against a reading of a folder tree: copies, masks, two readings at once, annotations of another task. */
import { statSync } from 'node:fs';
import { relative } from 'node:path';
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import {
  arePartNames,
  filled,
  isContainer,
  isMaskFolder,
  listNames,
  maskFiles,
  oppositesAmong,
  plainName,
  splitsAmong,
} from './folder-evidence.js';
import type { FolderNode, FoundFile } from './folder-tree.js';

export const LAYOUTS =
  'Layouts: <class>/<split>/*, <split>/<class>/*, or <class>/*, below any number of wrapping folders.';

export function layoutError(folder: FolderNode, why: string, hints: readonly string[] = []): DataError {
  return new DataError(`${oneLine(folder.path)}: ${why}`, {
    hint: [...hints.filter((one) => one !== ''), LAYOUTS].join(' '),
    details: { path: folder.path },
  });
}

type Unwrap = (folder: FolderNode) => FolderNode;

/** Files compared by size before a folder counts as a copy of another. */
const COMPARED_FILES = 64;

/**
 * Leaves out folders that hold the same files as what lies beside them, as archives often have them: `x/train` beside
 * `x/x/train`, `Train` beside `train`. Warns, and gives the folder in which the data set begins then.
 */
export function dropCopies(top: FolderNode, unwrap: Unwrap, warnings: string[]): FolderNode {
  const folders = filled(top);
  const drop = (folder: FolderNode, other: string): FolderNode => {
    warnings.push(`\`${oneLine(folder.name)}\`: a copy of ${other}, left out with its ${folder.total} images`);
    top.folders.splice(top.folders.indexOf(folder), 1);
    top.total -= folder.total;
    return dropCopies(unwrap(top), unwrap, warnings);
  };
  for (const folder of folders) {
    const others = folders.filter((one) => one !== folder);
    // Names are compared only where the counts are equal: a data set may have thousands of folders.
    if (top.images.length === 0 && 2 * folder.total === top.total) {
      const rest = new Map(others.flatMap((one) => [...below(one, one.name)]));
      if (areSame(namesBelow(unwrap(folder)), rest)) return drop(folder, 'what lies beside it');
    }
    const inner = unwrap(folder);
    if (filled(inner).length === 0) continue;
    const isNamed = (one: FolderNode, other: FolderNode) => namesOnTheWay(one).includes(plainName(other.name));
    const twin = others.find((one) => one.total === folder.total && (isNamed(one, folder) || isNamed(folder, one)));
    // Of two, the deeper one goes, then the one with the later name.
    const isLater = twin && (depthOf(folder) - depthOf(twin) || (folder.name < twin.name ? 1 : -1)) > 0;
    if (twin && isLater && areSame(namesBelow(inner), namesBelow(unwrap(twin))))
      return drop(folder, `\`${oneLine(twin.name)}\``);
  }
  return top;
}

export function depthOf(folder: FolderNode): number {
  return Math.max(0, ...filled(folder).map((inner) => 1 + depthOf(inner)));
}

function namesOnTheWay(folder: FolderNode): string[] {
  const [only, ...others] = filled(folder);
  const inner = only && others.length === 0 && folder.images.length === 0 ? namesOnTheWay(only) : [];
  return [plainName(folder.name), ...inner];
}

function* below(folder: FolderNode, prefix: string): Generator<[string, FoundFile]> {
  for (const file of folder.images) yield [`${prefix}/${file.key.split('/').at(-1)}`, file];
  for (const inner of folder.folders) yield* below(inner, `${prefix}/${inner.name}`);
}

function namesBelow(folder: FolderNode): Map<string, FoundFile> {
  return new Map([...below(folder, '')].map(([name, file]) => [name.slice(1), file]));
}

function areSame(one: ReadonlyMap<string, FoundFile>, other: ReadonlyMap<string, FoundFile>): boolean {
  if (one.size !== other.size) return false;
  for (const name of one.keys()) if (!other.has(name)) return false;
  const step = Math.ceil(one.size / COMPARED_FILES);
  return [...one].every(([name, { path }], i) => i % step > 0 || sizeOf(path) === sizeOf(other.get(name)!.path));
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** @throws DataError where class folders allow another reading */
export function checkClassFolders(
  parent: FolderNode,
  folders: readonly FolderNode[],
  unwrap: Unwrap,
  warnings: string[],
): void {
  const names = folders.map(({ name }) => name);
  if (arePartNames(names)) throw partsError(parent, names);
  const inner = folders.flatMap((folder) => foldersBelow(folder));
  const opposites = oppositesAmong(names) ? undefined : oppositesAmong(inner.map(({ name }) => name));
  if (opposites) {
    const example = inner.find(({ name }) => name === opposites[0])!;
    throw layoutError(
      parent,
      `are the classes ${listNames(names)}, or what folders below them say (${listNames(opposites)}, as in ${pathBelow(parent, example)})?`,
      [
        "Write `layout: 'class'` for the former, with the splits that there are, as in `layout: 'split/class'`;",
        `for the latter e.g. \`classOf: (path) => /${opposites.map(outcomeIn).join('|')}/.exec(path)?.[0]\`.`,
      ],
    );
  }
  refuseEqualChildren(parent, folders, unwrap);
  const deep = folders.flatMap(filled).flatMap(filled);
  const isDeep = folders.every(
    (folder) => folder.images.length === 0 && filled(folder).every(({ images }) => images.length === 0),
  );
  const kinds = folders.flatMap(filled).filter(({ name }) => !isContainer(name) && !isMaskFolder(name));
  const stems = new Set(
    kinds.map(({ name }) =>
      plainName(name)
        .replaceAll(/[^\p{L}]+|(?<!\p{L})\p{L}(?!\p{L})/gu, ' ')
        .trim(),
    ),
  );
  const areKinds =
    folders.length < 6 && folders.every((folder) => folder.images.length === 0 && filled(folder).length > 1);
  if (areKinds && deep.length === 0 && kinds.length > folders.length && stems.size > 2) {
    warnings.push(
      `the classes ${listNames(names)} hold folders (${listNames(kinds.map(({ name }) => name))}); if those are the classes: \`layout: '*/class'\``,
    );
  }
  if (folders.length > 0 && isDeep && deep.length > 0) {
    warnings.push(
      `images lie two and more folders below the classes ${listNames(names)}, e.g. in ${pathBelow(parent, deep[0]!)}; ` +
        'if other folders are the classes, give `layout` or `classOf`',
    );
  }
}

export function partsError(parent: FolderNode, names: readonly string[]): DataError {
  return layoutError(parent, `${listNames(names)} look like parts of an archive, not like classes`, [
    "If a table has the classes: `ImageFolder.fromTable(…)`; if class folders lie in them: `layout: '*/class'`; if they are classes: `layout: 'class'`.",
  ]);
}

/** The word of a name that says yes or no, e.g. `positive` of `study1_positive`. */
function outcomeIn(name: string): string {
  return /[\p{L}]+$/u.exec(name)?.[0] ?? name;
}

/** `color/{apple,grape}`, `gray/{apple,grape}`: classes above and variants below, or the other way round. */
export function refuseEqualChildren(parent: FolderNode, folders: readonly FolderNode[], unwrap: Unwrap): void {
  const first = folders[0] && JSON.stringify(pathBelow(parent, folders[0]));
  const children = folders.map((folder) => {
    const inner = unwrap(folder);
    const names = inner.images.length > 0 ? [] : filled(inner).map(({ name }) => plainName(name));
    return names.every((name) => isContainer(name) || isMaskFolder(name)) ? [] : names;
  });
  const nested = children.filter((names) => names.length > 0);
  const union = new Set(nested.flat());
  if (nested.length < 2 || nested.length < folders.length * 0.7 || union.size < 2) return;
  const covered = nested.reduce((sum, names) => sum + names.length, 0) / (nested.length * union.size);
  if (covered < 0.7) return;
  const splits = splitsAmong([...union]);
  if (splits.size === union.size) {
    throw layoutError(
      parent,
      `the folders ${listNames(folders.map(({ name }) => name))} hold splits each (${listNames([...union])}), which may be other divisions of the same images`,
      [`Load one of them alone, e.g. ${first}, or write \`layout: '*/split/class'\` if they hold different images.`],
    );
  }
  throw layoutError(
    parent,
    `the folders ${listNames(folders.map(({ name }) => name))} hold folders of equal names (${listNames([...union])}): which of them are the classes?`,
    [
      `Load one of the former alone, e.g. ${first}, or write \`layout: '*/class'\` for the names below, \`layout: 'class'\` for those above. Where the former are splits: \`splits: { ${JSON.stringify(folders[0]!.name)}: 'train', … }\`.`,
    ],
  );
}

function pathBelow(parent: FolderNode, folder: FolderNode): string {
  return oneLine(relative(parent.path, folder.path).replaceAll('\\', '/'));
}

function foldersBelow(folder: FolderNode): FolderNode[] {
  return filled(folder).flatMap((inner) => [inner, ...foldersBelow(inner)]);
}

/** By name of folder or ending: in how many class folders, and how many images were left out. */
export type MaskCount = Map<string, { folders: number; images: number }>;

/** The images below a class folder without its masks: folders beside `images`, and files `1_mask.png` beside `1.png`. */
export function withoutMasks(folder: FolderNode, left: MaskCount): FoundFile[] {
  const count = (name: string, images: number) => {
    const { folders, images: before } = left.get(name) ?? { folders: 0, images: 0 };
    left.set(name, { folders: folders + 1, images: before + images });
  };
  const masks = new Set(maskFiles(folder.images));
  if (masks.size > 0) count('*_mask.*', masks.size);
  const inner = filled(folder);
  const aside = inner.filter(({ name }) => isMaskFolder(name));
  const hasImages = folder.images.length > 0 || aside.length < inner.length;
  const isSorted = hasImages && inner.every(({ name }) => isContainer(name) || isMaskFolder(name));
  return [
    ...folder.images.filter((file) => !masks.has(file)),
    ...inner.flatMap((one) => {
      if (!isSorted || !aside.includes(one)) return withoutMasks(one, left);
      count(one.name, one.total);
      return [];
    }),
  ];
}

/** What of a detection or segmentation data set lies in the tree, or undefined. */
export function detectionEvidence(root: FolderNode): string | undefined {
  const found = new Set<string>();
  const walk = (folder: FolderNode): void => {
    if (isMaskFolder(folder.name) && folder.images.length > 0) found.add(`masks in \`${oneLine(folder.name)}\``);
    for (const { key } of folder.others) {
      const name = key.split('/').at(-1)!.toLowerCase();
      const above = key.split('/').slice(0, -1).find(isMaskFolder);
      if (name.endsWith('.txt') && above !== undefined) found.add(`YOLO's \`${oneLine(above)}/*.txt\``);
      else if (name.endsWith('.xml')) found.add(`Pascal VOC's \`${oneLine(folder.name)}/*.xml\``);
      else if (/^(data|dataset)\.ya?ml$/.test(name)) found.add(`\`${oneLine(name)}\``);
      else if (/coco\.json$|^instances?_.*\.json$|^_?annotations.*\.(json|csv)$/.test(name))
        found.add(`\`${oneLine(name)}\``);
    }
    for (const inner of folder.folders) walk(inner);
  };
  walk(root);
  return found.size > 0 ? [...found].slice(0, 4).join(', ') : undefined;
}

/** The part of a file's name before its number: `cat` of `cat.0.jpg`. */
const PREFIX = /^(\p{L}.*?[^\d._ -])[._ -]*\(?\d+\)?$/u;

function prefixesOf(images: readonly FoundFile[]): Map<string, number> {
  const prefixes = new Map<string, number>();
  for (const { key } of images) {
    const stem = key
      .split('/')
      .at(-1)!
      .slice(0, 255)
      .replace(/\.[^.]*$/, '');
    const prefix = PREFIX.exec(stem)?.[1];
    if (prefix !== undefined) prefixes.set(prefix, (prefixes.get(prefix) ?? 0) + 1);
  }
  return prefixes;
}

/** Whether names count images class by class: `cat.0.jpg`, `cat.1.jpg`, `dog.0.jpg`, `dog.1.jpg`. */
export function namesHoldClasses(images: readonly FoundFile[]): boolean {
  const counts = [...prefixesOf(images).values()];
  const covered = counts.reduce((a, b) => a + b, 0);
  return counts.length >= 2 && covered >= 0.5 * images.length && counts.every((count) => count >= 2);
}

/** What to write where the class is in the file's name; empty where it cannot be. */
export function fileNameHint(images: readonly FoundFile[]): string {
  const prefixes = [...prefixesOf(images)].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  if (prefixes.length < 2 || prefixes.length > Math.max(4, images.length / 2)) {
    return 'If a table has the classes: `ImageFolder.fromTable(…)`; if a name tells them: `classOf: (path) => …`.';
  }
  return `If the file name tells the class (${listNames(prefixes)}): \`classOf: (path) => /([^/]*[^/\\d._ -])[._ -]*\\d+\\.\\w+$/.exec(path)?.[1]\`.`;
}

/** @throws DataError for images beside folders that are classes or splits */
export function refuseLooseImages(folder: FolderNode): void {
  const [loose] = folder.images;
  if (!loose) return;
  throw new DataError(
    `${oneLine(loose.path)}: an image outside of any class folder, one of ${folder.images.length} in ${oneLine(folder.path)}`,
    {
      hint: `Move it into its class, or leave it out: \`ignore: [${JSON.stringify(loose.key.split('/').at(-1))}]\`. ${LAYOUTS}`,
      details: { path: loose.path },
    },
  );
}

export function maskWarnings(left: MaskCount): string[] {
  return [...left].map(
    ([name, { folders, images }]) =>
      `\`${oneLine(name)}\` in ${folders} class folders: ${images} images left out as masks; to learn from them, give \`classOf\``,
  );
}
