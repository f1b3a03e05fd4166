/**
 * What the blocks of a layer are: the operations that they are made of, in order. Engines that do not fuse spread these
 * into their table; one that does must give the same within rounding.
 */
import { isTurnDue } from '../async/event-loop.js';
import type { BlockAttributes, BlockName, Composition, OperationRunner } from './operations.js';
import type { Tensor } from './tensor.js';

type Compositions = { readonly [K in BlockName]: Composition<BlockAttributes[K]> };

export const COMPOSITIONS: Compositions = {
  attentionBlock: {
    *compose(runner, inputs, { norm, projections, rotary, attention, cache, keyRows }) {
      const [normed, ...sum] = runner.apply('rmsNorm', inputs, norm) as [Tensor, ...Tensor[]];
      const [q, k, v] = runner.apply('linear', [normed], { parts: projections }) as [Tensor, Tensor, Tensor];
      if (isTurnDue()) yield 0;
      const [rotatedQ, rotatedK] = runner.apply('rotary', [q, k], rotary) as [Tensor, Tensor];
      const [ownK, ownV] = keyRows ? [rotatedK, v].map((x) => gather(runner, x, keyRows)) : [rotatedK, v];
      const keysAndValues = cache ? append(runner, cache, ownK!, ownV!) : [ownK!, ownV!];
      const [attended] = runner.apply('attention', [rotatedQ, ...keysAndValues], attention) as [Tensor];
      return [attended, ...sum];
    },
  },
  gatedBlock: {
    *compose(runner, inputs, { norm, gateUp, activation, down }) {
      const [normed, ...sum] = runner.apply('rmsNorm', inputs, norm) as [Tensor, ...Tensor[]];
      const gateAndUp = runner.apply('linear', [normed], { parts: gateUp });
      if (isTurnDue()) yield 0;
      const gated = runner.apply('gatedActivation', gateAndUp, { activation });
      const [y] = runner.apply('linear', gated, { parts: [down] }) as [Tensor];
      return [y, ...sum];
    },
  },
};

function gather(runner: OperationRunner, x: Tensor, rows: Int32Array): Tensor {
  return runner.apply('gatherRows', [x], { rows })[0]!;
}

type Cache = NonNullable<BlockAttributes['attentionBlock']['cache']>;

function append({ engine }: OperationRunner, { keys, values, rows }: Cache, k: Tensor, v: Tensor): readonly Tensor[] {
  engine.writeRows(keys, k, rows);
  engine.writeRows(values, v, rows);
  return [keys, values];
}
