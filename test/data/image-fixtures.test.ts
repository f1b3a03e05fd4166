/** Every kind of image against the pixels that Pillow reads; see test/fixtures/images/make.py. */
import { describe, expect, it } from 'vitest';
import { decodeImage, imageSize } from '../../src/data/decode-image.js';
import { imageFixtures as fixtures } from './image-fixtures.js';

describe('images of every kind have the pixels that Pillow reads', () => {
  const kinds = ['png colour', 'exif', 'raw profile', 'xmp', 'tiff', 'bmp', 'gif'];
  it.each(kinds)('%s', async (kind) => {
    const ofKind = fixtures.filter(({ name }) => name.startsWith(kind));
    expect(ofKind.length).toBeGreaterThan(0);
    const wrong: string[] = [];
    for (const { name, file, width, height, rgb } of ofKind) {
      const bytes = Buffer.from(file, 'base64');
      const size = await imageSize(bytes, { name });
      const image = await decodeImage(bytes, { name, bitDepth: 16 }).catch((error: unknown) => String(error));
      if (size.width !== width || size.height !== height) wrong.push(`${name}: ${size.width} × ${size.height}`);
      if (typeof image === 'string') wrong.push(image);
      else if (!Buffer.from(image.data).equals(Buffer.from(rgb, 'base64')))
        wrong.push(
          `${name}: ${Buffer.from(image.data).toString('hex').slice(0, 60)}, ${Buffer.from(rgb, 'base64').toString('hex').slice(0, 60)}`,
        );
    }
    expect(wrong).toEqual([]);
  });

  it('all of them', () => {
    expect(fixtures.length).toBeGreaterThan(200);
    expect(fixtures.filter(({ name }) => !kinds.some((kind) => name.startsWith(kind)))).toEqual([]);
  });
});
