/** Runs on several cards as a table of at most 80 columns. */
import { duration, rate, row, WIDTH, wrapped } from './format-cells.js';
import type { CardPlan, DataParallelPlan } from './training-plan.js';

/** Widths of the columns; a negative one aligns at the right. */
const COLUMNS = [-6, -7, -10, -9, -8, -7, -11, -7, -9] as const;
const COST_COLUMNS = [-6, -7, -9, -9, -8, -7, -11, -6, -8, -9] as const;

/** Empty without such runs. */
export function dataParallelLines(cards: readonly CardPlan[]): string[] {
  const several = cards.flatMap(({ card, format, run }) => {
    const plans = run?.dataParallel ?? [];
    return plans.length === 0 ? [] : [{ card, format, plans, about: run!.basis === 'measured' ? '' : '~' }];
  });
  if (several.length === 0) return [];
  const hasCost = several[0]!.plans[0]!.cost !== undefined;
  const columns = hasCost ? COST_COLUMNS : COLUMNS;
  const line = (...cells: readonly string[]): string =>
    row(columns.map((width, i) => [cells[i] ?? '', width] as const));
  return [
    '',
    'Several cards, one process each: computed',
    line('GPUs', 'batch', 'a device', 'compute', 'uneven', 'wait', 'samples/s', '×', 'time', 'cost'),
    '─'.repeat(WIDTH),
    ...several.flatMap(({ card, format, plans, about }) => [
      [card, format, plans.find(({ link }) => link)?.link].filter(Boolean).join(', '),
      ...plans.map((plan) => line(...cellsOf(plan, about))),
    ]),
    ...wrapped(
      'batch: effective; compute, uneven, wait: ms of a step: passes of a card on average, what the slowest rank takes ' +
        'longer, and what backward does not hide of the sum of gradients, with what the cards cost each other',
      '',
    ),
  ];
}

function cellsOf(plan: DataParallelPlan, about: string): string[] {
  const { step } = plan;
  const ms = (seconds: number): string => (1000 * seconds).toFixed(seconds < 0.0095 ? 1 : 0);
  return [
    String(plan.gpus),
    String(plan.effectiveBatchSize),
    `${plan.perDeviceTrainBatchSize} × ${plan.gradientAccumulationSteps}`,
    ms(step.computeSeconds),
    ms(step.unevenSeconds),
    ms(step.exposedSeconds + step.mutualSeconds),
    `${about}${rate(plan.samplesPerSecond)}`,
    plan.speedup.toFixed(2),
    `${about}${duration(plan.seconds)}`,
    plan.cost === undefined ? '' : plan.cost < 100 ? plan.cost.toFixed(2) : plan.cost.toFixed(0),
  ];
}
