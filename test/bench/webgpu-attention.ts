/**
 * Times attention of the `webgpu` engine, forward and backward, at the shapes of Ministral 3, against the cuda engine where
 * there is one, and checks values of both passes.
 *
 *   npx tsx test/bench/webgpu-attention.ts [--software] [--small] [--only TEXT] [--repeat 10] [--flags FLAG;FLAG]
 *     [--no-cuda] [--forward TILES] [--query TILES] [--key TILES] [--sweep [--tiles TILES;TILES]]
 *
 * TILES are ROWS,GROUPS,DEPTH4,STEPS4,PAD,DEPTH_UNROLL,STEP_UNROLL of kernels/attention-tiles.wgsl. --forward, --query and
 * --key set those of a kernel; --sweep tries many on each and prints the milliseconds of that kernel alone. --flags are
 * Dawn's, e.g. enable-dawn-features=disable_robustness. --small is for software. The package webgpu is looked for in
 * MINISTRAL_TUNE_WEBGPU.
 */
import { parseArgs } from 'node:util';
import { createEngine } from '../../src/engine/create-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import type { OperationAttributes } from '../../src/engine/operations.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { loadWebgpu, openDevice } from '../../src/engine/webgpu/load-webgpu.js';
import type { AttentionOperation } from '../../src/engine/webgpu/operations/attention.js';
import {
  type AttentionPass,
  type AttentionTiles,
  attentionBytes,
  attentionDefines,
} from '../../src/engine/webgpu/operations/attention-work.js';
import type { WebgpuTensor } from '../../src/engine/webgpu/tensor-store.js';
import { WebgpuEngine } from '../../src/engine/webgpu/webgpu-engine.js';
import { findSwiftShader } from '../engine/webgpu/open.js';
import { median } from './median.js';

const { values: options } = parseArgs({
  options: {
    software: { type: 'boolean', default: false },
    small: { type: 'boolean', default: false },
    sweep: { type: 'boolean', default: false },
    'no-cuda': { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    repeat: { type: 'string', default: '10' },
    flags: { type: 'string', default: '' },
    tiles: { type: 'string' },
    forward: { type: 'string' },
    query: { type: 'string' },
    key: { type: 'string' },
  },
});
const repeat = Number(options.repeat);

type Attributes = OperationAttributes['attention'];

interface Shape {
  readonly title: string;
  readonly attributes: Attributes;
  readonly queryRows: number;
  readonly keyRows: number;
  /** Pairs of a query row and a key that it sees, of all heads. */
  readonly pairs: number;
  readonly isDecode: boolean;
}

function shape(
  title: string,
  heads: number,
  kvHeads: number,
  headDim: number,
  causal: boolean,
  segments: number,
  queries: number,
  keys = queries,
): Shape {
  const starts = (step: number, count: number): Int32Array => Int32Array.from({ length: count }, (_, s) => s * step);
  const visible = causal ? queries * (keys - queries) + (queries * (queries + 1)) / 2 : queries * keys;
  return {
    title,
    attributes: {
      ...{ heads, kvHeads, headDim, causal, scale: headDim ** -0.5 },
      segments: {
        queryStarts: starts(queries, segments + 1),
        keyStarts: starts(keys, segments),
        keyLengths: new Int32Array(segments).fill(keys),
      },
    },
    queryRows: segments * queries,
    keyRows: segments * keys,
    pairs: heads * segments * visible,
    isDecode: queries < keys,
  };
}

const SHAPES = (
  options.small
    ? [
        shape('text 2 x 64', 4, 1, 128, true, 2, 64),
        shape('image 2 x 64', 2, 2, 64, false, 2, 64),
        shape('decode 1 on 192', 4, 1, 128, true, 1, 1, 192),
      ]
    : [
        shape('text 8 x 512', 32, 8, 128, true, 8, 512),
        shape('text 1 x 4096', 32, 8, 128, true, 1, 4096),
        shape('image 4 x 1024', 16, 16, 64, false, 4, 1024),
        shape('decode 1 on 2048', 32, 8, 128, true, 1, 1, 2048),
        shape('decode 8 on 2048', 32, 8, 128, true, 8, 1, 2048),
      ]
).filter(({ title }) => title.includes(options.only));

let state = 1;
function uniform(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}
const noise = (count: number): Float32Array => Float32Array.from({ length: count }, uniform);

/** Work that a GPU takes to raise its clocks: after a pipeline was compiled they are low, and short calls look slow. */
const WARM_UP_MS = 300;

/** Milliseconds of each of several calls that are queued together, the median of three such lots. */
async function time(settle: () => Promise<void>, body: () => void): Promise<number> {
  const times: number[] = [];
  const start = performance.now();
  do {
    for (let i = 0; i < repeat; i++) body();
    await settle();
  } while (performance.now() - start < WARM_UP_MS);
  for (let lot = 0; lot < 3; lot++) {
    const begin = performance.now();
    for (let i = 0; i < repeat; i++) body();
    await settle();
    times.push((performance.now() - begin) / repeat);
  }
  return median(times);
}

interface Figures {
  readonly forward: number;
  readonly backward?: number;
}

interface Values {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly dOut: Float32Array;
}

function valuesOf({ attributes: { heads, kvHeads, headDim }, queryRows, keyRows }: Shape): Values {
  const [own, shared] = [queryRows * heads * headDim, keyRows * kvHeads * headDim];
  return { q: noise(own), k: noise(shared), v: noise(shared), dOut: noise(own) };
}

function tensorsOf(engine: Engine, { q, k, v, dOut }: Values, { attributes, queryRows, keyRows }: Shape): Tensor[] {
  const { heads, kvHeads, headDim } = attributes;
  return [q, k, v, dOut].map((values, i) => {
    const isQuery = i === 0 || i === 3;
    return engine.fromArray(values, isQuery ? [queryRows, heads * headDim] : [keyRows, kvHeads * headDim]);
  });
}

function free(engine: Engine, tensors: readonly (Tensor | undefined)[]): void {
  for (const tensor of tensors) if (tensor) engine.release(tensor);
}

/** Forward and backward of an engine, with the results of the last run. */
async function measure(
  engine: Engine,
  settle: () => Promise<void>,
  of: Shape,
  values: Values,
  isChecked: boolean,
): Promise<Figures> {
  const { attention } = engine.operations;
  const { attributes, isDecode } = of;
  const [q, k, v, dOut] = tensorsOf(engine, values, of) as [Tensor, Tensor, Tensor, Tensor];
  const forward = await time(settle, () => free(engine, attention.forward([q, k, v], attributes, false).outputs));
  const { outputs, saved } = attention.forward([q, k, v], attributes, !isDecode);
  for (const tensor of saved) engine.retain(tensor);
  const out = outputs[0]!;
  const back = (): readonly (Tensor | undefined)[] => attention.backward(saved, [dOut], attributes, [true, true, true]);
  const backward = isDecode ? undefined : await time(settle, () => free(engine, back()));
  if (isChecked) {
    const gradients = isDecode ? [] : back();
    const read = await Promise.all([out, ...gradients].map((tensor) => engine.read(tensor!)));
    check(of, values, read);
    free(engine, gradients);
  }
  free(engine, [...outputs, ...saved, q, k, v, dOut]);
  return backward === undefined ? { forward } : { forward, backward };
}

let hasFailed = false;

/** A few query rows and a few key rows against double precision. */
function check(
  { attributes, queryRows, title }: Shape,
  { q, k, v, dOut }: Values,
  [out, dq, dk, dv]: readonly Float32Array[],
): void {
  const { heads, kvHeads, headDim, scale, causal, segments } = attributes;
  const { queryStarts, keyStarts, keyLengths } = segments;
  const at = (row: number, head: number, of: number): number => (row * of + head) * headDim;
  const dot = (a: Float32Array, i: number, b: Float32Array, j: number): number => {
    let sum = 0;
    for (let d = 0; d < headDim; d++) sum += a[i + d]! * b[j + d]!;
    return sum;
  };
  const segmentOf = (row: number): number => keyStarts.findIndex((_, s) => row < queryStarts[s + 1]!);
  /** Probabilities of a row, and the gradients of its scores. */
  const rowOf = (row: number, head: number) => {
    const s = segmentOf(row);
    const count = causal ? keyLengths[s]! - (queryStarts[s + 1]! - 1 - row) : keyLengths[s]!;
    const kvHead = Math.floor((head * kvHeads) / heads);
    const keyAt = (j: number): number => at(keyStarts[s]! + j, kvHead, kvHeads);
    const query = at(row, head, heads);
    const scores = Array.from({ length: count }, (_, j) => scale * dot(q, query, k, keyAt(j)));
    const peak = scores.reduce((a, b) => Math.max(a, b));
    const total = scores.reduce((sum, score) => sum + Math.exp(score - peak), 0);
    const p = scores.map((score) => Math.exp(score - peak) / total);
    const dp = p.map((_, j) => dot(dOut, query, v, keyAt(j)));
    const delta = p.reduce((sum, value, j) => sum + value * dp[j]!, 0);
    return { p, ds: p.map((value, j) => value * (dp[j]! - delta)), keyAt, query, first: keyStarts[s]! };
  };
  let [worst, norm] = [0, 0];
  const compare = (found: number, expected: number): void => {
    worst += (found - expected) ** 2;
    norm += expected ** 2;
  };
  const report = (what: string): void => {
    const error = Math.sqrt(worst / norm);
    const isGood = error < 1e-5;
    if (!isGood) hasFailed = true;
    console.log(`${isGood ? 'ok' : 'FAILED'} ${title}, ${what}: ${error.toExponential(1)}`);
    [worst, norm] = [0, 0];
  };
  const rows = [...new Set([0, Math.floor(queryRows / 3), queryRows - 1])];
  for (const row of rows) {
    for (const head of [0, heads - 1]) {
      const { p, keyAt, query } = rowOf(row, head);
      for (let d = 0; d < headDim; d++)
        compare(
          out![query + d]!,
          p.reduce((sum, w, j) => sum + w * v[keyAt(j) + d]!, 0),
        );
    }
  }
  report('out');
  if (!dq) return;
  for (const row of rows) {
    const { ds, keyAt, query } = rowOf(row, heads - 1);
    for (let d = 0; d < headDim; d++)
      compare(dq[query + d]!, scale * ds.reduce((sum, w, j) => sum + w * k[keyAt(j) + d]!, 0));
  }
  report('dq');
  // Key rows that not all queries would have to be passed over for: the last ones of the first segment with `causal`.
  const group = heads / kvHeads;
  for (const key of [keyLengths[0]! - 1, keyLengths[0]! - 40]) {
    const sums = [new Float64Array(headDim), new Float64Array(headDim)];
    for (let row = causal ? key : 0; row < queryStarts[1]!; row++) {
      for (let head = 0; head < group; head++) {
        const { p, ds, query } = rowOf(row, head);
        for (let d = 0; d < headDim; d++) {
          sums[0]![d]! += scale * ds[key]! * q[query + d]!;
          sums[1]![d]! += p[key]! * dOut[query + d]!;
        }
      }
    }
    for (let d = 0; d < headDim; d++) {
      compare(dk![at(key, 0, kvHeads) + d]!, sums[0]![d]!);
      compare(dv![at(key, 0, kvHeads) + d]!, sums[1]![d]!);
    }
  }
  report('dk and dv');
}

function tilesOf(text: string): AttentionTiles {
  const [ROWS = 0, GROUPS = 0, DEPTH4 = 0, STEPS4 = 0, PAD = 0, DEPTH_UNROLL = 1, STEP_UNROLL = 1] = text
    .split(',')
    .map(Number);
  return { ROWS, GROUPS, DEPTH4, STEPS4, PAD, DEPTH_UNROLL, STEP_UNROLL };
}

/** Rows, groups, depth, steps, padding, unrolled depth and steps. */
// biome-ignore format: a line for each kind
const SWEEP = [
  '8,8,4,4,1,1,1', '8,8,4,4,1,4,1', '8,8,4,4,1,1,4', '8,8,4,4,1,4,4', '8,8,4,4,0,1,1',
  '8,8,8,8,1,1,1', '8,8,8,4,1,2,1', '8,16,4,2,0,1,1', '8,4,4,4,1,1,1', '8,4,4,2,1,1,1', '8,4,8,4,1,1,1',
  '4,16,4,4,0,1,1', '4,16,4,4,1,1,1', '4,16,4,4,1,4,1', '4,16,8,8,1,1,1',
  '4,8,4,4,1,1,1', '4,8,4,4,1,4,1', '4,8,4,4,1,4,4', '4,8,8,8,1,1,1', '4,8,8,4,1,2,1', '4,8,4,2,0,1,1',
];

/** Milliseconds of each kernel with each of the tiles. */
async function sweep(engine: WebgpuEngine, settle: () => Promise<void>, of: Shape, values: Values): Promise<void> {
  const { kernels } = engine.operations.attention as unknown as AttentionOperation;
  const { attributes } = of;
  const [q, k, v, dOut] = tensorsOf(engine, values, of) as [WebgpuTensor, WebgpuTensor, WebgpuTensor, WebgpuTensor];
  const { store } = engine;
  const out = store.create(q.shape);
  const lse = store.create([attributes.heads, of.queryRows]);
  const [dq, dk, dv] = [q, k, v].map((tensor) => store.create(tensor.shape)) as [
    WebgpuTensor,
    WebgpuTensor,
    WebgpuTensor,
  ];
  kernels.forward({ q, k, v }, out, lse, attributes);
  const sums = kernels.sums(lse, dOut, out, attributes);
  const operands = { q, k, v, dOut, sums };
  const passes: readonly (readonly [AttentionPass, number, () => void])[] = [
    ['forward', 4, () => kernels.forward({ q, k, v }, out, lse, attributes)],
    ['backwardQuery', 6, () => kernels.backwardQuery(operands, dq, attributes)],
    ['backwardKeyValue', 8, () => kernels.backwardKeyValue(operands, dk, dv, attributes, false)],
  ];
  console.log(
    `${of.title}, sums: ${(await time(settle, () => store.release(kernels.sums(lse, dOut, out, attributes)))).toFixed(3)} ms`,
  );
  for (const [pass, factor, body] of passes) {
    for (const text of options.tiles?.split(';') ?? SWEEP) {
      const tiles = tilesOf(text);
      const bytes = attentionBytes(tiles, attributes.headDim);
      const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = store.kernels.limits;
      const { OWN_LOADS, STREAM_LOADS, VALUE_LOADS } = attentionDefines(tiles, attributes.headDim);
      if ([OWN_LOADS, STREAM_LOADS, VALUE_LOADS].some((loads) => loads % 1 !== 0)) continue;
      if (bytes > maxComputeWorkgroupStorageSize || 16 * tiles.GROUPS > maxComputeInvocationsPerWorkgroup) continue;
      kernels.tiles[pass] = tiles;
      const compiled = performance.now();
      body();
      await settle();
      const first = performance.now() - compiled;
      const ms = await time(settle, body);
      const rate = (factor * attributes.headDim * of.pairs) / ms / 1e9;
      console.log(
        `RESULT ${JSON.stringify({ bench: 'webgpu attention tiles', shape: of.title, pass, tiles: text, ms: round(ms), tflops: round(rate), bytes, firstMs: Math.round(first) })}`,
      );
    }
    delete kernels.tiles[pass];
  }
  free(engine, [q, k, v, dOut, out, lse, dq, dk, dv, sums]);
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

const driver = findSwiftShader();
if (options.software && driver) process.env.VK_DRIVER_FILES = driver;
const gpu = await loadWebgpu(
  process.env.MINISTRAL_TUNE_WEBGPU ?? process.cwd(),
  options.flags ? options.flags.split(';') : [],
);
const open = await openDevice(gpu);
const webgpu = new WebgpuEngine(open, { bytes: options.small ? 1 << 30 : 8 * 2 ** 30, source: 'for a benchmark' });
const settleWebgpu = async (): Promise<void> => {
  webgpu.store.queue.flush();
  await open.device.queue.onSubmittedWorkDone();
};
const operation = webgpu.operations.attention as unknown as AttentionOperation;
for (const [pass, text] of [
  ['forward', options.forward],
  ['backwardQuery', options.query],
  ['backwardKeyValue', options.key],
] as const)
  if (text) operation.kernels.tiles[pass] = tilesOf(text);
console.log(webgpu.description);
let cuda: Engine | undefined;
if (!options['no-cuda'] && !options.software) {
  try {
    cuda = await createEngine('cuda');
  } catch (error) {
    console.log(`no cuda engine: ${(error as Error).message}`);
  }
}

for (const of of SHAPES) {
  const values = valuesOf(of);
  if (options.sweep) {
    if (!of.isDecode) await sweep(webgpu, settleWebgpu, of, values);
    continue;
  }
  const own = await measure(webgpu, settleWebgpu, of, values, true);
  const engine = cuda;
  const other =
    engine && (await measure(engine, async () => void (await engine.read(engine.zeros([1]))), of, values, false));
  const flops = 4 * of.attributes.headDim * of.pairs;
  for (const [pass, factor] of [
    ['forward', 1],
    ['backward', 2.5],
  ] as const) {
    const ms = own[pass];
    if (ms === undefined) continue;
    const cudaMs = other?.[pass];
    console.log(
      `RESULT ${JSON.stringify({ bench: 'webgpu attention', shape: of.title, pass, ms: round(ms), tflops: round((factor * flops) / ms / 1e9), cudaMs: cudaMs && round(cudaMs), ratio: cudaMs && round(ms / cudaMs) })}`,
    );
  }
}
await webgpu.dispose();
await cuda?.dispose();
process.exitCode = hasFailed ? 1 : 0;
