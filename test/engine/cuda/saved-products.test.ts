import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeCheckedFile } from '../../../src/engine/cuda/cache-file.js';
import type { UsedProduct } from '../../../src/engine/cuda/matrix-products.js';
import { SavedProducts } from '../../../src/engine/cuda/saved-products.js';
import type { ParameterSet } from '../../../src/engine/tensor.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'products-'));
  vi.stubEnv('MINISTRAL_TUNE_CACHE', folder);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const setOf = (...names: string[]): ParameterSet => ({
  parameters: names.map((name) => ({ name, shape: [16, 32] })) as unknown as ParameterSet['parameters'],
  size: 512 * names.length,
});
const product = (m: number, id: bigint): UsedProduct => ({
  sizes: [m, 32, 64, 64, 64, 32, 2],
  algorithm: BigUint64Array.from([id, 2n ** 64n - 1n, 0n, 0n, 0n, 0n, 0n, 7n]),
});

/** What an engine has run, and what is loaded for it. */
function open(...used: UsedProduct[]) {
  const loaded: UsedProduct[] = [];
  const products = {
    used: new Map(used.map((each, i) => [String(i), each])),
    load: (each: UsedProduct) => void loaded.push(each),
  };
  return { products, loaded, saved: new SavedProducts(products, { load: () => {} }, 'a card, version 1') };
}
const load = (saved: SavedProducts, set: ParameterSet): void => {
  for (const _ of saved.load(set));
};

describe('SavedProducts', () => {
  it('loads in the next process what a training ran, in its order', () => {
    const [first, second] = [product(100, 1n), product(200, 2n)];
    open(first, second).saved.save(setOf('a'));
    const { saved, loaded } = open();
    load(saved, setOf('a'));
    expect(loaded).toEqual([first, second]);
  });

  it('keeps what earlier trainings ran, and one product for each algorithm', () => {
    open(product(100, 1n), product(200, 2n)).saved.save(setOf('a'));
    open(product(300, 2n), product(400, 3n)).saved.save(setOf('a'));
    const { saved, loaded } = open();
    load(saved, setOf('a'));
    expect(loaded.map(({ sizes, algorithm }) => [sizes[0], algorithm[0]])).toEqual([
      [100, 1n],
      [300, 2n],
      [400, 3n],
    ]);
  });

  it('has nothing for other parameters, or another library', () => {
    open(product(100, 1n)).saved.save(setOf('a'));
    const { saved, loaded, products } = open();
    load(saved, setOf('a', 'b'));
    load(new SavedProducts(products, { load: () => {} }, 'a card, version 2'), setOf('a'));
    expect(loaded).toEqual([]);
  });

  it.each<[string, (path: string) => void | Promise<void>]>([
    ['damaged', (path) => writeFile(path, 'not what was written, but long enough for a digest')],
    ['of another kind', (path) => writeCheckedFile(path, Buffer.from('{"length": 3}'))],
    ['no JSON', (path) => writeCheckedFile(path, Buffer.from('[[1, 2'))],
    ['of other rows', (path) => writeCheckedFile(path, Buffer.from('[[1, 2], null, [0, 1, 1, 1, 1, 1, 1, "0"]]'))],
  ])('does without a file that is %s', async (_, damage) => {
    open(product(100, 1n)).saved.save(setOf('a'));
    const [name] = await readdir(join(folder, 'kernels'));
    await damage(join(folder, 'kernels', name!));
    const { saved, loaded } = open();
    load(saved, setOf('a'));
    expect(loaded).toEqual([]);
  });

  it('writes only when something was run since', async () => {
    const { saved, products } = open(product(100, 1n));
    saved.save(setOf('a'));
    await rm(join(folder, 'kernels'), { recursive: true });
    saved.save(setOf('a'));
    expect(await readdir(folder)).toEqual([]);
    products.used.set('new', product(100, 2n));
    saved.save(setOf('a'));
    expect(await readdir(join(folder, 'kernels'))).toHaveLength(1);
  });
});
