/**
 * Which linear layers an adapter sits on: PEFT's matching rules (`peft/tuners/tuners_utils.py`,
 * `check_target_module_exists`), and one rule more that keeps the towers apart.
 */
import { nearestName } from '../config.js';
import { ConfigError, TuneError } from '../errors.js';
import { type ModelPart, modelPart } from '../model/tensor-names.js';
import { withinTime } from '../time-limit.js';

/** `vision` is everything that turns pictures into tokens: the vision tower and the projector. */
export type Towers = 'both' | 'language' | 'vision';

/** The options of `LoraConfig` that choose modules. */
export interface TargetRules {
  readonly targetModules: string | readonly string[];
  readonly excludeModules: string | readonly string[] | undefined;
  readonly towers: Towers;
  readonly layersToTransform: number | readonly number[] | undefined;
  readonly layersPattern: string | readonly string[] | undefined;
}

export interface TargetSelection {
  /** Chosen names, in the order in which they were given. */
  readonly matched: readonly string[];
  /** Rules that had no effect, and choices that need care later. */
  readonly warnings: readonly string[];
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
  return withPatterns('targetModules, excludeModules or layersPattern', () => select(names, rules, spelling));
}

function select(names: readonly string[], rules: TargetRules, spelling: (name: string) => string): TargetSelection {
  const spelled = names.map(spelling);
  const excluded = (name: string): boolean =>
    rules.excludeModules !== undefined && matchesNames(rules.excludeModules, name);
  const inTowers = (name: string): boolean => TOWER_PARTS[rules.towers].includes(modelPart(name));
  const matched = names.filter(
    (name, i) => inTowers(name) && !excluded(spelled[i]!) && matchesTarget(rules, spelled[i]!),
  );
  if (matched.length === 0) throw noMatch(spelled, rules);

  const warnings: string[] = [];
  if (typeof rules.targetModules !== 'string') {
    const unused = rules.targetModules.filter((target) => !spelled.some((name) => endsWithName(name, target)));
    if (unused.length > 0) warnings.push(`targetModules: no linear layer is called ${quoted(unused)}`);
  }
  if (rules.excludeModules !== undefined && !spelled.some(excluded)) {
    warnings.push(`excludeModules: ${quoted([rules.excludeModules].flat())} excludes nothing`);
  }
  const vision = matched.filter((name) => modelPart(name) === 'vision' || modelPart(name) === 'projector').length;
  if (vision > 0) warnings.push(visionServingAdvice(vision, matched.length));
  return { matched, warnings };
}

/** What to know before an adapter that reaches the vision tower or the projector is served. */
export function visionServingAdvice(vision: number, all: number): string {
  return (
    `${vision} of the ${all} adapted layers belong to the vision tower or the projector: vLLM serves them only with ` +
    '--enable-tower-connector-lora, where its version supports that for this model, and ignores them or refuses the ' +
    'adapter without; a merged model needs no switch, and towers: "language" leaves these layers out'
  );
}

/** PEFT's `get_pattern_key`: the first key that matches the end of the name, as a regular expression, or undefined. */
export function matchingPattern(patterns: readonly string[], name: string): string | undefined {
  if (patterns.length === 0) return undefined;
  const matches = (pattern: string): boolean => pythonRegExp(pattern, '^(.*\\.)?(', ')$').test(name);
  return withPatterns('rankPattern or alphaPattern', () => patterns.find(matches));
}

const MAX_LISTED = 20;
const MAX_SHOWN = 60;

/** Names are matched in microseconds. A pattern that backtracks without end comes from a hostile file. */
const MAX_MILLISECONDS = 700;

/** Runs what matches names against patterns of a file. @throws ConfigError if a pattern takes too long or too much */
function withPatterns<T>(options: string, work: () => T): T {
  const hint = 'Use a list of names, or a pattern without nested repetitions.';
  const refuse = (why: string, cause?: unknown): ConfigError =>
    new ConfigError(`a regular expression of ${options} ${why}`, { hint, cause });
  try {
    return withinTime(MAX_MILLISECONDS, work, () => refuse('takes too long to match the names of layers'));
  } catch (error) {
    if (error instanceof TuneError) throw error;
    throw refuse(`cannot be used: ${(error as Error).message}`, error);
  }
}

/**
 * A Python regular expression as JavaScript's, between a head and a tail.
 * @throws SyntaxError if it is not one
 */
export function pythonRegExp(pattern: string, head: string, tail: string): RegExp {
  const flags = /^\(\?([aimsux]+)\)/.exec(pattern);
  const source = pattern
    .slice(flags?.[0].length ?? 0)
    .replaceAll('(?P<', '(?<')
    .replace(/\(\?P=(\w+)\)/g, '\\k<$1>')
    .replace(/\\A/g, '^')
    .replace(/\\[zZ]/g, '$');
  return new RegExp(`${head}${source}${tail}`, flags?.[1]?.replace(/[^ims]/g, '') ?? '');
}

/** True for a pattern that stands for every linear layer but the output head. */
export function isAllLinear(target: string | readonly string[]): boolean {
  return typeof target === 'string' && target.toLowerCase() === 'all-linear';
}

function matchesTarget(rules: TargetRules, name: string): boolean {
  const { targetModules } = rules;
  if (isAllLinear(targetModules)) return name.split('.').at(-1) !== 'lm_head';
  if (typeof targetModules === 'string') return matchesNames(targetModules, name);
  // A full name is meant as it stands: like PEFT, the choice of layers is not applied to it.
  if (targetModules.includes(name)) return true;
  return matchesNames(targetModules, name) && inLayers(rules, name);
}

/** A string is a regular expression for the whole name; a list holds names or their endings, from a dot on. */
function matchesNames(rule: string | readonly string[], name: string): boolean {
  if (typeof rule === 'string') return pythonRegExp(rule, '^(?:', ')$').test(name);
  return rule.some((entry) => endsWithName(name, entry));
}

function endsWithName(name: string, ending: string): boolean {
  return name === ending || name.endsWith(`.${ending}`);
}

/** The first number in the name is the layer, unless `layersPattern` says after which word it comes. */
function inLayers({ layersToTransform, layersPattern }: TargetRules, name: string): boolean {
  const layers = layersToTransform === undefined ? [] : [layersToTransform].flat();
  if (layersToTransform === undefined || (typeof layersToTransform !== 'number' && layers.length === 0)) return true;
  const words = layersPattern === undefined ? [] : [layersPattern].flat().filter((word) => word !== '');
  const patterns =
    words.length === 0
      ? [/^.*?\.[^.]*\.(?<idx>\d+)\./]
      : words.map((word) => pythonRegExp(word, '^(?:|.*?\\.)', '\\.(?<idx>\\d+)\\.'));
  for (const pattern of patterns) {
    const index = pattern.exec(name)?.groups?.idx;
    if (index !== undefined) return layers.includes(Number(index));
  }
  return false;
}

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
  const listed = names.slice(0, MAX_LISTED).map((name) => `"${name.slice(0, MAX_SHOWN)}"`);
  return `${listed.join(', ')}${names.length > MAX_LISTED ? `, and ${names.length - MAX_LISTED} more` : ''}`;
}
