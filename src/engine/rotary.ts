/** Rotary position embedding, as far as engines have it in common. */
import { EngineError } from '../errors.js';
import type { Operation, OperationAttributes } from './operations.js';
import type { Tensor } from './tensor.js';

type Attributes = OperationAttributes['rotary'];

/** Heads in rows of so many columns. @throws EngineError if they do not hold whole heads of an even size */
export function rotaryHeads(columns: number, headDim: number): number {
  if (headDim % 2 === 0 && columns % headDim === 0) return columns / headDim;
  throw new EngineError(`rotary: rows of ${columns} do not hold heads of ${headDim}, an even number`);
}

/** For engines that turn q and k by themselves. The gradient turns the other way; only the tables are saved. */
export function rotaryByTensor(
  turn: (input: Tensor, attributes: Attributes, isQuery: boolean, sign: 1 | -1) => Tensor,
): Operation<Attributes> {
  return {
    forward([q, k], attributes, record) {
      const outputs = [turn(q!, attributes, true, 1), turn(k!, attributes, false, 1)];
      const { cos, sin, queryScale } = attributes;
      return { outputs, saved: record ? [cos, sin, ...(queryScale ? [queryScale] : [])] : [] };
    },
    backward(_saved, [dq, dk], attributes, needs) {
      return [
        needs[0] && dq ? turn(dq, attributes, true, -1) : undefined,
        needs[1] && dk ? turn(dk, attributes, false, -1) : undefined,
      ];
    },
  };
}
