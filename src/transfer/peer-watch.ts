/** Limits on a peer that is silent or slow, which a busy machine does not use up. */

/**
 * Looks at the peer within a limit of time: a process that was not run for a while has missed a single one, and reads what
 * came meanwhile before the next.
 */
const LOOKS = 8;

/** Calls `expire` once after `limit` milliseconds, counted in looks, without a call of `heard`. */
export class SilenceWatch {
  readonly #timer: NodeJS.Timeout;
  #looks = 0;

  /** @param looks in which the time is counted: of two watches on a busy machine the one with fewer expires first */
  constructor(limit: number, expire: () => void, looks: number = LOOKS) {
    this.#timer = setInterval(() => {
      if (++this.#looks < looks) return;
      this.stop();
      expire();
    }, limit / looks);
  }

  /** Something came. */
  heard(): void {
    this.#looks = 0;
  }

  /** May be called twice. */
  stop(): void {
    clearInterval(this.#timer);
  }
}

export interface SpeedLimit {
  /** Less than this on average over a window is too slow. 0: no limit. */
  readonly minBytesPerSecond: number;
  /** Milliseconds. */
  readonly windowMs: number;
}

/** A slow real connection passes: curl's users take 1,000 to 30,000 bytes for as long. */
export const DEFAULT_SPEED: SpeedLimit = { minBytesPerSecond: 1024, windowMs: 60_000 };

/**
 * Calls `expire` once after a whole window with too few bytes. Only the time that is spent waiting for the peer counts:
 * between `wait` and `heard`.
 */
export class SpeedWatch {
  readonly #timer: NodeJS.Timeout | undefined;
  #waiting = false;
  #looks = 0;
  #bytes = 0;

  constructor({ minBytesPerSecond, windowMs }: SpeedLimit, expire: () => void) {
    if (minBytesPerSecond <= 0) return;
    const least = (minBytesPerSecond * windowMs) / 1000;
    this.#timer = setInterval(() => {
      if (!this.#waiting || ++this.#looks < LOOKS) return;
      if (this.#bytes < least) {
        this.stop();
        expire();
      }
      this.#looks = 0;
      this.#bytes = 0;
    }, windowMs / LOOKS);
  }

  wait(): void {
    this.#waiting = true;
  }

  heard(bytes: number): void {
    this.#waiting = false;
    this.#bytes += bytes;
  }

  /** May be called twice. */
  stop(): void {
    clearInterval(this.#timer);
  }
}
