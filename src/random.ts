/**
 * Random numbers: a Mersenne Twister that gives torch's CPU permutations, and hashes, whose value depends on nothing but
 * their arguments.
 *
 * LoRA dropout is defined here for all engines, so that they drop the same elements and no mask is ever stored. Each row
 * has a 32-bit key of its own, which comes from the sample and not from where the row lies in a pass; each linear layer
 * has a 32-bit seed. All arithmetic is modulo 2³², `mix` is the mixer below:
 *
 *   key  = mix(rowKey ^ seed)                        once for a row and a layer
 *   step = (key · 0x9e3779b9 ^ rowKey) | 1           likewise
 *   z    = key + (column >>> 1) · step               one hash for two neighbouring columns
 *   h    = (z ^ (z >>> 15)) · 0x846ca68b
 *   bits = h >>> 16 in even columns, (h + (h << 16)) >>> 16 in odd ones
 *
 * An element is kept if its 16 bits are at least round(p · 65536). A step that differs from row to row makes any two
 * columns independent over the rows; the two halves take every pair of values once over all h.
 *
 * The noise of NEFTune comes from the same 16 bits, with a seed of its own: bound · (2·bits - 65535) / 65536.
 */
import { requireInteger } from './require-given.js';

/** Noise of [T, C] values, different for each row. */
export interface RowNoise {
  /** [T] 32-bit keys of the rows, as those of dropout. */
  readonly rowKeys: Int32Array;
  /** [T] Values of a row are uniform in ± its bound. */
  readonly bounds: Float32Array;
}

/** Of seeds, whose lowest 32 bits count. */
const MOST = Number.MAX_SAFE_INTEGER;

/** MT19937 after Matsumoto and Nishimura (1998), seeded as torch's CPU generator is. */
export class MersenneTwister {
  readonly #state = new Int32Array(624);
  #next = 624;

  constructor(seed: number) {
    requireInteger(seed, 'MersenneTwister: `seed`', -MOST, MOST);
    const state = this.#state;
    state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const mixed = state[i - 1]! ^ (state[i - 1]! >>> 30);
      state[i] = Math.imul(1812433253, mixed) + i;
    }
  }

  /** Uniform over 0 .. 2³² - 1. */
  nextUint32(): number {
    if (this.#next === 624) {
      refill(this.#state);
      this.#next = 0;
    }
    return temper(this.#state[this.#next++]!) >>> 0;
  }

  /** Uniform in [0, 1), 24 bits: torch's float32 `rand`. */
  nextFloat(): number {
    return (this.nextUint32() & 0xffffff) * 2 ** -24;
  }

  /** Fills `target` with what as many calls of `nextFloat` give. */
  fillFloats(target: Float32Array): void {
    const state = this.#state;
    for (let at = 0; at < target.length; ) {
      if (this.#next === 624) {
        refill(state);
        this.#next = 0;
      }
      const from = this.#next;
      const count = Math.min(624 - from, target.length - at);
      for (let i = 0; i < count; i++) target[at + i] = (temper(state[from + i]!) & 0xffffff) * 2 ** -24;
      this.#next += count;
      at += count;
    }
  }

  /** Standard normal by Box and Muller. */
  nextNormal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.nextFloat()));
    return radius * Math.cos(2 * Math.PI * this.nextFloat());
  }
}

/** The next 624 words of a Mersenne Twister in place of the last. */
function refill(state: Int32Array): void {
  for (let i = 0; i < 227; i++) state[i] = state[i + 397]! ^ twist(state[i]!, state[i + 1]!);
  for (let i = 227; i < 623; i++) state[i] = state[i - 227]! ^ twist(state[i]!, state[i + 1]!);
  state[623] = state[396]! ^ twist(state[623]!, state[0]!);
}

function twist(word: number, next: number): number {
  return (((word & 0x80000000) | (next & 0x7fffffff)) >>> 1) ^ (-(next & 1) & 0x9908b0df);
}

/** Spreads the bits of a word. */
function temper(word: number): number {
  let y = word;
  y ^= y >>> 11;
  y ^= (y << 7) & 0x9d2c5680;
  y ^= (y << 15) & 0xefc60000;
  return y ^ (y >>> 18);
}

/** What `torch.randperm(n)` gives with a CPU generator seeded with `seed`. */
export function randomPermutation(n: number, seed: number): number[] {
  return Array.from(packedPermutation(n, seed));
}

/** `randomPermutation` in 4 bytes an element. */
export function packedPermutation(n: number, seed: number): Uint32Array {
  requireInteger(n, 'randomPermutation: `n`', 0, 0xffffffff);
  requireInteger(seed, 'randomPermutation: `seed`', -MOST, MOST);
  const generator = new MersenneTwister(seed);
  const order = new Uint32Array(n);
  for (let i = 1; i < n; i++) order[i] = i;
  for (let i = 0; i < n - 1; i++) {
    const j = i + (generator.nextUint32() % (n - i));
    const taken = order[j]!;
    order[j] = order[i]!;
    order[i] = taken;
  }
  return order;
}

/** The "lowbias32" multiply-xorshift mixer: every bit of the result depends on every bit of x. */
function mix(x: number): number {
  let y = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  y = Math.imul(y ^ (y >>> 15), 0x846ca68b);
  return (y ^ (y >>> 16)) >>> 0;
}

/** A 32-bit hash of (seed, counter): two rounds of the mixer. */
export function counterHash(seed: number, counter: number): number {
  return mix(mix(counter ^ Math.imul(seed, 0x9e3779b9)) ^ seed);
}

/** Of 65536 values of the 16 bits, how many drop: p rounded to 1/65536, and below 1. */
export function dropoutThreshold(p: number): number {
  return Math.min(65535, Math.round(p * 65536));
}

/** What kept elements are multiplied by: 1 / (1 - p') of the rounded p', so that the mean stays what it was. */
export function dropoutScale(p: number): number {
  return 65536 / (65536 - dropoutThreshold(p));
}

/** The 16 bits of an element: kept if they reach `dropoutThreshold(p)`. */
export function dropoutBits(rowKey: number, seed: number, column: number): number {
  const key = mix(rowKey ^ seed);
  const step = (Math.imul(key, 0x9e3779b9) ^ rowKey) | 1;
  return bitsOfColumn(pairHash(key + Math.imul(column >>> 1, step)), column);
}

/** All of a mask [rows, columns]: 0 where an element is dropped, `dropoutScale(p)` where it is kept. */
export function dropoutMask(rowKeys: Int32Array, columns: number, seed: number, p: number): Float32Array {
  const mask = new Float32Array(rowKeys.length * columns);
  const [threshold, scale] = [dropoutThreshold(p), dropoutScale(p)];
  let at = 0;
  for (const rowKey of rowKeys) {
    let state = mix(rowKey ^ seed);
    const step = (Math.imul(state, 0x9e3779b9) ^ rowKey) | 1;
    for (let column = 0; column < columns; column += 2, state = (state + step) | 0) {
      const hash = pairHash(state);
      if (bitsOfColumn(hash, 0) >= threshold) mask[at] = scale;
      if (column + 1 < columns && bitsOfColumn(hash, 1) >= threshold) mask[at + 1] = scale;
      at += Math.min(2, columns - column);
    }
  }
  return mask;
}

/** Seeds the noise of embeddings, away from the layers' dropout masks. Any constant does. */
export const NOISE_SEED = 0x299f31d0;

/** Noise [rows, columns], uniform in ± the row's bound: symmetric, 65536 values, never 0. */
export function uniformNoise({ rowKeys, bounds }: RowNoise, columns: number): Float32Array {
  const noise = new Float32Array(rowKeys.length * columns);
  let at = 0;
  for (const [row, rowKey] of rowKeys.entries()) {
    const unit = bounds[row]! / 65536;
    let state = mix(rowKey ^ NOISE_SEED);
    const step = (Math.imul(state, 0x9e3779b9) ^ rowKey) | 1;
    for (let column = 0; column < columns; column += 2, state = (state + step) | 0) {
      const hash = pairHash(state);
      noise[at++] = unit * (2 * bitsOfColumn(hash, 0) - 65535);
      if (column + 1 < columns) noise[at++] = unit * (2 * bitsOfColumn(hash, 1) - 65535);
    }
  }
  return noise;
}

function pairHash(state: number): number {
  return Math.imul(state ^ (state >>> 15), 0x846ca68b);
}

function bitsOfColumn(hash: number, column: number): number {
  return (column & 1 ? hash + (hash << 16) : hash) >>> 16;
}
