/** Samples of a model whose true figures are known. */
import { type ConfusionMatrix, confusionMatrix } from '../../src/eval/metrics.js';
import type { MersenneTwister } from '../../src/random.js';

/** @param shares [K][K + 1] of each true and answered class, the last for answers that are no class; their sum is 1 */
export function drawSamples(
  shares: readonly (readonly number[])[],
  count: number,
  generator: MersenneTwister,
): ConfusionMatrix {
  const classes = shares.length;
  const cells = shares.flat();
  const drawn = Array.from({ length: count }, () => {
    let left = generator.nextUint32() / 2 ** 32;
    const cell = cells.findIndex((share) => {
      left -= share;
      return left < 0;
    });
    return cell < 0 ? cells.findLastIndex((share) => share > 0) : cell;
  });
  return confusionMatrix(
    drawn.map((cell) => Math.floor(cell / (classes + 1))),
    drawn.map((cell) => (cell % (classes + 1) === classes ? undefined : cell % (classes + 1))),
    classes,
  );
}
