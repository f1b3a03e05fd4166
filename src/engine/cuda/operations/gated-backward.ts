/**
 * The backward of act(gate)·up between adapted layers in one pass (kernels/gated-backward.cu): it gives the gradient of
 * the layer behind its low-rank part, takes that layer's dA on the way, and the sums that the layer before needs for
 * its dB.
 */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import { type DevicePointer, ofWidth } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { maskBytes } from './dropout-masks.js';
import type { FusedGroup } from './fused-group.js';
import type { DeferredGradient } from './linear-layers.js';
import { keepScales } from './low-rank.js';
import { targets } from './low-rank-gradients.js';
import type { GroupGradient } from './normed-linear.js';
import { splitRows } from './row-splits.js';

/** Padded ranks that there are kernels for. */
const RANKS = [16, 32];
const TILE = 64;
/** Bytes that pass a block for each element: gate, up, dy, dgate, dup. */
const ELEMENT_BYTES = 10;

/**
 * Whether the kernels take the layers around: gate and up as one product, and the same padded rank for all three.
 * @param columns of gate
 */
export function fusesGatedBackward(before: readonly FusedGroup[], down: FusedGroup, columns: number): boolean {
  const rank = down.adapter?.columns ?? 0;
  const adapter = before.length === 1 ? before[0]!.adapter : undefined;
  const isAlike = adapter?.width === rank && adapter.starts[1] === rank && adapter.columns === 2 * rank;
  return RANKS.includes(rank) && isAlike && columns % 8 === 0;
}

interface GatedBackward {
  readonly gate: CudaTensor;
  readonly up: CudaTensor;
  /** Of the layer behind; its dx is that of the gated rows. */
  readonly deferred: DeferredGradient;
  /** What the layer before saved: [T, E]. */
  readonly u: CudaTensor;
  /** The activation as activation.cu numbers it. */
  readonly kind: number;
  /** float32 [2·columns]: if given, the largest magnitude of each row of dy ⊙ factors is reduced as well. */
  readonly factors?: DevicePointer | undefined;
}

/** The gradients of gate and up where `fusesGatedBackward` says so; dA of the layer behind. */
export function gatedBackward(
  store: TensorStore,
  { gate, up, deferred, u, kind, factors }: GatedBackward,
): GroupGradient {
  const { wide, low } = deferred;
  const { rows, columns } = gate;
  const rank = low.group.columns;
  const dy = store.create([rows, 2 * columns]);
  const [dGate, dUp] = [store.view(dy, 0, columns), store.view(dy, columns, columns)];
  const strips = Math.ceil(columns / TILE);
  const split = splitRows(store, rows, strips, 2, (2 * 4 * 3 * rank) / (TILE * ELEMENT_BYTES));
  const partialA = store.createF32([split.splits, rank, columns]);
  const gradients = targets(store, low, 'a');
  const partialB = store.createF32([split.splits, 2 * columns, rank]);
  // biome-ignore format: parameters by operand
  const parameters = {
    dgate: dGate.address, dup: dUp.address, gate: gate.address, up: up.address, dy: wide.address,
    lddgate: dGate.ld, lddup: dUp.ld, ldgate: gate.ld, ldup: up.ld, lddy: wide.ld,
    gradA: gradients[0]!, partialA: partialA.address, partialB: partialB.address,
    counters: store.counters(strips), du: low.du, lddu: low.lddu, a: low.group.a, lda: low.group.lda,
    bits: low.bits?.address, kb: maskBytes(columns), u: u.address, ldu: u.ld, rows, columns,
    splitRows: split.rows, rankA: low.group.ranks[0]!, keep: keepScales(low.parts)[0]!, kind,
  };
  const grid = [strips, split.splits] as const;
  let most: CudaTensor | undefined;
  if (factors !== undefined) {
    most = store.createF32([rows]);
    store.driver.fillBytes(most.address, 0, 4 * rows);
    store.kernels.launch(ofWidth(KERNELS.gatedBackwardAmax, rank), grid, {
      ...parameters,
      most: most.address,
      factors,
    });
  } else store.kernels.launch(ofWidth(KERNELS.gatedBackwardLora, rank), grid, parameters);
  for (const tensor of [partialA, dGate, dUp]) store.release(tensor);
  return { dy, partialB, most };
}
