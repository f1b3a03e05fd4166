/**
 * Where a training step of a real-sized model spends its time and memory, on the device and on the host.
 *
 *   npx tsx test/bench/profile.ts --workload FILE [--size 14B] [--steps 6] [--tokens-per-pass 8192] [--checkpointing]
 *                                 [--budget GIB] [--out FILE] [--quantization nf4|fp8]
 *                                 [--precision bf16|fp8-backward|fp8]
 *
 * Parts: (1) the first steps, with what tuning of matrix products costs; (2) steps as they are, one line each, and where
 * the card was idle; (3) a step with an event around every operation of the table; (4) a step with an event around every
 * launch; (5) memory.
 * Rows are named T (tokens), P (patches), P/4 (merged patches), L (labelled rows).
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../src/data/types.js';
import { MatrixProducts, type Product } from '../../src/engine/cuda/matrix-products.js';
import type { CudaTensor, Storage } from '../../src/engine/cuda/tensors.js';
import type { Operation, Precision } from '../../src/engine/operations.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { openCuda } from './open-cuda.js';
import { OPTIMIZER_SETTINGS } from './optimizer-settings.js';
import { randomModel, type Size } from './random-model.js';
import { workloadBatches } from './workload.js';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    steps: { type: 'string', default: '6' },
    micro: { type: 'string', default: '2' },
    accumulation: { type: 'string', default: '4' },
    checkpointing: { type: 'boolean', default: false },
    'tokens-per-pass': { type: 'string', default: '8192' },
    budget: { type: 'string' },
    out: { type: 'string' },
    quantization: { type: 'string' },
    precision: { type: 'string', default: 'bf16' },
  },
});

const lines: string[] = [];
const print = (line = ''): void => {
  lines.push(line);
  console.log(line);
};
const ms = (value: number): string => value.toFixed(value < 10 ? 2 : 1);
const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(2);

type Mode = 'off' | 'operations' | 'launches';
let mode: Mode = 'off';
/** Rows of the operation that is queued. */
let side = '';

// --- events

const { driver, engine } = openCuda({
  tokensPerPass: Number(options['tokens-per-pass']),
  ...(options.budget ? { memoryBudget: Number(options.budget) * 2 ** 30 } : {}),
});
interface Span {
  readonly label: string;
  readonly flops: number;
  readonly start: number;
  readonly end: number;
  readonly hostStart: number;
  hostEnd: number;
}
const pool: number[] = [];
let spans: Span[] = [];
const record = (): number => {
  const event = pool.pop() ?? driver.createEvent(true);
  driver.recordEvent(event);
  return event;
};
function spanned<R>(label: () => string, flops: number, body: () => R): R {
  const hostStart = performance.now();
  const start = record();
  const result = body();
  const hostEnd = performance.now();
  spans.push({ label: label(), flops, start, end: record(), hostStart, hostEnd });
  return result;
}

// --- the idle card: time between an event after what was queued last and one before what is queued next

interface Gap {
  readonly before: string;
  readonly start: number;
  readonly end: number;
}
let gaps: Gap[] = [];
let findsGaps = false;
let gapStart: number | undefined;
/** To be called where the host may be about to do something else than queueing. */
function openGap(): void {
  if (findsGaps) gapStart ??= record();
}
function closeGap(before: () => string): void {
  if (gapStart === undefined) return;
  gaps.push({ before: before(), start: gapStart, end: record() });
  gapStart = undefined;
}
/** Shorter ones are what two events take. */
const SHORTEST_GAP_MS = 0.02;

// --- what the host spends, always on

const host = { pack: 0, upload: 0, launches: 0, launchMs: 0, products: 0, productMs: 0, operationMs: 0 };
const resetHost = (): void => {
  for (const key of Object.keys(host) as (keyof typeof host)[]) host[key] = 0;
};
let slow: { label: string; time: number }[] = [];

const launch = driver.launch.bind(driver);
driver.launch = (kernel, ...rest) => {
  closeGap(() => `${kernel.name} ${side}`);
  const body = (): void => launch(kernel, ...rest);
  const start = performance.now();
  if (mode === 'launches') spanned(() => `${kernel.name} ${side}`, 0, body);
  else body();
  host.launches++;
  host.launchMs += performance.now() - start;
};
const runProduct = MatrixProducts.prototype.run;
MatrixProducts.prototype.run = function (product: Product): void {
  const { m, n, k, transA, transB, e4m3, beta = 0 } = product;
  const kind = `${e4m3 ? 'e4m3 ' : ''}${beta ? 'added ' : ''}`;
  const label = (): string => `${kind}${transA ? 'T' : 'N'}${transB ? 'T' : 'N'} ${rowsName(m)}×${n}×${k}`;
  closeGap(() => `product ${label()}`);
  const start = performance.now();
  if (mode === 'launches')
    spanned(
      () => `product ${label()}`,
      2 * m * n * k,
      () => runProduct.call(this, product),
    );
  else runProduct.call(this, product);
  const time = performance.now() - start;
  host.products++;
  host.productMs += time;
  if (time > 1) slow.push({ label: `${label()} (m=${m})`, time });
};

const upload = driver.upload.bind(driver);
driver.upload = (...values) => {
  closeGap(() => 'upload');
  upload(...values);
  openGap();
};
function uploading<A extends unknown[], R>(body: (...values: A) => R): (...values: A) => R {
  return (...values) => {
    openGap();
    const start = performance.now();
    const result = body(...values);
    host.upload += performance.now() - start;
    openGap();
    return result;
  };
}
engine.fromArray = uploading(engine.fromArray.bind(engine));
engine.imagePatches = uploading(engine.imagePatches.bind(engine));
const keepPace = engine.keepPace.bind(engine);
engine.keepPace = () => {
  openGap();
  return keepPace();
};

// --- the table of operations

let tokens = 0;
let patches = 0;
function rowsName(rows: number): string {
  if (rows === tokens) return 'T';
  if (rows === patches) return 'P';
  if (rows * 4 === patches) return 'P/4';
  return rows > 1024 && [1, 2, 3, 4, 5, 6, 8, 16, 32, 64, 128].some((part) => rows * part === 131072)
    ? String(rows)
    : isModelSize(rows)
      ? String(rows)
      : 'L';
}
function isModelSize(size: number): boolean {
  return size % 16 === 0 && size >= 1024 && (size % 512 <= 64 || size % 1024 <= 64);
}
const shapeName = (tensor: Tensor | undefined): string =>
  tensor ? `[${tensor.shape.map((extent, i) => (i === 0 ? rowsName(extent) : extent)).join(',')}]` : '-';

const savedBy = new Map<string, { count: number; bytes: number }>();
const seenStorage = new Set<Storage>();
let peak = { label: '', bytes: 0 };
let depth = 0;
let isCounting = false;
function noteMemory(label: string): void {
  const { bytesInUse } = engine.memory();
  if (bytesInUse > peak.bytes) peak = { label, bytes: bytesInUse };
}
function noteSaved(label: string, saved: readonly Tensor[]): void {
  const pending = [...saved] as CudaTensor[];
  const entry = savedBy.get(label) ?? { count: 0, bytes: 0 };
  entry.count++;
  for (let tensor = pending.pop(); tensor; tensor = pending.pop()) {
    if (!tensor.storage || seenStorage.has(tensor.storage)) continue;
    seenStorage.add(tensor.storage);
    entry.bytes += tensor.storage.block.bytes;
  }
  savedBy.set(label, entry);
}

type AnyOperation = Operation<{ parts?: { weight: { shape: readonly number[] } }[]; ids?: Int32Array }>;
function wrap(name: string, operation: AnyOperation): AnyOperation {
  const out = (attributes: { parts?: { weight: { shape: readonly number[] } }[] }): string =>
    attributes.parts ? `→${attributes.parts.map(({ weight }) => weight.shape[0]).join('+')}` : '';
  const measured = <R>(label: () => string, body: () => R): R => {
    // The operation may call another one of the table: only the outer one counts.
    if (depth > 0) return body();
    depth++;
    side = /\[([^,\]]*)/.exec(label())?.[1] ?? '';
    const start = performance.now();
    try {
      return mode === 'operations' ? spanned(label, 0, body) : body();
    } finally {
      depth--;
      host.operationMs += performance.now() - start;
    }
  };
  return {
    forward(inputs, attributes, save) {
      if (name === 'embedding') tokens = attributes.ids!.length;
      if (name === 'linear' && inputs[0]!.shape[1] === 588) patches = inputs[0]!.shape[0]!;
      const label = (): string => `${name} ${shapeName(inputs[0])}${out(attributes)}`;
      const result = measured(
        () => `F ${label()}`,
        () => operation.forward(inputs, attributes, save),
      );
      if (isCounting) {
        noteSaved(label(), result.saved);
        noteMemory(`F ${label()}`);
      }
      return result;
    },
    backward(saved, gradients, attributes, needs) {
      const given = gradients.find((gradient) => gradient);
      const label = (): string => {
        const input = attributes.parts
          ? `[${rowsName(given?.shape[0] ?? 0)},${attributes.parts[0]!.weight.shape[1]}]`
          : shapeName(given);
        return `B ${name} ${input}${out(attributes)}`;
      };
      const result = measured(label, () => operation.backward(saved, gradients, attributes, needs));
      if (isCounting) noteMemory(label());
      return result;
    },
  };
}
// The operations stay what they are: the engine knows more of some than the table says.
for (const [name, operation] of Object.entries(engine.operations) as [string, AnyOperation][]) {
  const bound = { forward: operation.forward.bind(operation), backward: operation.backward.bind(operation) };
  Object.assign(operation, wrap(name, bound));
}

// --- model and steps

print(engine.description);
const loadStart = performance.now();
const model = await randomModel(engine, options.size as Size, undefined, options.quantization);
const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
const state = engine.createOptimizerState(adapter.parameters, 'adamw8bit');
print(
  `model on the card after ${((performance.now() - loadStart) / 1000).toFixed(1)} s; ${gib(engine.memory().bytesInUse)} GiB`,
);
const pack = model.pack.bind(model);
model.pack = (...args) => {
  const start = performance.now();
  const packed = pack(...args);
  host.pack += performance.now() - start;
  return packed;
};
const batches = workloadBatches(options.workload!, Number(options.micro));
const next = (): VlmBatch[] =>
  Array.from({ length: Number(options.accumulation) }, () => batches.next().value as VlmBatch);
const windows = Array.from({ length: Number(options.steps) }, next);

let step = 0;
async function queue(window: readonly VlmBatch[]): Promise<() => Promise<number>> {
  step++;
  const loss = await accumulateGradients(model, window, {
    labelCount: window.reduce((sum, batch) => sum + countLabels(batch), 0),
    dropoutSeeds: window.map((_, i) => step * 1000 + i),
    gradientCheckpointing: options.checkpointing,
    precision: options.precision as Precision,
  });
  const norm = engine.optimizerStep(adapter.parameters, state, {
    kind: 'adamw8bit',
    ...OPTIMIZER_SETTINGS,
  });
  engine.zeroGradients(adapter.parameters);
  return async () => {
    await norm();
    return loss();
  };
}
function sizes(window: readonly VlmBatch[]): string {
  let [t, p] = [0, 0];
  for (const { attentionMask, imageSizes } of window) {
    for (const real of attentionMask.data) t += real;
    const data = imageSizes?.data ?? [];
    for (let i = 0; i + 1 < data.length; i += 2) p += (data[i]! * data[i + 1]!) / 196;
  }
  return `T=${t} P=${p} L=${window.reduce((sum, batch) => sum + countLabels(batch), 0)}`;
}

print('\n== 1. first steps, alone: time, and products that waited (tuning, first use)');
for (const window of windows.slice(0, 2)) {
  slow = [];
  const start = performance.now();
  await (await queue(window))();
  const spent = slow.reduce((sum, { time }) => sum + time, 0);
  print(`${sizes(window)}: ${ms(performance.now() - start)} ms, of it ${slow.length} slow products ${ms(spent)} ms`);
}
for (const { label, time } of slow.sort((a, b) => b.time - a.time).slice(0, 8)) print(`   ${ms(time)} ms ${label}`);

print('\n== 2. steps in a row as in training (host ms: pack = packBatch, queue = all of accumulateGradients)');
{
  const all = [...windows, ...windows];
  let pending: (() => Promise<number>) | undefined;
  const marks: number[] = [record()];
  const rows: string[] = [];
  const gapsOf: Gap[][] = [];
  let last = performance.now();
  findsGaps = true;
  for (const window of all) {
    resetHost();
    gaps = [];
    gapsOf.push(gaps);
    openGap();
    slow = [];
    const start = performance.now();
    const deferred = await queue(window);
    const queued = performance.now() - start;
    marks.push(record());
    if (pending) await pending();
    pending = deferred;
    const now = performance.now();
    rows.push(
      `${sizes(window)} wall ${ms(now - last)} queue ${ms(queued)} (pack ${ms(host.pack)}, upload ${ms(host.upload)}, ` +
        `operations ${ms(host.operationMs)} with ${host.launches} launches ${ms(host.launchMs)} and ${host.products} products ${ms(host.productMs)}; ` +
        `slow products ${slow.length}: ${ms(slow.reduce((sum, { time }) => sum + time, 0))})`,
    );
    last = now;
  }
  findsGaps = false;
  closeGap(() => 'the end');
  await pending!();
  driver.synchronize();
  const idleBefore = new Map<string, number>();
  for (const [i, row] of rows.entries()) {
    let idle = 0;
    for (const { before, start, end } of gapsOf[i]!) {
      const time = driver.elapsedMilliseconds(start, end);
      pool.push(start, end);
      if (time < SHORTEST_GAP_MS) continue;
      idle += time;
      if (i >= windows.length) idleBefore.set(before, (idleBefore.get(before) ?? 0) + time);
    }
    const gpu = driver.elapsedMilliseconds(marks[i]!, marks[i + 1]!);
    print(`${i < windows.length ? 'new  ' : 'again'} gpu ${ms(gpu)} idle ${ms(idle)} ${row}`);
  }
  print('device ms idle in the steps that came again, before:');
  for (const [label, time] of [...idleBefore].sort((a, b) => b[1] - a[1]).slice(0, 8)) {
    print(`${ms(time).padStart(8)} before ${label}`);
  }
}

/** A window alone, with events; gives the spans with device times relative to the start. */
async function traced(window: readonly VlmBatch[], how: Mode): Promise<void> {
  spans = [];
  driver.synchronize();
  const anchorHost = performance.now();
  const anchor = record();
  mode = how;
  const deferred = await queue(window);
  mode = 'off';
  const last = record();
  const hostDone = performance.now() - anchorHost;
  await deferred();
  driver.synchronize();
  const total = driver.elapsedMilliseconds(anchor, last);
  const groups = new Map<string, { count: number; gpu: number; host: number; flops: number }>();
  const hostGaps = new Map<string, { count: number; time: number }>();
  let [busy, idle, starved, before, hostBefore] = [0, 0, 0, 0, anchorHost];
  const idleBefore = new Map<string, number>();
  for (const { label, flops, start, end, hostStart, hostEnd } of spans) {
    const [from, to] = [driver.elapsedMilliseconds(anchor, start), driver.elapsedMilliseconds(anchor, end)];
    const group = groups.get(label) ?? { count: 0, gpu: 0, host: 0, flops: 0 };
    group.count++;
    group.gpu += to - from;
    group.host += hostEnd - hostStart;
    group.flops += flops;
    groups.set(label, group);
    busy += to - from;
    idle += from - before;
    // The device reached this event as soon as it was queued: it had been waiting for the host.
    if (from - (hostStart - anchorHost) < 0.05) {
      starved += from - before;
      idleBefore.set(label, (idleBefore.get(label) ?? 0) + from - before);
    }
    const gap = hostGaps.get(label) ?? { count: 0, time: 0 };
    gap.count++;
    gap.time += hostStart - hostBefore;
    hostGaps.set(label, gap);
    [before, hostBefore] = [to, hostEnd];
  }
  print(
    `${sizes(window)}: device ${ms(total)} ms, in spans ${ms(busy)}, between spans ${ms(idle)} (of it waiting for the host ${ms(starved)}); ` +
      `host queued all after ${ms(hostDone)} ms; ${spans.length} spans`,
  );
  print('  gpu ms    %  count  gpu µs  host µs  TFLOP/s  what');
  for (const [label, { count, gpu, host: h, flops }] of [...groups].sort((a, b) => b[1].gpu - a[1].gpu)) {
    const rate = flops > 0 ? (flops / gpu / 1e9).toFixed(0) : '';
    print(
      `${ms(gpu).padStart(8)} ${((100 * gpu) / total).toFixed(1).padStart(4)} ${String(count).padStart(6)} ${((1000 * gpu) / count).toFixed(0).padStart(7)} ` +
        `${((1000 * h) / count).toFixed(0).padStart(8)} ${rate.padStart(8)}  ${label}`,
    );
  }
  const sum = (test: (label: string) => boolean): string =>
    ms([...groups].reduce((all, [label, { gpu }]) => (test(label) ? all + gpu : all), 0));
  if (how === 'operations') {
    print(
      `vision (P, P/4): forward ${sum((l) => /^F .*\[P/.test(l))} backward ${sum((l) => /^B .*\[P/.test(l))}; ` +
        `decoder (T): forward ${sum((l) => /^F .*\[T/.test(l))} backward ${sum((l) => /^B .*\[T/.test(l))}; ` +
        `rest ${sum((l) => !/\[[PT]/.test(l))}`,
    );
  } else print(`products ${sum((l) => l.startsWith('product'))}, kernels ${sum((l) => !l.startsWith('product'))}`);
  print('host ms before a span (model code, packing, uploads), largest:');
  for (const [label, { count, time }] of [...hostGaps].sort((a, b) => b[1].time - a[1].time).slice(0, 6)) {
    print(`${ms(time).padStart(8)} in ${count} before ${label}`);
  }
  print('device ms waiting for the host before:');
  for (const [label, time] of [...idleBefore].sort((a, b) => b[1] - a[1]).slice(0, 6)) {
    print(`${ms(time).padStart(8)} before ${label}`);
  }
  for (const { start, end } of spans) pool.push(start, end);
}

const middle = windows[0]!;
print('\n== 3. one step by operation (F forward, B backward)');
await traced(middle, 'operations');
print('\n== 4. one step by launch');
await traced(middle, 'launches');

print('\n== 5. memory: what operations saved in one step (each block counted once, where it was first saved)');
{
  engine.resetPeak();
  const before = engine.memory().bytesInUse;
  isCounting = true;
  const deferred = await queue(middle);
  isCounting = false;
  await deferred();
  for (const [label, { count, bytes }] of [...savedBy].sort((a, b) => b[1].bytes - a[1].bytes)) {
    if (bytes < 2 ** 20) continue;
    print(`${(bytes / 2 ** 20).toFixed(0).padStart(7)} MiB in ${String(count).padStart(3)}  ${label}`);
  }
  print(
    `weights and state ${gib(before)} GiB, peak ${gib(engine.memory().peakBytes)} GiB; largest after an operation ` +
      `${gib(peak.bytes)} GiB at ${peak.label}`,
  );
}
if (options.out) writeFileSync(options.out, `${lines.join('\n')}\n`);
await engine.dispose();
