/**
 * Random numbers: a Mersenne Twister that gives torch's CPU permutations, and a counter-based generator for dropout
 * whose value at a position depends on nothing but the seed and the position, so masks are never stored.
 */

/** MT19937 after Matsumoto and Nishimura (1998), seeded as torch's CPU generator is. */
export class MersenneTwister {
  readonly #state = new Uint32Array(624);
  #next = 624;

  constructor(seed: number) {
    const state = this.#state;
    state[0] = seed >>> 0;
    for (let i = 1; i < 624; i++) {
      const mixed = state[i - 1]! ^ (state[i - 1]! >>> 30);
      state[i] = Math.imul(1812433253, mixed) + i;
    }
  }

  /** Uniform over 0 .. 2³² - 1. */
  nextUint32(): number {
    const state = this.#state;
    if (this.#next === 624) {
      for (let i = 0; i < 624; i++) {
        const mixed = (state[i]! & 0x80000000) | (state[(i + 1) % 624]! & 0x7fffffff);
        state[i] = state[(i + 397) % 624]! ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
      }
      this.#next = 0;
    }
    let y = state[this.#next++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  /** Uniform in [0, 1), 24 bits: torch's float32 `rand`. */
  nextFloat(): number {
    return (this.nextUint32() & 0xffffff) / 0x1000000;
  }

  /** Standard normal by Box and Muller. */
  nextNormal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.nextFloat()));
    return radius * Math.cos(2 * Math.PI * this.nextFloat());
  }
}

/** What `torch.randperm(n)` gives with a CPU generator seeded with `seed`. */
export function randomPermutation(n: number, seed: number): number[] {
  const generator = new MersenneTwister(seed);
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = 0; i < n - 1; i++) {
    const j = i + (generator.nextUint32() % (n - i));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** A 32-bit hash of (seed, counter): two rounds of the "lowbias32" multiply-xorshift mixer. */
export function counterHash(seed: number, counter: number): number {
  let x = (counter ^ Math.imul(seed, 0x9e3779b9)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  x = (x ^ (x >>> 16) ^ seed) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** True if dropout with probability p keeps the element at `counter`. The counter wraps at 2³². */
export function dropoutKeeps(seed: number, counter: number, p: number): boolean {
  return counterHash(seed, counter) >= Math.floor(p * 4294967296);
}
