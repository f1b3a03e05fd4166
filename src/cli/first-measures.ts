/** What the model said before its training: a resume compares with that and does not ask again. */
import { join } from 'node:path';
import { z } from 'zod';
import { requireReport } from '../eval/check-report.js';
import type { EvaluationReport } from '../eval/evaluation-report.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { readJson } from '../files/read-json.js';
import { exists } from '../files/regular-file.js';
import { VERSION } from '../generated/version.js';

export const BEFORE_FILE = 'before.json';

/** What decides the measures. */
interface Measured {
  /** Options of the run; where its folder lies is no matter. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly testSamples: number;
  readonly evalSamples: number;
}

interface FirstMeasures {
  /** Answers of the test split; undefined where there is nothing to ask. */
  readonly report: EvaluationReport | undefined;
  readonly evalLoss: number | undefined;
}

const schema = z.object({
  version: z.literal(VERSION),
  settings: z.record(z.string(), z.unknown()),
  testSamples: z.number(),
  evalSamples: z.number(),
  report: z.unknown().optional(),
  evalLoss: z.number().optional(),
});

const keyOf = ({ settings: { outputDir: _, ...settings }, testSamples, evalSamples }: Measured): string =>
  JSON.stringify([Object.entries(settings).sort(([a], [b]) => (a < b ? -1 : 1)), testSamples, evalSamples]);

export async function writeFirstMeasures(outputDir: string, of: Measured, measures: FirstMeasures): Promise<void> {
  if (measures.report === undefined && measures.evalLoss === undefined) return;
  const text = `${JSON.stringify({ version: VERSION, ...of, ...measures }, null, 2)}\n`;
  await writeNamedFile(join(outputDir, BEFORE_FILE), text, 'train');
}

/** undefined where there are none of the same settings and data, or they cannot be read: they are taken again. */
export async function readFirstMeasures(outputDir: string, of: Measured): Promise<FirstMeasures | undefined> {
  const path = join(outputDir, BEFORE_FILE);
  if (!(await exists(path))) return undefined;
  try {
    const found = schema.parse(await readJson(path));
    if (keyOf(found) !== keyOf(of)) return undefined;
    if (found.report !== undefined) requireReport(found.report, BEFORE_FILE);
    return { report: found.report as EvaluationReport | undefined, evalLoss: found.evalLoss };
  } catch {
    return undefined;
  }
}
