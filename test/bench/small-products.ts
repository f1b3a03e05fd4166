/**
 * Times the products with a few rows that decoding runs, at the shapes of a layer, by storage format.
 *
 *   npx tsx test/bench/small-products.ts [--size 14B] [--layers 8] [--rows 1,2,8,16] [--formats bf16,f8_e4m3,nf4]
 *                                        [--rank 16] [--repeat 10]
 *
 * Each layer has its own weights, so that none are read from the L2 cache. Prints the median µs and GB/s of weights for
 * each format, number of rows and product, and for all products of a layer in sequence. Prints FAILED where a product of
 * a few rows differs from one of many by more than rounding.
 */
import { parseArgs } from 'node:util';
import type { LinearPart } from '../../src/engine/operations.js';
import type { Tensor, Weight } from '../../src/engine/tensor.js';
import type { HeldFormat, StackPlace } from '../../src/formats/weight-source.js';
import { median } from './median.js';
import { openCuda } from './open-cuda.js';
import { configOf, type Size } from './random-model.js';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    layers: { type: 'string', default: '8' },
    rows: { type: 'string', default: '1,2,8,16' },
    formats: { type: 'string', default: 'bf16,f8_e4m3,nf4' },
    rank: { type: 'string', default: '16' },
    repeat: { type: 'string', default: '10' },
  },
});
const { text } = configOf(options.size as Size);
const rank = Number(options.rank);
const { driver, engine } = openCuda();
console.log(engine.description);

// Random, as sums of regular values nearly vanish and leave only what rounding did.
let state = 1;
function uniform(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}
const noise = Uint16Array.from({ length: 1 << 22 }, () => {
  // Between -1/16 and 1/16, as bf16.
  const bits = new Uint32Array(Float32Array.of(uniform() / 16).buffer);
  return bits[0]! >>> 16;
});
const noiseBytes = new Uint8Array(noise.buffer);
const HOLD: Readonly<Record<string, HeldFormat>> = {
  nf4: { format: 'nf4', blockSize: 64, doubleQuantization: true },
  f8_e4m3: { format: 'f8_e4m3' },
};
const BYTES: Readonly<Record<string, number>> = { bf16: 2, f8_e4m3: 1, nf4: 0.5 + 1 / 64 + 4 / 64 / 256 };

/** Extent of a product that takes a few milliseconds. */
const LEAD = 8192;

interface Layer {
  readonly qkv: readonly LinearPart[];
  readonly o: LinearPart;
  readonly gateUp: readonly [LinearPart, LinearPart];
  readonly down: LinearPart;
}

const numbers = Float32Array.from({ length: 32 * text.intermediateSize }, uniform);
let names = 0;
async function load(format: string, shape: readonly number[], stack?: StackPlace): Promise<Weight> {
  const byteLength = 2 * shape.reduce((product, extent) => product * extent, 1);
  const read = async (target: Uint8Array, from = 0): Promise<void> => {
    for (let at = 0; at < target.length; ) {
      const begin = (from + at) % noiseBytes.length;
      const part = noiseBytes.subarray(begin, begin + target.length - at);
      target.set(part, at);
      at += part.length;
    }
  };
  const hold = shape.length > 1 ? HOLD[format] : undefined;
  return engine.loadWeight({ name: `w${names++}`, shape, dtype: 'bf16', byteLength, read, stack, hold });
}

/** Weights that share an input, with adapters of one set. */
async function stacked(format: string, widths: readonly number[], columns: number): Promise<LinearPart[]> {
  const rows = widths.reduce((a, b) => a + b);
  const name = `stack${names++}`;
  const weights: Weight[] = [];
  let row = 0;
  for (const width of widths) {
    weights.push(await load(format, [width, columns], widths.length > 1 ? { name, row, rows } : undefined));
    row += width;
  }
  if (rank === 0) return weights.map((weight) => ({ weight }));
  const spec = (of: string, shape: readonly [number, number]) => {
    const initial = numbers.slice(0, shape[0] * shape[1]).map((value) => value / 64);
    return { name: of, shape, initial };
  };
  const specs = widths.flatMap((width, i) => [spec(`a${i}`, [rank, columns]), spec(`b${i}`, [width, rank])]);
  const { parameters } = engine.createParameters(specs);
  return weights.map((weight, i) => {
    return { weight, lora: { a: parameters[2 * i]!, b: parameters[2 * i + 1]!, scale: 1, dropout: 0, seed: 1 } };
  });
}

/** Work that the card has before what is timed, so that the queue never runs empty. */
const lead = await load('bf16', [LEAD, LEAD]);
const zeros = engine.zeros([LEAD, LEAD]);
const leadInput = engine.operations.add.forward([zeros, zeros], {}, false).outputs[0]!;
const [start, end] = [driver.createEvent(true), driver.createEvent(true)];
/** Milliseconds of what `body` queues. */
function time(body: () => void): number {
  const times = Array.from({ length: Number(options.repeat) + 2 }, () => {
    free(engine.operations.linear.forward([leadInput], { parts: [{ weight: lead }] }, false).outputs);
    driver.recordEvent(start);
    body();
    driver.recordEvent(end);
    engine.synchronize();
    return driver.elapsedMilliseconds(start, end);
  });
  return median(times.slice(2));
}
function free(outputs: readonly Tensor[]): void {
  for (const tensor of outputs) engine.release(tensor);
}

let hasFailed = false;
for (const format of options.formats.split(',')) {
  const { hiddenSize: hidden, intermediateSize: inner } = text;
  const [own, shared] = [text.heads * text.headDim, text.kvHeads * text.headDim];
  const norm = { weight: await load('bf16', [hidden]), eps: 1e-5 };
  const layers: Layer[] = [];
  for (let i = 0; i < Number(options.layers); i++) {
    const qkv = await stacked(format, [own, shared, shared], hidden);
    const [o] = await stacked(format, [hidden], own);
    const gateUp = await stacked(format, [inner, inner], hidden);
    const [down] = await stacked(format, [hidden], inner);
    layers.push({ qkv, o: o!, gateUp: gateUp as unknown as Layer['gateUp'], down: down! });
  }
  const { linear, gatedBlock } = engine.operations;
  for (const rows of options.rows.split(',').map(Number)) {
    const input = (columns: number, count = rows): Tensor => {
      const data = numbers.subarray(0, count * columns);
      const [x, zero] = [engine.fromArray(data, [count, columns]), engine.zeros([count, columns])];
      return engine.operations.add.forward([x, zero], {}, false).outputs[0]!;
    };
    for (const [what, parts, columns] of [
      ['qkv', layers[0]!.qkv, hidden],
      ['o', [layers[0]!.o], own],
      ['down', [layers[0]!.down], inner],
    ] as const) {
      const few = input(columns);
      const many = input(columns, 32);
      const outputs = [few, many].map((of) => linear.forward([of], { parts }, false).outputs[0]!);
      const [one, other] = (await Promise.all(outputs.map((y) => engine.read(y)))) as [Float32Array, Float32Array];
      const largest = other.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const error = one.subarray(0, one.length / rows).reduce((m, v, i) => Math.max(m, Math.abs(v - other[i]!)), 0);
      const relative = error / largest;
      if (!(relative < 0.01)) hasFailed = true;
      console.log(
        `${relative < 0.01 ? 'ok' : 'FAILED'} ${format}, ${rows} rows, ${what}: ${relative.toExponential(1)}`,
      );
      free([few, many, ...outputs]);
    }
    const [x, attended, gated] = [input(hidden), input(own), input(inner)];
    const cases: readonly (readonly [string, number, (layer: Layer) => readonly Tensor[]])[] = [
      ['qkv', (own + 2 * shared) * hidden, ({ qkv }) => linear.forward([x], { parts: qkv }, false).outputs],
      ['o', hidden * own, ({ o }) => linear.forward([attended], { parts: [o] }, false).outputs],
      ['down', inner * hidden, ({ down }) => linear.forward([gated], { parts: [down] }, false).outputs],
      [
        'norm, gate, up, down',
        3 * inner * hidden,
        ({ gateUp, down }) => gatedBlock.forward([x], { norm, gateUp, activation: 'silu', down }, false).outputs,
      ],
    ];
    const report = (what: string, milliseconds: number, weights: number): void => {
      const bytes = weights * BYTES[format]!;
      const figures = { us: milliseconds * 1000, gigabytesPerSecond: bytes / milliseconds / 1e6 };
      console.log(`RESULT ${JSON.stringify({ bench: 'small product', format, rows, what, ...figures })}`);
    };
    for (const [what, weights, run] of cases) {
      const total = time(() => {
        for (const layer of layers) free(run(layer));
      });
      report(what, total / layers.length, weights);
    }
    const chain = [cases[0]!, cases[1]!, cases[3]!];
    const weights = chain.reduce((sum, [, count]) => sum + count, 0);
    const all = (): void => {
      for (const layer of layers) for (const [, , run] of chain) free(run(layer));
    };
    report('layer', time(all) / layers.length, weights);
    free([x, attended, gated]);
  }
  for (const { qkv, o, gateUp, down } of layers) {
    for (const { weight } of [...qkv, o, ...gateUp, down]) engine.releaseWeight(weight);
  }
  engine.releaseWeight(norm.weight);
}
await engine.dispose();
process.exitCode = hasFailed ? 1 : 0;
