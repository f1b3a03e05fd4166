/**
 * Products with frozen weights and their low-rank additions, forward and backward, for the operations that hold them.
 *
 * The frozen matrix holds scale·B beside its own columns, the input's rows have room for u = dropout(x)·Aᵀ behind x:
 *   [x | u] · [W | scale·B]ᵀ = y          base and adapter in one product
 *   dy · [W | scale·B] = [dx | du]        both gradients in one product; then dx += mask⊙(du·A)/(1-p)
 *   dA += duᵀ·(mask⊙x)/(1-p),  dB += scale·dyᵀ·u
 * Backward so needs x, u, and the dropout mask as bits.
 *
 * In e4m3 (e4m3-products.ts) the frozen matrix has a separate product, and the low-rank part one in bf16:
 *   y = u·(scale·B)ᵀ, y += x·Wᵀ;  dx = dy·W, du = dy·(scale·B)
 */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { LinearPart } from '../../operations.js';
import type { CudaParameterSet } from '../adapters.js';
import type { E4m3Products } from '../e4m3-products.js';
import { lowRankUp } from '../e4m3-rows.js';
import type { E4m3Rows } from '../frozen-matrix.js';
import { type DevicePointer, grid2, offset } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { WeightStore } from '../weights.js';
import { DropoutMasks } from './dropout-masks.js';
import { type FusedGroup, fusedGroups, hasDropout, matrixRows } from './fused-group.js';
import { loraDown } from './low-rank.js';
import {
  finishB,
  type LoraInputSide,
  loraGradientA,
  loraGradientB,
  loraInputGradients,
  type SavedInput,
} from './low-rank-gradients.js';
import type { Norm } from './rms-norm.js';
import { SmallLinear } from './small-linear.js';

/** What forward kept of an adapted group. */
export interface SavedLowRank {
  /** [T, E] */
  readonly u: CudaTensor;
  readonly bits: CudaTensor | undefined;
}

export interface ForwardOptions {
  /** [T]; they only count where a part has dropout. */
  readonly rowKeys: Int32Array | undefined;
  readonly record: boolean;
  /** e4m3 codes of x, if `takesOperand` and the kernel that made x quantised it too. */
  readonly operand?: E4m3Rows | undefined;
}

/** What a product of few rows does in the same launch. */
interface SmallOptions {
  /** Of the one row of x, before the product. */
  readonly norm?: Norm | undefined;
  /** The outputs are gate and up of equal width: only activation(gate) ⊙ up comes out. By its number in common.cu. */
  readonly activation?: number | undefined;
}

interface BackwardOptions {
  readonly needsInput: boolean;
  /** Whether each part has a gradient at all. Default: all have. */
  readonly isWanted?: readonly boolean[] | undefined;
  /**
   * float32 [splits, N, width]: the sums for dB by ranges of rows, as lora_gradient_b has them. Default: made of dy.
   */
  readonly partialB?: CudaTensor | undefined;
  /** float32 [T]: largest magnitude of each row of dy ⊙ `gradientFactors`; for groups of two parts of equal width. */
  readonly most?: CudaTensor | undefined;
  /** What other groups gave so far: the gradient of x is added to it. */
  readonly addTo?: CudaTensor | undefined;
}

/** [dx | du] of an adapted group, where dx still lacks its low-rank part and A its gradient. */
export interface DeferredGradient {
  /** Only du where nobody needs dx. */
  readonly wide: CudaTensor;
  readonly low: LoraInputSide;
}

function hasBias({ bias }: LinearPart): boolean {
  return bias !== undefined;
}

/** The order in which operations save what a group kept. */
export function packLowRank(saved: SavedLowRank | undefined): CudaTensor[] {
  return saved ? [saved.u, ...(saved.bits ? [saved.bits] : [])] : [];
}

/** The other way round. @param next gives the next saved tensor */
export function takeLowRank(group: FusedGroup, next: () => CudaTensor): SavedLowRank | undefined {
  return group.adapter && { u: next(), bits: hasDropout(group) ? next() : undefined };
}

export class LinearLayers {
  readonly #store: TensorStore;
  readonly #weights: WeightStore;
  readonly #sets: ReadonlyMap<unknown, CudaParameterSet>;
  readonly #small: SmallLinear;
  readonly #masks: DropoutMasks;
  readonly #e4m3: E4m3Products;

  constructor(
    store: TensorStore,
    weights: WeightStore,
    sets: ReadonlyMap<unknown, CudaParameterSet>,
    e4m3: E4m3Products,
  ) {
    this.#e4m3 = e4m3;
    this.#store = store;
    this.#weights = weights;
    this.#sets = sets;
    this.#small = new SmallLinear(store);
    this.#masks = new DropoutMasks(store);
  }

  dispose(): void {
    this.#masks.dispose();
  }

  groups(parts: readonly LinearPart[], columns: number): FusedGroup[] {
    return fusedGroups(this.#store, this.#weights, this.#sets, parts, columns);
  }

  /** Whether a product of so many rows is bound by reading the weight, and takes other work into its launch. */
  isSmall(group: FusedGroup, rows: number, { rowKeys, record }: ForwardOptions): boolean {
    if (group.precision === 'fp8') return false;
    if (rows > group.weights[0]!.matrix.smallRows) return false;
    return !group.adapter || !(record || (rowKeys && hasDropout(group)));
  }

  /** Whether forward reads e4m3 codes of x with row scales, so that the kernel that makes x may quantise it. */
  takesOperand(group: FusedGroup): boolean {
    return this.#e4m3.accumulates && this.#e4m3.takes(group.precision, false, matrixRows(group));
  }

  /** Factors of dy's columns when it is quantised for dx, if known: see `E4m3Products.gradientFactors`. */
  gradientFactors(group: FusedGroup): DevicePointer | undefined {
    const all = matrixRows(group);
    return this.#e4m3.takes(group.precision, true, all) ? this.#e4m3.gradientFactors(all) : undefined;
  }

  /** Whether `small` takes the norm of x into its launch. */
  takesNorm(x: CudaTensor, group: FusedGroup): boolean {
    return this.#small.takesNorm(x, group.weights[0]!);
  }

  /** The outputs of a group side by side [T, n], and what backward needs beside x. */
  forward(x: CudaTensor, group: FusedGroup, options: ForwardOptions): { y: CudaTensor; saved?: SavedLowRank } {
    if (this.isSmall(group, x.rows, options)) return { y: this.small(x, group, {}) };
    const y = this.#output(x.rows, group.n, group);
    const saved = this.#product(x, y, group, options);
    this.#addBias(y, group);
    return saved ? { y, saved } : { y };
  }

  small(x: CudaTensor, group: FusedGroup, { norm, activation }: SmallOptions): CudaTensor {
    const isGated = activation !== undefined;
    const n = isGated ? group.n / 2 : group.n;
    const y = isGated ? this.#store.createInput([x.rows, n]) : this.#output(x.rows, n, group);
    this.#small.run({ y, x, weight: group.weights[0]!, n, group: group.adapter, norm, activation });
    if (!isGated) this.#addBias(y, group);
    return y;
  }

  /** Adds dA and dB, and gives dx. @param x needed where there is an adapter */
  backward(
    dy: CudaTensor,
    group: FusedGroup,
    saved: SavedLowRank | undefined,
    x: SavedInput | undefined,
    options: BackwardOptions,
  ): CudaTensor | undefined {
    const { needsInput, addTo } = options;
    if (saved && x) {
      const share = this.finish(this.defer(dy, group, saved, options), x, needsInput);
      return share && addTo ? this.#added(addTo, share) : share;
    }
    if (!needsInput) return undefined;
    const { matrix, row } = group.weights[0]!;
    const all = matrixRows(group);
    if (this.#e4m3.takes(group.precision, true, all)) {
      const share = this.#store.create([dy.rows, matrix.columns]);
      this.#e4m3.transposedProduct(all, dy, share);
      return addTo ? this.#added(addTo, share) : share;
    }
    const dx = addTo ?? this.#store.create([dy.rows, matrix.columns]);
    matrix.transposedProduct(row, dy, dx, 0, addTo ? 1 : 0);
    return dx;
  }

  /** The first half of an adapted group's `backward`: dB, and one product. */
  defer(
    dy: CudaTensor,
    whole: FusedGroup,
    { u, bits }: SavedLowRank,
    { needsInput, isWanted = whole.parts.map(() => true), partialB, most }: BackwardOptions,
  ): DeferredGradient {
    const store = this.#store;
    const { weights, columns, parts, adapter } = whole;
    const group = adapter!;
    const output = { group, parts, isWanted, columns };
    if (partialB) finishB(store, output, partialB);
    else loraGradientB(store, { ...output, u, dy });
    const { matrix, row } = weights[0]!;
    const { paddedColumns } = matrix;
    const wide = needsInput
      ? store.create([dy.rows, matrix.columns], group.columns)
      : store.create([dy.rows, group.columns]);
    const du = offset(wide.address, needsInput ? 2 * paddedColumns : 0);
    if (!needsInput) matrix.adapterProduct(row, dy, wide);
    else if (this.#e4m3.takes(whole.precision, true, matrixRows(whole))) {
      const low = { address: du, ld: wide.ld, rows: dy.rows, columns: group.columns, type: 'bf16' } as const;
      const b = matrix.adapterAt(row);
      const isFused = most !== undefined || this.#e4m3.takesLowRank(group.columns);
      const product = isFused ? { b, rank: group.width, du: low } : undefined;
      this.#e4m3.transposedProduct(matrixRows(whole), dy, wide, product, most?.address);
      if (!isFused) matrix.adapterProduct(row, dy, low);
    } else matrix.transposedProduct(row, dy, wide, group.columns);
    return { wide, low: { du, lddu: wide.ld, bits, group, parts, isWanted } };
  }

  /** The other half: dA, and what dx lacks. */
  finish({ wide, low }: DeferredGradient, x: SavedInput, needsInput: boolean): CudaTensor | undefined {
    if (needsInput) {
      loraInputGradients(this.#store, wide, low, x);
      return wide;
    }
    loraGradientA(this.#store, low, x);
    this.#store.release(wide);
    return undefined;
  }

  /** Computes y without biases; returns what a low-rank part saves. */
  #product(x: CudaTensor, y: CudaTensor, group: FusedGroup, options: ForwardOptions): SavedLowRank | undefined {
    const { adapter } = group;
    const all = matrixRows(group);
    if (this.#e4m3.takes(group.precision, false, all)) {
      // Accumulating is nearly free for the large product, so the thin one, bound by writing y, runs first.
      const isFirst = adapter !== undefined && this.#e4m3.accumulates;
      const saved = isFirst ? this.#lowRank(x, y, group, adapter, options, 0) : undefined;
      this.#e4m3.product(all, x, y, isFirst ? 1 : 0, options.operand);
      return adapter && !isFirst ? this.#lowRank(x, y, group, adapter, options, 1) : saved;
    }
    if (adapter) return this.#adapted(x, y, group, adapter, options);
    all.matrix.product(all.row, x, y);
    return undefined;
  }

  /** y = u·(scale·B)ᵀ + beta·y */
  #lowRank(
    x: CudaTensor,
    y: CudaTensor,
    group: FusedGroup,
    adapter: NonNullable<FusedGroup['adapter']>,
    { rowKeys, record }: ForwardOptions,
    beta: number,
  ): SavedLowRank | undefined {
    const store = this.#store;
    const { parts, n } = group;
    const { matrix, row } = group.weights[0]!;
    const dropout = rowKeys && hasDropout(group) ? this.#masks.open(x, rowKeys, parts, record) : undefined;
    const u = store.create([x.rows, adapter.columns]);
    const room = beta === 0 ? y : undefined;
    loraDown(store, { u: u.address, ldu: u.ld, saved: undefined, x, dropout, room, group: adapter, parts });
    const b = matrix.adapterAt(row);
    if (beta === 0 && this.#e4m3.hasLowRankUp(adapter.columns)) lowRankUp(store, y, u, b);
    else {
      // biome-ignore format: parameters by operand
      store.products.run({
        m: x.rows, n, k: adapter.columns, a: u.address, lda: u.ld,
        b: b.address, ldb: b.ld, transB: true, d: y.address, ldd: y.ld, beta,
      });
    }
    // A tensor that is only saved starts with a reference count of 0.
    if (record) return { u: store.saved(u), bits: dropout?.bits && store.saved(dropout.bits) };
    store.release(u);
    return undefined;
  }

  #added(to: CudaTensor, share: CudaTensor): CudaTensor {
    this.#store.add(to, to, share);
    this.#store.release(share);
    return to;
  }

  #adapted(
    x: CudaTensor,
    y: CudaTensor,
    group: FusedGroup,
    adapter: NonNullable<FusedGroup['adapter']>,
    { rowKeys, record }: ForwardOptions,
  ): SavedLowRank | undefined {
    const store = this.#store;
    const { parts } = group;
    const { matrix, row } = group.weights[0]!;
    const wide = this.#withSpare(x, matrix.paddedColumns, adapter.columns);
    const dropout = rowKeys && hasDropout(group) ? this.#masks.open(x, rowKeys, parts, record) : undefined;
    const low = offset(wide.address, 2 * matrix.paddedColumns);
    const u = record ? store.saved(store.create([x.rows, adapter.columns])) : undefined;
    loraDown(store, { u: low, ldu: wide.ld, saved: u, x: wide, dropout, room: y, group: adapter, parts });
    matrix.product(row, wide, y, adapter.columns);
    store.release(wide);
    return u && { u, bits: dropout?.bits && store.saved(dropout.bits) };
  }

  #output(rows: number, columns: number, { parts }: FusedGroup): CudaTensor {
    return parts.length === 1 ? this.#store.createInput([rows, columns]) : this.#store.create([rows, columns]);
  }

  /** x with `columns` free columns behind its padded own ones: x itself, retained, or a copy with zeros between. */
  #withSpare(x: CudaTensor, padded: number, columns: number): CudaTensor {
    const store = this.#store;
    if (x.spare >= columns && padded === x.columns) {
      store.retain(x);
      return x;
    }
    const wide = store.create(x.shape, columns);
    if (padded > x.columns) store.driver.fillBytes(wide.address, 0, 2 * wide.rows * wide.ld);
    store.copyInto(wide, x);
    return wide;
  }

  #addBias(y: CudaTensor, { parts, weights, columns }: FusedGroup): void {
    if (!parts.some(hasBias)) return;
    const store = this.#store;
    for (const [i, { bias }] of parts.entries()) {
      if (!bias) continue;
      const part = store.view(y, columns[i]!, weights[i]!.rows);
      const { address, rows, columns: width, ld } = part;
      const parameters = {
        y: address,
        bias: this.#weights.vector(bias, width, 'linear'),
        rows,
        columns: width,
        ldy: ld,
      };
      store.kernels.launch(KERNELS.addBias, grid2(rows, width), parameters);
      store.release(part);
    }
  }
}
