/**
 * How often bootstrap intervals hold the true value, for models whose true figures are known. A program:
 *
 *     npx tsx test/eval/interval-coverage.ts [--simulations 1000] [--samples 140] [--method bca]
 *
 * Prints a line for each setting and ends with 1 if an interval of accuracy or macro F1 holds the truth in less than 93 or
 * more than 97 of 100 simulations.
 */
import { parseArgs } from 'node:util';
import { bootstrapIntervals } from '../../src/eval/bootstrap.js';
import {
  accuracyScore,
  averageMetrics,
  balancedAccuracyScore,
  precisionRecallFscoreSupport,
} from '../../src/eval/metrics.js';
import { MersenneTwister } from '../../src/random.js';
import { drawSamples } from './draw-samples.js';

const { values } = parseArgs({
  options: {
    simulations: { type: 'string', default: '1000' },
    samples: { type: 'string', default: '140' },
    method: { type: 'string', default: 'bca' },
    stratified: { type: 'boolean', default: false },
  },
});
const [simulations, samples] = [Number(values.simulations), Number(values.samples)];
const method = values.method as 'bca' | 'percentile';

/** Classes, mean accuracy, how much it differs among classes, whether some are rare, answers of the wrong ones that are no class. */
const SETTINGS = [
  { classes: 2, accuracy: 0.8, spread: 0, rare: false, invalid: 0 },
  { classes: 2, accuracy: 0.9, spread: 0, rare: true, invalid: 0.05 },
  { classes: 3, accuracy: 0.95, spread: 0.04, rare: false, invalid: 0 },
  { classes: 4, accuracy: 0.9, spread: 0.1, rare: true, invalid: 0 },
  { classes: 10, accuracy: 0.3, spread: 0.4, rare: false, invalid: 0.2 },
  { classes: 10, accuracy: 0.55, spread: 0.4, rare: false, invalid: 0.1 },
  { classes: 10, accuracy: 0.6, spread: 0.4, rare: true, invalid: 0.05 },
  { classes: 10, accuracy: 0.8, spread: 0.2, rare: false, invalid: 0 },
];

/** [K][K + 1] */
function sharesOf({ classes, accuracy, spread, rare, invalid }: (typeof SETTINGS)[number]): number[][] {
  const weights = Array.from({ length: classes }, (_, k) => (rare ? 1 / (k + 1) : 1));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight, truth) => {
    const right = Math.min(0.99, Math.max(0.02, accuracy + spread * (truth / Math.max(1, classes - 1) - 0.5)));
    const wrong = ((1 - right) * (1 - invalid)) / (classes - 1);
    const row = weights.map((_, answer) => (answer === truth ? right : wrong));
    return [...row, (1 - right) * invalid].map((share) => (share * weight) / total);
  });
}

let isGood = true;
for (const [number, setting] of SETTINGS.entries()) {
  const shares = sharesOf(setting);
  // As counts, which need not be whole.
  const population = { counts: shares.map((row) => row.slice(0, -1)), unparsed: shares.map((row) => row.at(-1)!) };
  const perClass = precisionRecallFscoreSupport(population);
  const truth = {
    accuracy: accuracyScore(population),
    balancedAccuracy: balancedAccuracyScore(population),
    macroF1: averageMetrics(perClass, 'macro').f1,
    weightedF1: averageMetrics(perClass, 'weighted').f1,
  };
  const names = Object.keys(truth) as (keyof typeof truth)[];
  const held = names.map(() => 0);
  const generator = new MersenneTwister(number);
  for (let seed = 0; seed < simulations; seed++) {
    const drawn = drawSamples(shares, samples, generator);
    const intervals = await bootstrapIntervals(drawn, { method, seed, stratified: values.stratified });
    for (const [i, name] of names.entries()) {
      if (intervals[name].low <= truth[name] && truth[name] <= intervals[name].high) held[i]!++;
    }
  }
  const percent = held.map((count) => (100 * count) / simulations);
  if (percent.some((one, i) => (i === 0 || i === 2) && (one < 93 || one > 97))) isGood = false;
  const figures = names.map((name, i) => `${name} ${truth[name].toFixed(3)} held in ${percent[i]!.toFixed(1)} %`);
  console.log(`${JSON.stringify(setting)}\n  ${figures.join(', ')}`);
}
process.exitCode = isGood ? 0 : 1;
