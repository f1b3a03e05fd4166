/** Stretches of single parameters, which a workgroup each takes. */
import { WGSL } from '../../generated/wgsl-kernels.js';
import { flat } from './kernels.js';
import type { WebgpuParameter, WebgpuParameterSet } from './parameters.js';
import type { TensorStore } from './tensor-store.js';

/** Elements of a chunk at most. */
const CHUNK = 2048;
export const CHUNK_WORDS = 4;

/**
 * {index of the parameter, first element in the blocks of the set, elements, place} for each chunk, by parameter.
 * @param placeOf what a chunk's last word is: given the parameter and the chunk's first element in it; undefined leaves
 *   the parameter out
 */
export function chunkTable(
  set: WebgpuParameterSet,
  placeOf: (parameter: WebgpuParameter, index: number, at: number) => number | undefined = () => 0,
): Uint32Array<ArrayBuffer> {
  const words: number[] = [];
  for (const [index, parameter] of set.parameters.entries()) {
    for (let at = 0; at < parameter.size; at += CHUNK) {
      const place = placeOf(parameter, index, at);
      if (place === undefined) break;
      words.push(index, parameter.deviceOffset + at, Math.min(CHUNK, parameter.size - at), place);
    }
  }
  return Uint32Array.from(words);
}

/** As `Engine.areZero`: reading hundreds of megabytes back would take seconds. */
export async function zeroParameters(
  store: TensorStore,
  set: WebgpuParameterSet,
  of: 'values' | 'gradients',
): Promise<boolean[]> {
  const table = chunkTable(set);
  const count = table.length / CHUNK_WORDS;
  const areZero = set.parameters.map(() => true);
  if (count === 0) return areZero;
  const largest = store.create([count]);
  store.withTable(table, (chunks) => {
    const bindings = { out: largest.range, x: set[of].range, chunks };
    store.kernels.launch(WGSL.largestMagnitude, flat(count), { ...bindings, chunk_count: count });
  });
  const arrival = store.queue.download(largest.range, 4 * count);
  store.release(largest);
  const magnitudes = new Uint32Array(await arrival());
  for (const [i, bits] of magnitudes.entries()) if (bits !== 0) areZero[table[CHUNK_WORDS * i]!] = false;
  return areZero;
}
