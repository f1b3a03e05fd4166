/** Values that are not finite stay so in e4m3 products, so that the loss shows them. */
import assert from 'node:assert/strict';
import type { Engine } from '../../../src/engine/engine.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { inLaboratory } from './references.js';

async function keepsNonFinite(engine: Engine): Promise<void> {
  await inLaboratory(engine, 5, async (lab) => {
    const [rows, k, n] = [4, 64, 48];
    const { weight } = await lab.weight('weight', [n, k], 'bf16');
    const attributes = { parts: [{ weight, precision: 'fp8' as const }] };
    const { linear } = engine.operations;
    for (const [row, value] of [
      [1, Number.NaN],
      [2, Number.POSITIVE_INFINITY],
    ] as const) {
      const spoilt = (columns: number): Tensor => {
        const numbers = lab.numbers(rows * columns);
        numbers[row * columns + 7] = value;
        return engine.fromArray(numbers, [rows, columns]);
      };
      const [x, dy] = [spoilt(k), spoilt(n)];
      const [y] = linear.forward([x], attributes, false).outputs as [Tensor];
      const [dx] = linear.backward([], [dy], attributes, [true]) as [Tensor];
      for (const [of, columns] of [[y, n] as const, [dx, k] as const]) {
        const numbers = (await engine.read(of)).subarray(row * columns, (row + 1) * columns);
        assert.ok(!numbers.some((found) => Number.isFinite(found)), `${value} gave ${numbers}`);
      }
      for (const tensor of [x, dy, y, dx]) engine.release(tensor);
    }
  });
}

export const NON_FINITE_CHECKS = [{ title: 'NaN and infinity stay visible in fp8', run: keepsNonFinite }];
