/** A callback that keeps what belongs to one run must not take another meanwhile: the events of both would mix. */
import { ConfigError } from '../errors.js';

export class OneRun {
  #isTaken = false;
  /** Runs that it did not take, and whose end it will hear of all the same. */
  #refused = 0;

  /** @throws ConfigError if another run goes on */
  begin(name: string): void {
    if (this.#isTaken) {
      this.#refused++;
      throw new ConfigError(`${name}: this callback follows another run already`, { hint: 'Make one for each run.' });
    }
    this.#isTaken = true;
  }

  /** Whether the run was the one that it took. */
  end(): boolean {
    if (this.#refused > 0) {
      this.#refused--;
      return false;
    }
    this.#isTaken = false;
    return true;
  }
}
