import { expect, it } from 'vitest';
import { barChart, lineChart } from '../src/charts.js';
import { DataLoader, ImageProcessor } from '../src/data.js';
import { drawRadiographs, prepareDemonstration, writeTinyCheckpoint } from '../src/demo.js';
import { ConfigError } from '../src/errors.js';
import { abortOnSignals, Evaluator, LoraConfig, mergeAdapter } from '../src/index.js';
import { jsonLines, livePage, tensorBoard } from '../src/monitor.js';
import { plan } from '../src/plan.js';

type Called = (...options: object[]) => unknown;
const made = (Class: unknown): Called => {
  return (...options) => new (Class as new (...options: object[]) => unknown)(...options);
};

/** What takes one object; VlmCollator and SftTrainer, which want their parts first, are among the wrong uses. */
const CALLS: readonly [string, Called][] = [
  ...Object.entries({ Evaluator, LoraConfig, DataLoader, ImageProcessor }).map(([name, Class]): [string, Called] => [
    name,
    made(Class),
  ]),
  ...(Object.entries({ abortOnSignals, mergeAdapter, barChart, lineChart, plan, jsonLines }) as [string, Called][]),
  ...(Object.entries({ livePage, tensorBoard, prepareDemonstration, drawRadiographs }) as [string, Called][]),
  ['writeTinyCheckpoint', writeTinyCheckpoint as unknown as Called],
];

it.each(CALLS)('%s refuses a second object, which nothing would read', async (name, call) => {
  const error = await (async () => call({}, {}))().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).summary).toBe(`${name}: expected one object of options, got 2 arguments`);
  expect((error as ConfigError).hint).toMatch(new RegExp(`^Write (new |await )?${name}\\(`));
});
