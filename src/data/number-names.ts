/** Names for classes that a table gives as numbers, from a JSON file beside it. */
import { basename, dirname } from 'node:path';
import { MAX_CONFIG_BYTES, readJson } from '../files/read-json.js';
import { wholeNumber } from './class-cells.js';
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
