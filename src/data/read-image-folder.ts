/** From a folder, or from a table beside images, to the splits of an `ImageFolder`. */
import { stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { z } from 'zod';
import {
  callback,
  functionOption,
  type Given,
  type Mismatch,
  type NoMismatch,
  parseOptions,
  pathOption,
  requirePath,
} from '../config.js';
import { ConfigError, DataError, ImageError } from '../errors.js';
import { exists } from '../files/regular-file.js';
import { oneLine, warningLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import { readTable } from './csv.js';
import { ClassLabel, LabelledDataset } from './dataset.js';
import { decodeWithin } from './decode-budget.js';
import { ImageFile, type ImageFileOptions } from './decode-image.js';
import { chooseClasses, mergeEqualNames, warnAboutClasses, warnAboutFiles } from './folder-classes.js';
import {
  ignoreFilter,
  listNames,
  othersBelow,
  type PlacedImage,
  type Placement,
  type SplitName,
} from './folder-evidence.js';
import { emptySplitFolders, placeFolderImages } from './folder-layout.js';
import { type FolderNode, forEachConcurrently, readFolderTree } from './folder-tree.js';
import type {
  ImageFolderContent,
  ImageFolderOptions,
  ImageSample,
  ImageTableOptions,
  SkippedImage,
} from './image-folder-options.js';
import { READ_FORMATS } from './image-format.js';
import type { DecodeOptions } from './image-header.js';
import { placeByTables } from './image-table.js';
import { DepthWatch } from './sample-depth.js';
import { checkTables, findTables, metadataOf, offerTable, type TableEvidence, tablesToRead } from './table-evidence.js';

const splitName = z.enum(['train', 'test', 'validation']);

const reading = {
  onBadImage: z.enum(['error', 'skip']).default('error'),
  verify: z.boolean().optional(),
  maxPixels: z.number().int().positive().optional(),
  maxAspectRatio: z.number().min(1).default(1540),
  bitDepth: z.number().int().min(8).max(16).optional(),
  ignore: z.array(z.string().min(1)).readonly().optional(),
  splits: z.record(z.string(), z.union([splitName, z.literal(false)])).optional(),
  classes: z.union([z.array(z.string().min(1)).min(1).readonly(), z.record(z.string(), z.string().min(1))]).optional(),
  onWarning: callback<string>().optional(),
};

export const imageFolderSchema = z.strictObject({
  ...reading,
  layout: z
    .string()
    .regex(
      /^(class|split|\*)(\/(class|split|\*))*$/,
      "expected folders from the top, as in 'split/class': class, split or *",
    )
    .refine((layout) => layout.split('/').filter((one) => one === 'class').length === 1, 'expected `class` once')
    .refine((layout) => layout.split('/').filter((one) => one === 'split').length <= 1, 'expected `split` once at most')
    .optional(),
  classOf: functionOption<NonNullable<ImageFolderOptions['classOf']>>().optional(),
} satisfies Record<keyof ImageFolderOptions, z.ZodType>);
type _Input = NoMismatch<Mismatch<Given<z.input<typeof imageFolderSchema>>, Given<ImageFolderOptions>>>;

const column = z.union([z.string().min(1), z.int().nonnegative()]);

const imageTableSchema = z.strictObject({
  ...reading,
  imageDir: pathOption().optional(),
  fileColumn: column.optional(),
  labelColumn: z.union([column, z.array(z.string().min(1)).min(2).readonly()]).optional(),
  splitColumn: column.optional(),
  labelOf: functionOption<NonNullable<ImageTableOptions['labelOf']>>().optional(),
  splitOf: functionOption<NonNullable<ImageTableOptions['splitOf']>>().optional(),
  separator: z.string().min(1).optional(),
  header: z.boolean().optional(),
} satisfies Record<keyof ImageTableOptions, z.ZodType>);
type _ImageTableOptions = NoMismatch<Mismatch<Given<z.input<typeof imageTableSchema>>, Given<ImageTableOptions>>>;

type Reading = z.output<typeof imageFolderSchema> | z.output<typeof imageTableSchema>;

export async function readImageFolder(dir: string, options: ImageFolderOptions = {}): Promise<ImageFolderContent> {
  requirePath(dir, 'ImageFolder.load');
  const parsed = parseOptions(imageFolderSchema, options, 'ImageFolder');
  if (parsed.layout !== undefined && parsed.classOf) {
    throw new ConfigError('ImageFolder: give `layout` or `classOf`, not both');
  }
  const warnings: string[] = [];
  const tree = await readTree(dir, parsed, warnings);
  const isSaid = parsed.layout !== undefined || parsed.classOf !== undefined;
  const tables = isSaid ? [] : await findTables(tree);
  const metadata = metadataOf(tree, tables, warnings);
  let placement: Placement;
  if (!isSaid && metadata.length > 0) {
    placement = await placeByTables(tree, metadata, { splits: parsed.splits, isNamed: parsed.classes !== undefined });
    warnOfFolders(tree, parsed, tables, warnings);
  } else placement = placeByFolders(tree, parsed, tables);
  return finish(tree, placement, parsed, [...warnings, ...placement.warnings], tables);
}

/** Everything of an `ImageFolder` whose classes are in tables; see `ImageFolder.fromTable`. */
export async function readImageTable(
  path: string | readonly string[],
  options: ImageTableOptions = {},
): Promise<ImageFolderContent> {
  const paths = typeof path === 'string' ? [path] : path;
  if (!Array.isArray(paths) || paths.length === 0)
    throw new ConfigError('ImageFolder.fromTable: expected a table or a list of them');
  for (const one of paths) requirePath(one, 'ImageFolder.fromTable');
  const parsed = parseOptions(imageTableSchema, options, 'ImageFolder.fromTable');
  const absolute = paths.map((one) => resolve(one));
  const isDir = absolute.length === 1 && (await stat(absolute[0]!).catch(() => undefined))?.isDirectory();
  // A table that is missing is an error before all that lies beside it is walked.
  for (const one of absolute) if (!(await exists(one))) await readTable(one);
  const warnings: string[] = [];
  const root = parsed.imageDir ?? (isDir ? absolute[0]! : commonDir(absolute));
  const tree = await readTree(root, parsed, warnings);
  const tables = isDir ? tablesToRead(tree, await findTables(tree), absolute[0]!) : absolute;
  const placement = await placeByTables(tree, tables, { ...parsed, isNamed: parsed.classes !== undefined });
  return finish(tree, placement, parsed, [...warnings, ...placement.warnings], []);
}

function commonDir(paths: readonly string[]): string {
  let dir = dirname(paths[0]!);
  while (!paths.every((path) => path.startsWith(dir)) && dirname(dir) !== dir) dir = dirname(dir);
  return dir;
}

async function readTree(dir: string, options: Reading, warnings: string[]): Promise<FolderNode> {
  const root = resolve(dir);
  const tree = await readFolderTree(root);
  for (const pattern of options.ignore ?? []) {
    if (prune(tree, ignoreFilter([pattern]), '') === 0)
      warnings.push(`\`ignore\`: nothing is called ${JSON.stringify(pattern)}`);
  }
  if (tree.total > 0) return tree;
  const endings = endingsOf(tree);
  throw new DataError(`${oneLine(root)}: no images in this folder or below${endings ? `, but ${endings}` : ''}`, {
    hint: /DICOM/.test(endings)
      ? 'Convert them to PNG with a chosen window, the same for all files.'
      : /\.(arrow|parquet|tfrecords?|npz|npy|h5|pkl|zip|tar|gz|rar)\b/.test(endings)
        ? 'Images inside archives and arrays are not read: unpack them, or save them as PNG or JPEG files.'
        : `Expected class folders of ${READ_FORMATS} files. Is the path right, the archive unpacked?`,
    details: { path: root },
  });
}

function endingsOf(tree: FolderNode): string {
  const counts = new Map<string, number>();
  for (const { path, isDicom } of othersBelow(tree)) {
    const ending = isDicom
      ? 'DICOM files'
      : (/\.[^./\\]{1,12}$/.exec(path)?.[0].toLowerCase() ?? 'files without an ending');
    counts.set(ending, (counts.get(ending) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 4);
  return sorted.map(([ending, count]) => `${count} ${oneLine(ending)}`).join(', ');
}

/** Takes out what fits; gives the number of files and folders taken out. */
function prune(folder: FolderNode, fits: (name: string, key: string) => boolean, key: string): number {
  const below = (name: string) => (key ? `${key}/${name}` : name);
  const isKept = ({ path }: { path: string }) => !fits(basename(path), below(basename(path)));
  const before = folder.images.length + folder.others.length + folder.folders.length;
  folder.images = folder.images.filter(isKept);
  folder.others = folder.others.filter(isKept);
  const kept = folder.folders.filter(isKept);
  folder.folders.splice(0, folder.folders.length, ...kept);
  let taken = before - folder.images.length - folder.others.length - kept.length;
  for (const inner of kept) taken += prune(inner, fits, below(inner.name));
  folder.total = folder.images.length + kept.reduce((sum, { total }) => sum + total, 0);
  return taken;
}

function placeByFolders(
  tree: FolderNode,
  options: z.output<typeof imageFolderSchema>,
  tables: readonly TableEvidence[],
): Placement {
  let placement: Placement;
  try {
    placement = placeFolderImages(tree, options);
  } catch (error) {
    throw error instanceof DataError ? offerTable(error, tree, tables) : error;
  }
  checkTables(tree, placement, tables);
  return placement;
}

/** Folders that are classes of their own, other than those of the metadata that goes before them. */
function warnOfFolders(
  tree: FolderNode,
  options: z.output<typeof imageFolderSchema>,
  tables: readonly TableEvidence[],
  warnings: string[],
): void {
  let names: string[] = [];
  try {
    const placement = placeFolderImages(tree, options);
    names = [...new Set(placement.placed.map(({ className }) => className))];
    checkTables(tree, placement, tables);
  } catch {
    if (names.length > 1)
      warnings.push(
        `classes are taken from metadata, not from the folders ${listNames(names)}; those: \`layout\`, as 'class' or 'split/class'`,
      );
  }
}

async function finish(
  tree: FolderNode,
  placement: Placement,
  options: Reading,
  warnings: string[],
  tables: readonly TableEvidence[],
): Promise<ImageFolderContent> {
  const root = tree.path;
  const merged = options.classes ? placement.placed : mergeEqualNames(placement.placed, warnings);
  const { placed, names } = chooseClasses(merged, placement.classOrder, options.classes, root);
  const depths = new DepthWatch(options.bitDepth, options.onWarning);
  const limits: DecodeOptions = {
    maxPixels: options.maxPixels,
    maxAspectRatio: options.maxAspectRatio,
    bitDepth: options.bitDepth,
    onBrightestSample: (name, brightest) => depths.note(name, brightest),
  };
  const bad = await depths.during(() => findBadImages(placed, options, limits));
  if (bad.length > 0 && options.onBadImage === 'error') throw badImagesError(bad, root);
  const badPaths = new Set(bad.map(({ path }) => path));
  warnAboutFiles(tree, placement, tables, warnings);
  const good = placed.filter(({ file }) => !badPaths.has(file.path));
  warnAboutClasses(good, names, warnings);
  if (bad.length > 0) {
    const shown = shortList(bad, 3, ({ path, reason }) => `${oneLine(path)} (${reason})`);
    warnings.push(
      `${bad.length === 1 ? 'an unreadable image is' : `${bad.length} unreadable images are`} left out: ${shown}`,
    );
  }

  const classLabel = new ClassLabel(names);
  const splits = new Map<SplitName, LabelledDataset<ImageSample>>();
  for (const name of ['train', 'test', 'validation'] as const) {
    const ofSplit = placed.filter((image) => image.split === name);
    const goodOnes = good.filter((image) => image.split === name);
    const empty = placement.classFolders.length > 0 ? emptySplitFolders(tree, name, options) : [];
    if (goodOnes.length > 0)
      splits.set(name, datasetOf(goodOnes, classLabel, { ...limits, onBadImage: options.onBadImage }));
    else if (ofSplit.length > 0 || empty.length > 0) {
      const paths = new Set(ofSplit.map(({ file }) => file.path));
      throw emptySplitError(
        root,
        name,
        bad.filter(({ path }) => paths.has(path)),
        empty,
      );
    }
  }
  const warn = options.onWarning ?? ((line: string) => process.emitWarning(line, 'ImageFolderWarning'));
  const lines = warnings.map(warningLine);
  for (const line of lines) warn(`${oneLine(root)}: ${line}`);
  return { dir: root, classLabel, splits, skipped: bad, warnings: lines };
}

function datasetOf(
  images: readonly PlacedImage[],
  classLabel: ClassLabel,
  options: ImageFileOptions,
): LabelledDataset<ImageSample> {
  const sorted = images
    .map((image) => ({ ...image, label: classLabel.str2int(image.className) }))
    .sort((a, b) => a.label - b.label || byCodeUnit(a.file.key, b.file.key));
  const labels = sorted.map(({ label }) => label);
  return new LabelledDataset<ImageSample>(classLabel, labels, (index) => {
    const { className, file } = sorted[index]!;
    const image = new ImageFile(file.path, options);
    return { image, label: labels[index]!, className, path: file.path };
  });
}

async function findBadImages(
  images: readonly PlacedImage[],
  options: Reading,
  limits: DecodeOptions,
): Promise<SkippedImage[]> {
  const bad: SkippedImage[] = [];
  const whole: string[] = [];
  for (const { file } of images) {
    if (file.fault === undefined) whole.push(file.path);
    else bad.push({ path: file.path, reason: file.fault });
  }
  if (options.verify ?? options.onBadImage === 'skip') {
    await forEachConcurrently(whole, 4, async (path) => {
      try {
        // Only decoded, not kept; large ones one after the other.
        (await decodeWithin(new ImageFile(path, limits))).release();
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        bad.push({ path, reason: error.reason });
      }
    });
  }
  return bad.sort((a, b) => byCodeUnit(a.path, b.path));
}

function badImagesError(bad: readonly SkippedImage[], root: string): ImageError {
  const shown = bad.slice(0, 10).map(({ path, reason }) => `\n  - ${oneLine(path)}: ${reason}`);
  const more = bad.length > shown.length ? `\n  and ${bad.length - shown.length} more` : '';
  return new ImageError(
    `${oneLine(root)}: ${bad.length === 1 ? 'a file is' : `${bad.length} files are`} no readable image${shown.join('')}${more}`,
    {
      hint: "Repair or remove them, or load with `onBadImage: 'skip'` to leave them out.",
      details: { path: bad[0]!.path, files: bad },
    },
  );
}

function emptySplitError(
  root: string,
  name: SplitName,
  skipped: readonly SkippedImage[],
  folders: readonly string[],
): DataError {
  const [first] = skipped;
  const why = first
    ? `all ${skipped.length} of its images were skipped, ${oneLine(first.path)} because ${first.reason}`
    : `no image in ${folders.map(oneLine).join(', ')}`;
  return new DataError(`${oneLine(root)}: the ${name} split is empty: ${why}`, {
    hint: `Put images there, or remove the ${name} folders if there is no such split.`,
    details: { path: root, split: name },
  });
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
