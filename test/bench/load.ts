/**
 * Loading a sharded checkpoint onto the card, against a program that reads the same files in large blocks into
 * page-locked memory and copies them to the card.
 *
 *   npm run bench:load -- --folder DIR | --make DIR --size 14B|8B|3B [--dtype bf16|e4m3] [--layers N]
 *                         [--runs 3] [--reads 8] [--engine cuda|cpu] [--quantization nf4|fp8]
 *
 * Both start with nothing allocated and end when all bytes are on the card; they take turns, and which one starts
 * changes from round to round. The first round may find the files outside the page cache. Reads go through Node's
 * thread pool: UV_THREADPOOL_SIZE (4 where not set) holds for both. With `--engine cpu` the plain program reads into
 * ordinary memory.
 *
 * For the parts: `reads` is the plain program without copies, `copies` our load without reads, `flat` and `pitched` the
 * copy of 1 GiB from page-locked memory in blocks of 32 MB to packed and to spread rows.
 */
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import { CudaDriver, type PinnedBlock } from '../../src/engine/cuda/driver.js';
import { type DevicePointer, offset } from '../../src/engine/cuda/launch.js';
import type { Engine } from '../../src/engine/engine.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import type { QuantizationMethod } from '../../src/model/quantization.js';
import { writeRandomCheckpoint } from './random-checkpoint.js';
import { SIZES, type Size } from './random-model.js';

const BLOCK_BYTES = 32 << 20;

interface Shard {
  readonly path: string;
  readonly bytes: number;
}

async function shardsOf(folder: string): Promise<Shard[]> {
  const names = (await readdir(folder)).filter((name) => /^model.*\.safetensors$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => ({ path: join(folder, name), bytes: (await stat(join(folder, name))).size })),
  );
}

/** Waits for an event without holding the thread. */
async function passed(driver: CudaDriver, event: number): Promise<void> {
  while (!driver.eventDone(event)) await new Promise((resolve) => setImmediate(resolve));
}

/** Reads all files with `reads` blocks on their way, and hands each block to `use` before it is filled again. */
async function readPlainly(
  shards: readonly Shard[],
  blocks: readonly Uint8Array[],
  use: (block: number, bytes: Uint8Array, offset: number) => Promise<void>,
): Promise<void> {
  const files = await Promise.all(shards.map(({ path }) => open(path, 'r')));
  const pieces: { file: number; position: number; bytes: number; offset: number }[] = [];
  let offset = 0;
  for (const [file, shard] of shards.entries()) {
    for (let position = 0; position < shard.bytes; position += BLOCK_BYTES) {
      const bytes = Math.min(BLOCK_BYTES, shard.bytes - position);
      pieces.push({ file, position, bytes, offset });
      offset += bytes;
    }
  }
  let next = 0;
  await Promise.all(
    blocks.map(async (target, block) => {
      while (next < pieces.length) {
        const { file, position, bytes, offset } = pieces[next++]!;
        for (let done = 0; done < bytes; ) {
          const { bytesRead } = await files[file]!.read(target, done, bytes - done, position + done);
          if (bytesRead === 0) throw new Error(`${shards[file]!.path} ends early`);
          done += bytesRead;
        }
        await use(block, target.subarray(0, bytes), offset);
      }
    }),
  );
  await Promise.all(files.map((file) => file.close()));
}

const seconds = async (body: () => Promise<void>): Promise<number> => {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
};

/** The plain program; a driver of its own, as the engine has one. */
async function plainToCard(
  shards: readonly Shard[],
  total: number,
  reads: number,
  isCopying: boolean,
): Promise<number> {
  const driver = new CudaDriver();
  const [blocks, allocated]: [PinnedBlock[], DevicePointer[]] = [[], []];
  try {
    return await seconds(async () => {
      const target = driver.allocate(total);
      for (let i = 0; i < reads; i++) blocks.push(driver.allocatePinned(BLOCK_BYTES));
      const events = blocks.map(() => driver.createEvent());
      const copy = async (block: number, bytes: Uint8Array, at: number): Promise<void> => {
        driver.upload(offset(target, at), bytes, driver.copyStream);
        driver.recordEvent(events[block]!, driver.copyStream);
        await passed(driver, events[block]!);
      };
      await readPlainly(
        shards,
        blocks.map(({ bytes }) => bytes),
        isCopying ? copy : async () => {},
      );
      driver.synchronize(driver.copyStream);
      allocated.push(target);
    });
  } finally {
    for (const block of blocks) block.free();
    for (const target of allocated) driver.free(target);
    driver.dispose();
  }
}

async function plainToMemory(shards: readonly Shard[], total: number, reads: number): Promise<number> {
  return seconds(async () => {
    const blocks = Array.from({ length: reads }, () => new Uint8Array(BLOCK_BYTES));
    const parts = Array.from({ length: Math.ceil(total / 2 ** 30) }, () => new Uint8Array(2 ** 30 + BLOCK_BYTES));
    await readPlainly(shards, blocks, async (_, bytes, offset) => {
      parts[Math.floor(offset / 2 ** 30)]!.set(bytes, offset % 2 ** 30);
    });
  });
}

async function ours(
  folder: string,
  make: () => Engine & { synchronize?(): void },
  quantization?: LoadOptions['quantization'],
): Promise<number> {
  const engine = make();
  try {
    return await seconds(async () => {
      const model = await loadModel(folder, { engine, quantization, onNotice: (line) => console.log(line) });
      engine.synchronize?.();
      if (model.modules.textLayers.length === 0) throw new Error('nothing was loaded');
    });
  } finally {
    await engine.dispose();
  }
}

/** Our load with nothing read from the files: allocation, copies and conversions. */
async function copiesOnly(folder: string): Promise<number> {
  const engine = createCudaEngine();
  const load = engine.loadWeight.bind(engine);
  engine.loadWeight = (source) => load({ ...source, read: async (target) => void target.fill(1, 0, 1) });
  return ours(folder, () => engine);
}

/** GB/s of 1 GiB in blocks of rows: packed, and with the stride of a weight that has room for an adapter. */
async function copySpeeds(): Promise<{ rowBytes: number; flat: number; pitched: number }[]> {
  const driver = new CudaDriver();
  const [first, second] = [driver.allocatePinned(BLOCK_BYTES), driver.allocatePinned(BLOCK_BYTES)] as const;
  const speeds: { rowBytes: number; flat: number; pitched: number }[] = [];
  const target = driver.allocate(2 * BLOCK_BYTES);
  for (const rowBytes of [2048, 8192, 10240, 32768]) {
    const rows = Math.floor(BLOCK_BYTES / rowBytes);
    const rate = async (copy: (bytes: Uint8Array) => void): Promise<number> => {
      const run = (times: number) =>
        seconds(async () => {
          for (let i = 0; i < times; i++) copy((i % 2 ? first : second).bytes.subarray(0, rows * rowBytes));
          driver.synchronize(driver.copyStream);
        });
      await run(4);
      return (32 * rows * rowBytes) / (await run(32)) / 1e9;
    };
    speeds.push({
      rowBytes,
      flat: await rate((bytes) => driver.upload(target, bytes, driver.copyStream)),
      pitched: await rate((bytes) =>
        driver.uploadRows(target, rowBytes + 96, bytes, rowBytes, rows, driver.copyStream),
      ),
    });
  }
  driver.free(target);
  for (const block of [first, second]) block.free();
  driver.dispose();
  return speeds;
}

const { values } = parseArgs({
  args: process.argv.slice(2).filter((argument) => argument !== '--'),
  options: {
    folder: { type: 'string' },
    make: { type: 'string' },
    size: { type: 'string', default: '14B' },
    dtype: { type: 'string', default: 'bf16' },
    layers: { type: 'string' },
    runs: { type: 'string', default: '3' },
    reads: { type: 'string', default: '8' },
    engine: { type: 'string', default: 'cuda' },
    quantization: { type: 'string' },
  },
});
const folder = values.folder ?? values.make;
if (!folder) throw new Error('give --folder DIR, or --make DIR');
if (!Object.hasOwn(SIZES, values.size)) throw new Error(`--size is one of ${Object.keys(SIZES).join(', ')}`);
const [size, dtype] = [values.size as Size, values.dtype === 'e4m3' ? 'e4m3' : 'bf16'] as const;
if (values.make) {
  const layers = values.layers === undefined ? undefined : Number(values.layers);
  let bytes = 0;
  const took = await seconds(async () => {
    bytes = await writeRandomCheckpoint({ dir: folder, size, dtype, layers });
  });
  console.log(`wrote ${(bytes / 1e9).toFixed(2)} GB to ${folder} in ${took.toFixed(1)} s`);
}
const shards = await shardsOf(folder);
const total = shards.reduce((sum, { bytes }) => sum + bytes, 0);
const [runs, reads, isCuda] = [Number(values.runs), Number(values.reads), values.engine === 'cuda'];
const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
const residentBefore = mib(process.memoryUsage.rss());
const contenders = [
  {
    name: 'plain',
    times: [] as number[],
    run: () => (isCuda ? plainToCard(shards, total, reads, true) : plainToMemory(shards, total, reads)),
  },
  {
    name: 'ours',
    times: [] as number[],
    run: () =>
      ours(
        folder,
        () => (isCuda ? createCudaEngine() : createCpuEngine()),
        values.quantization as QuantizationMethod | undefined,
      ),
  },
];
let residentPeak = 0;
for (let run = 0; run < runs; run++) {
  for (const { name, times, run: measure } of run % 2 ? [...contenders].reverse() : contenders) {
    const took = await measure();
    times.push(took);
    const resident = mib(process.memoryUsage.rss());
    residentPeak = Math.max(residentPeak, resident);
    const rate = (total / took / 1e9).toFixed(1);
    console.log(`${name.padEnd(6)} ${took.toFixed(3)} s, ${rate} GB/s, resident ${resident} MiB`);
  }
}
const best = contenders.map(({ times }) => Math.min(...times));
const parts = isCuda
  ? {
      readsSeconds: await plainToCard(shards, total, reads, false),
      copiesSeconds: await copiesOnly(folder),
      copySpeeds: await copySpeeds(),
    }
  : undefined;
console.log(
  `RESULT ${JSON.stringify({
    gigabytes: total / 1e9,
    shards: shards.length,
    engine: values.engine,
    threads: process.env.UV_THREADPOOL_SIZE ?? '4',
    plainSeconds: contenders[0]!.times,
    oursSeconds: contenders[1]!.times,
    plainGBs: total / best[0]! / 1e9,
    oursGBs: total / best[1]! / 1e9,
    ratio: best[1]! / best[0]!,
    residentBeforeMiB: residentBefore,
    residentMiB: residentPeak,
    peakResidentMiB: Math.round(process.resourceUsage().maxRSS / 1024),
    parts,
  })}`,
);
