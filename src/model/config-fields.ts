/** Fields of config.json, read strictly: what is wrong with them is collected, so that one error lists all of it. */

import type { Activation } from '../engine/operations.js';
import { showValue } from '../messages/show-value.js';

export type Json = Record<string, unknown>;

/** Far above the largest published models: 126 layers, a width of 18,432, a vocabulary of 262,144. */
export const MOST = {
  layers: 1024,
  width: 262_144,
  heads: 4096,
  vocabulary: 4_194_304,
  positions: 2 ** 31 - 1,
  patch: 128,
  merge: 16,
  eosTokens: 64,
} as const;

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_new: 'gelu_tanh',
  relu: 'relu',
};

export class ConfigFields {
  readonly #object: Json;
  readonly #where: string;
  readonly #faults: string[];

  constructor(object: unknown, where: string, faults: string[]) {
    const valid = typeof object === 'object' && object !== null && !Array.isArray(object);
    if (!valid && object !== undefined)
      faults.push(`${where || 'config.json'}: expected an object, got ${showValue(object)}`);
    this.#object = valid ? (object as Json) : {};
    this.#where = where ? `${where}.` : '';
    this.#faults = faults;
  }

  /** Whether the file has the field, `null` included. */
  has(key: string): boolean {
    return Object.hasOwn(this.#object, key);
  }

  /** The value; undefined for `null` too. */
  raw(key: string): unknown {
    const value = this.has(key) ? this.#object[key] : undefined;
    return value === null ? undefined : value;
  }

  fault(key: string, expected: string): void {
    this.#faults.push(`${this.#where}${key}: expected ${expected}, got ${showValue(this.raw(key))}`);
  }

  number(key: string, fallback: number, accept: (value: number) => boolean, expected: string): number {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'number' && Number.isFinite(value) && accept(value)) return value;
    this.fault(key, expected);
    return fallback;
  }

  /** @param most what no model comes near: a claimed size must not decide how much memory is taken */
  count(key: string, fallback: number, most: number): number {
    const accept = (value: number): boolean => Number.isInteger(value) && value > 0 && value <= most;
    return this.number(key, fallback, accept, `a whole number from 1 to ${most}`);
  }

  positive(key: string, fallback: number): number {
    return this.number(key, fallback, (value) => value > 0, 'a positive number');
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'boolean') return value;
    this.fault(key, 'true or false');
    return fallback;
  }

  activation(key: string, fallback: Activation): Activation {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'string' && Object.hasOwn(ACTIVATIONS, value)) return ACTIVATIONS[value]!;
    this.fault(key, `one of ${Object.keys(ACTIVATIONS).join(', ')}`);
    return fallback;
  }

  /** Refuses a feature that the model does not have, unless the field is absent or holds an allowed value. */
  only(key: string, ...allowed: (string | number | boolean)[]): void {
    const value = this.raw(key);
    if (value !== undefined && !(allowed as unknown[]).includes(value)) {
      this.fault(key, `${allowed.map(showValue).join(' or ') || 'null'} (nothing else is supported)`);
    }
  }
}
