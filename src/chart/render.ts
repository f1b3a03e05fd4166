/** From SVG to a PNG file, without a browser, and without a font unless a text is in another script than Latin. */
import { checkNames, requirePath } from '../config.js';
import { loadSharp } from '../data/load-sharp.js';
import { ConfigError, ImageError, reasonOf } from '../errors.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { describeGiven } from '../messages/given-kind.js';
import { drawableText } from './drawable-text.js';

/** Options of `renderPng`. */
export interface RenderOptions {
  /** Pixels of the image for each unit of the SVG; 2 for sharp print and high-density screens. Default: 1. */
  readonly scale?: number;
}

/**
 * Renders an SVG.
 * @throws ImageError if it is not valid SVG
 */
export async function svgToPng(svg: string, options: RenderOptions = {}): Promise<Buffer> {
  checkNames(options, { scale: false }, 'renderPng');
  const scale = options.scale ?? 1;
  if (!(typeof scale === 'number' && scale > 0 && scale <= 20))
    throw new ConfigError(`render: \`scale\`: expected a number above 0, up to 20, got ${describeGiven(scale)}`);
  if (typeof svg !== 'string' || !svg.includes('<')) {
    throw new ImageError(`renderPng: expected an SVG document, got ${describeGiven(svg)}`, {
      hint: 'barChart, lineChart and confusionChart give one: await renderPng(barChart({ … }), path).',
    });
  }
  const sharp = await loadSharp();
  try {
    // 72 dpi is one pixel for each SVG unit.
    return await sharp(Buffer.from(await drawableText(svg)), { density: 72 * scale })
      .png({ compressionLevel: 9 })
      .toBuffer();
  } catch (cause) {
    throw new ImageError(`render: the SVG cannot be drawn: ${reasonOf(cause)}`, { cause });
  }
}

/** Renders an SVG to a PNG file. Missing folders are made; the file appears whole or not at all. */
export async function renderPng(svg: string, path: string, options: RenderOptions = {}): Promise<void> {
  requirePath(path, 'renderPng: `path`');
  await writeNamedFile(path, await svgToPng(svg, options), 'renderPng');
}
