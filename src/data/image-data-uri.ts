/** Images as text, for pages and plain data. */

import { loadSharp } from './load-sharp.js';
import type { RgbImage } from './types.js';

/** An image as a data URI (WebP), made smaller so that its longest edge has at most so many pixels. */
export async function imageDataUri(image: RgbImage, longestEdge: number): Promise<string> {
  const { width, height, data } = image;
  const sharp = await loadSharp();
  const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: longestEdge, height: longestEdge, fit: 'inside', withoutEnlargement: true })
    .webp({ quality: 80 })
    .toBuffer();
  return `data:image/webp;base64,${bytes.toString('base64')}`;
}
