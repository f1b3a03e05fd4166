/** Linear layers as an operation of their own: backward keeps x as it is. */
import type { Operation, OperationAttributes } from '../../operations.js';
import { rowKeysOf } from '../../row-lists.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { type FusedGroup, splitParts } from './fused-group.js';
import { type LinearLayers, packLowRank, takeLowRank } from './linear-layers.js';
import { savedInput } from './low-rank-gradients.js';

const OPERATION = 'linear';

export function linear(store: TensorStore, layers: LinearLayers): Operation<OperationAttributes['linear']> {
  return {
    forward(inputs, { parts }, record) {
      const x = store.matrix(inputs[0], OPERATION, 'x');
      const options = { rowKeys: rowKeysOf(parts, x.rows), record };
      const saved: CudaTensor[] = [];
      const outputs = layers.groups(parts, x.columns).flatMap((group) => {
        const product = layers.forward(x, group, options);
        saved.push(...packLowRank(product.saved));
        return splitParts(store, product.y, group);
      });
      // Without a low-rank part, backward needs no more than the weights.
      return { outputs, saved: saved.length > 0 ? [x, ...saved] : [] };
    },
    backward(saved, outputGradients, { parts }, needs) {
      const gradients = outputGradients.map(
        (dy, i) => dy && store.matrix(dy, OPERATION, 'output gradient', { columns: parts[i]!.weight.shape[0]! }),
      );
      if (!gradients.some((dy) => dy)) return [undefined];
      const { next } = store.reader(saved, OPERATION);
      const needsInput = needs[0] === true;
      const groups = layers.groups(parts, parts[0]!.weight.shape[1]!);
      const x = groups.some(({ adapter }) => adapter) ? savedInput(store, next()) : undefined;
      let dx: CudaTensor | undefined;
      for (const group of groups) {
        const low = takeLowRank(group, next);
        const own = gradients.slice(group.first, group.first + group.parts.length);
        if (!own.some((gradient) => gradient)) continue;
        const dy = join(store, own, group);
        const isWanted = own.map((gradient) => gradient !== undefined);
        dx = layers.backward(dy, group, low, x, { needsInput, isWanted, addTo: dx });
        store.release(dy);
      }
      return [dx];
    },
  };
}

/** The gradients of a group's outputs as one matrix, to be released. */
function join(store: TensorStore, gradients: readonly (CudaTensor | undefined)[], group: FusedGroup): CudaTensor {
  const first = gradients.find((dy) => dy)!;
  if (gradients.length === 1) {
    store.retain(first);
    return first;
  }
  const joined = store.create([first.rows, group.n]);
  for (const [i, weight] of group.weights.entries()) {
    const part = store.view(joined, group.columns[i]!, weight.rows);
    const dy = gradients[i];
    if (dy) store.copyInto(part, dy);
    else store.driver.clearRows(part.address, 2 * part.ld, 2 * part.columns, part.rows);
    store.release(part);
  }
  return joined;
}
