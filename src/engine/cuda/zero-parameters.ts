/** Which parameters are zero throughout, found on the device: reading hundreds of megabytes back would take seconds. */
import { KERNELS } from '../../generated/kernel-launchers.js';
import type { CudaParameterSet } from './adapters.js';
import { CHUNK_WORDS, chunkTable } from './optimizer.js';
import type { TensorStore } from './tensor-store.js';

/** @param of the set's values or gradients */
export async function zeroParameters(
  store: TensorStore,
  set: CudaParameterSet,
  of: 'values' | 'gradients',
): Promise<boolean[]> {
  const chunks = chunkTable(set);
  const count = chunks.length / CHUNK_WORDS;
  const zero = set.parameters.map(() => true);
  if (count === 0) return zero;
  const largest = store.createF32([count]);
  store.withTable(chunks, (table) => {
    const parameters = { largest: largest.address, x: set[of].address, chunks: table };
    store.kernels.launch(KERNELS.largestMagnitude, [count], parameters);
  });
  const arrival = store.staging.download(largest.address, 4 * count);
  store.release(largest);
  const magnitudes = new Float32Array(await arrival.arrive());
  // The first word of a chunk is its parameter.
  for (let i = 0; i < count; i++) if (magnitudes[i] !== 0) zero[chunks[CHUNK_WORDS * i]!] = false;
  return zero;
}
