/**
 * Draws the data set of the example: small radiographs of one long bone, each with one of ten kinds of fracture.
 * They stand in for real X-rays where nothing may be downloaded. Every image has its own seed: its own bone, pose,
 * soft tissue, exposure, film grain, and place and size of the fracture. They are drawings, not medical images.
 */
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { counterHash } from 'ministral-tune/data';
import sharp from 'sharp';
import { Dice, degrees, FRACTURES, makeBone, type Piece } from './fracture-shapes.js';

export const IMAGE_WIDTH = 84;
export const IMAGE_HEIGHT = 112;

/** How much of a pixel lies inside, given the distance of its centre from the edge: the lines are anti-aliased. */
const cover = (d: number): number => Math.min(1, Math.max(0, 0.5 - d));

/** The ten class names, sorted as the folder walk sorts them. */
export const FRACTURE_CLASSES: readonly string[] = Object.keys(FRACTURES);

/** One image of one class: [IMAGE_HEIGHT, IMAGE_WIDTH] grey levels. The same seed gives the same bytes. */
export function drawRadiograph(className: string, seed: number): Uint8Array {
  const compose = FRACTURES[className];
  if (!compose) throw new RangeError(`no fracture class "${className}"; known: ${FRACTURE_CLASSES.join(', ')}`);
  const dice = new Dice(seed);
  const scene = compose(dice, makeBone(dice));
  const pose = degrees(dice.between(-4, 4));
  const [cos, sin] = [Math.cos(pose), Math.sin(pose)];
  const centreX = IMAGE_WIDTH / 2 + dice.between(-2, 2);
  const centreY = IMAGE_HEIGHT / 2 + dice.between(-2, 2);
  const tissue = { halfWidth: dice.between(30, 36), density: dice.between(0.18, 0.3), lean: dice.between(-4, 4) };
  const cortex = dice.between(2, 3);
  const exposure = dice.between(0.94, 1.06);
  const grain = dice.between(0.006, 0.012);
  const pixels = new Uint8Array(IMAGE_WIDTH * IMAGE_HEIGHT);
  for (let y = 0; y < IMAGE_HEIGHT; y++) {
    for (let x = 0; x < IMAGE_WIDTH; x++) {
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
      pixels[y * IMAGE_WIDTH + x] = Math.round(255 * Math.min(1, Math.max(0, level)));
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

export interface SyntheticRadiographsOptions {
  /** Receives `<Class>/{Train,Test}/*.png`. */
  dir: string;
  seed: number;
  trainPerClass: number;
  testPerClass: number;
}

/** Image `index` of a class. Test counts from 2^31, so that no image is in both splits. */
export function radiographOf(className: string, seed: number, split: 'Train' | 'Test', index: number): Uint8Array {
  const label = FRACTURE_CLASSES.indexOf(className);
  const counter = (split === 'Test' ? 0x80000000 : 0) + index * FRACTURE_CLASSES.length + label;
  return drawRadiograph(className, counterHash(seed, counter));
}

/** Writes the data set in the layout of the public one. No image of Test shares its seed with one of Train. */
export async function drawSyntheticRadiographs(options: SyntheticRadiographsOptions): Promise<void> {
  const { dir, seed, trainPerClass, testPerClass } = options;
  for (const className of FRACTURE_CLASSES) {
    for (const split of ['Train', 'Test'] as const) {
      const folder = join(dir, className, split);
      await mkdir(folder, { recursive: true });
      const count = split === 'Train' ? trainPerClass : testPerClass;
      // Encoding runs on the threads of sharp while the next image is drawn.
      const writes = Array.from({ length: count }, (_, i) => {
        const pixels = radiographOf(className, seed, split, i);
        return writePng(join(folder, `${String(i).padStart(4, '0')}.png`), pixels);
      });
      await Promise.all(writes);
    }
  }
}

/** Writes under a temporary name first, so that an image is whole or absent. */
async function writePng(file: string, pixels: Uint8Array): Promise<void> {
  const raw = { width: IMAGE_WIDTH, height: IMAGE_HEIGHT, channels: 1 as const };
  await sharp(pixels, { raw }).toColourspace('b-w').png().toFile(`${file}.partial`);
  await rename(`${file}.partial`, file);
}
