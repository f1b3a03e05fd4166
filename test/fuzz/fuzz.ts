/** The campaigns: mutated safetensors files, mutated JSON files of every kind that is read, and mutated pictures. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { decodeImage } from '../../src/data/decode-image.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { makeConfigCases } from './config-cases.js';
import { byteEdit, editBytes, hostileJson } from './hostile-json.js';
import { hostileSafetensors } from './hostile-safetensors.js';
import { emptyTally, judge, type Limits, type Tally } from './measure.js';

export interface FuzzOptions {
  readonly count: number;
  readonly seed: number;
  /** Receives the files of failed cases; none are kept without it. */
  readonly keepIn?: string;
}

const MILLISECONDS = 1000;
const MAX_PIXELS = 20_000_000;
/** Objects of the library and garbage on the way; a tokenizer and its tables are larger than a header. */
const SAFETENSORS: Limits = { milliseconds: MILLISECONDS, bytes: 16e6 };
const CONFIGS: Limits = { milliseconds: MILLISECONDS, bytes: 40e6 };
/** Most of a decoder's memory is not seen here; a header may claim as many pixels as are let in. */
const PICTURES: Limits = { milliseconds: MILLISECONDS, bytes: 3 * MAX_PIXELS + 16e6 };
/** Reads leave garbage, a kilobyte each, which would count as memory of a file with thousands of tensors. */
const MOST_READ = 100;
const PICTURE_FORMATS = ['png', 'jpeg', 'webp', 'gif', 'tiff', 'avif'] as const;
/** Files made at a time. */
const BATCH = 250;

/** Opens each file and, if it is accepted, reads its tensors. */
export async function fuzzSafetensors({ count, seed, keepIn }: FuzzOptions): Promise<Tally> {
  const tally = emptyTally();
  const folder = await mkdtemp(join(tmpdir(), 'fuzz-safetensors-'));
  const path = join(folder, 'model.safetensors');
  try {
    for await (const bytes of samples(hostileSafetensors, count, seed)) {
      await writeFile(path, bytes);
      const passed = await judge(tally, bytes.length, SAFETENSORS, () => readTensors(path));
      if (!passed && keepIn) await copyFile(path, join(keepIn, `case-${tally.cases - 1}.safetensors`));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return tally;
}

/** Replaces one file of a folder after the other, and loads the folder. */
export async function fuzzConfigs({ count, seed, keepIn }: FuzzOptions): Promise<Map<string, Tally>> {
  const { cases, dispose } = await makeConfigCases();
  const tallies = new Map<string, Tally>();
  try {
    for (const [number, { path, base, read }] of cases.entries()) {
      const whole = await readFile(path);
      const name = `${basename(join(path, '..'))}/${basename(path)}`;
      const tally = emptyTally();
      tallies.set(name, tally);
      // As it was, the folder loads: what is refused later is refused for the change.
      await read();
      for await (const bytes of samples(hostileJson(base), Math.ceil(count / cases.length), seed + number)) {
        await writeFile(path, bytes);
        const passed = await judge(tally, bytes.length, CONFIGS, read);
        if (!passed && keepIn) await copyFile(path, join(keepIn, `case-${tally.cases - 1}-${basename(path)}`));
      }
      await writeFile(path, whole);
    }
  } finally {
    await dispose();
  }
  return tallies;
}

/** Decodes small pictures of every format whose bytes were changed. */
export async function fuzzPictures({ count, seed, keepIn }: FuzzOptions): Promise<Map<string, Tally>> {
  const data = Buffer.from(Array.from({ length: 40 * 30 * 3 }, (_, i) => (i * i * 7) % 256));
  const tallies = new Map<string, Tally>();
  for (const [number, format] of PICTURE_FORMATS.entries()) {
    const picture = sharp(data, { raw: { width: 40, height: 30, channels: 3 } });
    const whole = await picture
      .withExif({ IFD0: { Copyright: 'nobody' } })
      .toFormat(format)
      .toBuffer();
    const tally = emptyTally();
    tallies.set(format, tally);
    const damaged = fc.array(byteEdit, { minLength: 1, maxLength: 6 }).map((edits) => editBytes(whole, edits));
    for await (const bytes of samples(damaged, Math.ceil(count / PICTURE_FORMATS.length), seed + number)) {
      const read = () => decodeImage(bytes, { name: `case.${format}`, maxPixels: MAX_PIXELS });
      const passed = await judge(tally, bytes.length, PICTURES, read);
      if (!passed && keepIn) await writeFile(join(keepIn, `case-${tally.cases - 1}.${format}`), bytes);
    }
  }
  return tallies;
}

async function readTensors(path: string): Promise<void> {
  const file = await SafetensorsFile.open(path);
  try {
    for (const { name, byteLength } of [...file.tensors.values()].slice(0, MOST_READ)) {
      const array = await file.readArray(name);
      if (array.byteLength < byteLength) throw new Error(`"${name}" came back with ${array.byteLength} bytes`);
    }
  } finally {
    await file.close();
  }
}

/** In batches, between which the heap is swept, so that measurements see the case and not what went before. */
async function* samples<T>(arbitrary: fc.Arbitrary<T>, count: number, seed: number): AsyncGenerator<T> {
  for (let done = 0; done < count; done += BATCH) {
    const numRuns = Math.min(BATCH, count - done);
    const batch = fc.sample(arbitrary, { numRuns, seed: seed + 7919 * done });
    (globalThis as { gc?: () => void }).gc?.();
    yield* batch;
  }
}
