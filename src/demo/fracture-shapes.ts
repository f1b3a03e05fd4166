/**
 * The ten kinds of fracture that the demonstration draws, each as pieces of a long bone and gaps in it. Distances are signed
 * (negative inside) and in pixels, in the coordinates of the bone: u along the shaft, downwards, and v across it.
 */
import { MersenneTwister } from '../random.js';

type Field = (u: number, v: number) => number;

/** A part of a bone that kept its shape: moved by (du, dv) and turned about its `pivot` on the axis. */
export interface Piece {
  bone: Field;
  /** Which part of the bone this piece is. */
  keep: Field;
  du?: number;
  dv?: number;
  turn?: number;
  pivot?: number;
}

/** A dark mark on the bone: a gap that rays pass through. `depth` 1 removes the bone altogether. */
interface Mark {
  distance: Field;
  halfWidth: number;
  depth: number;
}

interface Scene {
  pieces: Piece[];
  marks?: Mark[];
}

interface Bone {
  field: Field;
  /** Half of the length, and half of the width of the shaft, in pixels. */
  halfLength: number;
  halfWidth: number;
}

/** Uniform numbers and a fair sign from one seeded stream. */
export class Dice {
  readonly #twister: MersenneTwister;
  constructor(seed: number) {
    this.#twister = new MersenneTwister(seed);
  }
  between(low: number, high: number): number {
    return low + (high - low) * this.#twister.nextFloat();
  }
  sign(): 1 | -1 {
    return this.#twister.nextFloat() < 0.5 ? -1 : 1;
  }
  normal(): number {
    return this.#twister.nextNormal();
  }
}

const everywhere: Field = () => -1e3;
export const degrees = (angle: number): number => (angle * Math.PI) / 180;
/** The half plane below a line through (u0, v0) whose angle to the cross-section is given. */
const below = (u0: number, v0: number, angle: number): Field => {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return (u, v) => (u - u0) * c - (v - v0) * s;
};
const above = (u0: number, v0: number, angle: number): Field => {
  const field = below(u0, v0, angle);
  return (u, v) => -field(u, v);
};
const both =
  (...fields: Field[]): Field =>
  (u, v) =>
    fields.reduce((largest, field) => Math.max(largest, field(u, v)), Number.NEGATIVE_INFINITY);

/** A straight bone with a wider joint end at both ends, centred on the origin. */
export function makeBone(dice: Dice, halfLength = dice.between(44, 48)): Bone {
  const halfWidth = dice.between(10.5, 12);
  const flare = dice.between(4, 6.5);
  const field: Field = (u, v) => {
    // Written as products: a power costs more than the rest of the line, and this runs for every pixel.
    const along = Math.min(1, Math.abs(u) / halfLength);
    const width = halfWidth + flare * along * along * along * along;
    const across = v / width;
    return Math.max(Math.abs(v) - width, Math.abs(u) - halfLength + 5 * across * across);
  };
  return { field, halfLength, halfWidth };
}

/** How each kind of fracture looks, by the names of the public bone-break data set. */
export const FRACTURES: Record<string, (dice: Dice, bone: Bone) => Scene> = {
  // A corner of the joint end is pulled off.
  'Avulsion fracture': (dice, { field, halfLength, halfWidth }) => {
    const side = dice.sign();
    const [u0, v0] = [halfLength - dice.between(19, 22), side * 0.8 * halfWidth];
    const corner = above(u0, v0, -side * degrees(dice.between(40, 50)));
    return {
      pieces: [
        { bone: field, keep: (u, v) => -corner(u, v) },
        {
          bone: field,
          keep: corner,
          du: -dice.between(0, 4),
          dv: side * dice.between(10, 13),
          turn: side * degrees(dice.between(8, 20)),
          pivot: u0,
        },
      ],
    };
  },
  // Two main parts with a wedge on each side and a small one between, all a little astray.
  'Comminuted fracture': (dice, { field }) => {
    const u0 = dice.between(-4, 4);
    const [top, bottom] = [u0 - dice.between(9, 12), u0 + dice.between(9, 12)];
    const tilt = degrees(dice.between(-15, 15));
    const split = degrees(dice.between(62, 75)) * dice.sign();
    const stray = (): Pick<Piece, 'du' | 'dv' | 'turn' | 'pivot'> => ({
      du: dice.between(-2, 2),
      dv: dice.between(4, 7),
      turn: degrees(dice.between(-16, 16)),
      pivot: u0,
    });
    const middle = [above(top, 0, tilt), below(bottom, 0, -tilt)];
    const [left, right] = [stray(), stray()];
    left.dv = -left.dv!;
    const sign = Math.sign(split);
    return {
      pieces: [
        { bone: field, keep: below(top, 0, tilt), du: -2.5, dv: dice.between(-2, 2) },
        {
          bone: field,
          keep: both(...middle, below(u0, 0, split), above(u0, 0, -split / 3)),
          ...(sign > 0 ? right : left),
        },
        { bone: field, keep: both(...middle, below(u0, 0, split), below(u0, 0, -split / 3)), ...stray() },
        { bone: field, keep: both(...middle, above(u0, 0, split)), ...(sign > 0 ? left : right) },
        { bone: field, keep: above(bottom, 0, -tilt), du: 2.5, dv: dice.between(-2, 2) },
      ],
    };
  },
  // Two whole bones whose joint ends slid past each other.
  'Fracture Dislocation': (dice) => {
    const u0 = dice.between(-4, 4);
    const side = dice.sign();
    const [upper, lower] = [makeBone(dice, 40), makeBone(dice, 40)];
    const overlap = dice.between(3, 8);
    return {
      pieces: [
        { bone: upper.field, keep: everywhere, du: u0 - 40 + overlap, dv: side * dice.between(7, 10) },
        { bone: lower.field, keep: everywhere, du: u0 + 40 - overlap, dv: -side * dice.between(7, 10) },
      ],
    };
  },
  // The bone bends and cracks on the stretched side only.
  'Greenstick fracture': (dice, { field, halfWidth }) => {
    const u0 = dice.between(-4, 4);
    const side = dice.sign();
    const bend = side * degrees(dice.between(11, 14));
    const reach = dice.between(0.1, 0.35) * halfWidth;
    const gap = dice.between(4, 5);
    const wedge: Field = (u, v) => Math.abs(u - u0) - (gap * (side * v - -reach)) / (2 * halfWidth);
    return {
      pieces: [
        { bone: field, keep: below(u0, 0, 0), turn: bend, pivot: u0 },
        { bone: field, keep: above(u0, 0, 0), turn: -bend, pivot: u0 },
      ],
      marks: [{ distance: wedge, halfWidth: 0, depth: 1 }],
    };
  },
  // A thin line across, nothing moved.
  'Hairline Fracture': (dice, { field }) => {
    const u0 = dice.between(-4, 4);
    const line = below(u0, 0, degrees(dice.between(-12, 12)));
    const [phase, wave] = [dice.between(0, 6.28), dice.between(0.3, 0.5)];
    const jagged: Field = (u, v) => Math.abs(line(u, v) + 0.9 * Math.sin(wave * v + phase));
    return {
      pieces: [{ bone: field, keep: everywhere }],
      marks: [{ distance: jagged, halfWidth: dice.between(1.1, 1.3), depth: dice.between(0.9, 1) }],
    };
  },
  // One end is driven into the other: shorter, with a dense band where they overlap.
  'Impacted fracture': (dice, { field }) => {
    const u0 = dice.between(-4, 4);
    const tilt = degrees(dice.between(-8, 8));
    const overlap = dice.between(5, 7);
    const shift = dice.sign() * dice.between(1, 2.5);
    return {
      pieces: [
        { bone: field, keep: below(u0, 0, tilt), du: overlap, dv: shift },
        { bone: field, keep: above(u0, 0, tilt), du: -overlap, dv: -shift },
      ],
    };
  },
  // A line that runs with the shaft.
  'Longitudinal fracture': (dice, { field, halfWidth }) => {
    const u0 = dice.between(-4, 4);
    const length = dice.between(26, 31);
    const tilt = degrees(dice.between(-5, 5));
    const v0 = dice.between(-0.3, 0.3) * halfWidth;
    const line: Field = (u, v) =>
      Math.max(Math.abs((v - v0) * Math.cos(tilt) - (u - u0) * Math.sin(tilt)), Math.abs(u - u0) - length);
    return {
      pieces: [{ bone: field, keep: everywhere }],
      marks: [{ distance: line, halfWidth: dice.between(1.5, 2), depth: dice.between(0.85, 1) }],
    };
  },
  // A slanted cut right through, the parts a little apart.
  'Oblique fracture': (dice, { field }) => {
    const u0 = dice.between(-4, 4);
    const angle = dice.sign() * degrees(dice.between(40, 52));
    const gap = dice.between(3, 4);
    const slip = Math.sign(angle) * dice.between(0.5, 2);
    return {
      pieces: [
        { bone: field, keep: below(u0, 0, angle), du: -gap, dv: slip },
        { bone: field, keep: above(u0, 0, angle), du: gap, dv: -slip },
      ],
    };
  },
  // The bone breaks where a lesion has eaten it away.
  'Pathological fracture': (dice, { field, halfWidth }) => {
    const u0 = dice.between(-4, 4);
    const v0 = dice.between(-0.25, 0.25) * halfWidth;
    const [long, wide] = [dice.between(10, 13), dice.between(7.5, 9)];
    const hole: Field = (u, v) => (Math.hypot((u - u0) / long, (v - v0) / wide) - 1) * wide;
    const crack = below(u0, v0, degrees(dice.between(-15, 15)));
    return {
      pieces: [{ bone: field, keep: everywhere }],
      marks: [
        { distance: hole, halfWidth: 0, depth: dice.between(0.75, 0.9) },
        { distance: (u, v) => Math.abs(crack(u, v)), halfWidth: 0.8, depth: 0.9 },
      ],
    };
  },
  // A twisting force: the line winds around the shaft, an S from the front.
  'Spiral Fracture': (dice, { field, halfWidth }) => {
    const u0 = dice.between(-4, 4);
    const pitch = dice.between(26, 32);
    const wind: Field = (u, v) => {
      const angle = ((u - u0) * 2 * Math.PI) / pitch;
      const slope = ((2 * Math.PI) / pitch) * halfWidth * Math.cos(angle);
      const line = Math.abs(v - halfWidth * Math.sin(angle)) / Math.hypot(1, slope);
      return Math.max(line, Math.abs(u - u0) - 0.75 * pitch);
    };
    return {
      pieces: [{ bone: field, keep: everywhere }],
      marks: [{ distance: wind, halfWidth: dice.between(1.5, 1.9), depth: 0.95 }],
    };
  },
};
