/**
 * Norm, gate and up, activation(gate) ⊙ up and down as one unit. What passes between them lies in variables here. In
 * training the norm's result and the gated rows are not kept: backward has them from the sum, and from gate and up.
 * Between adapted layers one kernel does the backward of the activation and what down's adapter and that of gate and up
 * need of the same rows (gated-backward.ts).
 */
import type { BlockAttributes, LinearPart, Operation } from '../../operations.js';
import { rowKeysOf } from '../../row-lists.js';
import type { Tensor } from '../../tensor.js';
import { MAX_HELD } from '../e4m3-rows.js';
import type { E4m3Rows } from '../frozen-matrix.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { ACTIVATIONS, gatedGradients, gatedRows, gatedRowsE4m3 } from './elementwise.js';
import { type FusedGroup, gradientRoom, splitParts } from './fused-group.js';
import { fusesGatedBackward, gatedBackward } from './gated-backward.js';
import { type LinearLayers, packLowRank, takeLowRank } from './linear-layers.js';
import { savedInput } from './low-rank-gradients.js';
import type { GroupGradient, NormedLinear, OpenedNormedLinear } from './normed-linear.js';

const OPERATION = 'gatedBlock';

type Attributes = BlockAttributes['gatedBlock'];

export class GatedBlock implements Operation<Attributes> {
  readonly #store: TensorStore;
  readonly #normed: NormedLinear;
  readonly #layers: LinearLayers;

  constructor(store: TensorStore, normed: NormedLinear, layers: LinearLayers) {
    this.#store = store;
    this.#normed = normed;
    this.#layers = layers;
  }

  forward(inputs: readonly Tensor[], { norm, gateUp, activation, down }: Attributes, record: boolean) {
    const store = this.#store;
    const kind = ACTIVATIONS[activation];
    const opened = this.#normed.open(inputs, norm, gateUp, record);
    const { sum } = opened.norm;
    if (!record && this.#isSmallPair(opened)) {
      const [gated] = this.#normed.forward(opened, kind).ys as [CudaTensor];
      const { y } = this.#down(gated, down, false);
      store.release(gated);
      return { outputs: sum ? [y, sum] : [y], saved: [] };
    }
    const { ys, saved } = this.#normed.forward(opened);
    const [gate, up] = opened.groups.flatMap((group, i) => splitParts(store, ys[i]!, group)) as [
      CudaTensor,
      CudaTensor,
    ];
    store.like(up, gate, OPERATION, 'up');
    const { gated, y, low, group } = this.#gatedDown(gate, up, kind, down, record);
    const isKept = low.length > 0 && this.#keepsGated(group, fusesGatedBackward(opened.groups, group, gate.columns));
    const kept = record ? [gate, up, ...(isKept ? [gated] : [])] : [];
    for (const tensor of [gate, up, gated]) {
      if (kept.includes(tensor)) store.saved(tensor);
      else store.release(tensor);
    }
    return { outputs: sum ? [y, sum] : [y], saved: record ? [...saved, ...kept, ...low] : [] };
  }

  backward(
    saved: readonly Tensor[],
    [gradient, gradientOfSum]: readonly (Tensor | undefined)[],
    { norm, gateUp, activation, down }: Attributes,
    needs: readonly boolean[],
  ) {
    const store = this.#store;
    const kind = ACTIVATIONS[activation];
    const { next } = store.reader(saved, OPERATION);
    const normed = this.#normed.take(next, norm, gateUp);
    const [gate, up] = [next(), next()];
    const { rows, columns } = normed.sum;
    const matrix = (of: Tensor | undefined, what: string) =>
      of && store.matrix(of, OPERATION, `gradient of ${what}`, { rows, columns });
    const dSum = matrix(gradientOfSum, 'the sum');
    const dy = matrix(gradient, 'y');
    if (!dy) return this.#normed.backward(normed, undefined, dSum, needs);
    const [group] = this.#layers.groups([down], gate.columns) as [FusedGroup];
    const isFused = fusesGatedBackward(normed.groups, group, gate.columns);
    const gated = this.#keepsGated(group, isFused)
      ? savedInput(store, next())
      : { rows, rematerialize: () => gatedRows(store, gate, up, kind) };
    const low = takeLowRank(group, next);
    const needsGates = needs.includes(true) || normed.groups.some(({ adapter }) => adapter);
    let gates: readonly GroupGradient[] | undefined;
    if (low) {
      const deferred = this.#layers.defer(dy, group, low, { needsInput: needsGates });
      if (needsGates && isFused && gate.rows > 0) {
        const factors = needs.includes(true) ? this.#layers.gradientFactors(normed.groups[0]!) : undefined;
        gates = [gatedBackward(store, { gate, up, deferred, u: normed.low[0]!.u, kind, factors })];
        store.release(deferred.wide);
      } else {
        const dGated = this.#layers.finish(deferred, gated, needsGates);
        gates = dGated && this.#gateGradients(dGated, normed.groups, { gate, up, kind });
      }
    } else if (needsGates) {
      const dGated = this.#layers.backward(dy, group, undefined, undefined, { needsInput: true })!;
      gates = this.#gateGradients(dGated, normed.groups, { gate, up, kind });
    }
    return this.#normed.backward(normed, gates, dSum, needs);
  }

  /** Whether gate and up come from one product of few rows without biases, which may give activation(gate) ⊙ up. */
  #isSmallPair({ norm, groups, rowKeys, record }: OpenedNormedLinear): boolean {
    const [group] = groups as [FusedGroup];
    const [first, second] = group.weights;
    return (
      first?.rows === second?.rows &&
      group.parts.every(({ bias }) => !bias) &&
      this.#layers.isSmall(group, norm.x.rows, { rowKeys, record })
    );
  }

  #down(gated: CudaTensor, down: LinearPart, record: boolean, group = this.#groupOf(down, gated), operand?: E4m3Rows) {
    const { y, saved } = this.#layers.forward(gated, group, {
      rowKeys: rowKeysOf([down], gated.rows),
      record,
      operand,
    });
    return { y, low: packLowRank(saved), group };
  }

  #groupOf(down: LinearPart, { columns }: CudaTensor): FusedGroup {
    return this.#layers.groups([down], columns)[0]!;
  }

  /** The gated rows, quantised in the same launch where down's product is in e4m3, and the output of down. */
  #gatedDown(gate: CudaTensor, up: CudaTensor, kind: number, down: LinearPart, record: boolean) {
    const store = this.#store;
    const group = this.#groupOf(down, gate);
    if (gate.columns > MAX_HELD || !this.#layers.takesOperand(group)) {
      const gated = gatedRows(store, gate, up, kind);
      return { gated, ...this.#down(gated, down, record, group) };
    }
    const { y: gated, operand } = gatedRowsE4m3(store, gate, up, kind);
    try {
      return { gated, ...this.#down(gated, down, record, group, operand) };
    } finally {
      store.allocator.free(operand.block);
    }
  }

  /** Whether the gated rows are saved for dA of down: the fused backward has no use for them. */
  #keepsGated(down: FusedGroup, isFused: boolean): boolean {
    return !this.#store.rematerialize && down.adapter !== undefined && !isFused;
  }

  /** By the plain kernel. Consumes `dGated`. */
  #gateGradients(
    dGated: CudaTensor,
    groups: readonly FusedGroup[],
    { gate, up, kind }: { readonly gate: CudaTensor; readonly up: CudaTensor; readonly kind: number },
  ): readonly GroupGradient[] {
    const store = this.#store;
    const { whole, parts } = gradientRoom(store, groups, gate.rows);
    gatedGradients(store, { gate, up, dy: dGated, dGate: parts[0], dUp: parts[1] }, kind);
    for (const tensor of [dGated, ...parts]) store.release(tensor);
    return whole.map((dy) => ({ dy }));
  }
}
