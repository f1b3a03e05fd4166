/** The options that lay one model over several cards, with the names that transformers gives them. */
import { z } from 'zod';
import { lazySchema } from '../config.js';
import { rankPlace } from '../distributed/rank-place.js';
import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { budgetUnitFault } from './memory-budget.js';

/** Options of `createEngine` and `fromPretrained` for cards that hold no whole model each. */
export interface DeviceMapOptions {
  /**
   * `auto`: the layers of the model lie on several cards of this machine, in proportion to their free memory, and are
   * computed one after the other. For models that no single card holds: a second card adds memory, not speed. With one card
   * it is the `cuda` engine as ever, without any the `cpu` engine where `auto` chooses. Default: one card.
   */
  deviceMap?: 'auto' | undefined;
  /**
   * With `deviceMap`: the cards to use, by their numbers from 0 of those that CUDA_VISIBLE_DEVICES leaves, and the most bytes
   * of device memory for the process on each, as nvidia-smi shows it. Default: all of these cards, with all of their memory.
   */
  maxMemory?: Readonly<Record<number, number>> | undefined;
}

/** What is wrong with the value of `maxMemory`; undefined if nothing is. */
function maxMemoryFault(value: unknown): string | undefined {
  const expected = 'expected bytes by the number of the card, e.g. { 0: 20 * 2 ** 30, 1: 20 * 2 ** 30 }';
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return `${expected}, got ${showValue(value)}`;
  const entries = Object.entries(value);
  if (entries.length === 0) return `${expected}, got no card`;
  for (const [card, bytes] of entries) {
    // Another way to write a number would be another card.
    if (!/^(0|[1-9]\d*)$/.test(card)) return `${expected}, got the key ${showValue(card)}`;
    const unit = budgetUnitFault(bytes);
    if (unit) return `${card}: ${unit}`;
    if (typeof bytes !== 'number' || !(bytes > 0))
      return `${card}: expected a number of bytes, e.g. 20 * 2 ** 30, got ${showValue(bytes)}`;
  }
  return undefined;
}

/** Schemas of the two, by name. */
export const deviceMapSchema = lazySchema(() => z.strictObject(deviceMapShape()));

/** For a schema that has more options. */
export const deviceMapShape = () =>
  ({
    deviceMap: z.literal('auto', { error: ({ input }) => `expected 'auto', got ${showValue(input)}` }).optional(),
    maxMemory: z
      .custom<Readonly<Record<number, number>>>((value) => maxMemoryFault(value) === undefined, {
        error: ({ input }) => maxMemoryFault(input) ?? 'expected bytes by the number of the card',
      })
      .optional(),
  }) satisfies Record<keyof DeviceMapOptions, z.ZodType>;

/**
 * That the two go together, and with how the process was started.
 * @param what who takes them, for messages
 * @throws ConfigError
 */
export function requireDeviceMap({ deviceMap, maxMemory }: DeviceMapOptions, what: string): void {
  if (deviceMap === undefined) {
    if (maxMemory === undefined) return;
    throw new ConfigError(`${what}: \`maxMemory\` goes with \`deviceMap: 'auto'\`, which is not given`, {
      hint: "Add deviceMap: 'auto'; for one card alone: createEngine('cuda', { cuda: { memoryBudget } }).",
    });
  }
  // Ranks that name cards of their own may each evaluate on them.
  const worldSize = maxMemory === undefined ? (rankPlace()?.worldSize ?? 1) : 1;
  if (worldSize === 1) return;
  throw new ConfigError(`${what}: deviceMap: 'auto' takes all cards for one process, and WORLD_SIZE is ${worldSize}`, {
    hint:
      'Start one process, without torchrun or launch, or leave deviceMap out, so that each process trains on a card of its ' +
      'own. Processes that each evaluate a model over cards of their own name them in maxMemory; training takes one process.',
    details: { worldSize },
  });
}
