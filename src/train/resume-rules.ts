/** What of the model's and the collator's settings a resume may change, and the way on for all else. */
import { showValue } from '../messages/show-value.js';
import { RESUME_MAY_CHANGE } from './sft-config.js';

type Settings = Readonly<Record<string, unknown>>;

/**
 * Settings of the collator that a resumed run may change, with a warning: what to do about samples that are too long. They
 * choose neither the samples of a step nor their order, so the steps done were right, and later ones are those of a run
 * that had them from the start: a sample that was too long would have stopped it, or is in an epoch that is over.
 * What is learned of a sample (labels, template, tokens, levels of pixels) is no such setting.
 */
export const SETTINGS_MAY_CHANGE: ReadonlySet<string> = new Set([
  'collator.maxLength',
  'collator.overlong',
  'collator.longestEdge',
]);

/** A warning of the settings that a resume changes; none if there are none. */
export function changedSettings(saved: Settings, now: Settings, step: number): string[] {
  const changes = [...SETTINGS_MAY_CHANGE].flatMap((name) => {
    if (JSON.stringify(saved[name]) === JSON.stringify(now[name])) return [];
    const [was, is] = [saved[name], now[name]].map((value) => (value === undefined ? 'not set' : showValue(value)));
    return [`\`${name}\` was ${was}, now ${is}`];
  });
  if (changes.length === 0) return [];
  return [`${changes.join('; ')}: the batches from here on are made so, those of the ${step} steps before were not`];
}

/** Something in which two runs differ. */
export interface Difference {
  readonly of: 'setting' | 'training set' | 'base model' | 'tokenizer' | 'adapter' | 'best model';
  /** Of the setting. */
  readonly name?: string;
  readonly text: string;
}

/** The way on from a checkpoint that is refused, for each kind of difference. */
export function wayOn(differences: readonly Difference[]): string {
  const names = differences.flatMap(({ name }) => name ?? []);
  const isOf = (what: Difference['of']) => differences.some((difference) => difference.of === what);
  const lines: string[] = [];
  if (names.length > 0) {
    lines.push(`${names.map((name) => `\`${name}\``).join(', ')}: part of every step so far; set it back to go on.`);
  }
  if (isOf('training set')) {
    lines.push(
      'The training set: the order of the samples follows from it, so give it as it was. A sample that is too long can be ' +
        'left out by the collator (`overlong: "drop"` or "truncateText", or another `maxLength` or `longestEdge`), and an ' +
        'unreadable image by `onBadImage: "skip"` of its folder: these may change.',
    );
  }
  if (isOf('base model')) lines.push('The base model: load the one that the checkpoint was trained on.');
  if (isOf('tokenizer')) lines.push('The tokenizer: give the one that the checkpoint was trained with.');
  if (isOf('adapter')) lines.push('The adapter: apply it with the configuration as it was.');
  if (isOf('best model')) {
    lines.push('How the best is told: as it was, or without `loadBestModelAtEnd` and whatever else asks for a best.');
  }
  lines.push(
    'Or begin a new run with what was learned: loadAdapter(checkpoint, model), then train() without ' +
      '`resumeFromCheckpoint`, in another `outputDir`.',
    `A resume may change: ${[...RESUME_MAY_CHANGE, ...SETTINGS_MAY_CHANGE].join(', ')}.`,
  );
  return lines.join('\n    ');
}
