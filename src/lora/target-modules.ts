/** Which linear layers an adapter sits on: PEFT's matching rules, and one rule more that keeps the towers apart. */

import { ConfigError } from '../errors.js';
import { startOf } from '../messages/cut-text.js';
import { nearestName } from '../messages/nearest-name.js';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import { type ModelPart, modelPart } from '../model/tensor-names.js';
import {
  endsWithName,
  hasPatterns,
  isAllLinear,
  isExcluded,
  isTarget,
  type PeftRules,
  withPatterns,
} from './peft-rules.js';

/** `vision` is everything that turns images into tokens: the vision tower and the projector. */
export type Towers = 'both' | 'language' | 'vision';

interface TargetRules extends PeftRules {
  readonly towers: Towers;
}

interface TargetSelection {
  /** Chosen names, in the order in which they were given. */
  readonly matched: readonly string[];
  /** Rules that had no effect. */
  readonly warnings: readonly string[];
  /** Choices that need care later, when the adapter is served. */
  readonly advice: readonly string[];
}

const TOWER_PARTS: Readonly<Record<Towers, readonly ModelPart[]>> = {
  both: ['language', 'vision', 'projector', 'other'],
  language: ['language'],
  vision: ['vision', 'projector'],
};

/**
 * Chooses modules by their names.
 * @param names every linear module, by its name in memory
 * @param spelling gives the name that the rules are written for, where they follow an older spelling
 * @throws ConfigError if nothing matches, with the nearest names and the endings that exist
 */
export function selectTargetModules(
  names: readonly string[],
  rules: TargetRules,
  spelling: (name: string) => string = (name) => name,
): TargetSelection {
  const work = (): TargetSelection => select(names, rules, spelling);
  return hasPatterns(rules) ? withPatterns('targetModules, excludeModules or layersPattern', work) : work();
}

function select(names: readonly string[], rules: TargetRules, spelling: (name: string) => string): TargetSelection {
  const spelled = names.map(spelling);
  const inTowers = (name: string): boolean => TOWER_PARTS[rules.towers].includes(modelPart(name));
  const matched = names.filter((name, i) => inTowers(name) && isTarget(rules, spelled[i]!));
  if (matched.length === 0) throw noMatch(spelled, rules);

  const warnings: string[] = [];
  if (typeof rules.targetModules !== 'string') {
    const unused = rules.targetModules.filter((target) => !spelled.some((name) => endsWithName(name, target)));
    const unknown = unused.filter((target) => !NOT_ADAPTABLE.some((name) => endsWithName(name, target)));
    if (unknown.length > 0) warnings.push(`targetModules: no linear layer is called ${quoted(unknown)}`);
  }
  // "all-linear" means neither.
  const beside = isAllLinear(rules.targetModules) ? [] : NOT_ADAPTABLE.filter((name) => isTarget(rules, name));
  if (beside.length > 0) {
    warnings.push(
      'targetModules: output head and embeddings cannot be adapted here: the adapter is trained and saved without ' +
        beside.map((name) => name.split('.').at(-1)).join(', '),
    );
  }
  if (rules.excludeModules !== undefined && !spelled.some((name) => isExcluded(rules, name))) {
    warnings.push(`excludeModules: ${quoted([rules.excludeModules].flat())} excludes nothing`);
  }
  const vision = matched.filter((name) => modelPart(name) === 'vision' || modelPart(name) === 'projector').length;
  return { matched, warnings, advice: vision > 0 ? [visionServingAdvice(vision, matched.length)] : [] };
}

/**
 * Modules that PEFT adapts where a rule names them, and that are never adapted here: engines compute the head inside
 * the loss, and its weight may be the embedding's. All linear layers of the towers and the projector can be.
 */
const NOT_ADAPTABLE = ['lm_head', 'model.language_model.embed_tokens'];

/** What to know before an adapter that reaches the vision tower or the projector is served. */
export function visionServingAdvice(vision: number, all: number): string {
  return (
    `${vision} of the ${all} adapted layers belong to the vision tower or the projector: to serve them with vLLM merge ` +
    'the adapter into its base model, as vLLM ignores such layers of Mistral 3, even with ' +
    '--enable-tower-connector-lora (as of 2026); towers: "language" leaves these layers out'
  );
}

const MAX_LISTED = 20;
const MAX_SHOWN = 60;

function noMatch(names: readonly string[], rules: TargetRules): ConfigError {
  const targets = [rules.targetModules].flat();
  const endings = [...new Set(names.map((name) => name.split('.').at(-1)!))].sort();
  const near = targets
    .slice(0, MAX_LISTED)
    .map((target) => [target, nearestName(target, endings) ?? nearestName(target, names)] as const)
    .filter(([target, name]) => name !== undefined && name !== target)
    .map(([target, name]) => `"${target}" is near "${name}"`);
  const narrowed = [
    rules.excludeModules === undefined ? '' : `excludeModules ${quoted([rules.excludeModules].flat())}`,
    rules.towers === 'both' ? '' : `towers "${rules.towers}"`,
    rules.layersToTransform === undefined ? '' : `layersToTransform [${[rules.layersToTransform].flat()}]`,
  ].filter(Boolean);
  const regular = typeof rules.targetModules === 'string' && !isAllLinear(rules.targetModules);
  return new ConfigError(
    `targetModules ${quoted(targets)}${narrowed.length > 0 ? `, with ${narrowed.join(' and ')},` : ''} ` +
      `${regular ? '(a regular expression for the whole name) ' : ''}match none of the model's ${names.length} linear layers` +
      `${near.length > 0 ? `; ${near.join(', ')}` : ''}`,
    {
      hint: `Endings that exist: ${endings.join(', ')}; a full name: ${names[0] ?? '(the model has none)'}.`,
      details: { targetModules: rules.targetModules, endings },
    },
  );
}

function quoted(names: readonly string[]): string {
  return shortList(names, MAX_LISTED, (name) => `"${oneLine(startOf(name, MAX_SHOWN))}"`);
}
