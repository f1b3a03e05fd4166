import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { decodeImage, ImageFile, imageFormatOf, imageSize } from '../../src/data/decode-image.js';
import { ImageError } from '../../src/errors.js';
import { imageFixtures as fixtures } from './image-fixtures.js';
import { noiseImage } from './noise-image.js';
import { bmpOf, grey16Png as grey16, png, pngChunk, tiffOf } from './written-images.js';

const [W, H] = [23, 17];
const noise = noiseImage(W, H);
const rgb = sharp(noise.data, { raw: { width: W, height: H, channels: 3 } });
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'decode-image-'));
});
afterAll(() => rm(folder, { recursive: true }));

const firstChannel = (data: Uint8Array) => [...data].filter((_, i) => i % 3 === 0);

describe('decodeImage', () => {
  it('reads lossless images exactly: PNG and WebP, bytes and file', async () => {
    const encoded = [await rgb.clone().png().toBuffer(), await rgb.clone().webp({ lossless: true }).toBuffer()];
    for (const [i, bytes] of encoded.entries()) {
      expect(await decodeImage(bytes)).toEqual(noise);
      const path = join(folder, `lossless-${i}.bin`);
      await writeFile(path, bytes);
      expect(await decodeImage(path)).toEqual(noise);
      expect(await new ImageFile(path).decode()).toEqual(noise);
    }
  });

  it('sees that a file has changed', async () => {
    const path = join(folder, 'changing.png');
    await writeFile(path, await rgb.clone().png().toBuffer());
    await decodeImage(path);
    await writeFile(path, await rgb.clone().negate().png().toBuffer());
    expect((await decodeImage(path)).data[0]).toBe(255 - noise.data[0]!);
  });

  it('drops alpha and does not blend it', async () => {
    const withAlpha = new Uint8Array(W * H * 4);
    for (let i = 0; i < W * H; i++) {
      withAlpha.set(noise.data.subarray(i * 3, i * 3 + 3), i * 4);
      withAlpha[i * 4 + 3] = i % 256;
    }
    const bytes = await sharp(withAlpha, { raw: { width: W, height: H, channels: 4 } })
      .png()
      .toBuffer();
    expect(await decodeImage(bytes)).toEqual(noise);
  });

  it('spreads grey over three channels, at 1, 2, 4 and 8 bits, with and without alpha', async () => {
    expect(firstChannel((await decodeImage(png(8, 1, 1, 0, [Buffer.of(0b10100001)]))).data)).toEqual(
      [1, 0, 1, 0, 0, 0, 0, 1].map((bit) => bit * 255),
    );
    expect([...(await decodeImage(png(4, 1, 2, 0, [Buffer.of(0b00011011)]))).data]).toEqual([
      0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255,
    ]);
    expect(firstChannel((await decodeImage(png(2, 1, 4, 0, [Buffer.of(0x3f)]))).data)).toEqual([51, 255]);
    expect([...(await decodeImage(png(2, 1, 8, 0, [Buffer.of(7, 200)]))).data]).toEqual([7, 7, 7, 200, 200, 200]);
    expect([...(await decodeImage(png(2, 1, 8, 4, [Buffer.of(7, 0, 200, 9)]))).data]).toEqual([7, 7, 7, 200, 200, 200]);
  });

  it('reads palettes, with transparency too', async () => {
    // Two colours, so that the palette holds them exactly.
    const pixels = new Uint8Array(W * H * 4);
    for (let i = 0; i < W * H; i++) pixels.set(i % 3 ? [200, 30, 60, 255] : [10, 250, 90, 255], i * 4);
    const raw = { raw: { width: W, height: H, channels: 4 as const } };
    const bytes = await sharp(pixels, raw).png({ palette: true }).toBuffer();
    expect((await sharp(bytes).metadata()).isPalette).toBe(true);
    expect([...(await decodeImage(bytes)).data.subarray(0, 6)]).toEqual([10, 250, 90, 200, 30, 60]);
  });

  it('gives one grey one level, whatever else is in the image', async () => {
    const warnings: string[] = [];
    const onBrightestSample = (name: string, brightest: number) => void warnings.push(`${name} ${brightest}`);
    const levelOf = async (brightest: number, bitDepth?: number) => {
      const image = grey16([800, brightest]);
      return (await decodeImage(image, { bitDepth, onBrightestSample, name: 'x' })).data[0];
    };
    for (const brightest of [1023, 4095, 16383, 65535]) {
      expect(await levelOf(brightest)).toBe(800 >> 8);
      expect(await levelOf(brightest, 16)).toBe(800 >> 8);
      expect(await levelOf(brightest, 12)).toBe(800 >> 4);
      expect(await levelOf(brightest, 10)).toBe(800 >> 2);
    }
    expect(warnings.slice(0, 4)).toEqual(['x 1023', 'x 1023', 'x 1023', 'x 1023']);
  });

  it.each([8, 10, 12, 14, 16])('keeps the upper eight of %i bits and cuts off above them', async (bitDepth) => {
    const brightest = 2 ** bitDepth - 1;
    const samples = [0, brightest, brightest >> 1, (brightest >> 1) + 1, brightest >> 3, 65535];
    const levels = samples.map((sample) => Math.min(255, sample >> (bitDepth - 8)));
    expect(levels[1]).toBe(255);
    const options = { bitDepth, onBrightestSample: () => undefined };
    const plain = await decodeImage(grey16(samples), options);
    expect([plain.width, plain.height]).toEqual([6, 1]);
    expect([...plain.data]).toEqual(levels.flatMap((level) => [level, level, level]));
    // Alpha is not taken for brightness.
    expect(firstChannel((await decodeImage(grey16(samples, 65535), options)).data)).toEqual(levels);
    // 8-bit images have no other depth.
    expect(await decodeImage(await rgb.clone().png().toBuffer(), options)).toEqual(noise);
  });

  it('scales 16-bit colour as it scales grey', async () => {
    const row = Buffer.alloc(6);
    [4095, 800, 65535].forEach((word, i) => {
      row.writeUInt16BE(word, i * 2);
    });
    const seen: number[] = [];
    const onBrightestSample = (_: string, brightest: number) => void seen.push(brightest);
    const { data } = await decodeImage(png(1, 1, 16, 2, [row]), { bitDepth: 12, onBrightestSample });
    expect([...data]).toEqual([255, 50, 255]);
    expect(seen).toEqual([65535]);
    row.writeUInt16BE(3000, 4);
    expect([...(await decodeImage(png(1, 1, 16, 2, [row]), { onBrightestSample })).data]).toEqual([15, 3, 11]);
    expect(seen).toEqual([65535, 4095]);
  });

  it.each([7, 17, 12.5, '12'])('refuses a bit depth of %s', async (bitDepth) => {
    await expect(decodeImage(noise, { bitDepth: bitDepth as number })).rejects.toThrow(
      /`bitDepth`: expected a whole number from 8 to 16, got/,
    );
  });

  it('keeps the high byte of 16-bit colour', async () => {
    const row = Buffer.alloc(12);
    [0x1234, 0xabcd, 0x00ff, 0xff00, 0x8000, 0x7fff].forEach((word, i) => {
      row.writeUInt16BE(word, i * 2);
    });
    expect([...(await decodeImage(png(2, 1, 16, 2, [row]))).data]).toEqual([0x12, 0xab, 0, 0xff, 0x80, 0x7f]);
  });

  it('converts CMYK without a profile, as Pillow does', async () => {
    const flat = (background: string) =>
      sharp({ create: { width: 16, height: 16, channels: 3, background } })
        .toColourspace('cmyk')
        .jpeg({ quality: 100 })
        .toBuffer();
    for (const colour of ['#ffffff', '#c8285a', '#050505']) {
      const bytes = await flat(colour);
      expect((await sharp(bytes).metadata()).space).toBe('cmyk');
      const raw = await sharp(bytes, { ignoreIcc: true })
        .pipelineColourspace('cmyk')
        .toColourspace('cmyk')
        .raw()
        .toBuffer();
      const [c, m, y, k] = raw as unknown as [number, number, number, number];
      const light = 255 - k;
      const { data } = await decodeImage(bytes);
      expect([...data.subarray(0, 3)]).toEqual([c, m, y].map((ink) => light - Math.round((ink * light) / 255)));
    }
  });

  it('ignores colour profiles', async () => {
    const tagged = await rgb.clone().withIccProfile('p3').png().toBuffer();
    expect((await sharp(tagged).metadata()).icc).toBeDefined();
    const stored = await sharp(tagged, { ignoreIcc: true }).raw().toBuffer();
    expect(Buffer.from((await decodeImage(tagged)).data).equals(stored)).toBe(true);
  });

  it.each([
    [3, (x: number, y: number) => (H - 1 - y) * W + (W - 1 - x), W, H],
    [6, (x: number, y: number) => (H - 1 - x) * W + y, H, W],
    [8, (x: number, y: number) => x * W + (W - 1 - y), H, W],
  ])('turns an image by its EXIF orientation %i', async (orientation, source, width, height) => {
    const bytes = await rgb.clone().withMetadata({ orientation }).png().toBuffer();
    const image = await decodeImage(bytes);
    expect([image.width, image.height]).toEqual([width, height]);
    expect(await imageSize(bytes)).toEqual({ width, height });
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = (y * width + x) * 3;
        const from = source(x, y) * 3;
        expect([...image.data.subarray(at, at + 3)]).toEqual([...noise.data.subarray(from, from + 3)]);
      }
    }
  });

  it('takes the first frame of an animation', async () => {
    const frames = Buffer.concat([Buffer.alloc(16 * 16 * 3, 255), Buffer.alloc(16 * 16 * 3, 0)]);
    const gif = await sharp(frames, { raw: { width: 16, height: 32, channels: 3, pageHeight: 16 } })
      .gif()
      .toBuffer();
    expect((await sharp(gif).metadata()).pages).toBe(2);
    const image = await decodeImage(gif);
    expect([image.width, image.height]).toEqual([16, 16]);
    expect(image.data.every((value) => value === 255)).toBe(true);
  });

  it('passes pixels through, and checks them', async () => {
    expect(await decodeImage(noise)).toBe(noise);
    expect(await decodeImage({ path: 'lazy', decode: async () => noise })).toBe(noise);
    await expect(decodeImage({ ...noise, width: W + 1 })).rejects.toThrow(/pixels are 1224 bytes, but `data` has 1173/);
    await expect(decodeImage({ ...noise, height: 0 })).rejects.toThrow(ImageError);
    const bad = { path: 'case-7', decode: async () => ({ ...noise, width: 2 }) };
    await expect(decodeImage(bad)).rejects.toThrow(/^case-7: not an RGB image/);
  });

  it.each(['png', 'jpeg', 'webp', 'gif', 'tiff', 'avif'] as const)(
    'names a %s file that is cut short',
    async (format) => {
      const bytes = await rgb.clone().toFormat(format).toBuffer();
      expect((await decodeImage(bytes)).width).toBe(W);
      const path = join(folder, `cut.${format}`);
      for (const share of [0.3, 0.6, 0.9]) {
        await writeFile(path, bytes.subarray(0, Math.floor(bytes.length * share)));
        const error = await decodeImage(path).catch((caught: unknown) => caught);
        expect(error).toBeInstanceOf(ImageError);
        expect((error as ImageError).message).toContain(path);
        expect((error as ImageError).details.path).toBe(path);
      }
    },
  );

  it('says what is wrong with a file', async () => {
    const missing = join(folder, 'missing.png');
    await expect(decodeImage(missing)).rejects.toThrow(`${missing}: cannot read the image: no such file`);
    await expect(decodeImage(folder)).rejects.toThrow('a folder, not a file');
    await expect(decodeImage('https://example.com/a.png')).rejects.toThrow('A string is a file path');
    await expect(decodeImage(Buffer.alloc(0), { name: 'nothing' })).rejects.toThrow(
      /^nothing: not a .* image, but an empty file/,
    );
    await expect(decodeImage(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'))).rejects.toThrow(
      /not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF image, but an SVG drawing/,
    );
  });

  it('refuses too many pixels before decoding them', async () => {
    const bytes = await rgb.clone().png().toBuffer();
    await expect(decodeImage(bytes, { maxPixels: W * H - 1 })).rejects.toThrow(
      /23 × 17 pixels are more than the limit of 390/,
    );
    expect((await decodeImage(bytes, { maxPixels: W * H })).width).toBe(W);
    // 40,000 × 40,000 in the header of a file of a few bytes.
    const bomb = png(40_000, 40_000, 8, 2, [Buffer.alloc(10)]);
    await expect(decodeImage(bomb, { name: 'bomb.png' })).rejects.toThrow(/^bomb\.png: 40000 × 40000 pixels/);
    await expect(imageSize(bomb)).rejects.toThrow(ImageError);
  });
});

describe('TIFF and bitmaps', () => {
  it.each([
    ['32-bit floating-point', 32, 3],
    ['32-bit', 32, 1],
    ['32-bit', 32, 2],
    ['signed 16-bit', 16, 2],
    ['signed 8-bit', 8, 2],
  ])('of %s samples have no known range (%i bits, format %i)', async (kind, bits, format) => {
    const bytes = tiffOf(4, 3, bits, new Uint8Array((12 * bits) / 8).fill(7), { 339: format });
    await expect(decodeImage(bytes, { name: 'scan.tif' })).rejects.toThrow(
      `scan.tif: a TIFF of ${kind} samples, whose range is not known`,
    );
  });

  it('of 12 or 64 bits a sample are refused with what to do', async () => {
    for (const bits of [12, 64]) {
      const bytes = tiffOf(4, 3, bits, new Uint8Array(96), { 339: bits === 64 ? 3 : 1 });
      await expect(decodeImage(bytes)).rejects.toThrow(/hint: TIFF has kinds that are not read.*8 or 16 bits/);
    }
  });

  it('of camera RAW files are not taken for their preview', async () => {
    const pixels = new Uint8Array(12);
    const preview = tiffOf(4, 3, 8, pixels, { 254: 1, 330: 4000 });
    await expect(decodeImage(preview)).rejects.toThrow(/but a camera RAW file, whose first image is a preview/);
    await expect(decodeImage(tiffOf(4, 3, 8, pixels, { 50706: 4 }))).rejects.toThrow(/camera RAW/);
    expect((await decodeImage(tiffOf(4, 3, 8, pixels, { 254: 0 }))).width).toBe(4);
  });

  it('are big and little-endian, classic and BigTIFF', async () => {
    for (const bigtiff of [false, true]) {
      const bytes = await rgb.clone().tiff({ bigtiff, compression: 'none' }).toBuffer();
      expect(bytes[2]).toBe(bigtiff ? 43 : 42);
      expect(await decodeImage(bytes)).toEqual(noise);
    }
    const turned = await rgb
      .clone()
      .withMetadata({ orientation: 6 })
      .tiff({ bigtiff: true, compression: 'lzw' })
      .toBuffer();
    expect(await imageSize(turned)).toEqual({ width: H, height: W });
    expect((await decodeImage(turned)).width).toBe(H);
  });

  it('cut short or of odd headers are refused with the reason', async () => {
    const bmp = bmpOf(5, 4);
    expect([...(await decodeImage(bmp)).data.subarray(0, 3)]).toEqual([200, 100, 50]);
    await expect(decodeImage(bmp.subarray(0, 80), { name: 'a.bmp' })).rejects.toThrow(
      /^a\.bmp: the image does not decode: 80 bytes, where 117 were expected/,
    );
    await expect(decodeImage(bmp.subarray(0, 30))).rejects.toThrow(/header of the image cannot be read/);
    const edited = (at: number, value: number) => {
      const copy = Buffer.from(bmp);
      copy.writeInt32LE(value, at);
      return copy;
    };
    await expect(decodeImage(edited(18, -5))).rejects.toThrow(/-5 × 4 pixels/);
    await expect(decodeImage(edited(28, 7))).rejects.toThrow(/7 bits a pixel are not known/);
    await expect(decodeImage(edited(30, 4))).rejects.toThrow(/compression 4 with 24 bits/);
    await expect(decodeImage(edited(22, 2 ** 31 - 1))).rejects.toThrow(/more than the limit/);
    await expect(decodeImage(edited(10, 2 ** 31 - 1))).rejects.toThrow(ImageError);
  });

  it('of several pages give the first, with a word', async () => {
    const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const { file } = fixtures.find(({ name }) => name === 'tiff two pages')!;
    const bytes = Buffer.from(file, 'base64');
    await decodeImage(bytes, { name: 'stack.tif' });
    await decodeImage(bytes, { name: 'stack.tif' });
    const lines = emit.mock.calls.map(([line]) => String(line));
    emit.mockRestore();
    expect(lines).toEqual([expect.stringMatching(/^stack\.tif: a TIFF of 2 pages; .*only the first page/)]);
  });
});

describe('AVIF', () => {
  it('is read, and turned by its decoder alone', async () => {
    const flat = sharp({ create: { width: 32, height: 16, channels: 3, background: '#c06030' } });
    const image = await decodeImage(await flat.clone().avif({ lossless: true }).toBuffer());
    expect([image.width, image.height]).toEqual([32, 16]);
    expect(Math.abs(image.data[0]! - 0xc0)).toBeLessThan(4);
  });
});

describe('an aspect ratio', () => {
  it('is refused above the limit that was given, as the image is meant to be seen', async () => {
    const tall = await sharp({ create: { width: 2, height: 300, channels: 3, background: '#fff' } })
      .png()
      .toBuffer();
    expect((await decodeImage(tall, { maxAspectRatio: 150 })).height).toBe(300);
    for (const read of [decodeImage, imageSize])
      await expect(read(tall, { maxAspectRatio: 149, name: 'tall' })).rejects.toThrow(
        /^tall: 2 × 300 pixels: one side is more than 149 times the other/,
      );
    expect((await decodeImage(tall)).height).toBe(300);
  });
});

describe('hostile images', () => {
  const row = Buffer.alloc(4 * 3);
  const tiny = (chunk: Buffer): Buffer => png(4, 4, 8, 2, [row, row, row, row], chunk);

  it('with text and profiles that unpack to hundreds of megabytes cost neither time nor memory', async () => {
    const packed = deflateSync(Buffer.alloc(200_000_000));
    for (const [type, head] of [
      ['iCCP', 'profile\0\0'],
      ['zTXt', 'comment\0\0'],
      ['iTXt', 'comment\0\u0001\0\0\0'],
    ] as const) {
      const bytes = tiny(pngChunk(type, Buffer.concat([Buffer.from(head, 'latin1'), packed])));
      const before = process.memoryUsage().rss;
      const start = process.cpuUsage();
      // Some decoders pass over the chunk, some refuse it; none may unpack it.
      await decodeImage(bytes).catch((error: unknown) => expect(error).toBeInstanceOf(ImageError));
      expect(process.cpuUsage(start).user / 1e6).toBeLessThan(1);
      expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
    }
  });

  it('of no extent, or with more data than pixels, are refused or cut', async () => {
    await expect(decodeImage(png(0, 4, 8, 2, [row]), { name: 'flat' })).rejects.toThrow(/^flat: /);
    const overfull = png(4, 4, 8, 2, [Buffer.alloc(100_000_000)]);
    expect((await decodeImage(overfull)).data.length).toBe(4 * 4 * 3);
  });

  it.each([
    ['a PDF document', '%PDF-1.7\n%\u00e2\u00e3'],
    ['an SVG drawing', '<?xml version="1.0"?><svg><image href="file:///etc/passwd"/></svg>'],
    ['a HEIC image', '\0\0\0\u0018ftypheic\0\0\0\0mif1heic'],
    ['a text file', 'push graphic-context\nviewbox 0 0 640 480'],
  ])('that are %s under the name of a PNG are refused by content', async (what, content) => {
    const path = join(folder, 'posing.png');
    await writeFile(path, content, 'latin1');
    const error = await decodeImage(path).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ImageError);
    expect((error as ImageError).message).toContain(
      `${path}: not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF image, but ${what}`,
    );
  });

  it('that are pipes are not waited for', async () => {
    const path = join(folder, 'pipe.png');
    execFileSync('mkfifo', [path]);
    await expect(decodeImage(path)).rejects.toThrow(`${path}: cannot read the image: not a regular file`);
  });
});

describe('imageSize', () => {
  it('reads the header alone', async () => {
    const bytes = await rgb.clone().png().toBuffer();
    const path = join(folder, 'header.png');
    await writeFile(path, bytes.subarray(0, bytes.length - 100));
    expect(await imageSize(path)).toEqual({ width: W, height: H });
    expect(await imageSize(new ImageFile(path))).toEqual({ width: W, height: H });
    await expect(decodeImage(path)).rejects.toThrow(ImageError);
  });

  it('takes pixels and lazy handles', async () => {
    expect(await imageSize(noise)).toEqual({ width: W, height: H });
    expect(await imageSize({ path: 'x', decode: async () => noise })).toEqual({ width: W, height: H });
  });
});

describe('imageFormatOf', () => {
  it('tells formats by their first bytes', async () => {
    for (const format of ['png', 'jpeg', 'webp', 'gif', 'tiff', 'avif'] as const) {
      expect(imageFormatOf((await rgb.clone().toFormat(format).toBuffer()).subarray(0, 12))).toBe(format);
    }
    expect(imageFormatOf(Buffer.from('RIFF1234WAVE'))).toBeUndefined();
    expect(imageFormatOf(Buffer.of(0xff, 0xd8))).toBeUndefined();
  });
});
