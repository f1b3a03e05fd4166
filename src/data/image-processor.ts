/**
 * The Pixtral image processor: an image of any size to normalised float32 pixels whose sides are whole
 * token cells. Bit-equal to transformers' `PixtralImageProcessor` (torchvision, on the CPU) for equal input pixels.
 */
import { z } from 'zod';
import { checkNames, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError, ImageError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { requireOneObject, requireSignal } from '../require-given.js';
import { decodeWithin } from './decode-budget.js';
import { imageName } from './decode-image.js';
import { type PixelSettings, type ProcessedImage, processPixels, resizedSize } from './process-pixels.js';
import type { ImageInput } from './types.js';

/** An image is enlarged to whole cells of patch × merge pixels: these bound what the smallest one becomes. */
const MAX_PATCH = 128;
const MAX_MERGE = 16;
const MAX_EDGE = 65_536;

const triple = lazySchema(() =>
  z.array(z.number()).length(3, 'expected three numbers, for red, green and blue').readonly(),
);
/** Options of `ImageProcessor`; the defaults are those of Pixtral. */
export interface ImageProcessorOptions {
  /** Longest side in pixels after resizing, before rounding up to whole cells. Default: 1540. */
  longestEdge?: number | undefined;
  /** Side of a patch of the vision tower in pixels. Default: 14. */
  patchSize?: number | undefined;
  /** Patches along each side of the square that becomes one image token. Default: 2. */
  spatialMergeSize?: number | undefined;
  /** Mean of each channel (red, green, blue), of values in 0..1. Default: CLIP's, 0.48145466, 0.4578275, 0.40821073. */
  imageMean?: readonly number[] | undefined;
  /** Standard deviation of each channel, of values in 0..1. Default: CLIP's, 0.26862954, 0.26130258, 0.27577711. */
  imageStd?: readonly number[] | undefined;
  /** What levels of 0..255 are multiplied by. Default: 1/255. */
  rescaleFactor?: number | undefined;
}

/** Checks {@link ImageProcessorOptions}. */
const imageProcessorSchema = lazySchema(() =>
  z.strictObject({
    longestEdge: z.number().int().positive().max(MAX_EDGE).default(1540),
    patchSize: z.number().int().positive().max(MAX_PATCH).default(14),
    spatialMergeSize: z.number().int().positive().max(MAX_MERGE).default(2),
    imageMean: triple().default([0.48145466, 0.4578275, 0.40821073]),
    imageStd: triple()
      .refine((std) => std.every((value) => value > 0), 'expected positive numbers')
      .default([0.26862954, 0.26130258, 0.27577711]),
    rescaleFactor: z
      .number()
      .positive()
      .default(1 / 255),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof imageProcessorSchema>>, ImageProcessorOptions>>;

/** What a configuration file may hold, in the names of the file. What this processor cannot do is refused by name. */
const imageFieldsSchema = lazySchema(() =>
  z.object({
    image_processor_type: z
      .enum(['PixtralImageProcessor', 'PixtralImageProcessorFast'], {
        error: ({ input }) =>
          `expected PixtralImageProcessor or PixtralImageProcessorFast, got ${showValue(input)}; others compute other pixels`,
      })
      .optional(),
    size: z
      .union(
        [
          z.number().int().positive(),
          z.object({ longest_edge: z.number().int().positive() }),
          z
            .object({ height: z.number().int().positive(), width: z.number().int().positive() })
            .refine((size) => size.height === size.width),
        ],
        { error: 'expected { "longest_edge": pixels }, or an equal height and width' },
      )
      .transform((size) =>
        typeof size === 'number' ? size : 'longest_edge' in size ? size.longest_edge : size.height,
      ),
    patch_size: z
      .union(
        [
          z.number().int().positive(),
          z
            .object({ height: z.number().int().positive(), width: z.number().int().positive() })
            .refine((size) => size.height === size.width),
        ],
        { error: 'expected a number of pixels, or an equal height and width' },
      )
      .transform((size) => (typeof size === 'number' ? size : size.height))
      .nullish(),
    resample: only(3, 'only 3 (bicubic) is implemented'),
    do_resize: only(true, 'the vision tower needs resized images'),
    do_rescale: only(true, 'only rescaling together with normalising is implemented'),
    do_normalize: only(true, 'only rescaling together with normalising is implemented'),
    do_convert_rgb: only(true, 'images are always converted to RGB'),
    do_center_crop: only(false, 'cropping is not implemented'),
    data_format: only('channels_first', 'the vision tower takes channels first'),
    rescale_factor: z.number().positive().nullish(),
    image_mean: triple().nullish(),
    image_std: triple().nullish(),
  }),
);

function only<const T extends boolean | number | string>(value: T, why: string) {
  return z
    .literal(value, { error: ({ input }) => `expected ${JSON.stringify(value)}, got ${showValue(input)}: ${why}` })
    .nullish();
}

const processorFieldsSchema = lazySchema(() =>
  z.object({
    patch_size: z.number().int().positive().nullish(),
    spatial_merge_size: z.number().int().positive().nullish(),
  }),
);

/** What other files of the checkpoint say, for `ImageProcessor.fromConfig`. */
export interface FromConfigOptions {
  /** The older `processor_config.json` that goes with a `preprocessor_config.json`. Default: none. */
  readonly processorConfig?: unknown;
  /** `spatial_merge_size` of the model's `config.json`, in patches, where neither file has it. Default: 2. */
  readonly spatialMergeSize?: number;
}

/** Token cells of an image. */
export interface ImageGrid {
  /** Cells from top to bottom. */
  readonly rows: number;
  /** Cells from left to right. */
  readonly cols: number;
  /** Tokens that stand for the image in the text: a cell each and one break or end token a row. */
  readonly tokens: number;
}

/** Turns images into what the vision tower takes. Holds no state but its settings. */
export class ImageProcessor {
  /** In pixels. A longer side is shrunk to it, then rounded up to whole cells; nothing is enlarged to it. */
  readonly longestEdge: number;
  /** Side of a patch of the vision tower in pixels. */
  readonly patchSize: number;
  /** Patches along each side of an image token. */
  readonly spatialMergeSize: number;
  /** [3] red, green, blue; subtracted from the rescaled levels. */
  readonly imageMean: readonly number[];
  /** [3] red, green, blue; what the difference is divided by. */
  readonly imageStd: readonly number[];
  /** What levels of 0..255 are multiplied by. */
  readonly rescaleFactor: number;

  /** @throws ConfigError listing every fault */
  constructor(options: ImageProcessorOptions = {}) {
    // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
    requireOneObject(arguments.length, 'ImageProcessor', 'new ImageProcessor({ longestEdge: 1540 })');
    const parsed = parseOptions(imageProcessorSchema, options, 'ImageProcessor');
    this.longestEdge = parsed.longestEdge;
    this.patchSize = parsed.patchSize;
    this.spatialMergeSize = parsed.spatialMergeSize;
    this.imageMean = parsed.imageMean;
    this.imageStd = parsed.imageStd;
    this.rescaleFactor = parsed.rescaleFactor;
  }

  /**
   * From the parsed JSON of a checkpoint: `processor_config.json` (with its nested `image_processor`), or the older
   * `preprocessor_config.json` with the older `processor_config.json` beside it. As in transformers, the processor's
   * patch size wins over the image processor's own.
   * @throws ConfigError for a field that is missing or asks for something else than this processor computes
   */
  static fromConfig(config: unknown, options: FromConfigOptions = {}): ImageProcessor {
    checkNames(options, { processorConfig: false, spatialMergeSize: false }, 'ImageProcessor.fromConfig');
    const nested = typeof config === 'object' && config !== null && 'image_processor' in config;
    const what = nested ? 'processor_config.json' : 'preprocessor_config.json';
    // Merged under the processor's name so that one error lists the faults of both parts.
    const schema = nested
      ? processorFieldsSchema().extend({ image_processor: imageFieldsSchema() })
      : imageFieldsSchema();
    const parsed = parseOptions(schema, config, what);
    const beside = parseOptions(processorFieldsSchema, options.processorConfig ?? {}, 'processor_config.json');
    const image = 'image_processor' in parsed ? parsed.image_processor : parsed;
    const outer = 'image_processor' in parsed ? parsed : beside;
    const patchSize = outer.patch_size ?? beside.patch_size ?? image.patch_size;
    const spatialMergeSize = outer.spatial_merge_size ?? beside.spatial_merge_size ?? options.spatialMergeSize;
    const missing = [
      ...(patchSize == null ? ['patch_size'] : []),
      ...(spatialMergeSize == null ? ['spatial_merge_size'] : []),
    ];
    if (patchSize == null || spatialMergeSize == null) {
      throw new ConfigError(`${what}: ${missing.join(' and ')} missing`, {
        hint: 'Give the processor_config.json beside it, or `spatialMergeSize` from the config.json of the model.',
        details: { missing },
      });
    }
    return new ImageProcessor({
      longestEdge: image.size,
      patchSize,
      spatialMergeSize,
      ...(image.image_mean ? { imageMean: image.image_mean } : {}),
      ...(image.image_std ? { imageStd: image.image_std } : {}),
      ...(image.rescale_factor ? { rescaleFactor: image.rescale_factor } : {}),
    });
  }

  /** The settings as plain data, as a worker thread takes them. */
  get settings(): PixelSettings {
    const { longestEdge, imageMean, imageStd, rescaleFactor } = this;
    return { longestEdge, cellSize: this.patchSize * this.spatialMergeSize, imageMean, imageStd, rescaleFactor };
  }

  /**
   * Size in pixels after resizing: multiples of patch size × merge size, at most `longestEdge` rounded up.
   * @throws ImageError for an image so narrow that shrinking leaves nothing of it; `name` is for the message
   */
  resizedSize(
    width: number,
    height: number,
    name = 'image',
  ): {
    /** Pixels. */
    width: number;
    /** Pixels. */
    height: number;
  } {
    if (!(Number.isInteger(width) && width > 0 && Number.isInteger(height) && height > 0)) {
      throw new ImageError(
        `${name}: expected a width and a height of whole pixels, got ${showValue(width)} and ${showValue(height)}`,
        {
          details: { path: name },
        },
      );
    }
    const size = resizedSize(width, height, this.settings);
    if (size.width === 0 || size.height === 0) {
      throw new ImageError(
        `${name}: ${width} × ${height} pixels: shrunk to a longest edge of ${this.longestEdge} the image has no ` +
          `${size.width === 0 ? 'width' : 'height'} left`,
        { hint: 'Crop the image, or leave it out.', details: { path: name, width, height } },
      );
    }
    return size;
  }

  /** Rows and columns of token cells of an image of that size, without decoding it. */
  gridOf(width: number, height: number): ImageGrid {
    const size = this.resizedSize(width, height);
    const cell = this.patchSize * this.spatialMergeSize;
    const rows = size.height / cell;
    const cols = size.width / cell;
    return { rows, cols, tokens: rows * (cols + 1) };
  }

  /**
   * Decodes, resizes and normalises one image on this thread; `ImagePool` does the same on others.
   * @throws ImageError naming the image
   */
  async process(input: ImageInput, options: { readonly signal?: AbortSignal } = {}): Promise<ProcessedImage> {
    checkNames(options, { signal: false }, 'ImageProcessor.process');
    requireSignal(options.signal, 'ImageProcessor.process');
    options.signal?.throwIfAborted();
    const { image, release } = await decodeWithin(input, options.signal);
    try {
      options.signal?.throwIfAborted();
      this.resizedSize(image.width, image.height, imageName(input));
      return processPixels(image, this.settings);
    } finally {
      release();
    }
  }
}
