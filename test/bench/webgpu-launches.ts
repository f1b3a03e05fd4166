/**
 * What a launch of the webgpu engine costs the host: tiny kernels, and the time until they are queued.
 *
 *   npx tsx test/bench/webgpu-launches.ts [--software | --fake] [--repeat 2000] [--lots 15]
 *
 * The best of several lots: what else the machine does is not the engine's. `same` binds what the launch before bound, `new`
 * a range that was not bound before. --fake leaves out Dawn, so that only the engine's own part is left.
 */
import { parseArgs } from 'node:util';
import { openDevice } from '../../src/engine/webgpu/load-webgpu.js';
import type { AttentionOperation } from '../../src/engine/webgpu/operations/attention.js';
import { product } from '../../src/engine/webgpu/products.js';
import type { WebgpuTensor } from '../../src/engine/webgpu/tensor-store.js';
import { WebgpuEngine } from '../../src/engine/webgpu/webgpu-engine.js';
import { WGSL } from '../../src/generated/wgsl-kernels.js';
import { FakeDevice } from '../engine/webgpu/fake-device.js';
import { testGpu } from '../engine/webgpu/open.js';

const { values: options } = parseArgs({
  options: {
    software: { type: 'boolean', default: false },
    fake: { type: 'boolean', default: false },
    repeat: { type: 'string', default: '2000' },
    lots: { type: 'string', default: '15' },
  },
});
const repeat = Number(options.repeat);

const open = options.fake
  ? { device: new FakeDevice({ keepsBytes: false }), info: { device: 'no GPU' }, isSoftware: true, isBorrowed: false }
  : await openDevice(await testGpu(options.software));
const engine = new WebgpuEngine(open, { bytes: 1 << 30, source: 'for a benchmark' });
const { store, operations } = engine;
console.log(engine.description);

/** @param launches of one call */
async function measure(name: string, launches: number, body: (i: number) => void): Promise<void> {
  let best = Number.POSITIVE_INFINITY;
  for (let lot = 0; lot < Number(options.lots); lot++) {
    // What was queued before must not compete for the processor.
    store.queue.flush();
    await open.device.queue.onSubmittedWorkDone();
    const start = performance.now();
    for (let i = 0; i < repeat; i++) body(i);
    best = Math.min(best, performance.now() - start);
  }
  const micros = (1e3 * best) / (repeat * launches);
  console.log(`${name.padEnd(32)} ${micros.toFixed(2).padStart(8)} µs a launch, ${Math.round(1e6 / micros)} a second`);
}

const [x, y, z, w] = [0, 1, 2, 3].map(() => store.zeros([1, 64])) as [
  WebgpuTensor,
  WebgpuTensor,
  WebgpuTensor,
  WebgpuTensor,
];
const a = store.zeros([64, 4]);
await measure('add, same', 1, () => {
  const parameters = { out: z.range, a: x.range, b: y.range, n: 16 };
  store.kernels.launch(WGSL.add, [1, 1], parameters, { defines: { T: 'vec4f' } });
});
let calls = 0;
const wide = store.zeros([repeat, 64]);
await measure('add, new', 1, (i) => {
  const out = {
    buffer: wide.range.buffer,
    offset: wide.range.offset + 256 * i,
    size: 256 - 4 * (Math.floor(calls++ / repeat) % 60),
  };
  store.kernels.launch(WGSL.add, [1, 1], { out, a: x.range, b: y.range, n: 1 }, { defines: { T: 'f32' } });
});
await measure('add, the operation', 1, () => {
  for (const tensor of operations.add.forward([x, y], {}, false).outputs) engine.release(tensor);
});
await measure('product 1 x 4 x 64', 1, () => {
  const c = { range: z.range };
  product(store, { m: 1, n: 4, k: 64, a: { range: x.range }, b: a.range, c });
});
const rows = new Int32Array(1);
await measure('gather of 1 row', 1, () => {
  for (const tensor of operations.gatherRows.forward([x], { rows }, false).outputs) engine.release(tensor);
});
const many = new Int32Array(8192);
await measure('gather of 8192 rows', 1, () => {
  for (const tensor of operations.gatherRows.forward([x], { rows: many }, false).outputs) engine.release(tensor);
});
const segments = { queryStarts: Int32Array.of(0, 1), keyStarts: new Int32Array(1), keyLengths: Int32Array.of(1) };
const attributes = { heads: 16, kvHeads: 16, headDim: 4, causal: true, scale: 0.5, segments };
const { kernels } = operations.attention as unknown as AttentionOperation;
const lse = store.zeros([16, 1]);
await measure('attention of 1 row, forward', 1, () => kernels.forward({ q: x, k: y, v: w }, z, lse, attributes));
await engine.dispose();
