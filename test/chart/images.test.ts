import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contactSheet, writeContactSheet } from '../../src/chart/contact-sheet.js';
import { renderPng, svgToPng } from '../../src/chart/render.js';
import { rect, svgDocument } from '../../src/chart/svg.js';
import type { RgbImage } from '../../src/data/types.js';
import { ConfigError, ImageError } from '../../src/errors.js';
import { writeFileAtomically } from '../../src/files/atomic-file.js';
import { decode, distance, rgb } from './pixels.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'images-'));
});
afterAll(() => rm(folder, { recursive: true }));

function solid(width: number, height: number, colour: string): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = rgb(colour)[i % 3]!;
  return { width, height, data };
}

describe('rendering', () => {
  const svg = svgDocument(40, 30, 't', [rect(10, 10, 20, 10, '#0072b2')]);

  it('gives one pixel for each unit, times the scale', async () => {
    const once = await decode(await svgToPng(svg));
    expect([once.width, once.height, once.count('#0072b2')]).toEqual([40, 30, 200]);
    const twice = await decode(await svgToPng(svg, { scale: 2 }));
    expect([twice.width, twice.height, twice.count('#0072b2')]).toEqual([80, 60, 800]);
  });

  it('makes missing folders and leaves nothing but the file', async () => {
    await renderPng(svg, join(folder, 'a', 'b', 'image.png'));
    expect(await readdir(join(folder, 'a', 'b'))).toEqual(['image.png']);
    expect((await decode(join(folder, 'a', 'b', 'image.png'))).at(20, 15)).toEqual([0, 114, 178]);
  });

  it('keeps the old file when the new one cannot be drawn', async () => {
    const path = join(folder, 'kept.png');
    await writeFile(path, 'old');
    await expect(renderPng('<svg', path)).rejects.toThrow(ImageError);
    await expect(renderPng(svg, path, { scale: 0 })).rejects.toThrow(ConfigError);
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('cleans up when the target cannot be replaced', async () => {
    const taken = join(folder, 'taken');
    await writeFileAtomically(join(taken, 'child'), 'x');
    await expect(writeFileAtomically(taken, 'y')).rejects.toThrow();
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});

describe('contactSheet', () => {
  it('shows every image whole, centred in its square', async () => {
    const items = [
      { image: solid(40, 20, '#ff0000'), caption: 'wide' },
      { image: solid(20, 40, '#00ff00'), caption: 'tall' },
      { image: solid(1, 1, '#0000ff'), caption: 'one pixel' },
    ];
    const sheet = await decode(await contactSheet(items, { columns: 2, cell: 100 }));
    const margin = 36;
    expect(sheet.width).toBe(2 * margin + 2 * 100 + 22);
    const inFirst = { left: margin, right: margin + 100, top: margin + 25, bottom: margin + 75 };
    expect(sheet.count('#ff0000', inFirst)).toBe(100 * 50);
    expect(sheet.count('#ff0000')).toBe(100 * 50);
    expect(sheet.count('#00ff00')).toBe(50 * 100);
    expect(sheet.count('#0000ff')).toBe(100 * 100);
    expect(sheet.at(margin + 50, margin + 50)).toEqual([255, 0, 0]);
    expect(distance(sheet.at(margin + 50, margin + 10), [20, 24, 29])).toBeLessThan(3);
  });

  it('marks right and wrong answers by colour and sign', async () => {
    const image = solid(10, 10, '#888888');
    const sheet = async (correct?: boolean) =>
      decode(await contactSheet([{ image, caption: 'x', correct }], { cell: 120 }));
    const [right, wrong, neither] = [await sheet(true), await sheet(false), await sheet()];
    expect(right.count('#009e73')).toBeGreaterThan(120 * 4);
    expect(right.count('#d55e00')).toBe(0);
    expect(wrong.count('#d55e00')).toBeGreaterThan(120 * 4);
    expect(wrong.count('#009e73')).toBe(0);
    expect(neither.count('#009e73') + neither.count('#d55e00')).toBe(0);
  });

  it('draws captions below their images and makes room for more lines', async () => {
    const image = solid(10, 10, '#ffffff');
    const one = await decode(await contactSheet([{ image, caption: 'HHHH' }], { cell: 200 }));
    const two = await decode(await contactSheet([{ image, caption: 'HHHH\nHHHH' }], { cell: 200 }));
    expect(two.height - one.height).toBe(21);
    const below = { top: 36 + 205, bottom: one.height };
    const white = one.count('#ffffff', below);
    expect(white).toBeLessThan(one.width * (below.bottom - below.top) - 50);
  });

  it('keeps captions within their column', async () => {
    const image = solid(10, 10, '#ffffff');
    const caption = 'Supercalifragilisticexpialidocious and many other words that go on and on and on and on';
    const sheet = await decode(await contactSheet([{ image, caption }], { cell: 150 }));
    expect(sheet.count('#ffffff', { left: 36 + 151 })).toBe((sheet.width - 36 - 151) * sheet.height);
  });

  it('writes the file whole', async () => {
    const path = join(folder, 'sheet.png');
    await writeContactSheet([{ image: solid(5, 5, '#ff0000'), caption: '' }], path, { title: 'Four images', cell: 50 });
    expect((await decode(path)).count('#ff0000')).toBe(2500);
  });

  it('refuses no images and pixels that do not fit', async () => {
    await expect(contactSheet([])).rejects.toThrow(ConfigError);
    const broken = { width: 4, height: 4, data: new Uint8Array(5) };
    await expect(contactSheet([{ image: broken, caption: '' }])).rejects.toThrow(/4 × 4 × 3 bytes for image 0, got 5/);
    const image = solid(1, 1, '#000000');
    await expect(contactSheet([{ image, caption: '' }], { columns: 0 })).rejects.toThrow(/`columns`/);
    const many = Array.from({ length: 500 }, () => ({ image, caption: '' }));
    await expect(contactSheet(many, { columns: 1 })).rejects.toThrow(
      /500 images in 1 columns make 332 × \d+ pixels, of at most 32767.*\n.*more `columns`/,
    );
  });
});
