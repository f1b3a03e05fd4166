/** Whether confidence is what it says: of the answers given with 80 %, are 80 % right? */

/** Answers whose confidence lies in one range. */
export interface CalibrationBin {
  /** Above this, in the first bin from it on. */
  readonly low: number;
  /** Up to and with this. */
  readonly high: number;
  /** Samples in it. */
  readonly count: number;
  /** Their mean confidence; null without samples. */
  readonly confidence: number | null;
  /** Share of right answers among them; null without samples. */
  readonly accuracy: number | null;
}
