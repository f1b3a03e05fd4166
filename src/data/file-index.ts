/** Finds the image that a table means: by path, by the end of a path, by name, or by name without its ending. */
import { dirname, relative } from 'node:path';
import { decoded } from '../transfer/address.js';
import { type FoundFile, IMAGE_ENDING } from './folder-tree.js';

const fold = (text: string): string => text.normalize('NFC').toLowerCase();
const stemOf = (name: string): string =>
  IMAGE_ENDING.test(name) ? name.replace(IMAGE_ENDING, '') : name.replace(/\.[^.]*$/, '');

const withoutZeros = (digits: string): string => digits.replace(/^0+(?=\d)/, '');

function pathOf(cell: string): string {
  if (!/^(?:https?|s3|gs|file):\/\//i.test(cell)) return cell;
  return decoded(cell.replace(/[?#].*$/, '').replace(/^[a-z0-9]+:\/\//i, ''));
}

export class FileIndex {
  readonly files: readonly FoundFile[];
  readonly #root: string;
  readonly #byKey: ReadonlyMap<string, FoundFile>;
  readonly #byName = new Map<string, FoundFile[]>();
  readonly #byStem = new Map<string, FoundFile[]>();
  /** By stems that are numbers, without leading zeros. */
  readonly #byNumber = new Map<string, FoundFile[]>();

  /** Of the last call, which mostly is that of the next. */
  #tablePath = '';
  #tableDir = '';

  /** @param root absolute path, for cells that are paths below a table */
  constructor(root: string, files: readonly FoundFile[]) {
    this.#root = root;
    this.files = files;
    this.#byKey = new Map(this.files.map((file) => [file.key.normalize('NFC'), file]));
    for (const file of this.files) {
      const name = fold(file.key.split('/').at(-1)!);
      push(this.#byName, name, file);
      const stem = stemOf(name);
      push(this.#byStem, stem, file);
      if (/^0*\d+$/.test(stem)) push(this.#byNumber, withoutZeros(stem), file);
    }
  }

  /** The images that a cell may mean; more than one where the cell says too little. */
  find(cell: string, tablePath: string): readonly FoundFile[] {
    const segments = pathOf(cell)
      .normalize('NFC')
      .replaceAll('\\', '/')
      .split('/')
      .filter((segment) => segment !== '' && segment !== '.');
    const name = segments.at(-1);
    if (name === undefined) return [];
    const path = segments.join('/');
    if (tablePath !== this.#tablePath) {
      this.#tablePath = tablePath;
      this.#tableDir = relative(this.#root, dirname(tablePath)).replaceAll('\\', '/');
    }
    const tableDir = this.#tableDir;
    const exact = this.#byKey.get(tableDir ? `${tableDir}/${path}` : path) ?? this.#byKey.get(path);
    if (exact) return [exact];
    const folded = fold(name);
    const hasEnding = IMAGE_ENDING.test(name);
    const found = hasEnding
      ? (this.#byName.get(folded) ?? this.#byStem.get(stemOf(folded)))
      : (this.#byStem.get(folded) ??
        this.#byName.get(folded) ??
        // A table program wrote the id `0001` as 1.
        (/^[1-9]\d*$/.test(name) ? this.#byNumber.get(name) : undefined));
    if (!found || found.length < 2) return found ?? [];
    const agreement = (file: FoundFile): number => {
      const own = file.key.split('/').slice(0, -1).map(fold);
      const wanted = segments.slice(0, -1).map(fold);
      let equal = 0;
      while (equal < own.length && equal < wanted.length && own.at(-1 - equal) === wanted.at(-1 - equal)) equal++;
      return equal;
    };
    const most = Math.max(...found.map(agreement));
    const nearest = found.filter((file) => agreement(file) === most);
    const sameCase = nearest.filter(({ key }) => key.split('/').at(-1)!.startsWith(stemOf(name)));
    return sameCase.length > 0 ? sameCase : nearest;
  }
}

function push(map: Map<string, FoundFile[]>, key: string, file: FoundFile): void {
  const list = map.get(key);
  if (list) list.push(file);
  else map.set(key, [file]);
}
