/**
 * Times dequantising to bf16 on the card, and loading, of matrices held in 4 and 8 bits: those of a 14B decoder layer.
 *
 *   npx tsx test/bench/widening.ts [--repeat 20]
 *
 * Prints a RESULT line for each matrix and format: microseconds and bytes a second, read and written.
 */
import { parseArgs } from 'node:util';
import type { DeviceWeight } from '../../src/engine/cuda/weights.js';
import type { HeldFormat } from '../../src/formats/weight-source.js';
import { median } from './median.js';
import { openCuda } from './open-cuda.js';
import { randomBlock } from './random-model.js';

const { values: options } = parseArgs({ options: { repeat: { type: 'string', default: '20' } } });
const SHAPES = [
  ['q, k, v', 6144, 5120],
  ['o', 5120, 4096],
  ['gate, up', 32768, 5120],
  ['down', 5120, 16384],
] as const;
const FORMATS: readonly (readonly [HeldFormat, number])[] = [
  [{ format: 'nf4', blockSize: 64, doubleQuantization: true }, 0.5 + 1 / 64],
  [{ format: 'nf4', blockSize: 64, doubleQuantization: false }, 0.5 + 4 / 64],
  [{ format: 'f8_e4m3' }, 1],
];

const { driver, engine } = openCuda();
console.log(engine.description);
const block = randomBlock();
const [start, end] = [driver.createEvent(true), driver.createEvent(true)];
for (const [hold, heldBytes] of FORMATS) {
  for (const [name, rows, columns] of SHAPES) {
    const size = rows * columns;
    const read = async (target: Uint8Array, offset = 0): Promise<void> => {
      for (let at = 0; at < target.length; ) {
        const part = block.subarray((offset + at) % block.length, ((offset + at) % block.length) + target.length - at);
        target.set(part, at);
        at += part.length;
      }
    };
    const loading = performance.now();
    const source = { name, shape: [rows, columns], dtype: 'bf16', byteLength: 2 * size, hold, read } as const;
    const weight = (await engine.loadWeight(source)) as DeviceWeight;
    engine.synchronize();
    const loaded = performance.now() - loading;
    const times: number[] = [];
    for (let i = 0; i < Number(options.repeat); i++) {
      driver.recordEvent(start);
      const wide = weight.matrix.readRows(0, rows);
      driver.recordEvent(end);
      engine.synchronize();
      engine.release(wide);
      times.push(driver.elapsedMilliseconds(start, end));
    }
    const ms = median(times);
    console.log(
      `RESULT ${JSON.stringify({
        bench: 'widening',
        ...{ ...hold, name, rows, columns },
        us: Number((1000 * ms).toFixed(1)),
        terabytesPerSecond: Number((((heldBytes + 2) * size) / ms / 1e9).toFixed(2)),
        loadMs: Number(loaded.toFixed(1)),
      })}`,
    );
    engine.releaseWeight(weight);
  }
}
for (const event of [start, end]) driver.destroyEvent(event);
await engine.dispose();
