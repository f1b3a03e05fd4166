import { describe, expect, it } from 'vitest';
import type { Weight } from '../../src/engine/tensor.js';
import { CheckpointError } from '../../src/errors.js';
import { sizeOf, type WeightSource } from '../../src/formats/weight-source.js';
import {
  type LoadProgress,
  loadWeights,
  type WantedWeight,
  type WeightProvider,
} from '../../src/model/network/load-weights.js';

const wanted = (count: number): WantedWeight[] =>
  Array.from({ length: count }, (_, i) => ({ name: `w${i}`, shape: [i + 1, 2], view: [i + 1, 2], stack: undefined }));

function providerOf(all: readonly WantedWeight[], order?: readonly string[]): WeightProvider {
  const shapes = new Map(all.map(({ name, shape }) => [name, shape]));
  const source = (name: string): WeightSource => {
    const shape = shapes.get(name)!;
    return { name, shape, dtype: 'f32', byteLength: 4 * sizeOf(shape), read: async () => {} };
  };
  return { description: 'folder', has: (name) => shapes.has(name), source, order };
}

/** Loads when it is told to. */
class SlowEngine {
  readonly started: string[] = [];
  readonly released: string[] = [];
  atOnce = 0;
  mostAtOnce = 0;

  async loadWeight({ name, shape }: WeightSource): Promise<Weight> {
    this.started.push(name);
    if (name === 'bad') throw new Error('disk');
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    await new Promise((resolve) => setTimeout(resolve, (this.started.length * 7) % 3));
    this.atOnce--;
    return { name, shape, dtype: 'f32' };
  }

  releaseWeight({ name }: Weight): void {
    this.released.push(name);
  }
}

describe('loadWeights', () => {
  it('starts in the order of the files, many at once but not all', async () => {
    const all = wanted(100);
    const order = all.map(({ name }) => name).reverse();
    const engine = new SlowEngine();
    const weights = await loadWeights(engine, providerOf(all, order), all);
    expect(engine.started).toEqual(order);
    expect(engine.mostAtOnce).toBe(32);
    expect([...weights.keys()].sort()).toEqual(all.map(({ name }) => name).sort());
    expect(weights.get('w7')!.shape).toEqual([8, 2]);
  });

  it('says how far it is after each weight, and ends when nobody can be told', async () => {
    const all = wanted(40);
    const seen: [string, number, number][] = [];
    const onProgress = ({ tensor, bytesDone, bytesTotal }: LoadProgress) => {
      seen.push([tensor, bytesDone, bytesTotal]);
    };
    await loadWeights(new SlowEngine(), { ...providerOf(all), onProgress }, all);
    // Weight i has 8 (i + 1) bytes.
    const total = 8 * 20 * 41;
    let done = 0;
    for (const [tensor, bytesDone, bytesTotal] of seen) {
      done += 8 * (Number(tensor.slice(1)) + 1);
      expect([bytesDone, bytesTotal]).toEqual([done, total]);
    }
    expect([seen.length, done]).toEqual([40, total]);
    const engine = new SlowEngine();
    const fails = () => {
      throw new Error('no terminal');
    };
    await expect(loadWeights(engine, { ...providerOf(all), onProgress: fails }, all)).rejects.toThrow('no terminal');
    expect(engine.released.length).toBe(engine.started.length);
  });

  it('names every missing and misshapen tensor before anything is read', async () => {
    const all = wanted(5);
    const engine = new SlowEngine();
    const provider = providerOf(all.slice(1));
    const asked = [...all.slice(0, 3), { ...all[3]!, shape: [2, 4] }];
    const attempt = loadWeights(engine, provider, asked);
    await expect(attempt).rejects.toThrow(CheckpointError);
    await expect(attempt).rejects.toThrow(
      /2 tensors are wrong:\n {2}- w0: missing, expected \[1, 2\]\n {2}- w3: shape/,
    );
    expect(engine.started).toEqual([]);
  });

  it('releases what was loaded when one fails, after the others have ended', async () => {
    const all = [{ name: 'bad', shape: [1], view: [1], stack: undefined }, ...wanted(80)];
    const engine = new SlowEngine();
    await expect(loadWeights(engine, providerOf(all), all)).rejects.toThrow('disk');
    expect(engine.atOnce).toBe(0);
    expect(engine.started.length).toBe(32);
    expect(engine.released.sort()).toEqual(engine.started.filter((name) => name !== 'bad').sort());
  });
});
