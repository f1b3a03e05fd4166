/** The rate of a large bf16 product of random values on this card: what utilisation is measured against. */
import { join } from 'node:path';
import { OutOfMemoryError } from '../../errors.js';
import { MersenneTwister } from '../../random.js';
import { kernelCacheFolder, readCacheJson, writeCacheFile } from './cache-file.js';
import type { CudaDriver } from './driver.js';
import { offset } from './launch.js';
import type { MatrixProducts } from './matrix-products.js';
import type { DeviceAllocator, DeviceBlock } from './memory.js';
import type { Staging } from './staging.js';

/** Sizes of the product: long enough for every card, 256 MiB in all. */
const [M, N, K] = [4096, 8192, 8192];
const RUNS = 10;
/** No card comes near: a file that says so is damaged. */
const MAX_TFLOPS = 100_000;
/** The best of these counts: in the first, clocks may be low. */
const ROUNDS = 3;
/** Random values that are repeated; not a power of two, so that no two rows are alike. */
const RANDOM_VALUES = (1 << 20) + 12344;

export type RateDriver = Pick<
  CudaDriver,
  'copy' | 'createEvent' | 'recordEvent' | 'synchronizeEvent' | 'elapsedMilliseconds' | 'destroyEvent'
>;

interface RateContext {
  readonly driver: RateDriver;
  readonly allocator: DeviceAllocator;
  readonly products: Pick<MatrixProducts, 'run'>;
  readonly staging: Pick<Staging, 'upload'>;
}

/**
 * 10^12 operations a second: from the cache, or measured in some tens of milliseconds and kept there.
 * @returns undefined if the card has no room to measure in
 */
export function matrixRate(context: RateContext, device: string, version: number): number | undefined {
  const name = `matrix-rate-${device.replace(/[^A-Za-z0-9]+/g, '-')}-${version}.json`;
  const path = join(kernelCacheFolder(), name);
  const known = (readCacheJson(path) as { tflops?: unknown } | null | undefined)?.tflops;
  if (typeof known === 'number' && known > 0 && known < MAX_TFLOPS) return known;
  try {
    const tflops = measure(context);
    writeCacheFile(path, JSON.stringify({ tflops, product: [M, N, K] }));
    return tflops;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return undefined;
    throw error;
  }
}

function measure({ driver, allocator, products, staging }: RateContext): number {
  const blocks: DeviceBlock[] = [];
  const events: number[] = [];
  try {
    const allocate = (elements: number): DeviceBlock => {
      const block = allocator.allocate(2 * elements, 'rate of matrix products');
      blocks.push(block);
      return block;
    };
    const [random, a, b, d] = [RANDOM_VALUES, M * K, N * K, M * N].map(allocate) as [
      DeviceBlock,
      DeviceBlock,
      DeviceBlock,
      DeviceBlock,
    ];
    staging.upload(random.address, randomBf16());
    for (const [block, elements] of [[a, M * K] as const, [b, N * K] as const]) {
      for (let at = 0; at < elements; at += RANDOM_VALUES) {
        driver.copy(offset(block.address, 2 * at), random.address, 2 * Math.min(RANDOM_VALUES, elements - at));
      }
    }
    const product = {
      ...{ m: M, n: N, k: K, a: a.address, lda: K, b: b.address, ldb: K, transB: true },
      ...{ d: d.address, ldd: N },
    };
    products.run(product);
    const [start, end] = [driver.createEvent(true), driver.createEvent(true)];
    events.push(start, end);
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS; round++) {
      driver.recordEvent(start);
      for (let run = 0; run < RUNS; run++) products.run(product);
      driver.recordEvent(end);
      driver.synchronizeEvent(end);
      best = Math.min(best, driver.elapsedMilliseconds(start, end) / RUNS);
    }
    return (2 * M * N * K) / (best / 1000) / 1e12;
  } finally {
    for (const event of events) driver.destroyEvent(event);
    for (const block of blocks) allocator.free(block);
  }
}

/** Values uniform in ±√3, of variance 1. */
function randomBf16(): Uint16Array {
  const random = new MersenneTwister(1);
  const values = new Float32Array(RANDOM_VALUES);
  for (let i = 0; i < values.length; i++) values[i] = (random.nextUint32() / 2 ** 31 - 1) * Math.sqrt(3);
  const bits = new Uint32Array(values.buffer);
  return Uint16Array.from(bits, (word) => word >>> 16);
}
