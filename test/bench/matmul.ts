/** Speed of the cpu engine's matrix product. Run: npx tsx test/bench/matmul.ts [seconds per figure, default 0.5] [part of the label] */
import { availableParallelism } from 'node:os';
import { CpuRuntime } from '../../src/engine/cpu/cpu-runtime.js';
import { StoredWeight } from '../../src/engine/cpu/stored-weight.js';
import { TensorStore } from '../../src/engine/cpu/tensor-store.js';
import type { DType, HeldFormat } from '../../src/formats/weight-source.js';

const seconds = Number(process.argv[2] ?? 0.5);

interface Case {
  readonly label: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly stored?: DType;
  readonly hold?: HeldFormat;
}

const forms = [
  ['nn', false, false],
  ['nt', false, true],
  ['tn', true, false],
  ['tt', true, true],
] as const;

const cases: Case[] = [];
for (const size of [256, 512, 1024]) {
  for (const [form, transA, transB] of forms)
    cases.push({ label: `${size} ${form}`, m: size, n: size, k: size, transA, transB });
}
for (const stored of ['f32', 'bf16', 'f16'] as const) {
  for (const [form, transA, transB] of forms.slice(0, 2)) {
    cases.push({ label: `1024 ${form}, ${stored} weight`, m: 1024, n: 1024, k: 1024, transA, transB, stored });
  }
}
for (const [m, k, n] of [
  [700, 3072, 3072],
  [64, 3072, 3072],
  [8, 3072, 3072],
  [1, 3072, 9216],
  [4, 3072, 9216],
] as const) {
  for (const [form, transA, transB] of forms.slice(0, 2)) {
    cases.push({ label: `${m}x${k}x${n} ${form}, bf16 weight`, m, n, k, transA, transB, stored: 'bf16' });
  }
}
const heldFormats: readonly HeldFormat[] = [
  { format: 'nf4', blockSize: 64, doubleQuantization: true },
  { format: 'nf4', blockSize: 64, doubleQuantization: false },
  { format: 'f8_e4m3' },
];
for (const m of [1, 4, 64, 700]) {
  for (const [form, transA, transB] of forms.slice(0, 2)) {
    const sizes = { m, k: 3072, n: 9216, transA, transB, stored: 'bf16' } as const;
    cases.push({ label: `${m}x3072x9216 ${form}, bf16 weight`, ...sizes });
    for (const hold of heldFormats) {
      const name = hold.format === 'nf4' && hold.doubleQuantization ? 'nf4 (double)' : hold.format;
      cases.push({ label: `${m}x3072x9216 ${form}, ${name} weight`, ...sizes, hold });
    }
  }
}
for (const [m, k, n] of [
  [200, 64, 160],
  [200, 16, 64],
  [1500, 3072, 16],
  [16, 1500, 3072],
  [1500, 16, 3072],
] as const) {
  for (const [form, transA, transB] of forms.slice(0, 3))
    cases.push({ label: `${m}x${k}x${n} ${form}`, m, n, k, transA, transB });
}

/** GFLOP/s: best and median over runs of about `seconds` in all. */
async function measure(runtime: CpuRuntime, one: Case): Promise<[number, number]> {
  const { m, n, k, transA, transB, stored, hold } = one;
  const a = runtime.alloc(4 * m * k);
  const c = runtime.alloc(4 * m * n);
  let b: number | StoredWeight;
  runtime.f32(a, m * k).fill(0.5);
  if (stored && hold) {
    const shape = transB ? [n, k] : [k, n];
    const read = async (target: Uint8Array): Promise<void> => void target.fill(0x3c);
    const source = { name: 'b', shape, dtype: stored, byteLength: 2 * n * k, hold, read };
    b = (await new TensorStore(runtime).loadWeight(source)) as StoredWeight;
  } else if (stored) {
    b = new StoredWeight(runtime, 'b', transB ? [n, k] : [k, n], stored);
    b.bytes.fill(0x3c);
  } else {
    b = runtime.alloc(4 * k * n);
    runtime.f32(b, k * n).fill(0.25);
  }
  const flops = 2 * m * n * k;
  const repeats = Math.max(1, Math.ceil(2e7 / flops));
  const rates: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end || rates.length < 3) {
    const begin = performance.now();
    for (let i = 0; i < repeats; i++) runtime.matmul({ m, n, k, a, b, c, transA, transB });
    rates.push((repeats * flops) / (performance.now() - begin) / 1e6);
  }
  for (const ptr of [a, c]) runtime.free(ptr);
  if (typeof b === 'number') runtime.free(b);
  else b.release();
  rates.sort((x, y) => x - y);
  return [rates.at(-1)!, rates[rates.length >> 1]!];
}

const counts = [...new Set([1, Math.min(2, availableParallelism()), availableParallelism()])];
const runtimes = counts.map((threads) => new CpuRuntime({ threads }));
await Promise.all(runtimes.map((runtime) => runtime.ready));
console.log(`GFLOP/s, best (median); node ${process.version}, relaxed SIMD ${runtimes[0]!.relaxedSimd ? 'on' : 'off'}`);
console.log(''.padEnd(32) + counts.map((count) => `${count} thread${count > 1 ? 's' : ''}`.padStart(18)).join(''));
for (const one of cases.filter(({ label }) => label.includes(process.argv[3] ?? ''))) {
  const figures: string[] = [];
  for (const runtime of runtimes) {
    const [best, median] = await measure(runtime, one);
    figures.push(`${best.toFixed(1)} (${median.toFixed(1)})`.padStart(18));
  }
  console.log(one.label.padEnd(32) + figures.join(''));
}
await Promise.all(runtimes.map((runtime) => runtime.dispose()));
