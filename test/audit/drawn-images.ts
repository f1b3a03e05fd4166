/** Drawn images that differ in shapes and details, as photographs do, and copies of them. */
import sharp, { type Sharp } from 'sharp';
import { MersenneTwister } from '../../src/random.js';

/** A PNG of ellipses and bars on a slope of grey; the same for the same seed. */
export async function drawn(seed: number, width = 160, height = 120): Promise<Buffer> {
  const random = new MersenneTwister(seed);
  const upTo = (most: number): number => Math.round((random.nextUint32() / 2 ** 32) * most);
  const shapes = Array.from({ length: 14 }, () => {
    const level = 20 + upTo(220);
    const [x, y] = [upTo(width), upTo(height)];
    const fill = `fill="rgb(${level},${level},${level})"`;
    return upTo(1) === 0
      ? `<ellipse cx="${x}" cy="${y}" rx="${6 + upTo(width / 5)}" ry="${6 + upTo(height / 5)}" ${fill}/>`
      : `<rect x="${x}" y="${y}" width="${6 + upTo(width / 3)}" height="${4 + upTo(height / 6)}" ${fill}/>`;
  });
  const slope = `<linearGradient id="s"><stop stop-color="#222"/><stop offset="1" stop-color="#${4 + (seed % 5)}55"/></linearGradient>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><defs>${slope}</defs>
<rect width="100%" height="100%" fill="url(#s)"/>${shapes.join('')}</svg>`;
  return sharp(Buffer.from(svg)).removeAlpha().png().toBuffer();
}

export const changed = (image: Buffer, change: (image: Sharp) => Sharp): Promise<Buffer> =>
  change(sharp(image)).toBuffer();

/** One level, or two halves of levels that hardly differ. */
export const flat = (level: number, width = 100, height = 100): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: { r: level, g: level, b: level } } })
    .png()
    .toBuffer();
