/** The winners among cuBLASLt's algorithms, kept on disk beside the compiled kernels. */
import { join } from 'node:path';
import { kernelCacheFolder, readCacheJson, writeCacheFile } from './cache-file.js';
import type { Algorithm } from './cublas-lt.js';

export class AlgorithmStore {
  readonly #path: string;
  readonly #entries: Map<string, Algorithm>;
  #isChanged = false;

  constructor(device: string, version: number) {
    const name = `products-2-${device.replace(/[^A-Za-z0-9]+/g, '-')}-${version}.json`;
    this.#path = join(kernelCacheFolder(), name);
    const stored = readCacheJson(this.#path);
    // Whether an algorithm fits this library and product is asked of the library itself, before it runs.
    const isEntry = (entry: [string, unknown]): entry is [string, string[]] =>
      Array.isArray(entry[1]) &&
      entry[1].length === 8 &&
      entry[1].every((word) => /^0x[0-9a-f]{1,16}$/.test(String(word)));
    const entries = typeof stored === 'object' && stored !== null ? Object.entries(stored) : [];
    this.#entries = new Map(
      entries.filter(isEntry).map(([key, words]) => [key, BigUint64Array.from(words, (word) => BigInt(word))]),
    );
  }

  get(key: string): Algorithm | undefined {
    return this.#entries.get(key);
  }

  set(key: string, algorithm: Algorithm): void {
    this.#entries.set(key, algorithm);
    this.#isChanged = true;
  }

  save(): void {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    const words = [...this.#entries].map(([key, value]) => [
      key,
      Array.from(value, (word) => `0x${word.toString(16)}`),
    ]);
    writeCacheFile(this.#path, JSON.stringify(Object.fromEntries(words), undefined, 1));
  }
}
