/**
 * What the first product of a shape costs: asking the library for an algorithm, and loading its kernel, with an idle
 * card and with a busy one. The shapes are those of training 14B with adapters of rank 16.
 *
 *   npx tsx test/bench/cold-products.ts
 */
import { type Algorithm, CublasLt, type ProductHandles } from '../../src/engine/cuda/cublas-lt.js';
import { CudaDriver } from '../../src/engine/cuda/driver.js';
import { KernelLoader } from '../../src/engine/cuda/kernel-loading.js';
import { largestOf, sizeBucket, WORKSPACE_BYTES } from '../../src/engine/cuda/matrix-products.js';

const driver = new CudaDriver();
const library = new CublasLt();
const workspace = driver.allocate(WORKSPACE_BYTES);
const BYTES = 1.5 * 2 ** 30;
const [a, b, d] = [driver.allocate(BYTES), driver.allocate(BYTES), driver.allocate(BYTES)];
for (const block of [a, b, d]) driver.fillBytes(block, 0, BYTES);
driver.synchronize();
const ms = (value: number): string => value.toFixed(value < 10 ? 2 : 1);
const spent = <T>(body: () => T): [T, number] => {
  const start = performance.now();
  const result = body();
  return [result, performance.now() - start];
};

type Kind = 'NT' | 'NN' | 'e4m3 fast' | 'e4m3 fast added' | 'e4m3';
type Rows = 'T' | 'P' | 'P/4' | 'L';
/** Rows from and to, as in an epoch with passes of up to 5120 tokens. */
const RANGES: Record<Rows, [number, number]> = {
  T: [1600, 4096],
  P: [5000, 15000],
  'P/4': [1250, 3750],
  L: [700, 1700],
};
const bf16Only: [Rows, Kind, number, number][] = [
  ['T', 'NT', 6144, 5168],
  ['T', 'NN', 5168, 6144],
  ['T', 'NT', 5120, 4112],
  ['T', 'NN', 4112, 5120],
  ['T', 'NT', 32768, 5152],
  ['T', 'NN', 5152, 32768],
  ['T', 'NT', 5120, 16400],
  ['T', 'NN', 16400, 5120],
  ['L', 'NT', 32768, 5152],
  ['L', 'NN', 5152, 32768],
  ['L', 'NT', 5120, 16400],
  ['L', 'NN', 16400, 5120],
];
const both: [Rows, Kind, number, number][] = [
  ['P', 'NT', 8192, 1056],
  ['P', 'NN', 1056, 8192],
  ['P', 'NT', 1024, 4112],
  ['P', 'NN', 4112, 1024],
  ['P', 'NT', 3072, 1072],
  ['P', 'NN', 1072, 3072],
  ['P', 'NT', 1024, 1040],
  ['P', 'NN', 1040, 1024],
  ['P', 'NT', 1024, 588],
  ['P', 'NN', 48, 3072],
  ['P/4', 'NT', 5120, 5120],
  ['P/4', 'NN', 5120, 5120],
  ['P/4', 'NN', 1024, 5120],
  ['P/4', 'NT', 5120, 1024],
  ['P/4', 'NN', 4096, 1024],
  ['P/4', 'NT', 1024, 4096],
  ['L', 'NT', 131072, 5120],
  ['L', 'NN', 5120, 131072],
];
const e4m3Only: [Rows, Kind, number, number][] = [
  ['T', 'e4m3', 5120, 32768],
  ['T', 'e4m3 fast added', 32768, 5120],
  ['T', 'e4m3', 16384, 5120],
  ['T', 'e4m3 fast added', 5120, 16384],
  ['T', 'e4m3', 5120, 6144],
  ['T', 'e4m3 fast added', 6144, 5120],
  ['T', 'e4m3', 4096, 5120],
  ['T', 'e4m3 fast added', 5120, 4096],
  ['T', 'NT', 32768, 32],
  ['T', 'NN', 16, 5120],
  ['T', 'NT', 5120, 16],
  ['T', 'NN', 48, 6144],
  ['T', 'NT', 6144, 48],
  ['L', 'e4m3', 5120, 32768],
  ['L', 'e4m3 fast added', 32768, 5120],
  ['L', 'e4m3', 16384, 5120],
  ['L', 'e4m3 fast added', 5120, 16384],
];

interface Cold {
  readonly label: string;
  readonly handles: ProductHandles;
  readonly algorithm: Algorithm;
  readonly beta: number;
}
const known = new Set<string>();
function choose(shapes: readonly [Rows, Kind, number, number][]): Cold[] {
  const found: Cold[] = [];
  let [asked, time, first, checks] = [0, 0, 0, 0];
  const algorithms = new Set<string>();
  for (const [rows, kind, n, k] of shapes) {
    const isE4m3 = kind.startsWith('e4m3');
    const transB = isE4m3 || kind === 'NT';
    const [low, high] = RANGES[rows];
    for (let bucket = sizeBucket(low); bucket <= sizeBucket(high); bucket++) {
      const m = largestOf(bucket);
      const type = isE4m3 ? ('e4m3' as const) : ('bf16' as const);
      const descriptor = isE4m3 ? library.e4m3Descriptor('rows', kind !== 'e4m3') : library.descriptor(transB, false);
      if (isE4m3) library.setScales(descriptor, b, a);
      const handles = {
        descriptor,
        a: transB ? library.createLayout(type, k, n, k) : library.createLayout(type, n, k, n),
        b: library.createLayout(type, k, m, k),
        d: library.createLayout('bf16', n, m, n),
      };
      const [algorithm, duration] = spent(() => library.firstChoice(handles, WORKSPACE_BYTES, [128, 128, 128]));
      asked++;
      time += duration;
      first = Math.max(first, duration);
      if (!algorithm) throw new Error(`${rows} ${kind} ${n} ${k}: no algorithm`);
      checks += spent(() => library.check(handles, algorithm))[1];
      const key = `${descriptor} ${algorithm.join()}`;
      algorithms.add(key);
      if (known.has(`${rows}${kind}${n},${k} ${key}`)) continue;
      known.add(`${rows}${kind}${n},${k} ${key}`);
      found.push({ label: `${rows} ${kind} ${m}×${n}×${k}`, handles, algorithm, beta: kind.endsWith('added') ? 1 : 0 });
    }
  }
  console.log(
    `asked ${asked} times in ${ms(time)} ms (longest ${ms(first)}), checks ${ms(checks)} ms: ` +
      `${found.length} pairs of shape and algorithm, ${algorithms.size} distinct algorithms`,
  );
  return found;
}

const run = ({ handles, algorithm, beta }: Cold, stream: number): void => {
  const status = library.matmul(handles, algorithm, 1, b, a, beta, d, workspace, WORKSPACE_BYTES, stream);
  if (status !== 0) throw new Error(`status ${status}`);
};
const loader = new KernelLoader(driver);

/** Queues some 70 ms of work. */
let busy: Cold | undefined;
const occupy = (): number => {
  for (let i = 0; i < 600; i++) run(busy!, driver.stream);
  const event = driver.createEvent();
  driver.recordEvent(event);
  return event;
};

const seen = new Set<string>();
const ways = ['idle, captured', 'busy, captured', 'idle, launched', 'busy, launched'] as const;
function cold(products: readonly Cold[]): void {
  const times = new Map<string, number[]>(ways.map((way) => [way, []]));
  const waited = new Map<string, number>(ways.map((way) => [way, 0]));
  let turn = 0;
  const before = driver.memoryInfo().free;
  for (const product of products) {
    const key = `${product.handles.descriptor} ${product.algorithm.join()}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const way = ways[turn++ % ways.length]!;
    driver.synchronize();
    const event = way.startsWith('busy') ? occupy() : undefined;
    const [, time] = spent(() => {
      if (way.endsWith('launched')) run(product, driver.stream);
      else loader.load((stream) => run(product, stream));
    });
    // Recorded before the product: passed if the host waited for what was queued.
    if (event !== undefined && driver.eventDone(event)) waited.set(way, waited.get(way)! + 1);
    times.get(way)!.push(time);
    const [, again] = spent(() => run(product, driver.stream));
    if (again > 1) console.log(`   ${product.label}: the next launch took ${ms(again)} ms (${way})`);
  }
  driver.synchronize();
  console.log(`memory taken ${((before - driver.memoryInfo().free) / 2 ** 20).toFixed(0)} MiB`);
  for (const [way, list] of times) {
    const sorted = [...list].sort((x, y) => x - y);
    const sum = list.reduce((total, time) => total + time, 0);
    console.log(
      `   ${way}: ${list.length} in ${ms(sum)} ms, median ${ms(sorted[sorted.length >> 1] ?? 0)}, ` +
        `most ${ms(sorted.at(-1) ?? 0)}; waited for the queue ${waited.get(way)} times`,
    );
  }
}

const first = choose(both.slice(0, 1));
busy = first[0];
run(busy!, driver.stream);
driver.synchronize();
const [, queueTime] = spent(() => {
  occupy();
  driver.synchronize();
});
console.log(`work to be busy with: ${ms(queueTime)} ms`);
console.log('products of both');
cold(choose(both.slice(1)));
console.log('bf16');
cold(choose(bf16Only));
console.log('e4m3');
cold(choose(e4m3Only));
process.exit(0);
