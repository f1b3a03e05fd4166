/**
 * Whether products run on subgroup matrices: chosen when an engine opens, and only after a small product on them was what
 * plain kernels give.
 */
import { reasonOf } from '../../errors.js';
import type { GpuAdapterInfo, GpuDevice } from './gpu-types.js';
import { fittingTiles, type MatrixTile, matrixProduct } from './matrix-products.js';
import { describeUnit, findUnit, type MatrixUnit } from './matrix-unit.js';
import type { Product } from './product.js';
import { planProduct, product } from './products.js';
import type { TensorStore } from './tensor-store.js';

/**
 * Lets the store's products run on subgroup matrices, where the device has them and they compute what they should.
 * @returns a few words on it
 */
export async function useMatrices(store: TensorStore, device: GpuDevice, info: GpuAdapterInfo): Promise<string> {
  const unit = findUnit(device, info);
  if (typeof unit === 'string') return describeUnit(unit);
  store.matrices = unit;
  // What a driver makes of experimental kernels is not the engine's failure.
  for (const filter of ['validation', 'internal'] as const) device.pushErrorScope(filter);
  let fault: string | undefined;
  try {
    fault = await differences(store, unit);
  } catch (error) {
    fault = reasonOf(error);
  }
  for (let i = 0; i < 2; i++) {
    const error = await device.popErrorScope().catch(() => undefined);
    if (error) fault = firstLine(error.message);
  }
  if (fault === undefined) return describeUnit(unit);
  store.matrices = undefined;
  return `no ${describeUnit(unit)}: ${fault}`;
}

/** A compiler's message has many. */
function firstLine(message: string): string {
  return message.split('\n', 1)[0]!;
}

/** Of the largest sum: without the low halves it is ten times as much. */
const TOLERANCE = 1e-5;

/** Rows of A with a value that is not finite, which their sums must show, and no others. */
const SPECIAL_ROWS: ReadonlyMap<number, number> = new Map([
  [7, Number.NaN],
  [70, Number.POSITIVE_INFINITY],
]);

/** Compares a product with that of the plain kernels, by each tile that a product may take. */
async function differences(store: TensorStore, unit: MatrixUnit): Promise<string | undefined> {
  const tiles = fittingTiles(unit, 2);
  if (tiles.length === 0) return 'no tile fits the workgroup memory';
  for (const tile of tiles) {
    const fault = await differencesOf(store, tile);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

async function differencesOf(store: TensorStore, matrixTile: MatrixTile): Promise<string | undefined> {
  const [m, n, k] = [132, 136, 264];
  const values = (size: number, seed: number): Float32Array =>
    Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i) * 2 ** ((i % 5) - 2));
  const left = values(m * k, 1);
  for (const [row, value] of SPECIAL_ROWS) left[row * k + row] = value;
  const [a, b] = [store.fromArray(left, [m, k]), store.fromArray(values(n * k, 2), [n, k])];
  const [sums, expected] = [store.create([m, n]), store.create([m, n])];
  const what: Product = { m, n, k, a: { range: a.range }, b: b.range, transB: true, c: { range: sums.range } };
  try {
    matrixProduct(store, what, { matrixTile, splits: 1 });
    product(store, { ...what, c: { range: expected.range } }, planProduct(what));
    const [found, plain] = await Promise.all([store.download(sums)(), store.download(expected)()]);
    return faultOf(found, plain, n);
  } finally {
    for (const tensor of [a, b, sums, expected]) store.release(tensor);
  }
}

/** What is wrong with sums, n a row, beside those of the plain kernels. */
export function faultOf(found: Float32Array, plain: Float32Array, n: number): string | undefined {
  let [worst, largest, hidden] = [0, 0, 0];
  for (let i = 0; i < plain.length; i++) {
    if (SPECIAL_ROWS.has(Math.floor(i / n))) {
      if (Number.isFinite(found[i]!)) hidden++;
      continue;
    }
    // NaN stays, once there is one.
    worst = Math.max(worst, Math.abs(found[i]! - plain[i]!));
    largest = Math.max(largest, Math.abs(plain[i]!));
  }
  if (largest === 0) return 'the check computed nothing';
  if (hidden > 0) return `${hidden} of their sums are finite where a value is not`;
  if (worst <= TOLERANCE * largest) return undefined;
  return `they differ from plain products by ${worst.toExponential(1)} where those are ${largest.toFixed(1)} at most`;
}
