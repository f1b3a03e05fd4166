/** What names say about a folder of images: a split, masks, a container of all images, a part of an archive. */
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import type { FolderNode, FoundFile } from './folder-tree.js';
import { aliases } from './known-keys.js';

/** Splits as they are called here: a folder `training` is `train`, `val` and `valid` are `validation`. */
export type SplitName = 'train' | 'test' | 'validation';

export interface PlacedImage {
  readonly file: FoundFile;
  readonly className: string;
  readonly split: SplitName;
}

export interface LayoutOptions {
  readonly layout?: string | undefined;
  readonly splits?: Readonly<Record<string, SplitName | false>> | undefined;
  readonly classOf?: ((path: string) => string | undefined) | undefined;
}

export interface Placement {
  readonly placed: PlacedImage[];
  readonly warnings: string[];
  readonly unlabelled: FolderNode[];
  /** Class folders, those without images too. */
  readonly classFolders: FolderNode[];
  /** Default: by code unit. */
  readonly classOrder?: readonly string[];
}

const SPLIT_WORDS = aliases({
  train: 'train training trainval',
  test: 'test testing',
  validation: 'val valid validation validate',
} satisfies Record<SplitName, string>);

/** Splits only beside a train folder. */
const WEAK_SPLIT_WORDS = aliases({ validation: 'dev eval', test: 'evaluation holdout' });

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

/** Folders that hold all images, whatever their class. */
const CONTAINER_WORDS = words(
  'image images img imgs jpegimages picture pictures pic pics photo photos frame frames jpg jpeg jpegs png pngs input inputs data dataset datasets set files file raw original originals',
);
/** Words that say nothing beside a split's: `seg_train`, `Train Data`, `images_val`. */
const NEUTRAL_WORDS = words(
  'seg split splits folder folders dir sample samples resized cropped new final processed preprocessed cls classification of to for the labeled labelled my full',
);
const MASK_WORDS = words(
  'mask masks label labels annotation annotations annot annots segmentation segmentations segmentationclass segmentationobject groundtruth gt trimap trimaps xml xmls bbox bboxes overlay overlays boxes imagesets',
);
const PART_WORDS = words('part parts batch chunk shard archive volume fold');

/** Marks of no width that nobody sees: of direction, zero-width spaces, byte order marks, soft hyphens. */
const UNSEEN = /[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g;

/** A name as it is seen: one Unicode form, plain spaces, none outside, nothing unseen. */
export function seenName(name: string): string {
  return name.normalize('NFC').replaceAll(UNSEEN, '').replaceAll(/\s+/g, ' ').trim();
}

/** Folder names that differ only in this are one name to a reader: letter case, Unicode form, spaces. */
export function plainName(name: string): string {
  return seenName(name).normalize('NFKC').toLowerCase();
}

/** Lower-case words and numbers: `seg_train`, `trainImages2017` → seg, train; train, images, 2017. */
function wordsOf(name: string): string[] {
  return name
    .normalize('NFKC')
    .replaceAll(/(\p{Ll})(\p{Lu})/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+|(?<=\p{L})(?=\p{N})|(?<=\p{N})(?=\p{L})/u)
    .filter((word) => word !== '');
}

interface SplitWord {
  readonly split: SplitName;
  readonly rest: string;
  /** The other words say nothing. */
  readonly isPlain: boolean;
}

const GLUED = /^(train|training|test|testing|val|valid|validation)(sets?|data|dataset|images?|imgs?|folder)$/;

function splitWordOf(name: string, vocabulary: ReadonlyMap<string, SplitName>): SplitWord | undefined {
  const all = wordsOf(name).map((word) => GLUED.exec(word)?.[1] ?? word);
  const found = all.filter((word) => vocabulary.has(word));
  // `train_val` is what one trains on beside a test split.
  const isTrainVal = found.length === 2 && found[0] === 'train' && vocabulary.get(found[1]!) === 'validation';
  if (found.length !== 1 && !isTrainVal) return undefined;
  const rest = all.filter((word) => !vocabulary.has(word));
  const isPlain = rest.every((word) => CONTAINER_WORDS.has(word) || NEUTRAL_WORDS.has(word) || /^\p{N}+$/u.test(word));
  return { split: vocabulary.get(found[0]!)!, rest: rest.join(' '), isPlain };
}

/**
 * The splits among folders that lie side by side. A name with other words in it, `isic_train`, counts where a sibling
 * has the same words with another split, `isic_test`.
 * @param given by the user: folder name to split, or false for a folder that is none
 */
export function splitsAmong(
  names: readonly string[],
  given: Readonly<Record<string, SplitName | false>> = {},
): Map<string, SplitName> {
  const own = new Map(Object.entries(given).map(([name, split]) => [plainName(name), split]));
  const splits = new Map<string, SplitName>();
  const found = names.map((name) => ({ name, word: splitWordOf(name, SPLIT_WORDS) }));
  for (const { name, word } of found) {
    const said = own.get(plainName(name));
    const hasTwin = () =>
      found.some((other) => other.word && other.word.rest === word!.rest && other.word.split !== word!.split);
    if (said === false) continue;
    // `train_labels` beside `train_images` is no split.
    if (!said && wordsOf(name).some((one) => MASK_WORDS.has(one))) continue;
    if (said) splits.set(name, said);
    else if (word && (word.isPlain || hasTwin())) splits.set(name, word.split);
  }
  if (![...splits.values()].includes('train')) return splits;
  for (const name of names) {
    const word = splitWordOf(name, WEAK_SPLIT_WORDS);
    if (word?.isPlain && !splits.has(name) && !own.has(plainName(name))) splits.set(name, word.split);
  }
  return splits;
}

export function splitInName(name: string): SplitName | undefined {
  return splitWordOf(name.replace(/\.[^.]*$/, ''), SPLIT_WORDS)?.split;
}

export function splitOfCell(text: string): SplitName | undefined {
  const [word, ...others] = wordsOf(text);
  return others.length > 0 || word === undefined ? undefined : (SPLIT_WORDS.get(word) ?? WEAK_SPLIT_WORDS.get(word));
}

const consistsOf = (name: string, vocabularies: readonly ReadonlySet<string>[]): boolean => {
  const all = wordsOf(name);
  const isNumber = (word: string) => /^\p{N}+$/u.test(word);
  const whole = all.join('');
  if (vocabularies.some((vocabulary) => vocabulary.has(whole))) return true;
  return (
    all.some((word) => !isNumber(word)) && all.every((word) => isNumber(word) || vocabularies.some((v) => v.has(word)))
  );
};

export function isContainer(name: string): boolean {
  return consistsOf(name, [CONTAINER_WORDS, PART_WORDS]);
}

/** `masks`, `labels`, `image_masks`: what belongs to images and is not to be learned as one. */
export function isMaskFolder(name: string): boolean {
  const all = wordsOf(name);
  return (
    consistsOf(name, [MASK_WORDS, CONTAINER_WORDS, new Set(SPLIT_WORDS.keys()), words('ground truth')]) &&
    (MASK_WORDS.has(all.join('')) || all.some((word) => MASK_WORDS.has(word) || word === 'truth'))
  );
}

/** Names that count the parts of an archive: equal but for a number, with a word like part, batch or images in them. */
export function arePartNames(names: readonly string[]): boolean {
  if (names.length < 2) return false;
  const stems = new Set(
    names.map((name) =>
      wordsOf(name)
        .filter((word) => !/^\p{N}+$/u.test(word))
        .join(' '),
    ),
  );
  const [stem] = stems;
  const isPart = (word: string) => PART_WORDS.has(word) || CONTAINER_WORDS.has(word);
  return stems.size === 1 && names.every((name) => /\p{N}/u.test(name)) && stem!.split(' ').some(isPart);
}

const OPPOSITES: readonly (readonly [string, ReadonlySet<string>])[] = [
  ['positive', words('negative')],
  ['pos', words('neg')],
  ['benign', words('malignant')],
  ['normal', words('abnormal')],
  ['healthy', words('unhealthy diseased sick infected')],
  ['good', words('bad defect defective broken')],
  ['yes', words('no')],
  ['true', words('false')],
  ['real', words('fake')],
  ['live', words('spoof')],
  ['valid', words('invalid')],
];

/** Two names among these that are the two answers to one question, as `study1_positive` and `study2_negative`. */
export function oppositesAmong(names: Iterable<string>): [string, string] | undefined {
  const byWord = new Map<string, string>();
  for (const name of names) for (const word of wordsOf(name)) byWord.set(word, name);
  for (const [one, others] of OPPOSITES) {
    const other = [...others].find((word) => byWord.has(word));
    if (byWord.has(one) && other !== undefined) return [byWord.get(one)!, byWord.get(other)!];
  }
  return undefined;
}

/** Files that are the masks of others in the same folder: `1_mask.png` beside `1.png`. */
export function maskFiles(files: readonly FoundFile[]): FoundFile[] {
  const stemOf = ({ path }: FoundFile) => path.replace(/\.[^./\\]+$/, '');
  const stems = new Set(files.map(stemOf));
  return files.filter((file) => {
    const base = /^(.+?)[ _-](?:mask|seg|segmentation|groundtruth|gt)s?(?:[ _-]?\d+)?$/i.exec(stemOf(file))?.[1];
    return base !== undefined && stems.has(base);
  });
}

/** A name pattern of the `ignore` option: `*` stands for anything but `/`. Compared with the name and with the path below the root. */
export function ignoreFilter(patterns: readonly string[]): (name: string, key: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const parts = pattern
      .replaceAll('\\', '/')
      .replace(/^\.?\//, '')
      .replace(/\/$/, '')
      .split('*');
    const source = parts.map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')).join('[^/]*');
    return new RegExp(`^${source}$`, 'iu');
  });
  return (name, key) => expressions.some((one) => one.test(name) || one.test(key));
}

/** `a`, `b`, `c` and 5 more */
export function listNames(names: readonly string[], shown = 4): string {
  return shortList(names, names.length === shown + 1 ? shown + 1 : shown, (name) => `\`${oneLine(name)}\``);
}

export function imagesBelow(folder: FolderNode): FoundFile[] {
  return [...folder.images, ...folder.folders.flatMap(imagesBelow)];
}

export function othersBelow(folder: FolderNode): FoundFile[] {
  return [...folder.others, ...folder.folders.flatMap(othersBelow)];
}

/** Folders with images, anywhere below. */
export function filled(folder: FolderNode): FolderNode[] {
  return folder.folders.filter(({ total }) => total > 0);
}

export function splitsOf(
  folders: readonly FolderNode[],
  { splits }: { readonly splits?: Readonly<Record<string, SplitName | false>> | undefined },
): Map<FolderNode, SplitName> {
  const names = splitsAmong(
    folders.map(({ name }) => name),
    splits,
  );
  return new Map(folders.flatMap((folder) => (names.has(folder.name) ? [[folder, names.get(folder.name)!]] : [])));
}
