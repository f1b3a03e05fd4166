import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DecodeBudget, decodeWithin, type HeldImage } from '../../src/data/decode-budget.js';
import { decodeImage, ImageFile } from '../../src/data/decode-image.js';
import type { ImageInput } from '../../src/data/types.js';
import { ImageError } from '../../src/errors.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Names of what was granted, in order. */
function asks(budget: DecodeBudget) {
  const granted: string[] = [];
  const leases = new Map<string, Awaited<ReturnType<DecodeBudget['acquire']>>>();
  const ask = (name: string, bytes: number, signal?: AbortSignal) =>
    budget.acquire(bytes, signal).then((lease) => {
      granted.push(name);
      leases.set(name, lease);
    });
  return { granted, leases, ask };
}

describe('DecodeBudget', () => {
  it('gives what fits in the order in which it was asked for, and what never fits alone', async () => {
    const budget = new DecodeBudget(100);
    const { granted, leases, ask } = asks(budget);
    void ask('a', 60);
    void ask('b', 40);
    void ask('huge', 500);
    void ask('c', 1);
    await turn();
    expect([granted, budget.used]).toEqual([['a', 'b'], 100]);
    leases.get('a')!.release();
    leases.get('a')!.release();
    await turn();
    // Those behind wait: what is large would else never get its turn.
    expect([granted, budget.used]).toEqual([['a', 'b'], 40]);
    leases.get('b')!.release();
    await turn();
    expect([granted.at(-1), budget.used]).toEqual(['huge', 500]);
    leases.get('huge')!.release();
    await turn();
    expect([granted.at(-1), budget.used]).toEqual(['c', 1]);
  });

  it('lets a lease grow into what is free, and alone without bound', async () => {
    const budget = new DecodeBudget(100);
    const a = await budget.acquire(10);
    const b = await budget.acquire(10);
    expect([a.tryResize(90), a.tryResize(91), budget.used]).toEqual([true, false, 100]);
    b.release();
    expect([a.tryResize(1000), budget.used]).toEqual([true, 1000]);
    const { granted, ask } = asks(budget);
    void ask('later', 50);
    a.resize(50);
    await turn();
    expect([granted, budget.used]).toEqual([['later'], 100]);
  });

  it('forgets who gives up, and goes on with the next', async () => {
    const budget = new DecodeBudget(100);
    const { granted, ask, leases } = asks(budget);
    const stop = new AbortController();
    void ask('a', 60);
    const large = ask('large', 90, stop.signal);
    void ask('c', 40);
    stop.abort(new Error('enough'));
    await expect(large).rejects.toThrow('enough');
    await turn();
    expect(granted).toEqual(['a', 'c']);
    leases.get('a')!.release();
    leases.get('c')!.release();
    expect(budget.used).toBe(0);
    await expect(budget.acquire(1, stop.signal)).rejects.toThrow('enough');
  });
});

describe('decodeWithin', () => {
  let folder: string;
  let path: string;
  let bytes: Buffer;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'budget-'));
    path = join(folder, 'x.png');
    bytes = await sharp({ create: { width: 100, height: 50, channels: 3, background: '#123456' } })
      .png()
      .toBuffer();
    await writeFile(path, bytes);
  });
  afterAll(() => rm(folder, { recursive: true }));

  const PIXELS = 100 * 50;
  const forms: [string, (path: string, bytes: Buffer) => ImageInput][] = [
    ['a path', (file) => file],
    ['bytes', (_, encoded) => encoded],
    ['a file of a folder', (file) => new ImageFile(file)],
    ['a handle', (file) => ({ path: file, decode: () => decodeImage(file) })],
    ['pixels', () => ({ width: 100, height: 50, data: new Uint8Array(3 * PIXELS).fill(7) })],
  ];

  it.each(forms)('accounts for the pixels of %s and their copy until they are released', async (_, of) => {
    const budget = new DecodeBudget();
    const input = of(path, bytes);
    const { image, release } = await decodeWithin(input, undefined, budget);
    expect(image).toEqual(await decodeImage(input));
    const isFile = typeof input === 'string' || input instanceof ImageFile;
    expect(budget.used).toBe(6 * PIXELS + (isFile ? bytes.length : 0));
    release();
    expect(budget.used).toBe(0);
  });

  it.each(forms.slice(0, 3))('holds one at a time where two do not fit, and all come (%s)', async (_, of) => {
    const budget = new DecodeBudget(9 * PIXELS);
    let held = 0;
    let most = 0;
    const one = async () => {
      const { image, release }: HeldImage = await decodeWithin(of(path, bytes), undefined, budget);
      most = Math.max(most, ++held);
      await turn();
      held--;
      release();
      return image.width;
    };
    expect(await Promise.all(Array.from({ length: 8 }, one))).toEqual(new Array(8).fill(100));
    expect([most, budget.used]).toEqual([1, 0]);
  });

  it('gives back what a file took that does not decode, is missing, or is given up', async () => {
    const budget = new DecodeBudget(9 * PIXELS);
    const cut = join(folder, 'cut.png');
    await writeFile(cut, bytes.subarray(0, 60));
    for (const input of [cut, join(folder, 'none.png'), bytes.subarray(0, 60), new ImageFile(cut)]) {
      await expect(decodeWithin(input, undefined, budget)).rejects.toThrow(ImageError);
    }
    expect(budget.used).toBe(0);
    const first = await decodeWithin(path, undefined, budget);
    const stop = new AbortController();
    const second = decodeWithin(path, stop.signal, budget);
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(second).rejects.toThrow('enough');
    first.release();
    expect(budget.used).toBe(0);
  });
});
