/**
 * A norm and the product behind it, as the blocks have them. In training the norm's result is not kept: backward has it
 * from the sum and 1/rms, inside the kernel that needs it for dA. With one row at inference the norm is done by the
 * launch of the product.
 */
import type { LinearPart, OperationAttributes } from '../../operations.js';
import { rowKeysOf } from '../../row-lists.js';
import type { Tensor } from '../../tensor.js';
import type { DevicePointer } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { WeightStore } from '../weights.js';
import type { FusedGroup } from './fused-group.js';
import {
  type ForwardOptions,
  type LinearLayers,
  packLowRank,
  type SavedLowRank,
  takeLowRank,
} from './linear-layers.js';
import { type SavedInput, savedInput } from './low-rank-gradients.js';
import { type Norm, normalize, normalizeE4m3, normGradients, openNorm } from './rms-norm.js';

type NormAttributes = OperationAttributes['rmsNorm'];

/** The inputs of a norm and the groups of its product, before anything is launched. */
export interface OpenedNormedLinear extends ForwardOptions {
  readonly norm: Norm;
  readonly groups: readonly FusedGroup[];
}

interface SavedNormedLinear {
  readonly groups: readonly FusedGroup[];
  readonly low: readonly (SavedLowRank | undefined)[];
  readonly sum: CudaTensor;
  readonly rstd: CudaTensor;
  readonly weight: DevicePointer;
  readonly x: SavedInput;
}

/** The gradient [T, n] of a group's outputs, and its sums for dB where they were made on the way; both are released. */
export interface GroupGradient {
  readonly dy: CudaTensor;
  readonly partialB?: CudaTensor | undefined;
  /** Largest magnitudes of its rows; see `LinearLayers.backward`. */
  readonly most?: CudaTensor | undefined;
}

export class NormedLinear {
  readonly #store: TensorStore;
  readonly #weights: WeightStore;
  readonly #layers: LinearLayers;

  constructor(store: TensorStore, weights: WeightStore, layers: LinearLayers) {
    this.#store = store;
    this.#weights = weights;
    this.#layers = layers;
  }

  open(
    inputs: readonly Tensor[],
    attributes: NormAttributes,
    parts: readonly LinearPart[],
    record: boolean,
  ): OpenedNormedLinear {
    const norm = openNorm(this.#store, this.#weights, inputs, attributes, record);
    const { rows, columns } = norm.x;
    return { norm, groups: this.#layers.groups(parts, columns), rowKeys: rowKeysOf(parts, rows), record };
  }

  /**
   * The outputs of each group side by side [T, n], and what backward needs. `norm.sum` is written.
   * @param activation the only group is small and has gate and up: only activation(gate) ⊙ up comes out
   */
  forward(
    { norm, groups, rowKeys, record }: OpenedNormedLinear,
    activation?: number,
  ): { readonly ys: readonly CudaTensor[]; readonly saved: readonly CudaTensor[] } {
    const store = this.#store;
    const layers = this.#layers;
    const options = { rowKeys, record };
    const { x, sum, rstd } = norm;
    const takesNorm = (group: FusedGroup) => layers.isSmall(group, x.rows, options) && layers.takesNorm(x, group);
    if (!record && groups.every(takesNorm)) {
      // The first one writes the sum.
      const small = (group: FusedGroup, i: number) =>
        layers.small(x, group, { norm: i === 0 ? norm : { ...norm, sum: undefined }, activation });
      return { ys: groups.map(small), saved: [] };
    }
    const isQuantized = groups.every((group) => layers.takesOperand(group));
    const { y: normed, operand } = isQuantized
      ? normalizeE4m3(store, norm)
      : { y: normalize(store, norm), operand: undefined };
    const ys: CudaTensor[] = [];
    const low: CudaTensor[] = [];
    try {
      for (const group of groups) {
        if (activation !== undefined) ys.push(layers.small(normed, group, { activation }));
        else {
          const product = layers.forward(normed, group, { ...options, operand });
          ys.push(product.y);
          low.push(...packLowRank(product.saved));
        }
      }
    } finally {
      if (operand) store.allocator.free(operand.block);
    }
    const isKept = low.length > 0 && !store.rematerialize;
    if (isKept) store.saved(normed);
    else store.release(normed);
    return { ys, saved: rstd ? [sum ?? x, rstd, ...(isKept ? [normed] : []), ...low] : [] };
  }

  /** @param next gives the next saved tensor */
  take(next: () => CudaTensor, attributes: NormAttributes, parts: readonly LinearPart[]): SavedNormedLinear {
    const store = this.#store;
    const [sum, rstd] = [next(), next()];
    const groups = this.#layers.groups(parts, sum.columns);
    const { eps } = attributes;
    const weight = this.#weights.vector(attributes.weight, sum.columns, 'rmsNorm');
    const isKept = !store.rematerialize && groups.some(({ adapter }) => adapter);
    const x = isKept
      ? savedInput(store, next())
      : {
          rows: sum.rows,
          rematerialize: () => normalize(store, { x: sum, weight, eps }),
          norm: { sum, rstd, weight },
        };
    return { groups, low: groups.map((group) => takeLowRank(group, next)), sum, rstd, weight, x };
  }

  /**
   * Gradients of (x) or (x, residual).
   * @param gradients of each group; undefined if no gradient came for the outputs
   * @param dSum of x + residual
   */
  backward(
    { groups, low, sum, rstd, weight, x }: SavedNormedLinear,
    gradients: readonly GroupGradient[] | undefined,
    dSum: CudaTensor | undefined,
    needs: readonly boolean[],
  ): readonly (CudaTensor | undefined)[] {
    const store = this.#store;
    const needsInput = needs.includes(true);
    let dNormed: CudaTensor | undefined;
    for (const [i, { dy, partialB, most }] of gradients?.entries() ?? []) {
      const options = { needsInput, partialB, most, addTo: dNormed };
      dNormed = this.#layers.backward(dy, groups[i]!, low[i], x, options);
      store.release(dy);
      for (const made of [partialB, most]) if (made) store.release(made);
    }
    const results = normGradients(store, { sum, rstd, weight, dy: dNormed, dSum }, needs);
    if (dNormed) store.release(dNormed);
    return results;
  }
}
