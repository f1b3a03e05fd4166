/** What an adapter needs of a model and of its engine. */
import type { Engine } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';
import { ConfigError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { warningLine } from '../messages/one-line.js';
import type { LinearModule, WriteAdapter } from '../model/linear-module.js';

/** What an adapter needs of an engine. */
export type LoraEngine = Pick<Engine, 'createParameters' | 'readParameters' | 'writeParameters' | 'releaseParameters'>;

/** What an adapter needs of a model. */
export interface LoraHost {
  /** Keeps A and B: the engine that the weights are on. */
  readonly engine: LoraEngine;
  /**
   * Every linear layer of both towers and the projector: all that can be adapted. Not the output head, which the
   * engines compute together with the loss, and not the embeddings.
   */
  readonly linearModules: readonly LinearModule[];
  /** Name on the Hub, or folder, that the model came from; saved as `base_model_name_or_path`. */
  readonly nameOrPath?: string | undefined;
  /** Folder of its files, where they are known. */
  readonly folder?: string | undefined;
  /** Branch, tag or commit that was asked for on the Hub; undefined for `main` and for a folder. */
  readonly revision?: string | undefined;
  /** Whether the weights are gone. */
  readonly isDisposed?: boolean;
  /** Whether the engine goes with the model. */
  readonly ownsEngine?: boolean;
  /** Receives the trainable parameters, and what writes them as an adapter, when an adapter comes or goes. */
  setTrainable?(set: ParameterSet | undefined, write?: WriteAdapter | undefined): void;
}

/** How they are called, for who gives something else first. */
const CALLS: Readonly<Record<string, string>> = {
  applyLora: 'applyLora(model, { r: 16, alpha: 32 })',
  loadAdapter: 'await loadAdapter(folder, model)',
  setAdapter: 'setAdapter(model, name)',
  deleteAdapter: 'deleteAdapter(model, name)',
  activeAdapter: 'activeAdapter(model)',
  adaptersOf: 'adaptersOf(model)',
  verifyAdapter: 'await verifyAdapter(model, folder, batch)',
};

/** @throws ConfigError for what is no model, and for one that is disposed of */
export function requireLoraHost(model: unknown, what: string): asserts model is LoraHost {
  if (!Array.isArray((model as LoraHost | undefined)?.linearModules)) {
    const expected = `${what}: expected a model, as loadModel and fromPretrained give it`;
    if (isPretrained(model)) {
      throw new ConfigError(`${expected}, got all that fromPretrained gives`, {
        hint: 'Take the model out of it: const { model, processor } = await fromPretrained(…).',
      });
    }
    const call = CALLS[what];
    throw new ConfigError(`${expected}, got ${describeValue(model)}`, call ? { hint: `Write ${call}.` } : {});
  }
  if ((model as LoraHost).isDisposed) {
    throw new ConfigError(`${what}: the model is disposed of: its weights are gone`, {
      hint: 'Call model.dispose() after the last use, or load the model again.',
    });
  }
}

function isPretrained(value: unknown): boolean {
  const { model, processor } = (value ?? {}) as { model?: unknown; processor?: unknown };
  return typeof model === 'object' && model !== null && processor !== undefined;
}

/** What came instead, for messages. */
export function describeValue(value: unknown): string {
  return value instanceof Promise ? 'a promise: await it' : describeGiven(value);
}

const MAX_REMEMBERED = 1000;
const emitted = new Set<string>();

/** Gives each line to the listener; without one each becomes a warning of the process, once. */
export function warnWith(onWarning: ((line: string) => void) | undefined, lines: readonly string[]): void {
  for (const text of lines) {
    const line = warningLine(text);
    if (onWarning) onWarning(line);
    else if (!emitted.has(line) && emitted.size < MAX_REMEMBERED) {
      emitted.add(line);
      process.emitWarning(line, 'LoraWarning');
    }
  }
}
