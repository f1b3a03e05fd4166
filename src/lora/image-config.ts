/** How images are resized, beside an adapter or a merged model: what the base's files say, with what was changed. */
import { join } from 'node:path';
import { ImageProcessor } from '../data/image-processor.js';
import { readJson } from '../files/read-json.js';
import { exists } from '../files/regular-file.js';
import { findImageProcessor } from '../model/load.js';

const NESTED = 'processor_config.json';
const OLDER = 'preprocessor_config.json';
export const IMAGE_CONFIG_FILES = [NESTED, OLDER] as const;

/**
 * The files that make `wanted` of the image processor of a folder.
 * @param base folder of the base model, whose other fields are kept; undefined if it is not known
 * @param always even if the base's files say the same: others are in their place
 * @returns the new text by name
 */
export async function imageConfigTexts(
  wanted: ImageProcessor,
  base: string | undefined,
  always: boolean,
): Promise<Map<string, string>> {
  // What cannot be read is an error where it is wanted: when the model's own processor is loaded.
  const own = base === undefined ? undefined : await findImageProcessor(base).catch(() => undefined);
  if (own && !always && isSame(own, wanted)) return new Map();
  const [nested, older] = own ? await Promise.all([jsonOf(base!, NESTED), jsonOf(base!, OLDER)]) : [];
  const outer = { patch_size: wanted.patchSize, spatial_merge_size: wanted.spatialMergeSize };
  const isNested = older === undefined || isObject(nested?.image_processor);
  const files: [string, Json][] = isNested
    ? [[NESTED, { ...nested, image_processor: { ...asJson(nested?.image_processor), ...fieldsOf(wanted) }, ...outer }]]
    : [
        [OLDER, { ...older, ...fieldsOf(wanted) }],
        [NESTED, { ...nested, ...outer }],
      ];
  return new Map(files.map(([name, json]) => [name, `${JSON.stringify(json, null, 2)}\n`]));
}

/** Of an adapter's folder, as far as it has one that can be read. */
export function imageProcessorOf(directory: string): Promise<ImageProcessor | undefined> {
  return findImageProcessor(directory).catch(() => undefined);
}

/** What a processor or collator resizes with; undefined for one of another making, whose settings no file can say. */
export function heldImageProcessor(
  holder: { readonly imageProcessor?: unknown } | undefined,
): ImageProcessor | undefined {
  const held = holder?.imageProcessor;
  return held instanceof ImageProcessor ? held : undefined;
}

/** Whether both make the same pixels of an image. */
export function isSame(a: ImageProcessor, b: ImageProcessor): boolean {
  const facts = ({ settings, patchSize }: ImageProcessor): string => JSON.stringify([settings, patchSize]);
  return facts(a) === facts(b);
}

/** In the names of transformers. */
function fieldsOf(processor: ImageProcessor): Json {
  const { longestEdge, patchSize, imageMean, imageStd, rescaleFactor } = processor;
  return {
    do_convert_rgb: true,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: imageMean,
    image_processor_type: 'PixtralImageProcessor',
    image_std: imageStd,
    patch_size: { height: patchSize, width: patchSize },
    resample: 3,
    rescale_factor: rescaleFactor,
    size: { longest_edge: longestEdge },
  };
}

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null;
const asJson = (value: unknown): Json => (isObject(value) ? value : {});

async function jsonOf(folder: string, name: string): Promise<Json | undefined> {
  const path = join(folder, name);
  return (await exists(path)) ? asJson(await readJson(path)) : undefined;
}
