/**
 * Time of what moves memory on the webgpu engine: norms, activations, addition, rows, patches and the optimizer.
 *
 *   npx tsx test/bench/webgpu-elementwise.ts [--rows 8192] [--columns 3072] [--features 9216] [--vocabulary 131072]
 *                                            [--parameters 50000000] [--repeat 40] [--only REGEXP] [--software]
 *
 * Wall clock over many calls, from an empty device to an empty device, and the part of it that the host took to queue
 * them: where both are equal, the host is what is measured. GB/s of what must be read and written once. The lines `copy`
 * move as many bytes in workgroups of other sizes: the first is how all elementwise kernels are made. Of the optimizer the
 * relative error of the gradient norm is printed too.
 */
import { parseArgs } from 'node:util';
import { gradientNorm } from '../../src/engine/cpu/optimizer.js';
import type { ForwardResult } from '../../src/engine/operations.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { flat, type Kernel } from '../../src/engine/webgpu/kernels.js';
import { WGSL } from '../../src/generated/wgsl-kernels.js';
import { WGSL_SOURCES } from '../../src/generated/wgsl-sources.js';
import { MersenneTwister } from '../../src/random.js';
import { openTestEngine } from '../engine/webgpu/open.js';

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '8192' },
    columns: { type: 'string', default: '3072' },
    features: { type: 'string', default: '9216' },
    vocabulary: { type: 'string', default: '131072' },
    parameters: { type: 'string', default: '50000000' },
    repeat: { type: 'string', default: '40' },
    only: { type: 'string', default: '' },
    software: { type: 'boolean', default: false },
  },
});
const rows = Number(options.rows);
const columns = Number(options.columns);
const features = Number(options.features);
const vocabulary = Number(options.vocabulary);
const repeat = Number(options.repeat);
const only = new RegExp(options.only);
const WARM_UP = 3;

const engine = await openTestEngine({ software: options.software, budget: options.software ? 1e9 : 24e9 });
const { store, operations } = engine;
console.log(engine.description);
const probe = engine.zeros([1]);

const noise = Float32Array.from({ length: 1 << 20 }, (_, i) => Math.sin(i * 12.9898) * Math.SQRT2);
function filled(length: number): Float32Array {
  const data = new Float32Array(length);
  for (let at = 0; at < length; at += noise.length) data.set(noise.subarray(0, length - at), at);
  return data;
}
const matrix = (r: number, c: number): Tensor => engine.fromArray(filled(r * c), [r, c]);

/** @param bytes that must be read and written once */
async function measure(name: string, bytes: number, body: () => void): Promise<void> {
  if (!only.test(name)) return;
  for (let i = 0; i < WARM_UP; i++) body();
  await engine.read(probe);
  const start = performance.now();
  for (let i = 0; i < repeat; i++) body();
  const queued = performance.now() - start;
  await engine.read(probe);
  const all = performance.now() - start;
  const micros = (ms: number): string => `${((1e3 * ms) / repeat).toFixed(1)} µs`;
  const rate = (bytes * repeat) / all / 1e6;
  console.log(
    `${name.padEnd(44)} ${micros(all).padStart(12)}  host ${micros(queued).padStart(12)}  ${rate.toFixed(0)} GB/s`,
  );
}

const drop = ({ outputs, saved }: ForwardResult): void => {
  for (const tensor of saved) engine.retain(tensor);
  for (const tensor of [...outputs, ...saved]) engine.release(tensor);
};
const dropAll = (tensors: readonly (Tensor | undefined)[]): void => {
  for (const tensor of new Set(tensors))
    if (tensor) for (const same of tensors) if (same === tensor) engine.release(same);
};

async function copies(): Promise<void> {
  const x = store.use(matrix(rows, features), 'bench');
  const out = store.create(x.shape);
  const n = x.size / 4;
  for (const units of [1024, 256, 512, 2048, 4096]) {
    const file = `copy-${units}.wgsl`;
    Object.assign(WGSL_SOURCES, { [file]: WGSL_SOURCES['copy.wgsl']!.replaceAll('1024u', `${units}u`) });
    const kernel = { ...WGSL.copy, file } as Kernel<{ out: object; source: object; n: number }>;
    await measure(`copy, ${units} vectors a workgroup`, 8 * x.size, () => {
      const parameters = { out: out.range, source: x.range, n };
      store.kernels.launch(kernel, flat(Math.ceil(n / units)), parameters, { defines: { T: 'vec4f' } });
    });
  }
  for (const tensor of [x, out]) engine.release(tensor);
}

async function elementwise(): Promise<void> {
  const [gate, up, dy] = [matrix(rows, features), matrix(rows, features), matrix(rows, features)];
  const bytes = 4 * rows * features;
  for (const activation of ['silu', 'gelu', 'gelu_tanh'] as const) {
    const attributes = { activation };
    const { gatedActivation, activation: plain } = operations;
    await measure(`${activation} gated, forward`, 3 * bytes, () =>
      drop(gatedActivation.forward([gate, up], attributes, false)),
    );
    await measure(`${activation} gated, backward`, 5 * bytes, () =>
      dropAll(gatedActivation.backward([gate, up], [dy], attributes, [true, true])),
    );
    await measure(`${activation}, forward`, 2 * bytes, () => drop(plain.forward([gate], attributes, false)));
    await measure(`${activation}, backward`, 3 * bytes, () =>
      dropAll(plain.backward([gate], [dy], attributes, [true])),
    );
  }
  await measure('add', 3 * bytes, () => drop(operations.add.forward([gate, up], {}, false)));
  await measure('add in place', 3 * bytes, () => engine.addInPlace(dy, up));
  for (const tensor of [gate, up, dy]) engine.release(tensor);
}

function weightOf(name: string, shape: readonly number[]) {
  const bytes = new Uint8Array(2 * shape.reduce((size, extent) => size * extent, 1)).fill(0x3f);
  const read = async (target: Uint8Array, offset = 0): Promise<void> =>
    target.set(bytes.subarray(offset, offset + target.length));
  return engine.loadWeight({ name, shape, dtype: 'bf16', byteLength: bytes.length, read });
}

async function norms(): Promise<void> {
  for (const width of [columns, 1024]) {
    const [x, residual, dy] = [matrix(rows, width), matrix(rows, width), matrix(rows, width)];
    const attributes = { weight: await weightOf('norm', [width]), eps: 1e-5 };
    const bytes = 4 * rows * width;
    const { rmsNorm } = operations;
    await measure(`norm of ${width}, forward`, 2 * bytes, () => drop(rmsNorm.forward([x], attributes, true)));
    await measure(`norm of ${width}, forward + residual`, 4 * bytes, () =>
      drop(rmsNorm.forward([x, residual], attributes, true)),
    );
    const { outputs, saved } = rmsNorm.forward([x, residual], attributes, true);
    for (const tensor of saved) engine.retain(tensor);
    await measure(`norm of ${width}, backward`, 3 * bytes, () =>
      dropAll(rmsNorm.backward(saved, [dy, undefined], attributes, [true, true])),
    );
    await measure(`norm of ${width}, backward + residual`, 4 * bytes, () =>
      dropAll(rmsNorm.backward(saved, [dy, residual], attributes, [true, true])),
    );
    for (const tensor of [...outputs, ...saved, x, residual, dy]) engine.release(tensor);
    engine.releaseWeight(attributes.weight);
  }
}

async function moves(): Promise<void> {
  const x = matrix(rows, columns);
  const bytes = 4 * rows * columns;
  const random = new MersenneTwister(1);
  const some = Int32Array.from({ length: rows }, () => random.nextUint32() % rows);
  const { gatherRows, embedding, mergePatches } = operations;
  await measure('gather rows, forward', 2 * bytes, () => drop(gatherRows.forward([x], { rows: some }, false)));
  const [shape] = gatherRows.forward([x], { rows: some }, true).saved;
  engine.retain(shape!);
  await measure('gather rows, backward with repeated rows', 2 * bytes, () =>
    dropAll(gatherRows.backward([shape!], [x], { rows: some }, [true])),
  );
  const table = await weightOf('table', [vocabulary, columns]);
  const ids = Int32Array.from({ length: rows }, () => random.nextUint32() % vocabulary);
  await measure('embedding, bf16', 1.5 * bytes, () => drop(embedding.forward([], { table, ids }, false)));
  const withNoise = { rowKeys: ids, bounds: new Float32Array(rows).fill(0.1) };
  await measure('embedding, bf16, noise', 1.5 * bytes, () =>
    drop(embedding.forward([], { table, ids, noise: withNoise }, false)),
  );
  const side = 2 * Math.floor(Math.sqrt(rows) / 2);
  const patches = matrix(side * side, 1024);
  const grids = Int32Array.of(side, side);
  await measure('merge patches, forward', 8 * patches.size, () =>
    drop(mergePatches.forward([patches], { grids, merge: 2 }, false)),
  );
  const logits = engine.zeros([16, vocabulary]);
  await measure('largest of each of 16 rows of logits', 4 * logits.size, () => void engine.rowMaxima(logits));
  for (const tensor of [x, shape!, patches, logits]) engine.release(tensor);
  engine.releaseWeight(table);
}

/** Matrices as adapters have them, and one that is too small for 8 bits. */
async function optimizers(): Promise<void> {
  const width = 16 * columns;
  const count = Math.max(1, Math.round(Number(options.parameters) / width));
  const specs = [...Array(count).keys()].map((i) => ({ name: `p${i}`, shape: [16, columns], initial: filled(width) }));
  const set = engine.createParameters([...specs, { name: 'small', shape: [1, 100], initial: filled(100) }]);
  const random = new MersenneTwister(2);
  const gradients = new Float32Array(set.size);
  random.fillFloats(gradients);
  for (const { grad, offset, size, shape } of set.parameters) {
    const tensor = engine.fromArray(gradients.subarray(offset, offset + size), shape);
    engine.addInPlace(grad, tensor);
    engine.release(tensor);
  }
  const settings = { learningRate: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 };
  const exact = gradientNorm(gradients);
  for (const [kind, bytes] of [
    ['adamw', 32],
    ['adamw8bit', 20],
  ] as const) {
    const state = engine.createOptimizerState(set, kind);
    const norm = await engine.optimizerStep(set, state, { kind, ...settings })();
    console.log(`${kind}: norm ${norm} of ${set.size}, relative error ${Math.abs(norm / exact - 1).toExponential(1)}`);
    // Each norm is read back, as in training: buffers for it return when it has arrived.
    const norms: Promise<number>[] = [];
    await measure(`${kind}, step of ${(set.size / 1e6).toFixed(1)} million`, bytes * set.size, () => {
      norms.push(engine.optimizerStep(set, state, { kind, ...settings })());
    });
    await Promise.all(norms);
    engine.releaseOptimizerState(set, state);
  }
  const started = performance.now();
  await engine.areZero(set, 'gradients');
  console.log(`parameters that are zero, of ${set.parameters.length}: ${(performance.now() - started).toFixed(1)} ms`);
  engine.releaseParameters(set);
}

await copies();
await elementwise();
await norms();
await moves();
await optimizers();
await engine.dispose();
