/** In what a saved run and the present one differ: what a resume may change, and what to do about the rest. */
import type { Collator } from '../data/data-loader.js';
import { counted } from '../messages/counted.js';
import { firstLines } from '../messages/short-list.js';
import { showValue } from '../messages/show-value.js';
import { judgeOf } from './best-model.js';
import type { RunIdentity, TrainerState } from './checkpoint-state.js';
import { compareDatasets } from './dataset-fingerprint.js';
import { parseSftConfig, RESUME_MAY_CHANGE, type SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';

type Settings = Readonly<Record<string, unknown>>;

const MAX_LISTED = 20;

/** Settings that versions before did not know: compared where both runs have them. */
export const BASE_MODEL = 'model.base';
const TOKENIZER = 'collator.tokenizer';

/** What decides a run besides its configuration and its data, by whose it is: settings, base model, tokenizer. */
export function runSettings(model: TrainableModel, collator: Collator): Settings {
  const { baseModel, nameOrPath } = model;
  const owners = { model: model.trainingSettings, collator: collator.settings };
  const named = Object.entries(owners).flatMap(([owner, settings]) =>
    Object.entries(settings ?? {}).map(([name, value]) => [`${owner}.${name}`, value] as const),
  );
  return {
    ...Object.fromEntries(named),
    ...(baseModel && { [BASE_MODEL]: { ...baseModel, ...(nameOrPath !== undefined && { name: nameOrPath }) } }),
    ...(collator.tokenizerDigest !== undefined && { [TOKENIZER]: collator.tokenizerDigest }),
  };
}

/** Earlier versions behaved as the defaults of options that they did not have; only prefixes were not shared. */
const SETTINGS_BEFORE: SftConfig = { ...parseSftConfig(), ...{ sharePrefix: false } };

/** Everything in which a saved run and the present one differ. */
export function compareRuns(saved: TrainerState, now: RunIdentity): Difference[] {
  const before = { ...SETTINGS_BEFORE, ...saved.config };
  const isSpread = saved.worldSize !== undefined || now.worldSize !== undefined;
  const differences: Difference[] = [
    ...compareSettings(
      comparable(before),
      comparable(now.config),
      isSpread ? new Set([...RESUME_MAY_CHANGE, ACCUMULATION]) : RESUME_MAY_CHANGE,
      Object.keys(SETTINGS_BEFORE).filter((name) => !(name in saved.config)),
    ),
    ...(isSpread ? compareAccumulation({ ...saved, config: before }, now) : []),
    ...compareSettings(
      saved.settings ?? {},
      now.settings ?? {},
      new Set([...SETTINGS_MAY_CHANGE, BASE_MODEL, TOKENIZER]),
    ),
    ...compareParts(saved.settings ?? {}, now.settings ?? {}),
  ];
  const change = compareDatasets(saved.dataset, now.dataset);
  if (change) differences.push({ of: 'training set', text: `the training set ${change}` });
  differences.push(...compareParameters(saved.parameters, now.parameters));
  if (saved.best) differences.push(...compareJudges(saved, now));
  return differences;
}

const ACCUMULATION = 'gradientAccumulationSteps';

/** A step must take as many micro-batches as before, on however many ranks. */
function compareAccumulation(
  saved: Pick<RunIdentity, 'config' | 'worldSize'>,
  now: Pick<RunIdentity, 'config' | 'worldSize'>,
): Difference[] {
  const of = ({ config, worldSize = 1 }: typeof saved) => ({ each: config[ACCUMULATION], worldSize });
  const [was, is] = [of(saved), of(now)];
  const all = was.each * was.worldSize;
  if (all === is.each * is.worldSize) return [];
  const told = ({ each, worldSize }: typeof was) => `${each} on ${counted(worldSize, 'rank')}`;
  const needed = all / is.worldSize;
  const way = Number.isInteger(needed)
    ? `set \`${ACCUMULATION}: ${needed}\``
    : `a number of ranks that divides ${all} can go on with it`;
  const text = `\`${ACCUMULATION}\` was ${told(was)}, ${all} micro-batches a step, now ${told(is)}, ${is.each * is.worldSize}: ${way}`;
  return [{ of: 'ranks', text }];
}

/** Other evaluations than before where they decide nothing: worth a warning, as their losses are in one log. */
export function evaluationWarnings(saved: TrainerState, now: RunIdentity): string[] {
  if (saved.best && compareJudges(saved, now).length > 0) return [];
  const [was, is] = [saved.evalDataset, now.evalDataset];
  const change = was && is && compareDatasets(was, is);
  if (change) return [`the evaluation set ${change}: losses of evaluations before and after cannot be compared`];
  if (was && !is) return [`until here the run was evaluated, on ${was.length} samples; from here it is not`];
  // Earlier versions did not keep what decides nothing.
  if (!was && is && saved.dataset.texts !== undefined) {
    return [`until here the run was not evaluated; from here it is, on ${is.length} samples`];
  }
  return [];
}

/** Under one name what has two. */
function comparable({ warmupRatio, warmupSteps, ...others }: SftConfig): Settings {
  return { ...others, warmupSteps: warmupRatio || warmupSteps };
}

/** @param added options that the version that saved the run did not have */
function compareSettings(
  saved: Settings,
  now: Settings,
  mayChange: ReadonlySet<string>,
  added: readonly string[] = [],
): Difference[] {
  const differences: Difference[] = [];
  for (const key of new Set([...Object.keys(saved), ...Object.keys(now)])) {
    if (mayChange.has(key) || JSON.stringify(saved[key]) === JSON.stringify(now[key])) continue;
    const [was, is] = [saved[key], now[key]].map((value) => (value === undefined ? 'not set' : showValue(value)));
    const version = added.includes(key) ? ' (the version that started the run did not have this option)' : '';
    differences.push({ of: 'setting', name: key, text: `\`${key}\` was ${was}, now ${is}${version}` });
  }
  return differences;
}

/** The base model and the tokenizer. */
function compareParts(saved: Settings, now: Settings): Difference[] {
  const differences: Difference[] = [];
  const [was, is] = [saved[BASE_MODEL], now[BASE_MODEL]].map((value) =>
    typeof value === 'object' && value !== null ? (value as Settings) : undefined,
  );
  if (was && is) {
    const parts = Object.keys(PART_NAMES).filter((part) => was[part] !== is[part]);
    if (parts.length > 0) {
      const names = [was, is].map(({ name }) => (typeof name === 'string' ? showValue(name) : 'one without a name'));
      const listed = parts.map((part) => PART_NAMES[part]).join(', ');
      const text = `the base model was another, ${names[0]}, now ${names[1]}: it differs in ${listed}`;
      differences.push({ of: 'base model', text });
    }
  }
  const [before, after] = [saved[TOKENIZER], now[TOKENIZER]];
  if (typeof before === 'string' && after !== undefined && before !== after) {
    differences.push({ of: 'tokenizer', text: 'the tokenizer was another: it gives other tokens or other ids' });
  }
  return differences;
}

export const PART_NAMES: Readonly<Record<string, string>> = {
  config: 'config.json',
  language: 'weights of the language model',
  vision: 'weights of the vision tower',
  projector: 'weights of the projector',
  other: 'weights of the output head',
};

/** The best value so far says nothing to another metric or another evaluation set. */
function compareJudges(saved: TrainerState, now: RunIdentity): Difference[] {
  const judge = judgeOf(now.config);
  if (!judge || !saved.best) return [];
  // No evaluation has been judged yet: the next is the first.
  if (saved.best.bestValue === undefined && saved.best.withoutGain === 0) return [];
  const texts: string[] = [];
  const [before, after] = [saved.best, judge].map(({ metric, greaterIsBetter }) => {
    return `${metric} (${greaterIsBetter ? 'greater' : 'less'} is better)`;
  });
  if (before !== after) texts.push(`the best model was chosen by ${before}, now by ${after}`);
  const [was, is] = [saved.evalDataset, now.evalDataset];
  const change = was && is && compareDatasets(was, is);
  if (change) texts.push(`the evaluation set, which decides the best model, ${change}`);
  return texts.map((text) => ({ of: 'best model', text }));
}

function compareParameters(saved: RunIdentity['parameters'], now: RunIdentity['parameters']): Difference[] {
  if (saved.length !== now.length) {
    return [{ of: 'adapter', text: `there were ${saved.length} trainable tensors, now ${now.length}` }];
  }
  const texts: string[] = [];
  saved.forEach((before, i) => {
    const after = now[i]!;
    const [was, is] = [before, after].map(({ name, shape }) => `${name} [${shape}]`);
    if (was !== is) texts.push(`trainable tensor ${i} was ${was}, now ${is}`);
  });
  return firstLines(texts, MAX_LISTED, 'trainable tensors').map((text) => ({ of: 'adapter', text }));
}

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
interface Difference {
  readonly of: 'setting' | 'ranks' | 'training set' | 'base model' | 'tokenizer' | 'adapter' | 'best model';
  readonly name?: string;
  readonly text: string;
}

/** What to do about a difference, by its kind; settings are named. */
const WAY_ON: Readonly<Record<Exclude<Difference['of'], 'setting'>, string>> = {
  ranks:
    'The number of ranks may change where `gradientAccumulationSteps` times it stays the same, and ' +
    '`perDeviceTrainBatchSize` does.',
  'training set':
    'The training set: the order of the samples follows from it, so give it as it was. A sample that is too long can be ' +
    'left out by the collator (`overlong: "drop"` or "truncateText", or another `maxLength` or `longestEdge`), and an ' +
    'unreadable image by `onBadImage: "skip"` of its folder: these may change.',
  'base model': 'The base model: load the one that the checkpoint was trained on.',
  tokenizer: 'The tokenizer: give the one that the checkpoint was trained with.',
  adapter: 'The adapter: apply it with the configuration as it was.',
  'best model': 'How the best is chosen: as it was, or without `loadBestModelAtEnd` and whatever else asks for a best.',
};

/** The way on from a checkpoint that is refused, for each kind of difference. */
export function wayOn(differences: readonly Difference[]): string {
  const names = differences.flatMap(({ name }) => name ?? []);
  const settings = names.map((name) => `\`${name}\``).join(', ');
  const kinds = new Set<string>(differences.map((difference) => difference.of));
  return [
    ...(names.length > 0 ? [`${settings}: part of every step so far; set it back to go on.`] : []),
    ...Object.entries(WAY_ON).flatMap(([kind, text]) => (kinds.has(kind) ? [text] : [])),
    'Or begin a new run with what was learned: loadAdapter(checkpoint, model), then train() without ' +
      '`resumeFromCheckpoint`, in another `outputDir`.',
    `A resume may change: ${[...RESUME_MAY_CHANGE, ...SETTINGS_MAY_CHANGE].join(', ')}.`,
  ].join('\n    ');
}
