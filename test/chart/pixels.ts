/** Looks at real pixels of an image. */
import sharp from 'sharp';
import { svgToPng } from '../../src/chart/render.js';

export type Colour = readonly [red: number, green: number, blue: number];

export interface Pixels {
  readonly width: number;
  readonly height: number;
  at(x: number, y: number): Colour;
  /** Pixels of about this colour inside a box, the whole image by default. */
  count(colour: string, box?: { left?: number; top?: number; right?: number; bottom?: number }): number;
}

export async function decode(png: string | Uint8Array): Promise<Pixels> {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number): Colour => {
    if (!(x >= 0 && x < info.width && y >= 0 && y < info.height)) throw new RangeError(`pixel ${x}, ${y}`);
    const i = (Math.floor(y) * info.width + Math.floor(x)) * info.channels;
    return [data[i]!, data[i + 1]!, data[i + 2]!];
  };
  return {
    width: info.width,
    height: info.height,
    at,
    count(colour, { left = 0, top = 0, right = info.width, bottom = info.height } = {}) {
      const wanted = rgb(colour);
      let found = 0;
      for (let y = top; y < bottom; y++)
        for (let x = left; x < right; x++) if (distance(at(x, y), wanted) <= 6) found++;
      return found;
    },
  };
}

export async function draw(svg: string): Promise<Pixels> {
  return decode(await svgToPng(svg));
}

export function rgb(hex: string): Colour {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

export function distance(a: Colour, b: Colour): number {
  return Math.max(...a.map((channel, i) => Math.abs(channel - b[i]!)));
}
