/** In what a saved run and the present one differ. */
import { showValue } from '../show-value.js';
import { judgeOf } from './best-model.js';
import type { RunIdentity, TrainerState } from './checkpoint.js';
import { compareDatasets } from './dataset-fingerprint.js';
import { parseSftConfig, RESUME_MAY_CHANGE, type SftConfig } from './sft-config.js';

const MAX_LISTED = 20;

/** Everything in which a saved run and the present one differ, a line each. */
export function compareRuns(saved: TrainerState, now: RunIdentity): string[] {
  const differences = [
    // What an earlier version did not know it did as the default has it.
    ...compareSettings(comparable({ ...parseSftConfig(), ...saved.config }), comparable(now.config), RESUME_MAY_CHANGE),
    ...compareSettings(saved.settings ?? {}, now.settings ?? {}),
  ];
  const change = compareDatasets(saved.dataset, now.dataset);
  if (change) differences.push(`the training set ${change}`);
  differences.push(...compareParameters(saved.parameters, now.parameters));
  if (saved.best) differences.push(...compareJudges(saved, now));
  return differences;
}

/** Under one name what has two. */
function comparable({ warmupRatio, warmupSteps, ...others }: SftConfig): Readonly<Record<string, unknown>> {
  return { ...others, warmupSteps: warmupRatio || warmupSteps };
}

function compareSettings(
  saved: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
  mayChange: ReadonlySet<string> = new Set(),
): string[] {
  const differences: string[] = [];
  for (const key of new Set([...Object.keys(saved), ...Object.keys(now)])) {
    if (mayChange.has(key) || JSON.stringify(saved[key]) === JSON.stringify(now[key])) continue;
    const [was, is] = [saved[key], now[key]].map((value) => (value === undefined ? 'not set' : showValue(value)));
    differences.push(`\`${key}\` was ${was}, now ${is}`);
  }
  return differences;
}

/** The best value so far says nothing to another metric or another evaluation set. */
function compareJudges(saved: TrainerState, now: RunIdentity): string[] {
  const judge = judgeOf(now.config);
  if (!judge || !saved.best) return [];
  // No evaluation has been judged yet: the next is the first.
  if (saved.best.bestValue === undefined && saved.best.withoutGain === 0) return [];
  const differences: string[] = [];
  const [before, after] = [saved.best, judge].map(({ metric, greaterIsBetter }) => {
    return `${metric} (${greaterIsBetter ? 'greater' : 'less'} is better)`;
  });
  if (before !== after) differences.push(`the best model was told by ${before}, now by ${after}`);
  const [was, is] = [saved.evalDataset, now.evalDataset];
  const change = was && is && compareDatasets(was, is);
  if (change) differences.push(`the evaluation set, which tells the best model, ${change}`);
  return differences;
}

function compareParameters(saved: RunIdentity['parameters'], now: RunIdentity['parameters']): string[] {
  if (saved.length !== now.length) return [`there were ${saved.length} trainable tensors, now ${now.length}`];
  const differences: string[] = [];
  saved.forEach((before, i) => {
    const after = now[i]!;
    const [was, is] = [before, after].map(({ name, shape }) => `${name} [${shape}]`);
    if (was !== is) differences.push(`trainable tensor ${i} was ${was}, now ${is}`);
  });
  const listed = differences.slice(0, MAX_LISTED);
  if (differences.length > MAX_LISTED) listed.push(`and ${differences.length - MAX_LISTED} more trainable tensors`);
  return listed;
}
