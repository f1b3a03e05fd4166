/**
 * Draws the data set of the demonstration: small radiographs of one long bone, each with one of ten kinds of fracture.
 * They stand in for real X-rays where nothing may be downloaded. Every image has its own seed: its own bone, pose,
 * soft tissue, exposure, film grain, and place and size of the fracture. They are drawings, not medical images.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type sharp from 'sharp';
import { z } from 'zod';
import { lazySchema, parseOptions, pathOption } from '../config.js';
import { loadSharp } from '../data/load-sharp.js';
import { ConfigError } from '../errors.js';
import { makeOutputFolder } from '../files/disk-errors.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';
import { counterHash } from '../random.js';
import { requireOneObject } from '../require-given.js';
import { Dice, degrees, FRACTURES, makeBone, type Piece } from './fracture-shapes.js';

/** Pixels of a drawn image. */
export const RADIOGRAPH_WIDTH = 84;
export const RADIOGRAPH_HEIGHT = 112;

/** How much of a pixel lies inside, given the distance of its centre from the edge: the lines are anti-aliased. */
const cover = (d: number): number => Math.min(1, Math.max(0, 0.5 - d));

/** The ten kinds of fracture that are drawn, sorted as class names of a folder are. */
export const FRACTURE_CLASSES: readonly string[] = Object.keys(FRACTURES);

/**
 * One image of one class. It is a drawing, no medical image.
 * @param className one of {@link FRACTURE_CLASSES}
 * @param seed a whole number; the same gives the same bytes
 * @returns [RADIOGRAPH_HEIGHT, RADIOGRAPH_WIDTH] grey levels, 0 to 255
 * @throws ConfigError for an unknown class
 */
export function drawRadiograph(className: string, seed: number): Uint8Array {
  const compose = Object.hasOwn(FRACTURES, className) ? FRACTURES[className] : undefined;
  if (!compose) {
    const near = typeof className === 'string' ? nearestName(className, FRACTURE_CLASSES) : undefined;
    throw new ConfigError(`drawRadiograph: there is no class ${showValue(className)}`, {
      hint: near ? `Did you mean ${showValue(near)}?` : `Known classes: ${FRACTURE_CLASSES.join(', ')}.`,
    });
  }
  const dice = new Dice(seed);
  const scene = compose(dice, makeBone(dice));
  const pose = degrees(dice.between(-4, 4));
  const [cos, sin] = [Math.cos(pose), Math.sin(pose)];
  const centreX = RADIOGRAPH_WIDTH / 2 + dice.between(-2, 2);
  const centreY = RADIOGRAPH_HEIGHT / 2 + dice.between(-2, 2);
  const tissue = { halfWidth: dice.between(30, 36), density: dice.between(0.18, 0.3), lean: dice.between(-4, 4) };
  const cortex = dice.between(2, 3);
  const exposure = dice.between(0.94, 1.06);
  const grain = dice.between(0.006, 0.012);
  const pixels = new Uint8Array(RADIOGRAPH_WIDTH * RADIOGRAPH_HEIGHT);
  for (let y = 0; y < RADIOGRAPH_HEIGHT; y++) {
    for (let x = 0; x < RADIOGRAPH_WIDTH; x++) {
      const u = (y - centreY) * cos + (x - centreX) * sin;
      const v = (x - centreX) * cos - (y - centreY) * sin;
      // Soft tissue is thickest over the bone, as a cylinder is.
      const across = (v - tissue.lean) / tissue.halfWidth;
      const flesh = tissue.density * Math.sqrt(Math.max(0, 1 - across * across));
      let gap = 1;
      for (const mark of scene.marks ?? []) gap *= 1 - mark.depth * cover(mark.distance(u, v) - mark.halfWidth);
      let bone = 0;
      for (const piece of scene.pieces) bone += density(piece, u, v, cortex);
      // Rays are absorbed exponentially; the film shows dense parts bright.
      const level = exposure * (1 - Math.exp(-flesh - bone * gap)) + 0.03 + grain * dice.normal();
      pixels[y * RADIOGRAPH_WIDTH + x] = Math.round(255 * Math.min(1, Math.max(0, level)));
    }
  }
  return pixels;
}

/** What a piece absorbs at a point: a bright cortex around a dimmer marrow. */
function density(piece: Piece, u: number, v: number, cortex: number): number {
  const { bone, keep, du = 0, dv = 0, turn = 0, pivot = 0 } = piece;
  const c = Math.cos(turn);
  const s = Math.sin(turn);
  const pu = u - du - pivot;
  const pv = v - dv;
  const qu = pivot + pu * c + pv * s;
  const qv = pv * c - pu * s;
  const edge = bone(qu, qv);
  if (edge >= 0.5) return 0;
  const depth = edge / cortex;
  return cover(edge) * cover(keep(qu, qv)) * (0.5 + 0.65 * Math.exp(-depth * depth));
}

/** Options of {@link drawRadiographs}. */
export interface DrawRadiographsOptions {
  /** Folder that receives `<Class>/{Train,Test}/*.png`; made if it does not exist. Required. */
  readonly outputDir: string;
  /** Training images of each of the ten classes. Required. */
  readonly trainPerClass: number;
  /** Test images of each class. None of them has a seed of a training image. Required. */
  readonly testPerClass: number;
  /** A whole number from 0; the same gives the same images, and more of a class change none. Default: 42. */
  readonly seed?: number | undefined;
}

const schema = lazySchema(() =>
  z.strictObject({
    outputDir: pathOption(),
    trainPerClass: z.int().min(0).max(100_000),
    testPerClass: z.int().min(0).max(100_000),
    seed: z.int().min(0).optional(),
  } satisfies Record<keyof DrawRadiographsOptions, z.ZodType>),
);

const ALIASES: Readonly<Record<string, string>> = { dir: 'outputDir', out: 'outputDir', folder: 'outputDir' };

/** Of images and weights, where none is given. */
export const DEMONSTRATION_SEED = 42;

/** Image `index` of a class. Test counts from 2^31, so that no image is in both splits. */
export function radiographOf(className: string, seed: number, split: 'Train' | 'Test', index: number): Uint8Array {
  const label = FRACTURE_CLASSES.indexOf(className);
  const counter = (split === 'Test' ? 0x80000000 : 0) + index * FRACTURE_CLASSES.length + label;
  return drawRadiograph(className, counterHash(seed, counter));
}

/**
 * Writes a data set of drawn X-rays of bones: ten classes of fractures in the layout of the public one, as
 * `ImageFolder.load` reads it. Small grey PNG files; 5 to 10 ms each.
 *
 * ```ts
 * await drawRadiographs({ outputDir: 'drawn', trainPerClass: 24, testPerClass: 4 });
 * const data = await ImageFolder.load('drawn');
 * ```
 * @throws ConfigError for wrong options, or if sharp, which writes images, cannot be loaded; DiskError if no folder can be
 *   made there
 */
export async function drawRadiographs(options: DrawRadiographsOptions): Promise<void> {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'drawRadiographs', 'await drawRadiographs({ outputDir })');
  const { outputDir, seed = DEMONSTRATION_SEED, ...counts } = parseOptions(schema, options, 'drawRadiographs', ALIASES);
  const write = pngWriter(await loadSharp());
  for (const className of FRACTURE_CLASSES) {
    for (const split of ['Train', 'Test'] as const) {
      const folder = join(outputDir, className, split);
      await makeOutputFolder(folder, 'drawRadiographs: `outputDir`');
      const count = split === 'Train' ? counts.trainPerClass : counts.testPerClass;
      // Encoding runs on the threads of sharp while the next image is drawn.
      const writes = Array.from({ length: count }, (_, i) => {
        const pixels = radiographOf(className, seed, split, i);
        return write(join(folder, `${String(i).padStart(4, '0')}.png`), pixels);
      });
      await Promise.all(writes);
    }
  }
}

/** Writes under a temporary name first, so that an image is whole or absent. */
function pngWriter(make: typeof sharp): (file: string, pixels: Uint8Array) => Promise<void> {
  const raw = { width: RADIOGRAPH_WIDTH, height: RADIOGRAPH_HEIGHT, channels: 1 as const };
  return async (file, pixels) => {
    await make(pixels, { raw }).toColourspace('b-w').png().toFile(`${file}.partial`);
    await rename(`${file}.partial`, file);
  };
}
