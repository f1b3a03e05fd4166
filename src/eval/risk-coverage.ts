/** Abstention: answers below a confidence are withheld. */

/** What a threshold gives. */
export interface RiskCoveragePoint {
  /** Answers with at least this confidence are given, the others withheld. */
  readonly threshold: number;
  /** Answers given. */
  readonly answered: number;
  /** `answered` over all samples. */
  readonly coverage: number;
  /** Share of wrong answers among those given; 0 if none is given. */
  readonly risk: number;
}
