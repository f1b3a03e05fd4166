/**
 * What the digests of a checkpoint cost: saves of the size of a 14B adapter (r 16, 65 million parameters, 8-bit moments),
 * with all that is done to be sure of them (files read back, digested, compared) and without, in turns; and what the
 * digests take before a resume.
 *
 *   npx tsx test/bench/checkpoint.ts [--parameters 65000000] [--rounds 5] [--dir DIR] [--save-every 230]
 *
 * `--save-every`: seconds of training between two saves, for the share of a run's time (500 steps of a 14B on one H200).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { copyInTurns, findNotFinite } from '../../src/async/event-loop.js';
import { findFaults, readManifest } from '../../src/files/file-digests.js';
import { SafetensorsFile, writeSafetensors } from '../../src/formats/safetensors.js';
import { writeCheckpoint } from '../../src/train/checkpoint.js';
import type { RunState } from '../../src/train/checkpoint-state.js';
import { median } from './median.js';

const { values } = parseArgs({
  options: {
    parameters: { type: 'string', default: '65000000' },
    rounds: { type: 'string', default: '5' },
    dir: { type: 'string', default: tmpdir() },
    'save-every': { type: 'string', default: '230' },
  },
});
const [size, rounds] = [Number(values.parameters), Number(values.rounds)];
const dir = await mkdtemp(join(values.dir!, 'bench-checkpoint-'));
const floats = (length: number) => new Float32Array(length).map((_, i) => Math.fround(Math.sin(i) ** 2));
const parameters = floats(size);
const blocks = Math.ceil(size / 256);
const optimizer = {
  steps: new Float32Array(812).fill(500),
  codesM: new Uint8Array(size).map((_, i) => (i * 73) & 255),
  codesV: new Uint8Array(size).map((_, i) => (i * 91) & 255),
  scalesM: floats(blocks),
  scalesV: floats(blocks),
};
const state = { globalStep: 500, totalSteps: 1000, epoch: 1, logHistory: [] } as unknown as RunState;
/** What `saveAdapter` does, with and without digests: it looks for what is not finite, writes, reads back and compares. */
const writeAdapter = async (folder: string): Promise<void> => {
  if ((await findNotFinite(parameters)) >= 0) throw new Error('not finite');
  const path = join(folder, 'adapter_model.safetensors');
  const layers = 406;
  const each = Math.floor(size / layers);
  const tensors = Array.from({ length: layers }, (_, i) => ({
    ...{ name: `lora.${i}`, dtype: 'F32' as const, shape: [each] },
    data: parameters.subarray(i * each, (i + 1) * each),
  }));
  await writeSafetensors(path, tensors);
  const file = await SafetensorsFile.open(path);
  for (const { name, data } of tensors) {
    const found = await file.readFloat32(name);
    if (!Buffer.from(found.buffer).equals(Buffer.from(data.buffer, data.byteOffset, data.byteLength)))
      throw new Error(name);
  }
  await file.close();
};
const nothing = async (): Promise<void> => {};
const unsealed = { begin: nothing, requireTensors: nothing, requireText: nothing, end: nothing, close: nothing };

const times = { with: [] as number[], without: [] as number[] };
/** The longest that the event loop was held up in a save with digests. */
let longest = 0;
try {
  for (let round = 0; round < 2 * rounds + 2; round++) {
    const isSealed = round % 2 === 0;
    let last = performance.now();
    let longestHere = 0;
    const timer = setInterval(() => {
      longestHere = Math.max(longestHere, performance.now() - last);
      last = performance.now();
    }, 2);
    const start = performance.now();
    // What an engine gives is a copy.
    const arrays = await copyInTurns<Float32Array | Uint8Array>([parameters, ...Object.values(optimizer)]);
    const copies = Object.keys(optimizer).map((name, i) => [name, arrays[i + 1]!] as const);
    const tensors = { parameters: arrays[0] as Float32Array, optimizer: Object.fromEntries(copies) };
    await writeCheckpoint(dir, state, tensors, writeAdapter, isSealed ? undefined : () => unsealed);
    const seconds = (performance.now() - start) / 1000;
    clearInterval(timer);
    // The first of each warms up.
    if (round < 2) continue;
    times[isSealed ? 'with' : 'without'].push(seconds);
    if (isSealed) longest = Math.max(longest, longestHere);
  }
  await writeCheckpoint(dir, state, { parameters, optimizer }, writeAdapter);
  const path = join(dir, 'checkpoint-500');
  const start = performance.now();
  const manifest = (await readManifest(path))!;
  if ((await findFaults(path, manifest, manifest.keys())).length > 0) throw new Error('damaged');
  const verify = (performance.now() - start) / 1000;
  // Other work on the machine only ever adds time.
  const [sealed, plain] = [Math.min(...times.with), Math.min(...times.without)];
  const cost = sealed - plain;
  const every = Number(values['save-every']);
  console.log(
    `save with digests    ${times.with.map((t) => t.toFixed(2)).join(' ')} s, median ${median(times.with).toFixed(2)}`,
  );
  console.log(
    `save without         ${times.without.map((t) => t.toFixed(2)).join(' ')} s, median ${median(times.without).toFixed(2)}`,
  );
  console.log(
    `digests, least times: ${(100 * (cost / sealed)).toFixed(1)} % of a save, ${((100 * cost) / (every + sealed)).toFixed(3)} % of a run ` +
      `that saves every ${every} s; event loop held up ${longest.toFixed(0)} ms at most; checking before a resume ${verify.toFixed(2)} s`,
  );
} finally {
  await rm(dir, { recursive: true, force: true });
}
