/** A reader of a run's events leaves them before the end. */

/** Why a run ends whose reader left: the reason of its signal, never thrown at a user. */
export class ReaderLeft extends Error {
  constructor() {
    super('a reader left the events of the run');
  }
}
