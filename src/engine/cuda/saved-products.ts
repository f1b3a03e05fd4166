/**
 * Which matrix products a training ran, kept on disk: the next one with the same parameters loads their kernels while
 * its first batches are made. Only when kernels are loaded depends on it, never which.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { ParameterSet } from '../tensor.js';
import { kernelCacheFolder, readCheckedFile, writeCheckedFile } from './cache-file.js';
import type { KernelLoader } from './kernel-loading.js';
import type { MatrixProducts, UsedProduct } from './matrix-products.js';

/** m, n, k, row strides of A, B and D, flags; then the algorithm in eight hexadecimal words. */
const SIZES = 7;
const WORDS = 8;
/** A training of a 14B model runs fewer than a hundred. */
const MAX_PRODUCTS = 512;

export class SavedProducts {
  readonly #products: Pick<MatrixProducts, 'used' | 'load'>;
  readonly #loader: Pick<KernelLoader, 'load'>;
  readonly #library: string;
  /** How many were in the file when it was last read or written, by path. */
  readonly #counts = new Map<string, number>();

  /** @param library what the choice of algorithms depends on: card and version of the library */
  constructor(products: Pick<MatrixProducts, 'used' | 'load'>, loader: Pick<KernelLoader, 'load'>, library: string) {
    this.#products = products;
    this.#loader = loader;
    this.#library = library;
  }

  /** Loads what the last training of such parameters ran; yields after each kernel. */
  *load(set: ParameterSet): Generator<void> {
    const path = this.#path(set);
    for (const product of this.#read(path)) {
      this.#products.load(product, (queue) => this.#loader.load(queue));
      yield;
    }
  }

  /** Adds what was run since the engine was made. */
  save(set: ParameterSet): void {
    const { used } = this.#products;
    const path = this.#path(set);
    if ((this.#counts.get(path) ?? 0) >= used.size) return;
    this.#counts.set(path, used.size);
    const rows = new Map(
      this.#read(path).map((product) => [
        rowOf(product)
          .slice(SIZES - 1)
          .join(),
        rowOf(product),
      ]),
    );
    for (const product of used.values())
      rows.set(
        rowOf(product)
          .slice(SIZES - 1)
          .join(),
        rowOf(product),
      );
    writeCheckedFile(path, Buffer.from(JSON.stringify([...rows.values()].slice(-MAX_PRODUCTS))));
  }

  #read(path: string): UsedProduct[] {
    const bytes = readCheckedFile(path);
    if (!bytes) return [];
    try {
      const rows = JSON.parse(Buffer.from(bytes).toString()) as unknown;
      return Array.isArray(rows) ? rows.filter(isRow).slice(0, MAX_PRODUCTS).map(productOf) : [];
    } catch {
      return [];
    }
  }

  #path({ parameters }: ParameterSet): string {
    const content = JSON.stringify([this.#library, parameters.map(({ name, shape }) => [name, shape])]);
    const key = createHash('sha256').update(content).digest('hex').slice(0, 32);
    return join(kernelCacheFolder(), `products-${key}.json`);
  }
}

type Row = readonly (number | string)[];

function rowOf({ sizes, algorithm }: UsedProduct): Row {
  return [...sizes, ...Array.from(algorithm, (word) => word.toString(16))];
}

function isRow(row: unknown): row is Row {
  if (!Array.isArray(row) || row.length !== SIZES + WORDS) return false;
  const [sizes, words] = [row.slice(0, SIZES), row.slice(SIZES)];
  return (
    sizes.every((size, i) => Number.isSafeInteger(size) && size >= (i < SIZES - 1 ? 1 : 0) && size < 2 ** 31) &&
    words.every((word) => typeof word === 'string' && /^[0-9a-f]{1,16}$/.test(word))
  );
}

function productOf(row: Row): UsedProduct {
  return {
    sizes: row.slice(0, SIZES) as unknown as UsedProduct['sizes'],
    algorithm: BigUint64Array.from(row.slice(SIZES), (word) => BigInt(`0x${word}`)),
  };
}
