/** Values of options, read from the texts of a command line: each function is what commander calls with the text. */
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';
import { UsageError } from './usage.js';

export const GIB = 2 ** 30;

type Read<T> = (text: string) => T;

/** A number above 0. */
export function positive(option: string): Read<number> {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
    throw new UsageError(`${option}: expected a number above 0, got ${showValue(text)}`);
  };
}

/** A number from 0. */
export function notNegative(option: string): Read<number> {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
    throw new UsageError(`${option}: expected a number from 0, got ${showValue(text)}`);
  };
}

/** A whole number from 1. */
export function whole(option: string): Read<number> {
  return (text) => {
    const value = positive(option)(text);
    if (Number.isSafeInteger(value)) return value;
    throw new UsageError(`${option}: expected a whole number, got ${showValue(text)}`);
  };
}

/** Above 0 and below 1. */
export function share(option: string): Read<number> {
  return (text) => {
    const value = Number(text);
    if (value > 0 && value < 1) return value;
    throw new UsageError(`${option}: expected a share above 0 and below 1, e.g. 0.2, got ${showValue(text)}`);
  };
}

/** One of some words. */
export function oneOf<const T extends string>(option: string, words: readonly T[]): Read<T> {
  return (text) => {
    const word = words.find((known) => known === text);
    if (word !== undefined) return word;
    const near = nearestName(text, words);
    throw new UsageError(`${option}: expected ${words.join(', ')}, got ${showValue(text)}`, {
      hint: near && `Did you mean ${near}?`,
    });
  };
}

/** Words between commas. */
export function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** Without the entries that are undefined. */
export function defined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** @throws UsageError if an option that is needed was not given */
export function requireOption<T>(value: T | undefined, command: string, option: string): T {
  if (value !== undefined) return value;
  throw new UsageError(`${command}: ${option} is missing`);
}
