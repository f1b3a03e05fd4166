import { DataError } from '../errors.js';

/** @throws DataError */
export function checkShape(name: string, shape: readonly number[], expected: readonly number[]): void {
  if (shape.length !== expected.length || shape.some((extent, i) => extent !== expected[i])) {
    throw new DataError(`${name} has shape [${shape.join(', ')}], expected [${expected.join(', ')}]`);
  }
}
