/** Images with captions in one image: a look at the data, or at answers before and after training. */
import type { OverlayOptions } from 'sharp';
import { checkNames, requirePath } from '../config.js';
import { loadSharp } from '../data/load-sharp.js';
import type { RgbImage } from '../data/types.js';
import { ConfigError, ImageError } from '../errors.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { describeGiven, isKind, isObject } from '../messages/given-kind.js';
import { requireInteger, requireList, requireText } from '../require-given.js';
import { drawableText } from './drawable-text.js';
import { text, wrapText } from './font.js';
import { COLOURS, heading, rect, svgDocument } from './svg.js';
import { format } from './svg-values.js';

/** An image of a contact sheet, with what is written below it. */
export interface ContactSheetItem {
  /** Shrunk or enlarged to fit its square, not cropped. */
  readonly image: RgbImage;
  /** Below the image; `\n` starts a new line. */
  readonly caption: string;
  /** Marks an answer as right (a tick, a blue-green bar) or wrong (a cross, a vermilion bar). Default: no mark. */
  readonly correct?: boolean | undefined;
}

/** Options of `contactSheet` and `writeContactSheet`. */
export interface ContactSheetOptions {
  /** Above the images. Default: nothing. */
  readonly title?: string;
  /** Below the title, smaller; left out if there is no title. Default: nothing. */
  readonly subtitle?: string;
  /** Columns of images. Default: 4, or fewer if there are fewer images. */
  readonly columns?: number;
  /** Side in pixels of the square that each image fits in. Default: 260. */
  readonly cell?: number;
  /** Lines of caption under each image, at most. Default: 3. */
  readonly captionLines?: number;
}

const MAX_SIDE = 32_767;
const MARGIN = 36;
const GUTTER = 22;
const CAPTION_SIZE = 15;
const LINE_HEIGHT = 21;
const RIGHT = '#009e73';
const WRONG = '#d55e00';

/**
 * @returns the bytes of a PNG
 * @throws ConfigError for no items, ImageError for an item whose pixels do not fit its size
 */
export async function contactSheet(
  items: readonly ContactSheetItem[],
  options: ContactSheetOptions = {},
): Promise<Uint8Array> {
  requireList(items, 'contactSheet', 'images with captions', 'Write [{ image, caption }].');
  checkNames(options, SHEET_OPTIONS, 'contactSheet');
  for (const name of ['title', 'subtitle'] as const) {
    if (options[name] !== undefined) requireText(options[name], `contactSheet: \`${name}\``);
  }
  if (items.length === 0) throw new ConfigError('contactSheet: expected at least one image, got none');
  const columns = wholeNumber('columns', options.columns ?? Math.min(4, items.length));
  const cell = wholeNumber('cell', options.cell ?? 260);
  const maxLines = wholeNumber('captionLines', options.captionLines ?? 3);
  items.forEach(checkItem);
  const captions = items.map((item) =>
    wrapText(item.caption, cell - (item.correct === undefined ? 0 : 26), CAPTION_SIZE, maxLines),
  );

  const head = options.title ? heading(MARGIN, options.title, options.subtitle) : { parts: [], bottom: MARGIN };
  const width = 2 * MARGIN + columns * cell + (columns - 1) * GUTTER;
  const rowTops = [head.bottom];
  for (let from = 0; from < items.length; from += columns) {
    const lines = Math.max(...captions.slice(from, from + columns).map((one) => one.length));
    rowTops.push(rowTops.at(-1)! + cell + 14 + LINE_HEIGHT * lines + GUTTER);
  }
  const height = rowTops.at(-1)! - GUTTER + MARGIN;
  if (Math.max(width, height) > MAX_SIDE) {
    throw new ConfigError(
      `contactSheet: ${items.length} images in ${columns} columns make ${width} × ${height} pixels, of at most ${MAX_SIDE} a side`,
      { hint: 'Show fewer of them, write several sheets, or give more `columns` or a smaller `cell`.' },
    );
  }
  const body = [...head.parts];
  const overlays: OverlayOptions[] = [];
  for (const [i, item] of items.entries()) {
    const x = MARGIN + (i % columns) * (cell + GUTTER);
    const y = rowTops[Math.floor(i / columns)]!;
    overlays.push(await fitImage(item.image, x, y, cell, i));
    body.push(rect(x, y, cell, cell, '#14181d'));
    body.push(...captionParts(x, y + cell, cell, captions[i]!, item.correct));
  }
  const title = options.title ?? `${items.length} images`;
  const page = Buffer.from(await drawableText(svgDocument(width, height, title, body)));
  const sharp = await loadSharp();
  return sharp(page, { density: 72 }).composite(overlays).png().toBuffer();
}

/**
 * Writes a contact sheet; the file appears whole or not at all.
 * @example
 * ```ts
 * const { image, className } = await test.get(0);
 * await writeContactSheet([{ image: await image.decode(), caption: className }], 'sheet.png', { columns: 1 });
 * ```
 */
export async function writeContactSheet(
  items: readonly ContactSheetItem[],
  path: string,
  options: ContactSheetOptions = {},
): Promise<void> {
  requirePath(path, 'writeContactSheet: `path`');
  await writeNamedFile(path, await contactSheet(items, options), 'writeContactSheet');
}

const SHEET_OPTIONS = { title: false, subtitle: false, columns: false, cell: false, captionLines: false } as const;

function checkItem(item: ContactSheetItem, index: number): void {
  const what = `contactSheet: \`items[${index}]\``;
  if (!isObject(item) || !isObject(item.image)) {
    const hint = isKind(item, 'image')
      ? 'Write [{ image, caption }].'
      : 'Decode its image: await sample.image.decode().';
    throw new ConfigError(`${what}: expected { image, caption }, got ${describeGiven(item)}`, { hint });
  }
  const { image } = item;
  if (!(image.data instanceof Uint8Array)) {
    const hint = isKind(image, 'promise')
      ? 'Await it.'
      : 'Decode it first: await image.decode(), or await decodeImage(path).';
    throw new ImageError(`${what}: expected the pixels { width, height, data }, got ${describeGiven(image)}`, { hint });
  }
  requireText(item.caption, `${what}: \`caption\``);
}

async function fitImage(image: RgbImage, x: number, y: number, cell: number, index: number): Promise<OverlayOptions> {
  const { width, height, data } = image;
  if (!(width > 0 && height > 0) || data.length !== width * height * 3)
    throw new ImageError(
      `contactSheet: expected ${width} × ${height} × 3 bytes for image ${index}, got ${data.length}`,
      { details: { index } },
    );
  const scale = Math.min(cell / width, cell / height);
  const fitted = [width, height].map((side) => Math.max(1, Math.min(cell, Math.round(side * scale))));
  const sharp = await loadSharp();
  const input = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize(fitted[0]!, fitted[1]!, { fit: 'fill' })
    .png()
    .toBuffer();
  return { input, left: x + ((cell - fitted[0]!) >> 1), top: y + ((cell - fitted[1]!) >> 1) };
}

function captionParts(x: number, y: number, cell: number, lines: readonly string[], correct?: boolean): string[] {
  const parts: string[] = [];
  let indent = 0;
  if (correct !== undefined) {
    const colour = correct ? RIGHT : WRONG;
    parts.push(rect(x, y + 3, cell, 5, colour));
    const mark = correct ? 'l4.5 4.5l8-10' : 'm1-5l10 10m0-10l-10 10';
    const start = `M${format(x + 2)} ${format(y + 24)}`;
    parts.push(`<path fill="none" stroke="${colour}" stroke-width="3" stroke-linecap="round" d="${start}${mark}"/>`);
    indent = 26;
  }
  for (const [i, content] of lines.entries())
    parts.push(
      text(x + indent, y + 29 + i * LINE_HEIGHT, content, {
        size: CAPTION_SIZE,
        colour: i === 0 ? COLOURS.ink : COLOURS.muted,
      }),
    );
  return parts;
}

function wholeNumber(name: string, value: number): number {
  requireInteger(value, `contactSheet: \`${name}\``, 1);
  return value;
}
