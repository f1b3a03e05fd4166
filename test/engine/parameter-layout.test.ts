import { describe, expect, it } from 'vitest';
import { layOut, requireOwnSet, requireValues, sizeOfAll } from '../../src/engine/parameter-layout.js';
import type { Parameter, ParameterSet } from '../../src/engine/tensor.js';
import { EngineError } from '../../src/errors.js';

class OwnSet implements ParameterSet {
  readonly parameters: readonly Parameter[] = [];
  readonly size = 3;
  constructor(readonly isReleased = false) {}
}

const SPECS = [
  { name: 'a', shape: [2, 3], initial: new Float32Array(6) },
  { name: 'b', shape: [], initial: new Float32Array(1) },
  { name: 'c', shape: [4], initial: new Float32Array(4) },
];

describe('parameters in flat arrays', () => {
  it('lie one after the other', () => {
    expect(sizeOfAll(SPECS)).toBe(11);
    const laidOut = layOut(SPECS, ({ name }, offset) => ({ value: `${name}${offset}`, grad: offset }) as never);
    expect(laidOut).toEqual([
      { name: 'a', shape: [2, 3], size: 6, offset: 0, value: 'a0', grad: 0 },
      { name: 'b', shape: [], size: 1, offset: 6, value: 'b6', grad: 6 },
      { name: 'c', shape: [4], size: 4, offset: 7, value: 'c7', grad: 7 },
    ]);
  });

  it('have values for all of their shapes', () => {
    const short = { name: 'short', shape: [2, 2], initial: new Float32Array(3) };
    expect(() => sizeOfAll([SPECS[0]!, short])).toThrow(
      'createParameters: short: 3 values do not fill the shape [2, 2]',
    );
    const set = new OwnSet();
    requireValues(set, new Float32Array(3));
    expect(() => requireValues(set, new Float32Array(4))).toThrow('writeParameters: 4 values for 3 parameters');
  });

  it('are used by the engine that made them, until they are released', () => {
    const set = new OwnSet();
    expect(requireOwnSet(set, OwnSet)).toBe(set);
    expect(() => requireOwnSet({ parameters: [], size: 3 }, OwnSet)).toThrow(EngineError);
    expect(() => requireOwnSet({ parameters: [], size: 3 }, OwnSet)).toThrow(/belongs to another engine/);
    expect(() => requireOwnSet(new OwnSet(true), OwnSet)).toThrow(/used after it was released/);
  });
});
