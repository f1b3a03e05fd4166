/**
 * The backward of act(gate)·up between adapted linear layers in one pass (kernels/gated-backward.cu): it finishes the
 * gradient that the layer behind left unfinished, takes that layer's dA on the way, and the sums that the layer before
 * needs for its dB.
 */
import type { KernelName } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor, OutputAdapter } from '../tensors.js';
import { maskBytes } from './dropout-masks.js';
import { keeps } from './low-rank.js';
import { splitRows, targets } from './low-rank-gradients.js';
import { UnfinishedGradient } from './unfinished-gradient.js';

/** Padded ranks that there are kernels for. */
const RANKS = [16, 32];
/** Columns of a block. */
const TILE = 64;
/** Bytes that pass a block for each element: gate, up, dy, dgate, dup. */
const ELEMENT_BYTES = 10;

interface GatedBackward {
  readonly gate: CudaTensor;
  readonly up: CudaTensor;
  readonly dy: CudaTensor;
  /** The activation as activation.cu numbers it. */
  readonly kind: number;
}

/** The gradients of gate and up, or undefined if the layers around are not as the kernels have them. */
export function gatedBackward(
  store: TensorStore,
  { gate, up, dy, kind }: GatedBackward,
): readonly CudaTensor[] | undefined {
  const { unfinished } = dy;
  if (!(unfinished instanceof UnfinishedGradient)) return undefined;
  const { low, recipe } = unfinished;
  const { rows, columns } = gate;
  const rank = low.group.columns;
  const before = stackedAdapter(gate, up);
  if (
    recipe?.sources[0] !== gate ||
    recipe.sources[1] !== up ||
    recipe.gatedBy !== kind ||
    rows === 0 ||
    low.parts.length !== 1 ||
    !RANKS.includes(rank) ||
    before?.group.width !== rank ||
    before.group.starts[1] !== rank ||
    before.group.columns !== 2 * rank
  ) {
    return undefined;
  }
  const { u } = before;
  const [dGate, dUp] = [store.createGradient(gate), store.createGradient(up)];
  const strips = Math.ceil(columns / TILE);
  const split = splitRows(store, rows, strips, 2, (2 * 4 * 3 * rank) / (TILE * ELEMENT_BYTES));
  const partialA = store.createF32([split.splits, rank, columns]);
  const partialB = store.createF32([split.splits, 2 * columns, rank]);
  store.kernels.run(`gated_backward_lora_${rank}` as KernelName, [strips, split.splits], 256, [
    ...[dGate.address, dUp.address, targets(store, low, 'a')[0]!, partialA.address, partialB.address],
    ...[store.counters(strips), gate.address, up.address, dy.address],
    ...[low.du, low.group.a, low.bits?.address ?? 0, u.address, rows, columns],
    ...[dGate.ld, dUp.ld, gate.ld, up.ld, dy.ld, low.lddu, low.group.lda, maskBytes(columns), u.ld],
    ...[split.rows, low.group.ranks[0]!, keeps(low.parts)[0]!, kind],
  ]);
  store.release(partialA);
  unfinished.dropA();
  // It goes with the last of the two gradients.
  store.retain(partialB);
  const rowProducts = { u, partial: partialB };
  for (const gradient of [dGate, dUp]) {
    gradient.rowProducts = rowProducts;
    gradient.onFree = () => store.release(partialB);
  }
  return [dGate, dUp];
}

/** The adapter of the layer whose outputs are gate and up and no more, next to each other. */
function stackedAdapter(gate: CudaTensor, up: CudaTensor): OutputAdapter | undefined {
  const home = gate.home?.at;
  const { columns } = gate;
  const isStacked =
    up.home?.at === home && gate.home?.column === 0 && up.home?.column === columns && home?.columns === 2 * columns;
  return isStacked && columns % 8 === 0 && !home.adapter?.u.isFreed ? home.adapter : undefined;
}
