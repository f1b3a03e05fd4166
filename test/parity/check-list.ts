/** Collects comparisons against reference values, one printed line each, and counts them. */

export class CheckList {
  passed = 0;
  failed = 0;
  readonly #quiet: boolean;

  /** With `quiet`, only failures are printed. */
  constructor({ quiet = false } = {}) {
    this.#quiet = quiet;
  }

  /** A check that is true or false. */
  exact(name: string, same: boolean, detail = ''): void {
    this.#report(name, same, same ? 'exact' : `differs ${detail}`);
  }

  /** `value` may be at most `bound`; a value that is not a number fails. */
  atMost(name: string, value: number, bound: number, unit = ''): void {
    this.#report(name, value <= bound, `${format(value)}${unit} (at most ${format(bound)}${unit})`);
  }

  atLeast(name: string, value: number, bound: number, unit = ''): void {
    this.#report(name, value >= bound, `${format(value)}${unit} (at least ${format(bound)}${unit})`);
  }

  /** Runs a group; an exception inside is one failed check, and the other groups go on. */
  async group(name: string, body: () => Promise<void>): Promise<void> {
    try {
      await body();
    } catch (error) {
      this.#report(name, false, `threw ${error instanceof Error ? (error.stack ?? error.message) : error}`);
    }
  }

  summary(): string {
    return `${this.passed} passed, ${this.failed} failed`;
  }

  #report(name: string, ok: boolean, figure: string): void {
    if (ok) this.passed++;
    else this.failed++;
    if (!ok || !this.#quiet) console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}: ${figure}`);
  }
}

function format(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toExponential(2);
}

/** ‖actual - expected‖ / ‖expected‖ in double precision; NaN where lengths differ. */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return norm === 0 ? Math.sqrt(difference) : Math.sqrt(difference / norm);
}

export function sameNumbers(actual: ArrayLike<number>, expected: ArrayLike<number>): boolean {
  if (actual.length !== expected.length) return false;
  for (let i = 0; i < expected.length; i++) if (actual[i] !== expected[i]) return false;
  return true;
}
