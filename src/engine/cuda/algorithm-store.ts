/** The winners among cuBLASLt's algorithms, kept on disk beside the compiled kernels. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kernelCacheFolder, writeCacheFile } from './compiler.js';
import type { Algorithm } from './cublas-lt.js';

export class AlgorithmStore {
  readonly #path: string;
  readonly #entries: Map<string, Algorithm>;
  #isChanged = false;

  constructor(device: string, version: number) {
    const name = `products-2-${device.replace(/[^A-Za-z0-9]+/g, '-')}-${version}.json`;
    this.#path = join(kernelCacheFolder(), name);
    let stored: Record<string, string[]> = {};
    try {
      stored = JSON.parse(readFileSync(this.#path, 'utf8')) as Record<string, string[]>;
    } catch {
      // None yet, or unreadable: it is made anew.
    }
    const read = ([key, words]: [string, string[]]): [string, Algorithm][] => {
      try {
        return words.length === 8 ? [[key, BigUint64Array.from(words, (word) => BigInt(word))]] : [];
      } catch {
        return [];
      }
    };
    this.#entries = new Map(Object.entries(stored).flatMap(read));
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
