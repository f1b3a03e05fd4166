/**
 * Speed of the webgpu engine's products: plain ones of all transposes, those with frozen weights at the shapes of Ministral
 * 3B, low-rank ones, whole linear layers, and cross-entropy. A few values of each are checked against plain sums. On subgroup
 * matrices where the device has them.
 *
 *   npx tsx test/bench/webgpu-products.ts [--from FOLDER] [--flag TOGGLE]... [--only square|weights|low|layer|loss]
 *     [--sizes 1024,2048,4096] [--rows 1,512,2048,4096] [--tiles] [--tile TEXT]... [--fixed] [--seconds 0.5] [--software] [--no-matrices]
 *     [--errors]
 *
 * --from: the project whose node_modules has `webgpu`. --flag: of Dawn, such as enable-dawn-features=disable_robustness.
 * --tiles: every tile beside the one that the engine takes, --tile TEXT: those whose names have it; those of subgroup matrices
 * begin with "matrices". --fixed: A is bound `read`, as if it were a weight. --no-matrices: plain ones alone.
 * --errors: how far the values are off that are checked.
 */
import { parseArgs } from 'node:util';
import type { WebgpuWeight, WeightFormat } from '../../src/engine/webgpu/frozen-weight.js';
import type { BufferRange } from '../../src/engine/webgpu/gpu-types.js';
import { loadWebgpu, openDevice } from '../../src/engine/webgpu/load-webgpu.js';
import { MATRIX_TILES, type MatrixTile, tileFits } from '../../src/engine/webgpu/matrix-products.js';
import { findUnit, MATRIX_FLAGS } from '../../src/engine/webgpu/matrix-unit.js';
import type { Product } from '../../src/engine/webgpu/product.js';
import {
  backwardProduct,
  forwardProduct,
  type Plan,
  planProduct,
  product,
  TILES,
  type Tile,
} from '../../src/engine/webgpu/products.js';
import type { WebgpuTensor } from '../../src/engine/webgpu/tensor-store.js';
import { WebgpuEngine } from '../../src/engine/webgpu/webgpu-engine.js';
import { e4m3ToNumber } from '../../src/formats/float8.js';
import { bfloat16ToFloat32, float32ToBfloat16 } from '../../src/formats/half-precision.js';
import { NF4_VALUES } from '../../src/formats/nf4.js';
import { findSwiftShader } from '../engine/webgpu/open.js';

const { values: options } = parseArgs({
  options: {
    from: { type: 'string', default: process.env.MINISTRAL_TUNE_WEBGPU ?? process.cwd() },
    flag: { type: 'string', multiple: true, default: [] },
    only: { type: 'string', multiple: true, default: ['square', 'weights', 'low', 'layer', 'loss'] },
    sizes: { type: 'string', default: '1024,2048,4096' },
    rows: { type: 'string', default: '1,512,2048,4096' },
    shapes: { type: 'string', default: '3072x4096,3072x1024,4096x3072,3072x9216,9216x3072' },
    vocabulary: { type: 'string', default: '131072' },
    'loss-rows': { type: 'string', default: '256' },
    tiles: { type: 'boolean', default: false },
    tile: { type: 'string', multiple: true },
    'no-matrices': { type: 'boolean', default: false },
    fixed: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '0.3' },
    software: { type: 'boolean', default: false },
    errors: { type: 'boolean', default: false },
  },
});
const numbers = (list: string): number[] => list.split(',').map(Number);

/** Rows and columns of a workgroup, k of a step, groups of 4 rows and columns of a thread. */
function tile(bm: number, bn: number, bk: number, rowGroups: number, columnGroups: number, rest: Partial<Tile> = {}) {
  return { bm, bn, bk, rowGroups, columnGroups, stages: 1, loader: 'vector', unroll: bk, ...rest } as Tile;
}

/** To compare. */
const OTHER_TILES: Record<string, Tile> = {
  ...TILES,
  '128x128x8 loop 1': tile(128, 128, 8, 2, 2, { unroll: 1 }),
  '128x128x8 loop 2': tile(128, 128, 8, 2, 2, { unroll: 2 }),
  '128x128x8 loop 4': tile(128, 128, 8, 2, 2, { unroll: 4 }),
  '128x128x8, 2 stages': tile(128, 128, 8, 2, 2, { stages: 2 }),
  '128x128x8, 2 stages, loop 4': tile(128, 128, 8, 2, 2, { stages: 2, unroll: 4 }),
  '128x128x8 blocks': tile(128, 128, 8, 2, 2, { loader: 'block' }),
  '128x128x16': tile(128, 128, 16, 2, 2),
  '128x128x16 loop 4': tile(128, 128, 16, 2, 2, { unroll: 4 }),
  '128x128x16 blocks': tile(128, 128, 16, 2, 2, { loader: 'block' }),
  '128x128x16 blocks, loop 4': tile(128, 128, 16, 2, 2, { loader: 'block', unroll: 4 }),
  '128x64x8, 8x4': tile(128, 64, 8, 2, 1),
  '128x64x16, 8x4': tile(128, 64, 16, 2, 1),
  '128x64x16, 8x4 loop 4': tile(128, 64, 16, 2, 1, { unroll: 4 }),
  '64x128x16, 8x4': tile(64, 128, 16, 2, 1),
  '64x128x16, 8x8': tile(64, 128, 16, 2, 2),
  '64x128x8, 8x8': tile(64, 128, 8, 2, 2),
  '128x64x8, 8x8': tile(128, 64, 8, 2, 2),
  '64x64x16, 8x4': tile(64, 64, 16, 2, 1),
  '64x64x16, 8x8': tile(64, 64, 16, 2, 2),
  '64x64x16 loop 4': tile(64, 64, 16, 1, 1, { unroll: 4 }),
  '64x64x32': tile(64, 64, 32, 1, 1),
  '64x64x32 blocks': tile(64, 64, 32, 1, 1, { loader: 'block' }),
  '256x128x8, 16x8': tile(256, 128, 8, 4, 2),
};

/** Rows and columns of a workgroup and a subgroup, values of k in a step. */
function matrixTile(bm: number, bn: number, sm: number, sn: number, kBlock: number): MatrixTile {
  return { bm, bn, sm, sn, kBlock };
}

const OTHER_MATRIX_TILES: Record<string, MatrixTile> = {
  'matrices large': MATRIX_TILES.large,
  'matrices small': MATRIX_TILES.small,
  'matrices tiny': MATRIX_TILES.tiny,
  'matrices 128x128x32, 32x64': matrixTile(128, 128, 32, 64, 32),
  'matrices 128x128x16, 32x64': matrixTile(128, 128, 32, 64, 16),
  'matrices 128x128x16, 64x32': matrixTile(128, 128, 64, 32, 16),
  'matrices 128x128x16, 64x64': matrixTile(128, 128, 64, 64, 16),
  'matrices 128x64x32, 64x32': matrixTile(128, 64, 64, 32, 32),
  'matrices 128x64x16, 64x32': matrixTile(128, 64, 64, 32, 16),
  'matrices 64x128x16, 32x64': matrixTile(64, 128, 32, 64, 16),
  'matrices 64x64x16, 32x32': matrixTile(64, 64, 32, 32, 16),
};

const driver = findSwiftShader();
if (options.software && driver) process.env.VK_DRIVER_FILES ??= driver;
const gpu = await loadWebgpu(options.from, [...MATRIX_FLAGS, ...options.flag]);
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
console.log(`features: ${[...(adapter?.features ?? [])].join(' ')}`);
const info = adapter?.info as { subgroupMatrixConfigs?: Iterable<object> } | undefined;
for (const config of info?.subgroupMatrixConfigs ?? []) {
  const fields: Record<string, unknown> = {};
  for (const name in config) fields[name] = (config as Record<string, unknown>)[name];
  console.log(`subgroup matrix: ${JSON.stringify(fields)}`);
}
const open = await openDevice(gpu);
for (const name of ['maxComputeWorkgroupStorageSize', 'maxStorageBufferBindingSize', 'maxBufferSize'] as const)
  console.log(`${name}: ${open.device.limits[name]}`);
const budget = { bytes: (options.software ? 1 : 24) * 2 ** 30, source: 'for the benchmark' };
const engine = new WebgpuEngine(open, budget);
const { store } = engine;
await engine.useMatrices();
console.log(engine.description);
// Measured also where the engine refuses them: the checks say what is wrong.
const found = findUnit(open.device, open.info);
const unit = typeof found === 'string' || options['no-matrices'] ? undefined : found;
store.matrices = unit;

/** Fast and repeatable, in ±1. */
let state = 1;
function random(size: number): Float32Array {
  const values = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = state / 2 ** 31;
  }
  return values;
}

interface Held {
  readonly tensor: WebgpuTensor;
  readonly values: Float32Array;
}

function held(rows: number, columns: number): Held {
  const values = random(rows * columns);
  return { tensor: store.fromArray(values, [rows, columns]), values };
}

async function settle(): Promise<void> {
  store.queue.flush();
  await open.device.queue.onSubmittedWorkDone();
  store.queue.requireSound();
}

/** Milliseconds of one run, from as many as take a while. */
async function time(run: () => void): Promise<number> {
  run();
  await settle();
  let count = 1;
  for (;;) {
    const start = performance.now();
    for (let i = 0; i < count; i++) run();
    await settle();
    const took = performance.now() - start;
    if (took > 1000 * Number(options.seconds) || count > 1e4) return took / count;
    count = Math.ceil(count * Math.min(8, Math.max(1.5, (1200 * Number(options.seconds)) / took)));
  }
}

let faults = 0;

/** Compares some values with what `plain` gives: [value, sum of the magnitudes] of an element. */
async function check(
  label: string,
  tensor: WebgpuTensor,
  plain: (row: number, column: number) => readonly [number, number],
) {
  const [rows, columns] = tensor.shape as [number, number];
  const found = await engine.read(tensor);
  let worst = 0;
  for (let i = 0; i < 40; i++) {
    const row = i === 0 ? rows - 1 : (i * 7919) % rows;
    const column = i === 0 ? columns - 1 : (i * 104729) % columns;
    const [value, magnitude] = plain(row, column);
    worst = Math.max(worst, Math.abs(found[row * columns + column]! - value) / magnitude);
  }
  if (options.errors) console.log(`       off by at most ${worst.toExponential(1)} of the sum of magnitudes`);
  if (worst < 1e-6) return;
  faults++;
  console.log(`WRONG  ${label}: off by ${worst.toExponential(1)} of the sum of magnitudes`);
}

/** Σ of a(i)·b(i), and of its magnitudes. */
function dot(k: number, a: (i: number) => number, b: (i: number) => number): readonly [number, number] {
  let [sum, magnitude] = [0, 0];
  for (let i = 0; i < k; i++) {
    const term = a(i) * b(i);
    sum += term;
    magnitude += Math.abs(term);
  }
  return [sum, magnitude];
}

const planName = ({ tile, matrixTile }: Plan): string =>
  Object.entries({ ...OTHER_TILES, ...OTHER_MATRIX_TILES }).find(([, other]) => other === (matrixTile ?? tile))?.[0] ??
  'few rows';

/** The plan of the engine, the plain one beside it, and others where they are asked for and the device has the memory. */
function plansOf(what: Product): Plan[] {
  const own = planProduct(what, store.matrices);
  const plain = own.matrixTile ? [planProduct(what)] : [];
  if (!options.tiles) return [own, ...plain];
  const isWanted = (name: string): boolean => !options.tile || options.tile.some((text) => name.includes(text));
  const planes = 'weight' in what.b ? 1 : 2;
  const onMatrices = Object.entries(OTHER_MATRIX_TILES)
    .filter(([name, other]) => unit && isWanted(name) && tileFits(other, unit, planes, 128) && other !== own.matrixTile)
    .map(([, other]) => ({ matrixTile: other, splits: 1 }));
  const most = open.device.limits.maxComputeWorkgroupStorageSize;
  const others = Object.entries(OTHER_TILES)
    .filter(([name]) => isWanted(name))
    .map(([, other]) => other)
    .filter(
      ({ bm, bn, bk, stages }) =>
        4 * (bm + bn) * bk * stages <= most && bm <= 2 * Math.max(16, what.m) && bn <= 2 * Math.max(16, what.n),
    );
  const onTiles = others.filter((tile) => tile !== own.tile || own.splits > 1).map((tile) => ({ tile, splits: 1 }));
  return [own, ...plain, ...onMatrices, ...onTiles];
}

function report(label: string, milliseconds: number, operations: number, bytes: number): void {
  const rate = (operations / milliseconds / 1e9).toFixed(2).padStart(7);
  const width = (bytes / milliseconds / 1e6).toFixed(0).padStart(6);
  console.log(`${label.padEnd(64)} ${milliseconds.toFixed(3).padStart(9)} ms ${rate} TFLOP/s ${width} GB/s`);
}

async function measurePlain(
  label: string,
  what: { m: number; n: number; k: number; transA: boolean; transB: boolean },
) {
  const { m, n, k, transA, transB } = what;
  const a = held(transA ? k : m, transA ? m : k);
  const b = held(transB ? n : k, transB ? k : n);
  const c = store.create([m, n]);
  const fixed = options.fixed ? store.memory.createFixed(4 * a.tensor.size) : undefined;
  if (fixed) store.queue.copy(a.tensor.range, fixed, fixed.size);
  const aRows = fixed ? { range: fixed, isFixed: true } : { range: a.tensor.range };
  const whole = { ...what, a: aRows, b: b.tensor.range, c: { range: c.range } };
  for (const plan of plansOf(whole)) {
    const name = `${label}, ${planName(plan)}${plan.splits > 1 ? ` in ${plan.splits} splits` : ''}`;
    const run = (): void => product(store, whole, plan);
    const took = await time(run);
    report(name, took, 2 * m * n * k, 4 * (m * k + n * k + m * n));
    await check(name, c, (row, column) =>
      dot(
        k,
        (i) => a.values[transA ? i * m + row : row * k + i]!,
        (i) => b.values[transB ? column * k + i : i * n + column]!,
      ),
    );
  }
  for (const tensor of [a.tensor, b.tensor, c]) store.release(tensor);
  store.queue.flush();
  if (fixed) store.memory.freeFixed(fixed);
}

async function squares(): Promise<void> {
  for (const size of numbers(options.sizes)) {
    for (const [form, transA, transB] of [
      ['nn', false, false],
      ['nt', false, true],
      ['tn', true, false],
      ['tt', true, true],
    ] as const) {
      await measurePlain(`${size} ${form}`, { m: size, n: size, k: size, transA, transB });
    }
  }
}

interface MadeWeight {
  readonly weight: WebgpuWeight;
  value(row: number, column: number): number;
  free(): void;
}

const BITS: Record<WeightFormat, number> = { f32: 32, bf16: 16, f16: 16, e4m3: 8, nf4: 4 };

/** A weight as the loader leaves it, in one part. */
function makeWeight(format: 'bf16' | 'e4m3' | 'nf4', rows: number, columns: number): MadeWeight {
  const values = rows * columns;
  const bytes = new Uint8Array((values * BITS[format]) / 8);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i, 0x9e3779b9) >>> 24;
  // bf16 of magnitudes from 2^-7 on, and no NaN in e4m3.
  if (format === 'bf16') for (let i = 1; i < bytes.length; i += 2) bytes[i] = (bytes[i]! & 0x80) | 0x3c;
  if (format === 'e4m3') for (let i = 0; i < bytes.length; i++) bytes[i]! &= 0xbf;
  const block = format === 'nf4' ? ([1, 64] as const) : ([1, columns] as const);
  const factors =
    format === 'bf16' ? undefined : random(format === 'nf4' ? values / 64 : rows).map((x) => 0.02 + 0.01 * x);
  const place = (data: ArrayBufferView): BufferRange => {
    const range = store.memory.createFixed(data.byteLength);
    store.queue.upload(range, data);
    return range;
  };
  const part = { firstRow: 0, rows, values: place(bytes), factors: factors && place(factors) };
  const round = (x: number): number => bfloat16ToFloat32(float32ToBfloat16(Float32Array.of(x)))[0]!;
  return {
    weight: { name: format, shape: [rows, columns], dtype: 'bf16', rows, columns, format, parts: [part], block },
    value(row, column) {
      const i = row * columns + column;
      if (format === 'bf16') return bfloat16ToFloat32(Uint16Array.of(bytes[2 * i]! | (bytes[2 * i + 1]! << 8)))[0]!;
      if (format === 'e4m3') return round(Math.fround(e4m3ToNumber(bytes[i]!) * factors![row]!));
      const pair = bytes[i >>> 1]!;
      return round(Math.fround(NF4_VALUES[i & 1 ? pair & 15 : pair >>> 4]! * factors![Math.floor(i / 64)]!));
    },
    free() {
      store.queue.flush();
      for (const range of [part.values, part.factors]) if (range) store.memory.freeFixed(range);
    },
  };
}

const shapes = options.shapes.split(',').map((shape) => shape.split('x').map(Number) as [number, number]);

async function weights(): Promise<void> {
  for (const [inputs, outputs] of shapes) {
    for (const format of ['bf16', 'e4m3', 'nf4'] as const) {
      const made = makeWeight(format, outputs, inputs);
      const { weight } = made;
      for (const m of numbers(options.rows)) {
        const x = held(m, inputs);
        const y = store.create([m, outputs]);
        const stored = (outputs * inputs * BITS[format]) / 8;
        const bytes = stored + 4 * m * (inputs + outputs);
        const operations = 2 * m * inputs * outputs;
        const label = `${m} x ${inputs} -> ${outputs} ${format}`;
        const forward = (): void => forwardProduct(store, weight, x.tensor, m, y);
        const b = { weight, part: weight.parts[0]! };
        const what = { m, n: outputs, k: inputs, a: x.tensor, b, transB: true, c: y };
        const plans = plansOf(what);
        report(`${label}, forward, ${planName(plans[0]!)}`, await time(forward), operations, bytes);
        const plain = (row: number, column: number): readonly [number, number] =>
          dot(
            inputs,
            (i) => x.values[row * inputs + i]!,
            (i) => made.value(column, i),
          );
        await check(`${label}, forward`, y, plain);
        for (const plan of plans.slice(1)) {
          const name = `${label}, forward, ${planName(plan)}`;
          report(name, await time(() => product(store, what, plan)), operations, bytes);
          await check(name, y, plain);
        }
        if (m > 16) {
          const dy = held(m, outputs);
          const backward = (): void => backwardProduct(store, weight, dy.tensor, m, x.tensor);
          const plain = (row: number, column: number): readonly [number, number] =>
            dot(
              outputs,
              (i) => dy.values[row * outputs + i]!,
              (i) => made.value(i, column),
            );
          const what = { m, n: inputs, k: outputs, a: dy.tensor, b, c: x.tensor };
          const plans = plansOf(what);
          report(`${label}, backward, ${planName(plans[0]!)}`, await time(backward), operations, bytes);
          await check(`${label}, backward`, x.tensor, plain);
          for (const plan of plans.slice(1)) {
            const name = `${label}, backward, ${planName(plan)}`;
            report(name, await time(() => product(store, what, plan)), operations, bytes);
            await check(name, x.tensor, plain);
          }
          store.release(dy.tensor);
        }
        for (const tensor of [x.tensor, y]) store.release(tensor);
      }
      made.free();
    }
  }
}

async function lowRank(): Promise<void> {
  for (const rows of numbers(options.rows).filter((count) => count > 16)) {
    for (const rank of [16, 64]) {
      for (const width of [1024, 3072, 9216]) {
        const name = `${rows} rows, rank ${rank}, width ${width}`;
        await measurePlain(`u = x·Aᵀ, ${name}`, { m: rows, n: rank, k: width, transA: false, transB: true });
        await measurePlain(`du = dy·B, ${name}`, { m: rows, n: rank, k: width, transA: false, transB: false });
        await measurePlain(`dB = dyᵀ·u, ${name}`, { m: width, n: rank, k: rows, transA: true, transB: false });
        await measurePlain(`dA = duᵀ·x, ${name}`, { m: rank, n: width, k: rows, transA: true, transB: false });
      }
    }
  }
}

/** Whole layers with LoRA of rank 16: what a training step takes. */
async function layers(): Promise<void> {
  const { linear } = engine.operations;
  for (const [inputs, outputs] of shapes) {
    const made = makeWeight('bf16', outputs, inputs);
    store.weights.add(made.weight);
    const set = engine.createParameters([
      { name: 'a', shape: [16, inputs], initial: random(16 * inputs) },
      { name: 'b', shape: [outputs, 16], initial: random(16 * outputs) },
    ]);
    const [a, b] = set.parameters as [(typeof set.parameters)[0], (typeof set.parameters)[0]];
    for (const rows of numbers(options.rows).filter((count) => count > 16)) {
      for (const dropout of [0, 0.05]) {
        const rowKeys = Int32Array.from({ length: rows }, (_, i) => Math.imul(i, 0x9e3779b9));
        const lora = { a, b, scale: 2, dropout, seed: 7, rowKeys };
        const attributes = { parts: [{ weight: made.weight, lora }] };
        const x = held(rows, inputs);
        const dy = held(rows, outputs);
        const label = `${rows} x ${inputs} -> ${outputs} bf16, LoRA r=16, p=${dropout}`;
        const operations = 2 * rows * inputs * outputs;
        const forward = await time(() => {
          const { outputs: results, saved } = linear.forward([x.tensor], attributes, true);
          for (const tensor of results) engine.release(tensor);
          for (const tensor of saved.slice(1)) engine.release(tensor);
        });
        report(`${label}, forward`, forward, operations, 0);
        const { outputs: results, saved } = linear.forward([x.tensor], attributes, true);
        const backward = await time(() => {
          const [dx] = linear.backward(saved, [dy.tensor], attributes, [true]);
          engine.release(dx!);
        });
        report(`${label}, backward`, backward, operations, 0);
        for (const tensor of [...results, ...saved.slice(1)]) engine.release(tensor);
        for (const tensor of [x.tensor, dy.tensor]) store.release(tensor);
      }
    }
    engine.releaseParameters(set);
    engine.releaseWeight(made.weight);
  }
}

async function loss(): Promise<void> {
  const { crossEntropy } = engine.operations;
  const [rows, columns, vocabulary] = [Number(options['loss-rows']), 3072, Number(options.vocabulary)];
  const made = makeWeight('bf16', vocabulary, columns);
  store.weights.add(made.weight);
  const hidden = held(rows, columns);
  const targets = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % vocabulary);
  const attributes = { head: made.weight, targets, scale: 1 / rows };
  for (const record of [false, true]) {
    const took = await time(() => {
      const { outputs, saved } = crossEntropy.forward([hidden.tensor], attributes, record);
      for (const tensor of [...outputs, ...saved]) engine.release(tensor);
    });
    const operations = 2 * rows * columns * vocabulary * (record ? 2 : 1);
    report(
      `cross-entropy, ${rows} rows, ${vocabulary} words${record ? ', with gradient' : ''}`,
      took,
      operations,
      2 * columns * vocabulary,
    );
  }
  const { outputs } = crossEntropy.forward([hidden.tensor], attributes, false);
  const rowLoss = await engine.read(outputs[1]!);
  for (const row of [0, rows - 1]) {
    let sum = 0;
    const logit = (word: number): number =>
      dot(
        columns,
        (i) => hidden.values[row * columns + i]!,
        (i) => made.value(word, i),
      )[0];
    // The largest words alone would do, but which those are is known only after all.
    if (vocabulary > 4096 && row > 0) break;
    for (let word = 0; word < vocabulary; word++) sum += Math.exp(logit(word));
    const expected = Math.log(sum) - logit(targets[row]!);
    if (Math.abs(rowLoss[row]! - expected) < 1e-5 * Math.abs(expected)) continue;
    faults++;
    console.log(`WRONG  loss of row ${row}: ${rowLoss[row]}, expected ${expected}`);
  }
}

const sections = { square: squares, weights, low: lowRank, layer: layers, loss };
for (const [name, section] of Object.entries(sections)) {
  if (!options.only.includes(name)) continue;
  console.log(`\n${name}`);
  await section();
}
await engine.dispose();
console.log(faults > 0 ? `${faults} WRONG` : 'all checks passed');
process.exitCode = faults > 0 ? 1 : 0;
