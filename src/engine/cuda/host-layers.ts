/** What streamed layers in host memory are made of. */
import { OutOfMemoryError } from '../../errors.js';
import { formatBytes } from '../../messages/format-bytes.js';
import type { CudaDriver, PinnedBlock } from './driver.js';
import type { HostWeights } from './host-weights.js';
import type { LayerStream } from './layer-stream.js';
import type { TensorStore } from './tensor-store.js';

export interface StreamParts {
  readonly store: TensorStore;
  readonly driver: Pick<CudaDriver, 'allocatePinned' | 'upload' | 'uploadRows'>;
  readonly stream: LayerStream;
  readonly weights: HostWeights;
}

/** @throws OutOfMemoryError that says what streamed layers need of the host */
export function pinnedForLayer(driver: Pick<CudaDriver, 'allocatePinned'>, bytes: number): PinnedBlock {
  try {
    return driver.allocatePinned(Math.max(1, bytes));
  } catch (cause) {
    if (!(cause instanceof OutOfMemoryError)) throw cause;
    throw new OutOfMemoryError(`the host has no ${formatBytes(bytes)} that can be page-locked for a streamed layer`, {
      hint: 'Streamed layers need as much host memory as they would take on the card: free some, raise the limit of the container, or raise memoryBudget.',
      neededBytes: bytes,
      cause,
    });
  }
}
