/** The classes of placed images: names that are one, what the user chooses of them, and what is worth a warning. */

import { DataError } from '../errors.js';
import { nearestName } from '../messages/nearest-name.js';
import { oneLine } from '../messages/one-line.js';
import { TABLE_ENDING } from './csv.js';
import type { PlacedImage, Placement } from './folder-evidence.js';
import { listNames, othersBelow, plainName, seenName as spelling } from './folder-evidence.js';
import type { FolderNode, FoundFile } from './folder-tree.js';
import type { TableEvidence } from './table-evidence.js';

/**
 * Class names that a reader takes for one: those that differ in Unicode form or outer spaces become one; those that
 * differ in letter case only where no split has both. Anything of it is a warning.
 */
export function mergeEqualNames(placed: readonly PlacedImage[], warnings: string[]): PlacedImage[] {
  const groups = new Map<string, Set<string>>();
  for (const { className } of placed) {
    const key = plainName(className);
    groups.set(key, (groups.get(key) ?? new Set()).add(className));
  }
  const renamed = new Map<string, string>();
  for (const names of groups.values()) {
    if (names.size < 2) continue;
    const splitsOf = (name: string) =>
      new Set(placed.filter(({ className }) => spelling(className) === spelling(name)).map(({ split }) => split));
    const shown = [...names].map((name) => JSON.stringify(name)).join(' and ');
    const spellings = [...new Set([...names].map(spelling))];
    const together = spellings.some((one, i) =>
      spellings.slice(i + 1).some((other) => [...splitsOf(one)].some((split) => splitsOf(other).has(split))),
    );
    if (spellings.length > 1 && together) {
      const [first] = names;
      warnings.push(
        `the classes ${shown} differ in letter case or in forms of letters alone and are kept apart; as one: \`classes: { ${[...names].map((name) => `${JSON.stringify(name)}: ${JSON.stringify(first)}`).join(', ')}, … }\``,
      );
    }
    const trained = placed.find(({ className, split }) => split === 'train' && names.has(className))?.className;
    for (const name of names) {
      const target = spellings.length > 1 && together ? spelling(name) : spelling(trained ?? [...names][0]!);
      if (target !== name) renamed.set(name, target);
    }
    if (renamed.size > 0 && !(spellings.length > 1 && together)) {
      warnings.push(
        `the class names ${shown} differ in letter case, Unicode form or outer spaces alone and are taken as one class`,
      );
    }
  }
  if (renamed.size === 0) return [...placed];
  return placed.map((one) => ({ ...one, className: renamed.get(one.className) ?? one.className }));
}

/** The images of the chosen classes, and the names in the order of their labels. @throws DataError for a class that is none */
export function chooseClasses(
  placed: readonly PlacedImage[],
  order: readonly string[] | undefined,
  classes: readonly string[] | Readonly<Record<string, string>> | undefined,
  root: string,
): { placed: PlacedImage[]; names: string[] } {
  const found = new Set(placed.map(({ className }) => className));
  if (classes === undefined) {
    const sorted = [...found].sort();
    return { placed: [...placed], names: order ? order.filter((name) => found.has(name)) : sorted };
  }
  const isList = Array.isArray(classes);
  const named = new Map<string, string>(
    isList ? classes.map((name: string) => [name, name]) : Object.entries(classes as Record<string, string>),
  );
  const unknown = [...named.keys()].filter((name) => !found.has(name));
  const unnamed = [...found].filter((name) => !named.has(name));
  const near = unknown.map((name) => nearestName(name, unnamed)).find((name) => name !== undefined);
  // A list may come from another data set, whose classes need not all occur here.
  const isForeign = isList && unknown.length < named.size && near === undefined;
  if (unknown.length > 0 && !isForeign) {
    throw new DataError(`${oneLine(root)}: \`classes\`: there is no class ${listNames(unknown)}`, {
      hint: near
        ? `Did you mean ${JSON.stringify(near)}? Classes: ${listNames([...found], 20)}.`
        : `Classes: ${listNames([...found], 20)}.`,
      details: { path: root, unknown, found: [...found] },
    });
  }
  const chosen = placed.flatMap((one) => {
    const className = named.get(one.className);
    return className === undefined ? [] : [{ ...one, className }];
  });
  return { placed: chosen, names: [...new Set(named.values())] };
}

export function warnAboutClasses(placed: readonly PlacedImage[], names: readonly string[], warnings: string[]): void {
  const counts = new Map(names.map((name) => [name, { train: 0, test: 0, validation: 0 }]));
  for (const { className, split } of placed) counts.get(className)![split]++;
  if (names.length === 1)
    warnings.push(
      `there is one class only, \`${oneLine(names[0]!)}\`: nothing is told apart. If it is none: \`classOf\`, or \`ImageFolder.fromTable\``,
    );
  const isTrained = [...counts.values()].some(({ train }) => train > 0);
  const unseen = [...counts].filter(
    ([, { train, test, validation }]) => isTrained && train === 0 && test + validation > 0,
  );
  if (unseen.length > 0) {
    const shown = unseen.slice(0, 8).map(([name, { test, validation }]) => {
      const where = [test > 0 ? `${test} in test` : '', validation > 0 ? `${validation} in validation` : ''];
      return `\`${oneLine(name)}\` (${where.filter(Boolean).join(', ')})`;
    });
    warnings.push(
      `${unseen.length === 1 ? 'class' : `${unseen.length} classes`} without a training image: ${shown.join(', ')}${unseen.length > 8 ? ', …' : ''}`,
    );
  }
  const empty = [...counts].filter(([, { train, test, validation }]) => train + test + validation === 0);
  if (empty.length > 0)
    warnings.push(
      `classes without an image: ${listNames(
        empty.map(([name]) => name),
        8,
      )}`,
    );
}

/** Endings of files that are commonly kept beside images. */
const COMPANION =
  /\.(txt|md|csv|tsv|jsonl?|xml|ya?ml|html?|pdf|ini|db|log|py|ipynb|xlsx?|docx?|rtf|cfg|names|license)$|(?:^|[/\\])(?:thumbs\.db|desktop\.ini|_ds_store)$/i;

/** Images without classes, class folders without images, and files in class folders that are not read. */
export function warnAboutFiles(
  tree: FolderNode,
  placement: Placement,
  tables: readonly TableEvidence[],
  warnings: string[],
): void {
  const pathOf = (folder: FolderNode) =>
    oneLine(folder.path.slice(tree.path.length + 1).replaceAll('\\', '/')) || folder.name;
  for (const folder of placement.unlabelled) {
    const own = othersBelow(folder).filter(({ path }) => TABLE_ENDING.test(path));
    const table = tables.find(({ covers }) => covers(folder))?.path ?? own[0]?.path;
    const source =
      table === undefined
        ? ''
        : `; classes may be in ${oneLine(table.slice(tree.path.length + 1))}: \`ImageFolder.fromTable\``;
    warnings.push(`\`${pathOf(folder)}\`: ${folder.total} images without class folders, left out${source}`);
  }
  const left = new Map<string, FoundFile[]>();
  const isSeveral = placement.classFolders.length > 1;
  for (const folder of placement.classFolders) {
    const others = othersBelow(folder);
    if (folder.total === 0 && isSeveral) {
      const endings = [...new Set(others.map(endingOf))];
      warnings.push(
        others.length === 0
          ? `class folder \`${pathOf(folder)}\` is empty`
          : `class \`${pathOf(folder)}\` has ${others.length} files and none that can be read (${endings.slice(0, 4).join(', ')})`,
      );
      continue;
    }
    for (const file of others) {
      if (COMPANION.test(file.path)) continue;
      const ending = endingOf(file);
      const same = left.get(ending);
      if (same) same.push(file);
      else left.set(ending, [file]);
    }
  }
  const parts = [...left].map(
    ([ending, files]) => `${files.length} ${ending} (${oneLine(files[0]!.key)}${files.length > 1 ? ', …' : ''})`,
  );
  if (parts.length > 0)
    warnings.push(`files in class folders that are no readable images, left out: ${parts.slice(0, 6).join(', ')}`);
}

function endingOf({ path, isDicom }: FoundFile): string {
  const ending = isDicom ? '.dcm' : /\.[^./\\]{1,12}$/.exec(path)?.[0].toLowerCase();
  return ending === undefined ? 'without an ending' : ending === '.dcm' ? '.dcm, DICOM' : oneLine(ending);
}
