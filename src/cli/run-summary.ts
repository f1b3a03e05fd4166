/** What a run has come to, for people and as JSON. */
import { percent } from '../eval/format-figures.js';
import { formatDuration } from '../messages/format-duration.js';
import { oneLine } from '../messages/one-line.js';

/** The last line of `train --json`. */
export interface RunSummary {
  readonly model: string;
  readonly engine: string;
  readonly trainSamples: number;
  readonly testSamples: number;
  /** Of images; conversations have a test part alone. */
  readonly validationSamples?: number | undefined;
  readonly classes?: number | undefined;
  /** Of the whole run. */
  readonly steps: number;
  /** Steps that were done before this call; absent for a run that began with it. */
  readonly resumedAt?: number | undefined;
  /** Of the training of this call alone. */
  readonly seconds: number;
  /** The first and the last that this call logged. */
  readonly loss: { readonly first: number; readonly last: number } | undefined;
  /** Shares of the test images; absent where none were asked. */
  readonly accuracy?: { readonly before: number | undefined; readonly after: number } | undefined;
  /** Of what was held out of conversations, or of the validation images. */
  readonly evalLoss?: { readonly before: number; readonly after: number } | undefined;
  readonly adapter: string;
  readonly report: string | undefined;
  readonly url?: string | undefined;
}

export function summaryLines(summary: RunSummary): string[] {
  const {
    trainSamples,
    testSamples,
    validationSamples = 0,
    resumedAt,
    classes,
    steps,
    seconds,
    loss,
    accuracy,
    evalLoss,
  } = summary;
  const of = classes === undefined ? '' : ` of ${classes} ${classes === 1 ? 'class' : 'classes'}`;
  const test = testSamples > 0 ? `, ${testSamples} for the test` : '';
  const validation = validationSamples > 0 ? `, ${validationSamples} for validation` : '';
  const lossName = validationSamples > 0 ? 'valid. loss' : 'test loss';
  const rows: [string, string][] = [
    ['samples', `${trainSamples}${of}${test}${validation}`],
    [
      'steps',
      `${steps}${resumedAt === undefined ? '' : `, ${steps - resumedAt} of them now,`} in ${formatDuration(seconds)}`,
    ],
  ];
  if (loss) rows.push(['loss', `${loss.first.toFixed(4)} at first, ${loss.last.toFixed(4)} at last`]);
  if (evalLoss) rows.push([lossName, `${evalLoss.before.toFixed(4)} before, ${evalLoss.after.toFixed(4)} after`]);
  if (accuracy) {
    const before = accuracy.before === undefined ? '' : `${percent(accuracy.before)} before, `;
    rows.push(['accuracy', `${before}${percent(accuracy.after)} after`]);
  }
  rows.push(['adapter', oneLine(summary.adapter)]);
  if (summary.report !== undefined) rows.push(['report', `${oneLine(summary.report)} (open it in a browser)`]);
  if (summary.url !== undefined) rows.push(['Hub', summary.url]);
  return rows.map(([name, text]) => `${name.padEnd(11)}${text}`);
}

/** Commands that go on from here. */
export function nextCommands(lines: readonly string[]): string[] {
  return ['Next:', ...lines.map((line) => `  npx ministral-tune ${line}`)];
}

/** A word of a command line as a shell reads it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
