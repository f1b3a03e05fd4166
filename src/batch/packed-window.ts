/** The packed micro-batches of an optimizer step as samples, of which passes are made. Pixels are copied once a pass. */

import type { WindowSample } from '../model/ministral3/pass-plan.js';
import { joinPacked, type PackedBatch } from './packed-batch.js';
import { sizeOfPacked, splitPacked } from './split-packed.js';

export class PackedWindow {
  readonly samples: readonly WindowSample[];
  readonly #microBatches: readonly PackedBatch[];
  readonly #parts: readonly (readonly PackedBatch[])[];

  constructor(microBatches: readonly PackedBatch[], mergeSize: number) {
    this.#microBatches = microBatches;
    this.#parts = microBatches.map((packed) => splitPacked(packed, mergeSize));
    this.samples = this.#parts.flatMap((parts, microBatch) =>
      parts.map((part, row) => ({ microBatch, row, size: sizeOfPacked(part) })),
    );
  }

  /** The given samples as one batch. */
  join(samples: readonly WindowSample[]): PackedBatch {
    const first = samples[0]!;
    const whole = this.#microBatches[first.microBatch]!;
    const isWhole =
      samples.length === this.#parts[first.microBatch]!.length &&
      samples.every(({ microBatch }) => microBatch === first.microBatch);
    return isWhole ? whole : joinPacked(samples.map(({ microBatch, row }) => this.#parts[microBatch]![row]!));
  }
}
