/**
 * From 16-bit samples to 8-bit levels by one scale for all images. The scale may not depend on the image: a grey of 800
 * would come out bright in a dark image and dark in a bright one. So the full range is taken (65,535 becomes 255, the
 * high byte, as Pillow and libpng do it for 16-bit colour and for grey with alpha) unless `bitDepth` says that the files
 * hold 10, 12 or 14 bits in 16, as X-rays often do. For 16-bit grey Pillow's `convert('RGB')` cuts off at 255 instead,
 * which makes almost every such image white; no data set is trained on that by intent. A PNG's sBIT chunk changes
 * nothing: by the PNG specification its samples are spread over all 16 bits.
 */
import { warningLine } from '../messages/one-line.js';

/** Bits a sample of radiography detectors. */
const USUAL_DEPTHS = [8, 10, 12, 14];
/** Images that use no more look like fewer bits than 16. */
export const LOOKS_NARROW = 2 ** 14;
/** Beside images that use more than the above, only these are. */
const IS_NARROW = 2 ** 12;

interface Seen {
  count: number;
  /** That with the brightest sample. */
  name: string;
  brightest: number;
}

/**
 * What the 16-bit images of a folder hold, with a warning once of each kind: where all of them look like fewer bits
 * than they are taken for, where they differ from each other, and where some are brighter than `bitDepth` allows.
 */
export class DepthWatch {
  readonly #bitDepth: number | undefined;
  readonly #warn: (line: string) => void;
  readonly #said = new Set<string>();
  readonly #seen: Record<'narrow' | 'middle' | 'full' | 'clipped', Seen> = {
    narrow: { count: 0, name: '', brightest: 0 },
    middle: { count: 0, name: '', brightest: 0 },
    full: { count: 0, name: '', brightest: 0 },
    clipped: { count: 0, name: '', brightest: 0 },
  };
  #total = 0;
  #isHeld = false;

  /** @param bitDepth what the user says about the files, if anything */
  constructor(
    bitDepth: number | undefined,
    warn: (line: string) => void = (line) => process.emitWarning(line, 'ImageWarning'),
  ) {
    this.#bitDepth = bitDepth;
    this.#warn = warn;
  }

  /** Collects without a word while `work` runs, so that what is said then has the counts of all images. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#isHeld = true;
    try {
      return await work();
    } finally {
      this.#isHeld = false;
      this.#report();
    }
  }

  /** @param brightest the largest 16-bit sample of the image */
  note(name: string, brightest: number): void {
    // An image that is black all over says nothing.
    if (brightest === 0) return;
    const allowed = 2 ** (this.#bitDepth ?? 16) - 1;
    const kind =
      brightest > allowed ? 'clipped' : brightest < IS_NARROW ? 'narrow' : brightest < LOOKS_NARROW ? 'middle' : 'full';
    this.#total++;
    const seen = this.#seen[kind];
    seen.count++;
    if (brightest > seen.brightest) Object.assign(seen, { name, brightest });
    if (!this.#isHeld) this.#report();
  }

  #report(): void {
    const { narrow, middle, full, clipped } = this.#seen;
    if (clipped.count > 0) {
      this.#say(
        'clipped',
        `${this.#of(clipped.count)} hold samples above ${number(2 ** this.#bitDepth! - 1)}, up to ${shown(clipped)}, and ` +
          `come out white there: \`bitDepth\` ${this.#bitDepth} is too small for them, or their depth differs from the others'`,
      );
    }
    if (this.#bitDepth !== undefined) return;
    if (full.count > 0 && narrow.count > 0) {
      this.#say(
        'differ',
        `16-bit images of different depths: ${narrow.count} hold no sample above ${shown(narrow)}, ${full.count} go up to ` +
          `${shown(full)}. All are scaled alike, by 65,535, and the first come out nearly black; give all the same ` +
          'depth, or load them apart with `bitDepth`',
      );
    } else if (full.count === 0 && narrow.count + middle.count > 0) {
      const brightest = middle.count > 0 ? middle : narrow;
      const depth = USUAL_DEPTHS.find((bits) => brightest.brightest < 2 ** bits)!;
      this.#say(
        'narrow',
        `${this.#of(narrow.count + middle.count)} hold no sample above ${shown(brightest)}: that looks like ${depth}-bit data, and ` +
          `scaled by 65,535 it comes out nearly black. Give \`bitDepth: ${depth}\`, or \`bitDepth: 16\` if it is right so`,
      );
    }
  }

  #of(count: number): string {
    return `${count} of ${this.#total} 16-bit images`;
  }

  #say(kind: string, line: string): void {
    if (this.#said.has(kind)) return;
    this.#said.add(kind);
    this.#warn(warningLine(line));
  }
}

const shown = ({ brightest, name }: Seen): string => `${number(brightest)} (${name})`;
const number = (value: number): string => value.toLocaleString('en');

/**
 * The upper eight of `bitDepth` bits of the first 1 or 3 of each pixel's channels, as RGB.
 * @returns the levels, and the brightest sample
 */
export function narrowSamples(
  samples: Uint16Array,
  channels: number,
  bitDepth: number,
): { data: Uint8Array; brightest: number } {
  const shift = bitDepth - 8;
  const pixels = samples.length / channels;
  const data = new Uint8Array(pixels * 3);
  let brightest = 0;
  if (channels < 3) {
    for (let i = 0, to = 0; i < pixels; i++, to += 3) {
      const sample = samples[i * channels]!;
      if (sample > brightest) brightest = sample;
      const level = Math.min(255, sample >> shift);
      data[to] = level;
      data[to + 1] = level;
      data[to + 2] = level;
    }
  } else {
    for (let i = 0, from = 0, to = 0; i < pixels; i++, from += channels, to += 3) {
      const red = samples[from]!;
      const green = samples[from + 1]!;
      const blue = samples[from + 2]!;
      brightest = Math.max(brightest, red, green, blue);
      data[to] = Math.min(255, red >> shift);
      data[to + 1] = Math.min(255, green >> shift);
      data[to + 2] = Math.min(255, blue >> shift);
    }
  }
  return { data, brightest };
}
