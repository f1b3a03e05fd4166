/** Cells of a table that are read as classes, and names for those that are numbers. */
import { basename, dirname } from 'node:path';
import { MAX_CONFIG_BYTES, readJson } from '../files/read-json.js';
import { listNames } from './folder-evidence.js';
import type { FolderNode } from './folder-tree.js';

/** A JSON file beside the table that gives names to its numbers: `{"0": "healthy"}` or `{"healthy": 0}`. */
export async function nameMap(
  tree: FolderNode,
  tables: readonly string[],
  labels: ReadonlySet<string>,
  warnings: string[],
): Promise<ReadonlyMap<string, string> | undefined> {
  const dirs = new Set([tree.path, ...tables.map((path) => dirname(path))]);
  const candidates: string[] = [];
  const walk = (folder: FolderNode): void => {
    if (dirs.has(folder.path))
      candidates.push(...folder.others.map(({ path }) => path).filter((path) => /\.json$/i.test(path)));
    for (const inner of folder.folders) walk(inner);
  };
  walk(tree);
  const fitting: { path: string; names: Map<string, string> }[] = [];
  for (const path of candidates.slice(0, 20)) {
    const value = await readJson(path, { maxBytes: MAX_CONFIG_BYTES }).catch(() => undefined);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) continue;
    for (const isInverse of [false, true]) {
      const pairs = Object.entries(value).map(([key, one]) => (isInverse ? [String(one), key] : [key, one]));
      const names = new Map(pairs.filter((pair): pair is [string, string] => typeof pair[1] === 'string'));
      if ([...labels].every((label) => names.has(wholeNumber(label)))) fitting.push({ path, names });
    }
  }
  const [only, ...others] = fitting;
  if (only && others.length === 0) return only.names;
  if (only) {
    warnings.push(
      `${listNames(fitting.map(({ path }) => basename(path)))} all give names to the numbers; none is used, write \`classes\``,
    );
  }
  return undefined;
}

/** `1.0`, as pandas writes whole numbers in a column with gaps, is `1`. */
export const wholeNumber = (text: string): string => text.replace(/\.0+$/, '');

/** What programs write where a value is missing. */
export const MISSING = /^(?:nan|<na>|n\/a|#n\/a|null|na)$/i;

export function listOf(cell: string): string[] | undefined {
  if (!cell.startsWith('[') || !cell.endsWith(']')) return undefined;
  try {
    const list: unknown = JSON.parse(cell);
    return Array.isArray(list) ? list.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))) : undefined;
  } catch {
    // As Python prints it.
    return cell
      .slice(1, -1)
      .split(',')
      .map((one) => one.trim().replace(/^(['"])(.*)\1$/, '$2'))
      .filter((one) => one !== '');
  }
}

export function firstKey(object: string): string | undefined {
  try {
    return Object.entries(JSON.parse(object) as object).find(([, value]) => typeof value === 'string')?.[0];
  } catch {
    return undefined;
  }
}
