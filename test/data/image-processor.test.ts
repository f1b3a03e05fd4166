import { createHash } from 'node:crypto';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { resizedSize } from '../../src/data/process-pixels.js';
import { ConfigError, ImageError } from '../../src/errors.js';
import { noiseImage } from './noise-image.js';

const published = {
  processor_class: 'PixtralProcessor',
  patch_size: 14,
  spatial_merge_size: 2,
  image_token: '[IMG]',
  image_processor: {
    data_format: 'channels_first',
    do_convert_rgb: true,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_processor_type: 'PixtralImageProcessorFast',
    image_std: [0.26862954, 0.26130258, 0.27577711],
    patch_size: 16,
    resample: 3,
    rescale_factor: 0.00392156862745098,
    size: { longest_edge: 1540 },
  },
};

function faultOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}

describe('the resize rule', () => {
  // References: transformers 5.17.0, get_resize_output_image_size, longest edge 1540, cells of 28.
  it.each([
    [1, 1, 28, 28],
    [29, 28, 56, 28],
    [28, 28, 28, 28],
    [1541, 1000, 1540, 1008],
    [3000, 2000, 1540, 1036],
    [4000, 10, 1540, 28],
    [90, 60, 112, 84],
    [1540, 1540, 1540, 1540],
    [1541, 1541, 1540, 1540],
    [6000, 4000, 1540, 1036],
    [1999, 1333, 1540, 1036],
    [640, 640, 644, 644],
    [7, 1600, 28, 1540],
  ])('makes %i × %i pixels %i × %i', (width, height, toWidth, toHeight) => {
    expect(new ImageProcessor().resizedSize(width, height)).toEqual({ width: toWidth, height: toHeight });
  });

  it('gives whole cells, within the longest edge rounded up, and enlarges by less than a cell', () => {
    const side = fc.integer({ min: 1, max: 8000 });
    fc.assert(
      fc.property(
        side,
        side,
        fc.integer({ min: 1, max: 2000 }),
        fc.integer({ min: 1, max: 40 }),
        (w, h, edge, cell) => {
          const size = resizedSize(w, h, { longestEdge: edge, cellSize: cell });
          const most = Math.ceil(edge / cell) * cell;
          for (const [from, to] of [
            [w, size.width],
            [h, size.height],
          ] as const) {
            expect(to % cell).toBe(0);
            expect(to).toBeLessThanOrEqual(most);
            expect(to - from).toBeLessThan(cell);
            if (Math.max(w, h) <= edge) expect(to).toBeGreaterThanOrEqual(from);
          }
          expect(resizedSize(h, w, { longestEdge: edge, cellSize: cell })).toEqual({
            width: size.height,
            height: size.width,
          });
        },
      ),
    );
  });

  it('counts rows, columns and tokens', () => {
    const processor = new ImageProcessor();
    expect(processor.gridOf(112, 84)).toEqual({ rows: 3, cols: 4, tokens: 15 });
    expect(processor.gridOf(5000, 5000)).toEqual({ rows: 55, cols: 55, tokens: 3080 });
  });

  it('refuses an image of which shrinking leaves nothing', () => {
    expect(() => new ImageProcessor().gridOf(4000, 1)).toThrow(/4000 × 1 pixels.*no height left/);
    expect(() => new ImageProcessor().gridOf(0, 10)).toThrow(ImageError);
    expect(() => new ImageProcessor().gridOf(1.5, 10)).toThrow(ImageError);
  });
});

describe('ImageProcessor.process', () => {
  // References: transformers 5.17.0, PixtralImageProcessor on uint8 tensors: SHA-256 of the float32 bytes.
  it.each([
    [61, 45, {}, 84, 56, '74d9e87a0e967812091bae8a6ac9bb0b'],
    [200, 90, { longestEdge: 140 }, 140, 84, '65249f6b73589bcc8765a281e1cf692f'],
    [
      33,
      120,
      {
        longestEdge: 100,
        patchSize: 16,
        spatialMergeSize: 1,
        imageMean: [0.5, 0.25, 0.1],
        imageStd: [0.5, 0.2, 0.3],
        rescaleFactor: 1 / 128,
      },
      32,
      112,
      'e9121e64945c19f7b30840aa8a438d51',
    ],
  ])('is bit-equal to transformers for %i × %i with %j', async (w, h, options, width, height, sha256) => {
    const result = await new ImageProcessor(options).process(noiseImage(w, h));
    expect([result.width, result.height]).toEqual([width, height]);
    expect(result.pixelValues.length).toBe(3 * width * height);
    expect(createHash('sha256').update(result.pixelValues).digest('hex').slice(0, 32)).toBe(sha256);
  });

  it('normalises in float32', async () => {
    const grey = { width: 28, height: 28, data: new Uint8Array(28 * 28 * 3).fill(200) };
    const { pixelValues } = await new ImageProcessor().process(grey);
    const plane = 28 * 28;
    // (200 - mean × 255) / (std × 255), the figures that torch prints.
    expect([pixelValues[0], pixelValues[plane], pixelValues[2 * plane]]).toEqual(
      [1.1274227, 1.2494564, 1.3637935].map(Math.fround),
    );
  });

  it('gives the same for a file in memory as for its pixels', async () => {
    const image = noiseImage(45, 50);
    const png = await sharp(image.data, { raw: { width: 45, height: 50, channels: 3 } })
      .png()
      .toBuffer();
    const processor = new ImageProcessor();
    expect(await processor.process(png)).toEqual(await processor.process(image));
  });

  it('stops for an aborted signal with its reason', async () => {
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await expect(new ImageProcessor().process(noiseImage(5, 5), { signal })).rejects.toBe(reason);
  });

  it('names the image that is too narrow', async () => {
    const image = noiseImage(3000, 1);
    const lazy = { path: 'thin.png', decode: async () => image };
    await expect(new ImageProcessor().process(lazy)).rejects.toThrow(/^thin\.png: 3000 × 1 pixels/);
  });
});

describe('ImageProcessor options', () => {
  it('lists every fault, with the nearest name', () => {
    const options = { longestEge: 5, imageStd: [1, 0, 1], imageMean: [1, 2] } as never;
    const message = faultOf(() => new ImageProcessor(options));
    expect(message).toMatch(/3 faults/);
    expect(message).toMatch(/did you mean `longestEdge`/);
    expect(message).toMatch(/`imageStd`: expected positive numbers/);
    expect(message).toMatch(/`imageMean`: expected three numbers/);
  });
});

describe('ImageProcessor.fromConfig', () => {
  it('reads a published processor_config.json, where the processor decides the patch size', () => {
    const processor = ImageProcessor.fromConfig(published);
    expect(processor.longestEdge).toBe(1540);
    expect(processor.patchSize).toBe(14);
    expect(processor.spatialMergeSize).toBe(2);
    expect(processor.imageMean).toEqual(published.image_processor.image_mean);
    expect(processor.imageStd).toEqual(published.image_processor.image_std);
    expect(processor.rescaleFactor).toBe(0.00392156862745098);
    expect(processor.settings.cellSize).toBe(28);
  });

  it('reads the older pair of files', () => {
    const { patch_size: _, ...image } = published.image_processor;
    const older = { ...image, size: { longest_edge: 700 }, image_mean: [0.1, 0.2, 0.3] };
    const processor = ImageProcessor.fromConfig(older, { processorConfig: { patch_size: 10, spatial_merge_size: 3 } });
    expect(processor.settings).toMatchObject({ longestEdge: 700, cellSize: 30, imageMean: [0.1, 0.2, 0.3] });
  });

  it.each([
    [{ size: { longest_edge: 300 }, patch_size: { height: 14, width: 14 } }, 300, 28],
    [{ size: { height: 300, width: 300 }, patch_size: 16 }, 300, 32],
    [{ size: 280, patch_size: 14, do_center_crop: null, do_pad: false }, 280, 28],
  ])('reads the image processor alone: %j', (config, longestEdge, cellSize) => {
    const processor = ImageProcessor.fromConfig(config, { spatialMergeSize: 2 });
    expect(processor.settings).toMatchObject({ longestEdge, cellSize });
  });

  it.each([
    ['resample', 2],
    ['do_resize', false],
    ['do_rescale', false],
    ['do_normalize', false],
    ['do_convert_rgb', false],
    ['do_center_crop', true],
    ['data_format', 'channels_last'],
    ['image_processor_type', 'CLIPImageProcessor'],
    ['size', { shortest_edge: 224 }],
    ['size', { height: 200, width: 300 }],
    ['patch_size', { height: 14, width: 7 }],
    ['image_mean', [0.5]],
  ])('refuses %s = %j by name', (field, value) => {
    const config = { ...published, image_processor: { ...published.image_processor, [field]: value } };
    expect(faultOf(() => ImageProcessor.fromConfig(config))).toContain(`\`image_processor.${field}`);
  });

  it('says what is missing', () => {
    const { size: _, ...noSize } = published.image_processor;
    expect(faultOf(() => ImageProcessor.fromConfig({ ...published, image_processor: noSize }))).toContain('size');
    const alone = { size: { longest_edge: 300 }, patch_size: 14 };
    expect(faultOf(() => ImageProcessor.fromConfig(alone))).toContain('spatial_merge_size missing');
    expect(faultOf(() => ImageProcessor.fromConfig(null))).toContain('expected an object');
  });
});
