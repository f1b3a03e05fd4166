/** A collator that leaves samples out, as `overlong: "drop"` does. */
import type { Collator } from '../../src/data/data-loader.js';

/** @param isDropped by id */
export function dropping(collator: Collator, isDropped: (id: string) => boolean): Collator {
  return {
    collate: (examples, options) =>
      collator.collate(
        examples.filter(({ id }) => !isDropped(id!)),
        options,
      ),
  };
}
