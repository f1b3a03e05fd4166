/**
 * PEFT 0.21's rules for names: which modules an adapter sits on (`check_target_module_exists`), and which entry of a
 * rank or alpha pattern counts (`get_pattern_key`). Its regular expressions are Python's.
 */

import { withinTime } from '../async/time-limit.js';
import { ConfigError, TuneError } from '../errors.js';
import { type PythonMatch, PythonRegExp } from './python-regexp.js';

/** The options of `LoraConfig` that PEFT chooses modules by. */
export interface PeftRules {
  readonly targetModules: string | readonly string[];
  readonly excludeModules: string | readonly string[] | undefined;
  readonly layersToTransform: number | readonly number[] | undefined;
  readonly layersPattern: string | readonly string[] | undefined;
}

/** Names are matched in microseconds. A pattern that backtracks without end comes from a hostile file. */
const MAX_MILLISECONDS = 700;

/**
 * Bounds the time of matching names against patterns. If it ran out while other processes had the processor, `work` runs
 * again with twice the time. @throws ConfigError if a pattern takes too long or too much
 */
export function withPatterns<T>(options: string, work: () => T): T {
  const hint = 'Use a list of names, or a pattern without nested repetitions.';
  const refuse = (why: string, cause?: unknown): ConfigError =>
    new ConfigError(`a regular expression of ${options} ${why}`, { hint, cause });
  const timeIsOver = refuse('takes too long to match the names of layers');
  const start = process.cpuUsage();
  const attempt = (milliseconds: number): T => {
    try {
      return withinTime(milliseconds, work, () => timeIsOver);
    } catch (error) {
      const wasStarved = process.cpuUsage(start).user / 1000 < MAX_MILLISECONDS / 2;
      if (error === timeIsOver && milliseconds === MAX_MILLISECONDS && wasStarved) return attempt(2 * milliseconds);
      if (error instanceof TuneError) throw error;
      if (error instanceof RangeError) throw refuse('has too many parts to match the names of layers', error);
      throw refuse(`cannot be used: ${(error as Error).message}`, error);
    }
  };
  return attempt(MAX_MILLISECONDS);
}

/** Whether names are matched against patterns of the file at all; lists of names need no watchdog. */
export function hasPatterns({ targetModules, excludeModules, layersPattern }: PeftRules): boolean {
  if (typeof targetModules === 'string' && !isAllLinear(targetModules)) return true;
  return typeof excludeModules === 'string' || (layersPattern !== undefined && layersPattern.length > 0);
}

const MAX_CACHED = 1 << 20;
const compiled = new Map<string, PythonRegExp>();
let cachedCharacters = 0;

/** The same few patterns meet each name of a model. @throws SyntaxError */
function pythonRegExp(source: string): PythonRegExp {
  const known = compiled.get(source);
  if (known) return known;
  const made = new PythonRegExp(source);
  cachedCharacters += source.length;
  if (cachedCharacters > MAX_CACHED) {
    compiled.clear();
    cachedCharacters = source.length;
  }
  compiled.set(source, made);
  return made;
}

/** What PEFT makes of a pattern, by its place in the configuration. */
const WITHIN = {
  targetModules: (pattern: string): string => pattern,
  excludeModules: (pattern: string): string => pattern,
  layersPattern: (pattern: string): string => `(?:^|.*?\\.)${pattern}\\.(?P<idx>\\d+)\\.`,
  rankPattern: (pattern: string): string => `(.*\\.)?(${pattern})$`,
  alphaPattern: (pattern: string): string => `(.*\\.)?(${pattern})$`,
} as const;

/** @throws SyntaxError if the pattern is none, in its place */
export function checkPattern(option: keyof typeof WITHIN, pattern: string): void {
  pythonRegExp(WITHIN[option](pattern));
}

/** The first key that matches the end of the name, as a regular expression, or undefined. */
export function matchingPattern(patterns: readonly string[], name: string): string | undefined {
  const found = patterns.find((pattern) => endsWithPlain(pattern, name) !== false);
  // Most have only names; the first that is no plain name needs the watchdog, and so may those after it.
  if (found === undefined || endsWithPlain(found, name)) return found;
  const matches = (pattern: string): boolean =>
    endsWithPlain(pattern, name) ?? pythonRegExp(WITHIN.rankPattern(pattern)).match(name) !== undefined;
  return withPatterns('rankPattern or alphaPattern', () => patterns.find(matches));
}

/** The same for names, with or without escaped dots, of which a file may have hundreds; undefined for other patterns. */
function endsWithPlain(pattern: string, name: string): boolean | undefined {
  if (!/^(?:\w|\\?\.)+$/.test(pattern) || !/^[\w.]*$/.test(name)) return undefined;
  let at = name.length;
  for (let i = pattern.length - 1; i >= 0; i--) {
    const character = pattern[i]!;
    const isEscaped = pattern[i - 1] === '\\';
    at--;
    if (at < 0 || (name[at] !== character && (character !== '.' || isEscaped))) return false;
    if (isEscaped) i--;
  }
  return at === 0 || name[at - 1] === '.';
}

/** Whether a pattern chooses every linear layer but the output head. */
export function isAllLinear(target: string | readonly string[]): boolean {
  return typeof target === 'string' && target.toLowerCase() === 'all-linear';
}

/** Whether PEFT leaves the module out, whatever the targets say. */
export function isExcluded({ excludeModules }: PeftRules, name: string): boolean {
  return excludeModules !== undefined && matchesNames(excludeModules, name);
}

/** Whether PEFT adapts the module; "all-linear" is for linear layers only. */
export function isTarget(rules: PeftRules, name: string): boolean {
  return !isExcluded(rules, name) && matchesTarget(rules, name);
}

function matchesTarget(rules: PeftRules, name: string): boolean {
  const { targetModules } = rules;
  if (isAllLinear(targetModules)) return name.split('.').at(-1) !== 'lm_head';
  if (typeof targetModules === 'string') return matchesNames(targetModules, name);
  // A full name is taken literally: the choice of layers is not applied to it.
  if (targetModules.includes(name)) return true;
  return matchesNames(targetModules, name) && inLayers(rules, name);
}

/** A string is a regular expression for the whole name; a list holds names or their endings, from a dot on. */
function matchesNames(rule: string | readonly string[], name: string): boolean {
  if (typeof rule === 'string') return rule !== '' && pythonRegExp(rule).fullMatch(name) !== undefined;
  return rule.some((entry) => endsWithName(name, entry));
}

export function endsWithName(name: string, ending: string): boolean {
  return name === ending || name.endsWith(`.${ending}`);
}

/** Without `layersPattern`: the first number between dots, after two words. */
const ANY_LAYER = '.*?\\.[^.]*\\.(?P<idx>\\d+)\\.';

function inLayers({ layersToTransform, layersPattern }: PeftRules, name: string): boolean {
  if (layersToTransform === undefined) return true;
  if (typeof layersToTransform !== 'number' && layersToTransform.length === 0) return true;
  const isAny = layersPattern === undefined || layersPattern.length === 0;
  const patterns = isAny ? [ANY_LAYER] : [layersPattern].flat().map(WITHIN.layersPattern);
  let match: PythonMatch | undefined;
  // The first pattern that matches decides, even if it finds no number.
  for (const pattern of patterns) {
    match = pythonRegExp(pattern).match(name);
    if (match) break;
  }
  const index = match?.groups.idx;
  return index !== undefined && [layersToTransform].flat().includes(Number(index));
}
