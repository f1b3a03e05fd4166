/** Before the first step: do all ranks run the same? Found out late, it is a wrong result without a word. */
import { DistributedError } from '../errors.js';
import { VERSION } from '../generated/version.js';
import { firstLines } from '../messages/short-list.js';
import { showValue } from '../messages/show-value.js';
import type { RunIdentity, TrainingTensors } from './checkpoint-state.js';
import { BASE_MODEL, PART_NAMES } from './compare-runs.js';
import { compareDatasets, type DatasetFingerprint } from './dataset-fingerprint.js';
import { digestOf } from './rank-checkpoint.js';
import type { RankExchange } from './rank-exchange.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';

const MAX_LISTED = 20;

/** What is each rank's own business: where and how it reads, shows and holds things. */
const OWN: ReadonlySet<keyof SftConfig> = new Set(['outputDir', 'progress', 'dataloaderPrefetch', 'memoryBudget']);

/** By name: what must be the same. */
type Facts = Readonly<Record<string, unknown>>;

interface Told {
  readonly facts: Facts;
  readonly dataset: DatasetFingerprint;
  readonly evalDataset?: DatasetFingerprint | undefined;
}

/**
 * Compares versions, engine, configuration, model, adapter, collator and data over the ranks.
 * @param isResumed the values of the adapter come from a checkpoint
 * @throws DistributedError naming every difference, on all ranks
 */
export async function requireAlike(
  ranks: RankExchange,
  model: TrainableModel,
  { config, settings, parameters, dataset, evalDataset }: RunIdentity,
  isResumed: boolean,
): Promise<void> {
  const { engine, trainable } = model;
  const none: TrainingTensors['optimizer'] = {};
  const initial = async () => digestOf({ parameters: await engine.readParameters(trainable), optimizer: none });
  const options = Object.entries(config).filter(([name]) => !OWN.has(name as keyof SftConfig));
  const facts: Facts = {
    'the version of ministral-tune': VERSION,
    'the engine': engine.name,
    'the number of ranks': ranks.group.worldSize,
    'what is resumed': isResumed,
    ...Object.fromEntries(options.map(([name, value]) => [`\`${name}\``, value])),
    ...partsOf(settings ?? {}),
    'the trainable tensors': parameters.map(({ name, shape }) => `${name} [${shape}]`),
    ...(isResumed ? {} : { 'the initial values of the adapter (their SHA-256)': await initial() }),
  };
  const own: Told = { facts, dataset, ...(evalDataset && { evalDataset }) };
  const all = await ranks.gather('comparison of the ranks', own);
  const differences = [
    ...compareFacts(all.map((rank) => rank.facts)),
    ...compareSets(
      'the training set',
      all.map((rank) => rank.dataset),
    ),
    ...compareSets(
      'the evaluation set',
      all.map((rank) => rank.evalDataset),
    ),
  ];
  if (differences.length === 0) return;
  const listed = firstLines(differences, MAX_LISTED, 'differences');
  throw ranks.agreed(
    new DistributedError(`the ranks are not alike:\n  - ${listed.join('\n  - ')}`, {
      hint: 'Run the same program with the same settings, versions and data on each of them.',
      details: { differences },
    }),
  );
}

/** Each part of the base model by itself; by what name a rank has loaded it is its own business. */
function partsOf({ [BASE_MODEL]: base, ...others }: Facts): Facts {
  const { name, ...parts } = (base ?? {}) as Readonly<Record<string, unknown>>;
  const digests = Object.entries(parts).map(([part, digest]) => [
    `the base model's ${PART_NAMES[part] ?? part}`,
    digest,
  ]);
  return { ...others, ...Object.fromEntries(digests) };
}

/** `x: 1 on ranks 0 and 2, 3 on rank 1` */
function compareFacts(byRank: readonly Facts[]): string[] {
  const names = new Set(byRank.flatMap((facts) => Object.keys(facts)));
  return [...names].flatMap((name) => {
    const ranksOf = new Map<string, number[]>();
    byRank.forEach((facts, rank) => {
      const value = Object.hasOwn(facts, name) ? JSON.stringify(facts[name]) : 'not set';
      ranksOf.set(value, [...(ranksOf.get(value) ?? []), rank]);
    });
    if (ranksOf.size === 1) return [];
    const [first] = ranksOf.keys();
    const told = [...ranksOf].map(([value, ranks]) => `${shownBeside(value, first!)} on ${named(ranks)}`);
    return [`${name}: ${told.join(', ')}`];
  });
}

/** Of long values the place where they begin to differ. */
function shownBeside(json: string, other: string): string {
  if (json === 'not set') return json;
  const value = JSON.parse(json) as unknown;
  if (!Array.isArray(value) || !other.startsWith('[')) return showValue(value);
  const others = JSON.parse(other) as unknown[];
  const at = value.findIndex((one, i) => JSON.stringify(one) !== JSON.stringify(others[i]));
  const from = at < 0 ? '' : `, [${at}] ${showValue(value[at])}`;
  return `${value.length} of them${from}`;
}

function compareSets(name: string, byRank: readonly (DatasetFingerprint | undefined)[]): string[] {
  const [first] = byRank;
  return byRank.flatMap((set, rank) => {
    if (!first || !set) return first || set ? [`${name}: ${set ? 'given' : 'missing'} on rank ${rank}`] : [];
    if (first.length !== set.length)
      return [`${name}: ${first.length} samples on rank 0, ${set.length} on rank ${rank}`];
    const text = compareDatasets(first, set)?.replaceAll('than before', 'than on rank 0');
    return text ? [`${name} on rank ${rank} ${text}`] : [];
  });
}

function named(ranks: readonly number[]): string {
  return `${ranks.length === 1 ? 'rank' : 'ranks'} ${ranks.join(', ')}`;
}
