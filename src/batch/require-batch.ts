/** A batch at the public edge: its arrays are what they should be before the model reads them. */
import type { VlmBatch } from '../data/types.js';
import { ConfigError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { requireKind } from '../require-given.js';

/** By name: the arrays' class, and how many extents they have. */
const ARRAYS = {
  inputIds: [Int32Array, 2],
  attentionMask: [Int32Array, 2],
  labels: [Int32Array, 2],
  pixelValues: [Float32Array, 4],
  imageSizes: [Int32Array, 2],
} as const;

/**
 * @param what who wants it, e.g. ``generate: `prompts` ``
 * @throws ConfigError if it is no batch, or an array of it is of another kind; its values are not looked at
 */
export function requireBatch(batch: unknown, what: string, call?: string): asserts batch is VlmBatch {
  requireKind('batch', batch, what, call);
  const { stopTokenIds } = batch as { stopTokenIds?: unknown };
  if (stopTokenIds !== undefined && !(Array.isArray(stopTokenIds) && stopTokenIds.every(Number.isSafeInteger))) {
    throw new ConfigError(
      `${what}: \`stopTokenIds\`: expected a list of token ids, got ${describeGiven(stopTokenIds)}`,
    );
  }
  for (const [name, [arrayClass, rank]] of Object.entries(ARRAYS)) {
    // Pixels that nobody has asked for are not made for this.
    if (Object.getOwnPropertyDescriptor(batch, name)?.get) continue;
    const array = (batch as Record<string, unknown>)[name];
    if (array === undefined && name !== 'inputIds' && name !== 'attentionMask') continue;
    const { data, shape } = isObject(array) ? array : {};
    const isShape =
      Array.isArray(shape) && shape.length === rank && shape.every((extent) => Number.isSafeInteger(extent));
    const size = isShape ? shape.reduce((product: number, extent: number) => product * extent, 1) : undefined;
    if (data instanceof arrayClass && data.length === size) continue;
    const expected = `{ data, shape } of ${arrayClass.name} and ${rank} extents`;
    throw new ConfigError(`${what}: \`${name}\`: expected ${expected}, got ${describeGiven(array)}`, {
      hint: 'Take the batch as collator.collate or collator.collatePrompts gives it.',
    });
  }
}
