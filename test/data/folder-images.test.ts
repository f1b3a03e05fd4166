/** What image folders take, refuse and say about the images themselves. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ImageFolder } from '../../src/data/image-folder.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { ConfigError, ImageError } from '../../src/errors.js';
import { bmpOf, grey16Png } from './written-images.js';

const base = await mkdtemp(join(tmpdir(), 'folder-images-'));
let dir: string;
let count = 0;

afterAll(() => rm(base, { recursive: true }));
beforeEach(() => {
  dir = join(base, String(count++));
});

const plain = (width: number, height: number) => sharp({ create: { width, height, channels: 3, background: '#358' } });

async function put(files: Readonly<Record<string, Uint8Array | string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
}

async function warningsOf(work: () => Promise<unknown>): Promise<string[]> {
  const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  try {
    await work();
    return emit.mock.calls.map(([line]) => String(line));
  } finally {
    emit.mockRestore();
  }
}

describe('an image folder', () => {
  it('reads TIFF, BMP and AVIF', async () => {
    await put({
      'a/1.tif': await plain(4, 3).tiff().toBuffer(),
      'a/2.bmp': bmpOf(4, 3),
      'a/3.avif': await plain(16, 12).avif().toBuffer(),
      'b/1.png': await plain(4, 3).png().toBuffer(),
    });
    const folder = await ImageFolder.load(dir, { verify: true });
    expect(folder.train.length).toBe(4);
    expect((await (await folder.train.get(1)).image.decode()).data[0]).toBe(200);
  });

  it('names what lies in the place of an image', async () => {
    await put({
      'a/1.png': await plain(4, 3).png().toBuffer(),
      'a/2.png': 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
      'a/3.jpg': '<!DOCTYPE html><html>',
      'b/1.png': Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]),
      'b/2.png': await plain(4, 3).png().toBuffer(),
    });
    const folder = await ImageFolder.load(dir, { onBadImage: 'skip' });
    expect(folder.skipped.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('a Git LFS pointer: run `git lfs pull`'),
      expect.stringContaining('an HTML page'),
      expect.stringContaining('a DICOM file'),
    ]);
    await expect(ImageFolder.load(dir)).rejects.toThrow(/2\.png: .*a Git LFS pointer/);
  });

  it('says what lies in the place of all of them', async () => {
    await put({
      'a/1.png': 'version https://git-lfs.github.com/spec/v1\n',
      'b/1.png': 'version https://git-lfs.github.com/spec/v1\n',
    });
    await expect(ImageFolder.load(dir, { onBadImage: 'skip' })).rejects.toThrow(
      /all 2 of its images were skipped, .*1\.png because .*a Git LFS pointer: run `git lfs pull`/,
    );
  });

  it('finds images so narrow that the processor can make nothing of them', async () => {
    await put({
      'a/fine.png': await plain(1, 1540).png().toBuffer(),
      'a/narrow.png': await plain(1, 5000).png().toBuffer(),
      'b/flat.jpg': await plain(5000, 2).jpeg().toBuffer(),
      'b/1.png': await plain(4800, 4).png().toBuffer(),
    });
    const error = await ImageFolder.load(dir, { verify: true }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ImageError);
    expect(String(error)).toMatch(/2 files are no readable/);
    expect(String(error)).toContain('narrow.png: 1 × 5000 pixels: one side is more than 1540 times the other');
    const { skipped, train } = await ImageFolder.load(dir, { onBadImage: 'skip' });
    expect(skipped).toHaveLength(2);
    // What is left is what the processor takes.
    const processor = new ImageProcessor();
    for await (const { image } of train) await processor.process(image);
    await expect(processor.process({ width: 1, height: 5000, data: new Uint8Array(15_000) })).rejects.toThrow(
      /no width left/,
    );
    expect((await ImageFolder.load(dir, { onBadImage: 'skip', maxAspectRatio: 1300 })).skipped).toHaveLength(3);
    expect((await ImageFolder.load(dir, { verify: true, maxAspectRatio: 5000 })).train.length).toBe(4);
  });

  it('scales 16-bit grey alike, and says when it looks like 12 bits', async () => {
    const files = {
      'a/1.png': grey16Png([800, 1023]),
      'a/2.png': grey16Png([800, 4095]),
      'b/1.png': grey16Png([800, 3000]),
    };
    await put(files);
    const levels: number[] = [];
    const load = async (options: Parameters<typeof ImageFolder.load>[1]) => {
      levels.length = 0;
      for await (const { image } of (await ImageFolder.load(dir, options)).train)
        levels.push((await image.decode()).data[0]!);
    };
    for (const verify of [true, false]) {
      const warnings = await warningsOf(() => load({ verify }));
      expect(levels).toEqual([3, 3, 3]);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatch(/looks like 1[02]-bit data.*`bitDepth: 1[02]`/);
      if (verify) expect(warnings[0]).toMatch(/^3 of 3 16-bit images hold no sample above 4,095 \(.*2\.png\)/);
    }
    expect(await warningsOf(() => load({ verify: true, bitDepth: 12 }))).toEqual([]);
    expect(levels).toEqual([50, 50, 50]);
  });

  it('says where the depths of its images differ', async () => {
    await put({ 'a/1.png': grey16Png([800, 4000]), 'b/1.png': grey16Png([800, 65_535]) });
    const [first, ...more] = await warningsOf(() => ImageFolder.load(dir, { verify: true }));
    expect(first).toMatch(/different depths: 1 hold no sample above 4,000 \(.*a.1\.png\), 1 go up to 65,535/);
    expect(more).toEqual([]);
  });

  it('refuses depths and ratios that mean nothing', async () => {
    await put({ 'a/1.png': await plain(4, 3).png().toBuffer() });
    await expect(ImageFolder.load(dir, { bitDepth: 24 })).rejects.toThrow(ConfigError);
    await expect(ImageFolder.load(dir, { maxAspectRatio: 0.5 })).rejects.toThrow(/maxAspectRatio/);
    await expect(ImageFolder.load(dir, { bitdepth: 12 } as object)).rejects.toThrow(/did you mean `bitDepth`/);
  });
});
