/** The check of LoRA dropout that every engine makes before it runs a linear layer. */
import { EngineError } from '../errors.js';
import type { LinearPart } from './operations.js';

/**
 * The keys of the rows of x, or undefined if no part drops anything.
 * @throws EngineError if a probability lies outside 0 <= p < 1, or keys are missing, too few, too many or not shared
 */
export function rowKeysOf(parts: readonly LinearPart[], rows: number): Int32Array | undefined {
  let shared: Int32Array | undefined;
  for (const { lora, weight } of parts) {
    if (!lora || lora.dropout === 0) continue;
    const { dropout, rowKeys } = lora;
    if (!(dropout > 0 && dropout < 1)) {
      throw new EngineError(`linear: dropout of ${weight.name} is ${dropout}, expected 0 <= p < 1`);
    }
    if (rowKeys?.length !== rows) {
      const found = rowKeys ? `${rowKeys.length} row keys` : 'no row keys';
      throw new EngineError(`linear: ${weight.name} has dropout ${dropout} and ${found}, expected ${rows}`, {
        hint: 'Give rowKeys with a number for each row of x, or a dropout of 0.',
      });
    }
    if (shared && shared !== rowKeys) {
      throw new EngineError(`linear: ${weight.name} has other row keys than the parts before it, expected one array`);
    }
    shared = rowKeys;
  }
  return shared;
}
