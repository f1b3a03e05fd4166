/** Row lists, ranges and keys that every engine checks and makes the same way. */
import { EngineError } from '../errors.js';
import type { RowNoise } from '../random.js';
import type { LinearPart, OperationAttributes } from './operations.js';

/** @throws EngineError naming the first row outside 0..count-1 */
export function checkRows(rows: Int32Array, count: number, operation: string): void {
  // By index: an iterator over thousands of rows takes longer than most kernels.
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (row < 0 || row >= count)
      throw new EngineError(`${operation}: index ${row} at ${i} lies outside 0..${count - 1}`);
  }
}

/** `checkRows`, and no index may come twice. */
export function checkDistinctRows(rows: Int32Array, count: number, operation: string): void {
  checkRows(rows, count, operation);
  const seen = new Uint8Array(count);
  for (const row of rows) {
    if (seen[row]) throw new EngineError(`${operation}: row ${row} is listed twice`);
    seen[row] = 1;
  }
}

/** Inverse of a list of rows: row r is listed at places[starts[r]] .. places[starts[r + 1] - 1]. */
export interface RowPlaces {
  /** [count + 1] */
  readonly starts: Int32Array;
  /** [rows.length], ascending for each row, which fixes the order of sums. */
  readonly places: Int32Array;
}

/**
 * Checks a list of rows. @returns its inverse if any row is repeated
 * @throws EngineError naming the first row outside 0..count-1
 */
export function repeatedPlaces(rows: Int32Array, count: number, operation: string): RowPlaces | undefined {
  const times = timesOf(rows, count, operation);
  return times.some((own) => own > 1) ? placesFrom(rows, times) : undefined;
}

/** The inverse of a list of rows. @throws EngineError naming the first row outside 0..count-1 */
export function rowPlaces(rows: Int32Array, count: number, operation: string): RowPlaces {
  return placesFrom(rows, timesOf(rows, count, operation));
}

/** [count] How often each row is listed. Checks the list. */
function timesOf(rows: Int32Array, count: number, operation: string): Int32Array {
  checkRows(rows, count, operation);
  const times = new Int32Array(count);
  for (let i = 0; i < rows.length; i++) times[rows[i]!]!++;
  return times;
}

function placesFrom(rows: Int32Array, times: Int32Array): RowPlaces {
  const starts = new Int32Array(times.length + 1);
  for (let row = 0; row < times.length; row++) starts[row + 1] = starts[row]! + times[row]!;
  const next = starts.slice();
  const places = new Int32Array(rows.length);
  for (let i = 0; i < rows.length; i++) places[next[rows[i]!]!++] = i;
  return { starts, places };
}

/** @throws EngineError if weights are not finite or do not match the rows */
export function checkRowWeights(weights: Float32Array | undefined, rows: number, operation: string): void {
  if (!weights) return;
  if (weights.length !== rows) throw new EngineError(`${operation}: ${weights.length} weights for ${rows} rows`);
  const row = weights.findIndex((weight) => !Number.isFinite(weight));
  if (row >= 0) {
    throw new EngineError(`${operation}: the weight of row ${row} is ${weights[row]}, expected a finite number`);
  }
}

/** @throws EngineError if heads or ranges do not fit the tensors, or heads are wider than `maxHeadDim` */
export function checkAttention(
  { heads, kvHeads, headDim, segments }: OperationAttributes['attention'],
  queryRows: number,
  keyRows: number,
  maxHeadDim = Number.POSITIVE_INFINITY,
): void {
  const { queryStarts, keyStarts, keyLengths } = segments;
  const fail = (message: string): never => {
    throw new EngineError(`attention: ${message}`);
  };
  if (headDim < 1 || headDim > maxHeadDim) fail(`headDim is ${headDim}, expected 1 to ${maxHeadDim}`);
  if (kvHeads < 1 || heads % kvHeads !== 0) fail(`${heads} heads cannot share ${kvHeads} key heads evenly`);
  const count = keyStarts.length;
  if (queryStarts.length !== count + 1 || keyLengths.length !== count) {
    fail(`${queryStarts.length} query starts, ${count} key starts and ${keyLengths.length} key lengths do not fit`);
  }
  if (queryStarts[0] !== 0 || queryStarts[count] !== queryRows) {
    fail(`query ranges cover ${queryStarts[0]}..${queryStarts[count]} of 0..${queryRows}`);
  }
  for (let s = 0; s < count; s++) {
    if (queryStarts[s + 1]! < queryStarts[s]!) fail(`query range ${s} ends before it starts`);
    if (keyStarts[s]! < 0 || keyLengths[s]! < 0 || keyStarts[s]! + keyLengths[s]! > keyRows) {
      fail(`key range ${s}, ${keyLengths[s]} rows from ${keyStarts[s]}, lies outside the ${keyRows} rows`);
    }
  }
}

/** @throws EngineError if noise is not for as many rows */
export function checkNoise({ rowKeys, bounds }: RowNoise, rows: number): void {
  if (rowKeys.length === rows && bounds.length === rows) return;
  throw new EngineError(`embedding: noise of ${rowKeys.length} keys and ${bounds.length} bounds for ${rows} rows`);
}

/** Patch rows in the order of the merged rows: merge² for each. */
export function patchOrder({ grids, merge }: OperationAttributes['mergePatches'], patches: number): Int32Array {
  const order = new Int32Array(patches);
  let at = 0;
  let first = 0;
  for (let image = 0; image < grids.length / 2; image++) {
    const [height, width] = [grids[2 * image]!, grids[2 * image + 1]!];
    if (height % merge !== 0 || width % merge !== 0 || first + height * width > patches) {
      throw new EngineError(
        `mergePatches: grid ${image} of ${height} × ${width} from row ${first} does not fit ${patches} rows and blocks of ${merge}`,
      );
    }
    for (let y = 0; y < height; y += merge) {
      for (let x = 0; x < width; x += merge) {
        for (let dy = 0; dy < merge; dy++) {
          for (let dx = 0; dx < merge; dx++) order[at++] = first + (y + dy) * width + x + dx;
        }
      }
    }
    first += height * width;
  }
  if (first !== patches) throw new EngineError(`mergePatches: the grids have ${first} patches, x has ${patches}`);
  return order;
}

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
        hint: 'Give rowKeys with a key for each row of x, or a dropout of 0.',
      });
    }
    if (shared && shared !== rowKeys) {
      throw new EngineError(`linear: ${weight.name} has other row keys than the parts before it, expected one array`);
    }
    shared = rowKeys;
  }
  return shared;
}
