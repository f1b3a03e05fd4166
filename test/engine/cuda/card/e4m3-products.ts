/**
 * e4m3 products on a card: right against the host, with fast and with whole sums, and how long they take beside bf16.
 *
 *   npx tsx test/engine/cuda/card/e4m3-products.ts [--rows 3000] [--no-timing]
 *
 * Ends with `N passed, N failed`; a quarter of a minute.
 */
import { parseArgs } from 'node:util';
import { Bf16Matrix } from '../../../../src/engine/cuda/bf16-matrix.js';
import { KernelCompiler } from '../../../../src/engine/cuda/compiler.js';
import { CublasLt } from '../../../../src/engine/cuda/cublas-lt.js';
import { CudaDriver } from '../../../../src/engine/cuda/driver.js';
import { E4m3Copies } from '../../../../src/engine/cuda/e4m3-copies.js';
import { E4m3Products, e4m3ScalesOf } from '../../../../src/engine/cuda/e4m3-products.js';
import { withQuantized } from '../../../../src/engine/cuda/e4m3-rows.js';
import { Kernels } from '../../../../src/engine/cuda/kernels.js';
import { offset } from '../../../../src/engine/cuda/launch.js';
import { MatrixProducts } from '../../../../src/engine/cuda/matrix-products.js';
import { DeviceAllocator } from '../../../../src/engine/cuda/memory.js';
import { physicalMemory } from '../../../../src/engine/cuda/physical-memory.js';
import { Staging } from '../../../../src/engine/cuda/staging.js';
import { TensorStore } from '../../../../src/engine/cuda/tensor-store.js';
import type { CudaTensor } from '../../../../src/engine/cuda/tensors.js';
import { MersenneTwister } from '../../../../src/random.js';
import { relativeError } from '../../conformance/measure.js';
import { quantized } from '../../conformance/plain-e4m3.js';
import { roundBfloat16 } from '../../conformance/plain-reference.js';

const { values: options } = parseArgs({
  options: { rows: { type: 'string', default: '3000' }, 'no-timing': { type: 'boolean', default: false } },
});
const driver = new CudaDriver();
const library = new CublasLt();
const { name, capability } = driver.device;
const allocator = new DeviceAllocator(physicalMemory(driver));
const staging = new Staging(driver);
const kernels = new Kernels(driver, new KernelCompiler());
const products = new MatrixProducts(driver, library, allocator);
const store = new TensorStore({ driver, kernels, allocator, products, staging }, { rematerialize: true });
const scales = e4m3ScalesOf(capability, library.version);
console.log(`${name}, sm_${capability}, cuBLASLt ${library.version}: scales of ${scales}`);
if (!scales) process.exit(1);
const random = new MersenneTwister(7);
let [passed, failed] = [0, 0];

function tensor(shape: readonly [number, number], values: ArrayLike<number>): CudaTensor {
  const made = store.createF32(shape);
  staging.upload(made.address, Float32Array.from(values));
  return store.asBf16(made);
}

/** Rows of random values, each of another size. */
function numbers(rows: number, columns: number): Float64Array {
  const sizes = Float64Array.from({ length: rows }, () => 10 ** (2 * random.nextNormal()));
  const noise = Float32Array.from({ length: 1 << 16 }, () => random.nextNormal());
  return roundBfloat16(
    Float32Array.from(
      { length: rows * columns },
      (_, i) => noise[(i * 7919) & 0xffff]! * sizes[Math.floor(i / columns)]!,
    ),
  );
}

/** Consumes `whole`. */
function matrixOf(whole: CudaTensor): Bf16Matrix {
  const { rows, columns } = whole;
  const matrix = new Bf16Matrix(store, rows, columns, 16);
  const to = matrix.bf16Rows(0, rows);
  driver.copyRows(to.address, 2 * to.ld, whole.address, 2 * whole.ld, 2 * columns, rows);
  store.release(whole);
  return matrix;
}

const BLOCK = 64;

/** Rows by the thousand: the same block of random ones again and again. */
function repeated(rows: number, columns: number): CudaTensor {
  const made = store.create([rows, columns]);
  const block = tensor([BLOCK, columns], numbers(BLOCK, columns));
  for (let row = 0; row < rows; row += BLOCK) {
    driver.copy(offset(made.address, 2 * row * made.ld), block.address, 2 * Math.min(BLOCK, rows - row) * made.ld);
  }
  store.release(block);
  return made;
}

/** Some rows of a matrix of values. */
function rowsOf(values: Float64Array, columns: number, first: number, count: number): Float64Array {
  return values.slice(first * columns, (first + count) * columns);
}

function check(what: string, actual: ArrayLike<number>, expected: ArrayLike<number>, limit: number): void {
  const error = relativeError(actual, expected);
  const isRight = error <= limit;
  if (isRight) passed++;
  else failed++;
  console.log(`${isRight ? 'ok' : 'FAILED'}  ${what}: error ${error.toExponential(2)} of ${limit.toExponential(1)}`);
}

const layers = new E4m3Products(store, scales, capability);

/** Rows `first` .. of a matrix by x, of which the rows lie further apart than they are long. */
async function compare(m: number, first: number, n: number, k: number, isKept: boolean): Promise<void> {
  const all = first + n + 16;
  const w = numbers(all, k);
  const matrix = matrixOf(tensor([all, k], w));
  const isWhole = scales === 'tensor';
  const part = { matrix, row: first, rows: n };
  const what = `[${m}, ${k}] by rows ${first}..${first + n}${isKept ? ', copies kept' : ''}`;
  if (isKept) {
    E4m3Copies.of(store, matrix).keepCodes();
    E4m3Copies.of(store, matrix).keepTransposed();
  }
  const [x, dy] = [numbers(m, k), numbers(m, n)];
  const codes = quantized(rowsOf(w, k, first, n), k);
  const wide = tensor([m, k + 24], new Float64Array(m * (k + 24)));
  const [xs, dys] = [store.view(wide, 8, k), tensor([m, n], dy)];
  const plain = tensor([m, k], x);
  store.copyInto(xs, plain);
  const [y, dx] = [store.create([m, n]), store.create([m, k], 32)];
  layers.product(part, xs, y);
  layers.transposedProduct(part, dys, dx);
  const left = quantized(x, k, isWhole);
  const back = quantized(
    Float64Array.from(dy, (value, i) => Math.fround(value * codes.scales[i % n]!)),
    n,
    isWhole,
  );
  const [expected, expectedBack] = [new Float64Array(m * n), new Float64Array(m * k)];
  for (let t = 0; t < m; t++) {
    for (let j = 0; j < n; j++) {
      const factor = back.codes[t * n + j]! * back.scales[t]!;
      let sum = 0;
      for (let i = 0; i < k; i++) {
        sum += left.codes[t * k + i]! * codes.codes[j * k + i]!;
        expectedBack[t * k + i]! += factor * codes.codes[j * k + i]!;
      }
      expected[t * n + j] = sum * left.scales[t]! * codes.scales[j]!;
    }
  }
  // The rounding of y to bf16: 1.7e-3 of many values, up to 2^-8 of one that is most of a few.
  const limit = (count: number) => (count < 256 ? 2 ** -8 : 3e-3);
  check(`${what}, forward`, await store.read(y), expected, limit(m * n));
  check(`${what}, backward`, await store.read(dx), expectedBack, limit(m * k));
  for (const made of [wide, xs, dys, plain, y, dx]) store.release(made);
  matrix.copies?.free();
  matrix.free();
}

for (const [m, first, n, k] of [
  [1, 0, 16, 16],
  [7, 16, 48, 80],
  [37, 128, 64, 256],
  [130, 48, 144, 4112],
  [333, 4096, 1024, 512],
  [64, 0, 32768, 64],
] as const) {
  for (const isKept of [false, true]) await compare(m, first, n, k, isKept);
}

/** Microseconds of one run, the first few left out. */
function time(run: () => void, repeat = 30): number {
  for (let i = 0; i < 3; i++) run();
  const [start, end] = [driver.createEvent(true), driver.createEvent(true)];
  driver.recordEvent(start);
  for (let i = 0; i < repeat; i++) run();
  driver.recordEvent(end);
  driver.synchronize();
  return (1000 * driver.elapsedMilliseconds(start, end)) / repeat;
}

const rows = Number(options.rows);
let fast: Float32Array | undefined;
for (const [what, n, k] of options['no-timing']
  ? []
  : ([
      ['qkv', 6144, 5120],
      ['o', 5120, 4096],
      ['gate+up', 32768, 5120],
      ['down', 5120, 16384],
    ] as const)) {
  const matrix = matrixOf(repeated(n, k));
  const copies = E4m3Copies.of(store, matrix);
  copies.keepCodes();
  copies.keepTransposed();
  const [x, dy] = [repeated(rows, k), repeated(rows, n)];
  const [y, dx] = [store.create([rows, n]), store.create([rows, k])];
  const [u, b] = [repeated(rows, 32), repeated(n, 32)];
  const ones = store.createF32([Math.max(n, k)]);
  staging.upload(ones.address, new Float32Array(Math.max(n, k)).fill(1));
  const lines = [`bf16 ${time(() => matrix.product(0, x, y)).toFixed(0)}`];
  lines.push(`bf16 back ${time(() => matrix.transposedProduct(0, dy, dx)).toFixed(0)}`);
  const thin = { m: rows, n, k: 32, a: u.address, lda: u.ld, b: b.address, ldb: b.ld, transB: true };
  lines.push(`low rank ${time(() => products.run({ ...thin, d: y.address, ldd: y.ld })).toFixed(0)}`);
  lines.push(`low rank added ${time(() => products.run({ ...thin, d: y.address, ldd: y.ld, beta: 1 })).toFixed(0)}`);
  lines.push(`quantise x ${time(() => withQuantized(store, x, scales, undefined, () => {})).toFixed(0)}`);
  lines.push(`quantise dy ${time(() => withQuantized(store, dy, scales, ones.address, () => {})).toFixed(0)}`);
  for (const isFast of [true, false]) {
    const sums = isFast ? 'fast' : 'whole';
    withQuantized(store, x, scales, undefined, (a) => {
      copies.withCodes(0, n, (c) => {
        const operands = { m: rows, n, k, a: a.codes, lda: a.ld, b: c.codes, ldb: c.ld, transB: true };
        const e4m3 = { scales, a: a.scales, b: scales === 'rows' ? c.scales : ones.address, isFast };
        for (const beta of [0, 1]) {
          try {
            const run = () => products.run({ ...operands, d: y.address, ldd: y.ld, e4m3, beta });
            lines.push(`e4m3 ${sums}${beta ? ' added' : ''} ${time(run).toFixed(0)}`);
          } catch (error) {
            lines.push(`e4m3 ${sums}, beta ${beta}: ${String(error)}`);
          }
        }
      });
    });
    withQuantized(store, dy, scales, undefined, (a) => {
      copies.withTransposed(0, n, (c) => {
        const operands = { m: rows, n: k, k: n, a: a.codes, lda: a.ld, b: c.codes, ldb: c.ld, transB: true };
        const e4m3 = { scales, a: a.scales, b: ones.address, isFast };
        const run = () => products.run({ ...operands, d: dx.address, ldd: dx.ld, e4m3 });
        lines.push(`e4m3 back ${sums} ${time(run).toFixed(0)}`);
      });
    });
    // How far fast sums are off: dx of the last run.
    const kept = await store.read(dx);
    if (isFast) fast = kept;
    else lines.push(`fast sums are off by ${relativeError(fast!, kept).toExponential(2)}`);
  }
  console.log(`${what}, ${rows} rows, us: ${lines.join(' | ')}`);
  for (const made of [x, dy, y, dx, u, b, ones]) store.release(made);
  matrix.copies?.free();
  matrix.free();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
