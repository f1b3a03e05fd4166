import { describe, expect, it } from 'vitest';
import { THUMB_EDGE } from '../../src/audit/align-images.js';
import { auditDataset } from '../../src/audit/audit-dataset.js';
import { blurEffect } from '../../src/audit/blur-effect.js';
import { candidates, coarseShape, SHAPE_LENGTH, turned } from '../../src/audit/coarse-shape.js';
import { commonFolder } from '../../src/audit/collect-images.js';
import { distribution } from '../../src/audit/image-issues.js';
import { measureImage } from '../../src/audit/measure-image.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { decodeImage } from '../../src/data/decode-image.js';
import { bmpOf, grey16Png } from '../data/written-images.js';
import { changed, drawn } from './drawn-images.js';

describe('the measures of an image', () => {
  it('are the same for a file and for its pixels', async () => {
    const image = await drawn(1);
    const file = await measureImage(image, undefined);
    const pixels = await measureImage(await decodeImage(image), undefined);
    expect(file).toMatchObject({ width: 160, height: 120, format: 'png', mode: 'RGB', fault: undefined });
    expect(pixels.content).toEqual(file.content);
    expect(pixels.digest).not.toBe(file.digest);
  });

  it('follow the orientation of a photograph', async () => {
    const upright = await drawn(1);
    const lying = await changed(upright, (image) =>
      image.rotate(90).withMetadata({ orientation: 8 }).jpeg({ quality: 100 }),
    );
    const measured = await measureImage(lying, undefined);
    expect(measured).toMatchObject({ width: 160, height: 120 });
    const { thumb } = (await measureImage(upright, undefined)).content!;
    const apart = measured.content!.thumb.reduce((sum, level, i) => sum + Math.abs(level - thumb[i]!), 0);
    expect(apart / thumb.length).toBeLessThan(3);
  });

  it('exist for the unusual kinds, too', async () => {
    const alpha = await changed(await drawn(1), (image) => image.ensureAlpha(0.5).png());
    expect(await measureImage(alpha, undefined)).toMatchObject({ mode: 'RGB with alpha', fault: undefined });
    expect(await measureImage(bmpOf(9, 5), undefined)).toMatchObject({
      width: 9,
      height: 5,
      format: 'bmp',
      mode: 'RGB',
    });
    const cmyk = await changed(await drawn(1), (image) => image.toColourspace('cmyk').jpeg());
    expect(await measureImage(cmyk, undefined)).toMatchObject({ mode: 'CMYK', fault: undefined });
    const deep = grey16Png([0, 65_535, 30_000]);
    expect(await measureImage(deep, undefined)).toMatchObject({
      mode: '16-bit grey',
      width: 3,
      content: { high: 255 },
    });
    const grey = await changed(await drawn(1), (image) => image.toColourspace('b-w').jpeg());
    expect(await measureImage(grey, undefined)).toMatchObject({ mode: 'grey', content: { isColored: false } });
  });

  it('tell of a JPEG that decodes although bytes in its middle are changed', async () => {
    const whole = await changed(await drawn(1), (image) => image.jpeg());
    const broken = Buffer.from(whole);
    broken.fill(0, broken.length >> 1, (broken.length >> 1) + 200);
    const measured = await measureImage(broken, undefined);
    expect(measured).toMatchObject({ fault: undefined, damage: expect.stringMatching(/Corrupt JPEG data/) });
    expect(measured.content).toBeDefined();
    await expect(decodeImage(broken)).resolves.toMatchObject({ width: 160 });
    expect((await measureImage(whole, undefined)).damage).toBeUndefined();
    // Between the last scan and its end, as cameras write them.
    const padded = Buffer.concat([whole.subarray(0, -2), Buffer.alloc(9), whole.subarray(-2)]);
    expect(await measureImage(padded, undefined)).toMatchObject({ fault: undefined, damage: undefined });
    const { issues } = await auditDataset(IndexedDataset.from([broken, whole]));
    expect(issues).toMatchObject([{ kind: 'damaged', image: { index: 0 }, reason: expect.stringMatching(/decodes/) }]);
  });

  it('are a fault for what is no image, and never an error', async () => {
    for (const input of [
      Buffer.from('no image'),
      Buffer.alloc(0),
      { path: 'x', decode: () => Promise.reject(new Error('gone')) },
    ]) {
      const { fault, content, width } = await measureImage(input, undefined);
      expect([typeof fault, content, width]).toEqual(['string', undefined, 0]);
    }
  });
});

describe('the blur effect', () => {
  it('is 0 for single steps between neighbours and grows with blur', async () => {
    const width = 64;
    const stripes = Uint8Array.from({ length: width * width }, (_, i) => (i % 2 === 0 ? 0 : 200));
    expect(blurEffect(stripes, width, width)).toBeCloseTo(1 / 9, 6);
    expect(blurEffect(new Uint8Array(width * width), width, width)).toBe(0);
    const sharp = await drawn(4, 300, 300);
    const effects = [];
    for (const sigma of [1, 3, 9]) {
      effects.push((await measureImage(await changed(sharp, (image) => image.blur(sigma)), undefined)).content!.blur);
    }
    expect(effects).toEqual([...effects].sort((a, b) => a - b));
  });
});

describe('coarse shapes', () => {
  it('follow an image that is turned in each of eight ways', async () => {
    const thumb = (await measureImage(await drawn(3), undefined)).content!.thumb;
    for (let turn = 0; turn < 8; turn++) {
      // What is found is the turn that leads back.
      const shapes = new Float32Array(2 * SHAPE_LENGTH);
      coarseShape(turned(thumb, turn), shapes.subarray(0, SHAPE_LENGTH));
      coarseShape(thumb, shapes.subarray(SHAPE_LENGTH));
      const search = candidates({ shapes, turns: true, limit: 10 });
      let step = search.next();
      while (!step.done) step = search.next();
      const [best] = step.value.sort((a, b) => b.likeness - a.likeness);
      expect(best).toMatchObject({ a: 0, b: 1, turn });
      expect(best!.likeness).toBeCloseTo(1, 4);
    }
    expect(thumb).toHaveLength(THUMB_EDGE ** 2);
  });
});

describe('the rest', () => {
  it('of paths is below the folder that all share', () => {
    expect(commonFolder(['/a/b/c.png', '/a/bc/d.png'])).toBe('/a/');
    expect(commonFolder(['/a/b.png'])).toBe('/a/');
    expect(commonFolder(['x.png', '/a/b.png'])).toBe('');
    expect(commonFolder(['/a/b.png', 'x.png'])).toBe('');
    expect(commonFolder([])).toBe('');
  });

  it('of a distribution is as numpy has it', () => {
    // numpy.percentile([4, 1, 3, 2], [0, 25, 50, 75, 100])
    expect(distribution([4, 1, 3, 2])).toEqual({ min: 1, q1: 1.75, median: 2.5, q3: 3.25, max: 4 });
  });
});
