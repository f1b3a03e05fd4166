/** Time limits on a peer's silence that a busy machine does not use up. */

/** Looks in which nothing came before a peer counts as silent. */
const LOOKS = 8;

/**
 * Calls `expire` once after `limit` milliseconds without a call of `heard`. The time is counted in looks: a process
 * that was not run for a while has missed a single one, and reads what came meanwhile before the next.
 */
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
