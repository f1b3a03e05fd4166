/** What errors cost, by a matrix of the user. */

/** Costs of the answers of one evaluation. */
export interface ErrorCost {
  /** Sum over all samples. */
  readonly total: number;
  /** `total` over the samples. */
  readonly mean: number;
  /** [K] Sum over the samples of each true class. */
  readonly perClass: readonly number[];
  /** Part of `total` that answers cost which are no class. */
  readonly invalid: number;
}
