/**
 * The backward of act(gate)·up between adapted linear layers in one pass (kernels/gated-backward.cu): it finishes the
 * gradient that the layer behind left unfinished, takes that layer's dA on the way, and the sums that the layer before
 * needs for its dB.
 */
import type { KernelName } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor, OutputAdapter } from '../tensors.js';
import { finishA, keeps, maskBytes } from './low-rank.js';
import { UnfinishedGradient } from './unfinished-gradient.js';

/** Padded ranks that there are kernels for. */
const RANKS = [16, 32];
/** Rows and columns that a block has at a time. */
const TILE = 64;
const BLOCKS_PER_MULTIPROCESSOR = 2;
/** Bytes that pass a block for each element: gate, up, dy, dgate, dup. */
const ELEMENT_BYTES = 10;

export interface GatedBackward {
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
  const split = splitRows(rows, strips, BLOCKS_PER_MULTIPROCESSOR * store.kernels.multiprocessors, rank);
  const partialA = store.createF32([split.splits, rank, columns]);
  const partialB = store.createF32([split.splits, rank, 2 * columns]);
  store.kernels.run(`gated_backward_lora_${rank}` as KernelName, [strips, split.splits], 256, [
    ...[dGate.address, dUp.address, partialA.address, partialB.address, gate.address, up.address, dy.address],
    ...[low.du, low.group.a, low.bits?.address ?? 0, u.address, rows, columns],
    ...[dGate.ld, dUp.ld, gate.ld, up.ld, dy.ld, low.lddu, low.group.lda, maskBytes(columns), u.ld],
    ...[split.rows, keeps(low.parts)[0]!, kind],
  ]);
  finishA(store, low, partialA);
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

/** The number of row ranges with which the card is done first: whole waves of blocks, and few partial sums to add. */
function splitRows(rows: number, strips: number, slots: number, rank: number): { rows: number; splits: number } {
  const tiles = Math.ceil(rows / TILE);
  const partial = (2 * 4 * 3 * rank) / (TILE * ELEMENT_BYTES);
  let best = { rows: TILE * tiles, splits: 1 };
  let least = Number.POSITIVE_INFINITY;
  for (let wanted = 1; wanted <= Math.min(tiles, 32); wanted++) {
    const depth = Math.ceil(tiles / wanted);
    const splits = Math.ceil(tiles / depth);
    // In tiles of a block: its own and one to start and end, then what writing and reading the partial sums takes.
    const cost = Math.ceil((strips * splits) / slots) * (depth + 1) + (splits * strips * partial) / slots;
    if (cost < least) [best, least] = [{ rows: TILE * depth, splits }, cost];
  }
  return best;
}
