/**
 * Products on subgroup matrices, which take f16 and add up in float32: both operands are packed first, float32 values as
 * two halves of which the products are added up (matrix-operand.wgsl), a block of each at a time.
 */
import { WGSL } from '../../generated/wgsl-kernels.js';
import type { BufferRange } from './gpu-types.js';
import type { Defines } from './kernel-source.js';
import { flat } from './kernels.js';
import { knownVariant } from './known-variants.js';
import type { MatrixUnit } from './matrix-unit.js';
import type { Product } from './product.js';
import type { TensorStore, WebgpuTensor } from './tensor-store.js';
import { weightParameters } from './weight-reader.js';

/** Of a workgroup: rows and columns of C, those of a subgroup, and values of k in a step. */
export interface MatrixTile {
  readonly bm: number;
  readonly bn: number;
  readonly sm: number;
  readonly sn: number;
  readonly kBlock: number;
}

export const MATRIX_TILES = {
  large: { bm: 128, bn: 128, sm: 64, sn: 32, kBlock: 32 },
  small: { bm: 64, bn: 64, sm: 32, sn: 32, kBlock: 32 },
  /** For subgroups of few lanes. */
  tiny: { bm: 32, bn: 32, sm: 16, sn: 16, kBlock: 16 },
} as const satisfies Record<string, MatrixTile>;

export interface MatrixPlan {
  readonly matrixTile: MatrixTile;
  readonly splits: number;
}

/** Halves of a value of A, which is float32. */
const A_PLANES = 2;
/** Workgroups that keep a large GPU busy. */
const ENOUGH_GROUPS = 128;
/** Steps of a split at least: fewer are not worth writing and adding up their sums. */
const STEPS_OF_SPLIT = 16;
/** Matrices that are added up before sums are rounded: see matrix-product.wgsl. Each may cost 2^-23 of the sum. */
const MAX_CUTS = 32;
/** Sums that a lane holds at most, which are registers, as are as many totals. */
const MAX_SUMS = 64;
/** Values of the partial sums of all splits at most: 32 MiB. */
const MAX_PARTIALS = 1 << 23;
/** Values of k that are packed at once: with more, blocks have too few rows and columns to keep a GPU busy. */
const MAX_DEPTH = 1 << 14;
/** Columns that a workgroup of matrix-operand.wgsl takes where vectors are columns. */
const PACKED_COLUMNS = 32;

/** What is packed at once. */
interface Extents {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

function blockOf({ m, n, k, b }: Product, { bm, bn, kBlock }: MatrixTile, { packedBytes }: MatrixUnit): Extents {
  const depth = Math.min(k, MAX_DEPTH);
  const vectorBytes = 2 * kBlock * Math.ceil(depth / kBlock);
  const most = (step: number, planes: number): number =>
    step * Math.max(1, Math.floor(packedBytes / (planes * vectorBytes * step)));
  return { rows: Math.min(m, most(bm, A_PLANES)), columns: Math.min(n, most(bn, planesOf(b))), depth };
}

/** The plan of a product whose extents and strides are multiples of 4; undefined where other kernels are the better ones. */
export function planMatrices(what: Product, unit: MatrixUnit): MatrixPlan | undefined {
  const { m, n, k, bias } = what;
  if (Math.min(m, n, k) < unit.leastExtent) return undefined;
  const fitting = fittingTiles(unit, planesOf(what.b)).map((tile) => {
    const block = blockOf(what, tile, unit);
    return { tile, block, groups: Math.ceil(block.rows / tile.bm) * Math.ceil(block.columns / tile.bn) };
  });
  const chosen = fitting.find(({ groups }) => groups >= ENOUGH_GROUPS) ?? fitting.at(-1);
  if (!chosen) return undefined;
  const { tile, block, groups } = chosen;
  const splits = Math.min(
    Math.floor(Math.ceil(block.depth / tile.kBlock) / STEPS_OF_SPLIT),
    Math.floor(MAX_PARTIALS / (block.rows * block.columns)),
    Math.floor((2 * ENOUGH_GROUPS) / groups),
  );
  // The bias is added once, by one split.
  return { matrixTile: tile, splits: bias ? 1 : Math.max(1, splits) };
}

/** From the largest on. */
export function fittingTiles(unit: MatrixUnit, bPlanes: 1 | 2): readonly MatrixTile[] {
  return Object.values(MATRIX_TILES).filter((tile) => tileFits(tile, unit, bPlanes));
}

/** Whether the device has the threads, workgroup memory and registers of a tile, which is made of whole matrices. */
export function tileFits(tile: MatrixTile, unit: MatrixUnit, bPlanes: number, maxSums = MAX_SUMS): boolean {
  const { bm, bn, sm, sn, kBlock } = tile;
  const { M, N, K, subgroupSize, maxThreads, maxWorkgroupBytes } = unit;
  if (sm % M !== 0 || sn % N !== 0 || kBlock % K !== 0 || (sm * sn) / subgroupSize > maxSums) return false;
  const { threads, bytes } = workgroupOf(tile, unit, bPlanes);
  const isWhole = (extent: number): boolean => (extent * (kBlock / 8)) % threads === 0;
  return (
    threads <= maxThreads &&
    bytes <= maxWorkgroupBytes &&
    isWhole(bm) &&
    isWhole(bn) &&
    (M * sn) % (4 * subgroupSize) === 0 &&
    subgroupSize % (sn / 4) === 0
  );
}

function workgroupOf(tile: MatrixTile, { M, subgroupSize }: MatrixUnit, bPlanes: number) {
  const { bm, bn, sm, sn, kBlock } = tile;
  const subgroups = (bm / sm) * (bn / sn);
  const tiles = (A_PLANES * bm + bPlanes * bn) * (kBlock / 8 + 1);
  const sums = subgroups * M * (sn / 4 + 1);
  return { threads: subgroups * subgroupSize, bytes: 16 * Math.max(tiles, sums) };
}

/** One half holds the values of every weight format but float32: quantised ones are rounded to bf16. */
function planesOf(b: Product['b']): 1 | 2 {
  return 'weight' in b && b.weight.format !== 'f32' ? 1 : 2;
}

/** An operand, or a block of its vectors. */
interface Operand {
  readonly source: BufferRange | Extract<Product['b'], { readonly weight: unknown }>;
  readonly isFixed: boolean;
  /** Vectors are the columns as stored. */
  readonly isAcross: boolean;
  readonly first: number;
  readonly stride: number;
  readonly planes: 1 | 2;
}

interface Packed {
  readonly values: WebgpuTensor;
  readonly exponents: WebgpuTensor;
  /** Vectors that the values have room for. */
  readonly padded: number;
}

/**
 * Queues a product without a low-rank one.
 * @param before queues what C must hold, once there is memory for the operands
 * @throws OutOfMemoryError before anything is queued
 */
export function matrixProduct(
  store: TensorStore,
  what: Product,
  { matrixTile: tile, splits }: MatrixPlan,
  before: () => void = () => {},
): void {
  const { m, n, k, a, transA = false, b, transB = false } = what;
  const left: Operand = {
    ...{ source: a.range, isFixed: a.isFixed === true, isAcross: transA, planes: A_PLANES },
    ...{ first: a.first ?? 0, stride: a.stride ?? (transA ? m : k) },
  };
  const right: Operand = {
    ...{ source: b, isFixed: false, isAcross: !transB, planes: planesOf(b), first: 0, stride: transB ? k : n },
  };
  const { rows, columns, depth } = blockOf(what, tile, store.matrices!);
  const kBlocks = Math.ceil(depth / tile.kBlock);
  const scratch: WebgpuTensor[] = [];
  const create = (shape: readonly number[]): WebgpuTensor => {
    const tensor = store.create(shape);
    scratch.push(tensor);
    return tensor;
  };
  const room = (vectors: number, step: number, { planes }: Operand): Packed => {
    const padded = step * Math.ceil(vectors / step);
    const values = create([(planes * kBlocks * tile.kBlock * padded) / 2]);
    return { values, exponents: create([vectors]), padded };
  };
  try {
    const packedA = room(rows, tile.bm, left);
    const packedB = room(columns, tile.bn, right);
    const partial = splits > 1 ? create([splits, rows, columns]) : undefined;
    before();
    const blocks = { packedA, packedB, partial, splits };
    for (let k0 = 0; k0 < k; k0 += depth) {
      const long = Math.min(depth, k - k0);
      const part = k0 === 0 ? what : { ...what, beta: 1, bias: undefined };
      for (let n0 = 0; n0 < n; n0 += columns) {
        const width = Math.min(columns, n - n0);
        pack(store, right, { firstVector: n0, vectors: width, k0, k: long }, packedB, tile.kBlock);
        for (let m0 = 0; m0 < m; m0 += rows) {
          const height = Math.min(rows, m - m0);
          // Blocks of A follow each other in one place; a single one stays.
          if (n0 === 0 || rows < m)
            pack(store, left, { firstVector: m0, vectors: height, k0, k: long }, packedA, tile.kBlock);
          multiply(store, part, tile, { ...blocks, m0, n0, height, width, k: long });
        }
      }
    }
  } finally {
    for (const tensor of scratch) store.release(tensor);
  }
}

/** Of an operand: so many vectors, and of each k values from k0 on. */
interface Piece {
  readonly firstVector: number;
  readonly vectors: number;
  readonly k0: number;
  readonly k: number;
}

function pack(
  store: TensorStore,
  operand: Operand,
  { firstVector, vectors, k0, k }: Piece,
  { values, exponents, padded }: Packed,
  kBlock: number,
): void {
  const { source, isFixed, isAcross, first, stride, planes } = operand;
  const held = 'weight' in source ? source : undefined;
  const range = held ? undefined : (source as BufferRange);
  const weight = held && weightParameters(held.weight, held.part);
  const parameters = {
    out: values.range,
    exponents: exponents.range,
    source: isFixed ? undefined : range,
    fixed_source: isFixed ? range : undefined,
    weight: weight?.weight,
    factors: weight?.factors,
    ...{
      vectors,
      padded,
      k,
      stride,
      first: first + (isAcross ? firstVector + k0 * stride : firstVector * stride + k0),
    },
    weight_columns: weight?.weight_columns ?? 1,
    block_rows: weight?.block_rows ?? 1,
    block_columns: weight?.block_columns ?? 1,
    factors_across: weight?.factors_across ?? 1,
  };
  const format = held ? held.weight.format : false;
  const variant = knownVariant(WGSL.matrixOperand, {
    ...{ K_BLOCK: kBlock, LOW: planes === 2, ACROSS: isAcross, FIXED: isFixed },
    ...{ FORMAT: format, FACTORS: held?.part.factors !== undefined, NF4_TABLE: format === 'nf4' },
  });
  const groups = isAcross ? Math.ceil(vectors / PACKED_COLUMNS) : vectors;
  store.kernels.launch(WGSL.matrixOperand, flat(groups), parameters, variant);
}

interface Block {
  readonly m0: number;
  readonly n0: number;
  readonly height: number;
  readonly width: number;
  readonly k: number;
  readonly splits: number;
  readonly packedA: Packed;
  readonly packedB: Packed;
  readonly partial: WebgpuTensor | undefined;
}

function multiply(store: TensorStore, what: Product, tile: MatrixTile, block: Block): void {
  const { m0, n0, height, width, k, splits, packedA, packedB, partial } = block;
  const kBlocks = Math.ceil(k / tile.kBlock);
  const { n, b, c, alpha = 1, beta = 0, bias, firstColumn = 0 } = what;
  const c_stride = c.stride ?? n;
  const c_first = (c.first ?? 0) + m0 * c_stride + n0;
  const planes = planesOf(b);
  const unit = store.matrices!;
  const parameters = {
    ...{ a: packedA.values.range, b: packedB.values.range, c: partial?.range ?? c.range, bias },
    ...{ a_exponents: packedA.exponents.range, b_exponents: packedB.exponents.range },
    ...{ m: height, n: width, k_blocks: kBlocks, a_padded: packedA.padded, b_padded: packedB.padded },
    ...(partial ? { c_first: 0, c_stride: width, alpha: 1, beta: 0 } : { c_first, c_stride, alpha, beta }),
    ...{ n_first: firstColumn + n0, steps: Math.ceil(kBlocks / splits), split_size: height * width },
  };
  const variant = knownVariant(WGSL.matrixProduct, { ...tileDefines(tile, unit, planes), BIAS: bias !== undefined });
  const groups = [Math.ceil(width / tile.bn), Math.ceil(height / tile.bm), splits];
  store.kernels.launch(WGSL.matrixProduct, groups, parameters, variant);
  if (!partial) return;
  store.kernels.launch(WGSL.sumSplits, flat(Math.ceil((height * width) / 256)), {
    ...{ c: c.range, partial: partial.range, m: height, n: width, splits, alpha, beta, c_first, c_stride },
  });
}

function tileDefines(tile: MatrixTile, unit: MatrixUnit, bPlanes: number): Defines {
  const { bm, bn, sm, sn, kBlock } = tile;
  const { M, N, K, subgroupSize } = unit;
  const { threads } = workgroupOf(tile, unit, bPlanes);
  return {
    ...{ M, N, K, BM: bm, BN: bn, SM: sm, SN: sn, K_BLOCK: kBlock, SUBGROUP: subgroupSize },
    ...{ A_PLANES, B_PLANES: bPlanes, ROWS: sm / M, COLUMNS: sn / N, K_MATRICES: kBlock / K },
    ...{ A_LOADS: (bm * kBlock) / 8 / threads, B_LOADS: (bn * kBlock) / 8 / threads },
    STORES: (M * sn) / 4 / subgroupSize,
    SUM_STEPS: Math.max(1, Math.floor((MAX_CUTS * K) / (kBlock * (A_PLANES + bPlanes - 1)))),
  };
}
