import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  drawRadiograph,
  drawRadiographs,
  FRACTURE_CLASSES,
  RADIOGRAPH_HEIGHT,
  RADIOGRAPH_WIDTH,
} from '../../src/demo/radiographs.js';

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('drawRadiograph', () => {
  it('gives the same pixels for the same seed and others for another', () => {
    for (const name of FRACTURE_CLASSES) {
      expect(hash(drawRadiograph(name, 7))).toBe(hash(drawRadiograph(name, 7)));
      expect(hash(drawRadiograph(name, 7))).not.toBe(hash(drawRadiograph(name, 8)));
    }
  });

  it('draws bone brighter than the air around it, with contrast to spare at both ends', () => {
    for (const name of FRACTURE_CLASSES) {
      const pixels = drawRadiograph(name, 3);
      expect(pixels).toHaveLength(RADIOGRAPH_WIDTH * RADIOGRAPH_HEIGHT);
      const sorted = [...pixels].sort((a, b) => a - b);
      expect(sorted[Math.floor(pixels.length * 0.02)]).toBeLessThan(70);
      expect(sorted[Math.floor(pixels.length * 0.9)]).toBeGreaterThan(100);
      expect(pixels.filter((level) => level === 255).length).toBeLessThan(pixels.length / 100);
    }
  });

  it('draws every class differently from the same seed', () => {
    const hashes = FRACTURE_CLASSES.map((name) => hash(drawRadiograph(name, 5)));
    expect(new Set(hashes).size).toBe(10);
  });

  it('refuses an unknown class by name', () => {
    expect(() => drawRadiograph('Bent spoon', 1)).toThrow(/Bent spoon.*Avulsion fracture/s);
  });
});

describe('drawRadiographs', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'radiographs-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** Relative path to hash of the decoded pixels. */
  async function listing(root: string): Promise<Map<string, string>> {
    const files = (await readdir(root, { recursive: true })).filter((name) => /\.\w+$/.test(name)).sort();
    const pixels = files.map((name) => sharp(join(root, name)).raw().toBuffer());
    return new Map((await Promise.all(pixels)).map((bytes, i) => [files[i]!, hash(bytes)]));
  }

  it('writes the counts asked for, for ten classes in both splits, and nothing else', async () => {
    await drawRadiographs({ outputDir: dir, seed: 1, trainPerClass: 3, testPerClass: 2 });
    expect((await readdir(dir)).sort()).toEqual([...FRACTURE_CLASSES]);
    for (const name of FRACTURE_CLASSES) {
      expect(await readdir(join(dir, name, 'Train'))).toHaveLength(3);
      expect(await readdir(join(dir, name, 'Test'))).toHaveLength(2);
    }
    const { width, height, channels } = await sharp(join(dir, FRACTURE_CLASSES[0]!, 'Train', '0000.png')).metadata();
    expect([width, height, channels]).toEqual([RADIOGRAPH_WIDTH, RADIOGRAPH_HEIGHT, 1]);
    expect((await listing(dir)).size).toBe(50);
  });

  it('shares no image between Train and Test, nor within a split', async () => {
    await drawRadiographs({ outputDir: dir, seed: 2, trainPerClass: 4, testPerClass: 4 });
    const files = await listing(dir);
    expect(new Set(files.values()).size).toBe(files.size);
  });

  it('depends on nothing but the seed', async () => {
    const draw = async (name: string, seed: number, trainPerClass: number) => {
      await drawRadiographs({ outputDir: join(dir, name), seed, trainPerClass, testPerClass: 1 });
      return listing(join(dir, name));
    };
    const [first, again, more, other] = [
      await draw('a', 5, 1),
      await draw('b', 5, 1),
      await draw('c', 5, 2),
      await draw('d', 6, 1),
    ];
    expect(again).toEqual(first);
    // Asking for more images adds some and changes none.
    for (const [file, value] of first) expect(more.get(file)).toBe(value);
    expect([...other.values()].some((value) => [...first.values()].includes(value))).toBe(false);
  });
});
