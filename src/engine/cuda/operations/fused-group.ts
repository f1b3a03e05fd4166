/** Parts of a linear layer whose weights are neighbours in one matrix, so that one product computes them all. */
import { EngineError } from '../../../errors.js';
import type { LinearPart, Precision } from '../../operations.js';
import { requireMatrix } from '../../tensor.js';
import { AdapterGroup, type CudaParameterSet, MAX_PARTS } from '../adapters.js';
import type { FrozenMatrix } from '../frozen-matrix.js';
import { ROW_MULTIPLE, type TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { DeviceWeight, WeightStore } from '../weights.js';

const OPERATION = 'linear';

export interface FusedGroup {
  /** Position of the first part in the layer. */
  readonly first: number;
  readonly parts: readonly LinearPart[];
  readonly weights: readonly DeviceWeight[];
  readonly precision: Precision;
  /** Columns of the output. */
  readonly n: number;
  /** First output column of each part. */
  readonly columns: readonly number[];
  /** Of all parts, with fresh copies of its values; undefined if no part has one. */
  readonly adapter: AdapterGroup | undefined;
}

/** While parts join it. */
interface OpenGroup extends FusedGroup {
  readonly parts: LinearPart[];
  readonly weights: DeviceWeight[];
  n: number;
  readonly columns: number[];
  adapter: AdapterGroup | undefined;
}

/** Groups by list of parts and input columns: generation uses the same lists for each token. */
const knownGroups = new WeakMap<readonly LinearPart[], { readonly columns: number; readonly groups: FusedGroup[] }>();

/** @param columns of the input */
export function fusedGroups(
  store: TensorStore,
  weights: WeightStore,
  sets: ReadonlyMap<unknown, CudaParameterSet>,
  parts: readonly LinearPart[],
  columns: number,
): FusedGroup[] {
  const known = knownGroups.get(parts);
  if (known && known.columns === columns && known.groups.every((group) => isCurrent(group, weights))) {
    for (const { adapter } of known.groups) adapter?.set.refresh(adapter);
    return known.groups;
  }
  const groups = makeGroups(store, weights, sets, parts, columns);
  knownGroups.set(parts, { columns, groups });
  return groups;
}

/** Whether the weights and adapter of the group are still in place. */
function isCurrent({ parts, weights: own, adapter }: FusedGroup, weights: WeightStore): boolean {
  for (const { weight } of parts) weights.use(weight, OPERATION);
  if (!adapter) return true;
  const { matrix, row } = own[0]!;
  return matrix.adapters.get(row) === adapter && !adapter.set.isReleased;
}

function makeGroups(
  store: TensorStore,
  weights: WeightStore,
  sets: ReadonlyMap<unknown, CudaParameterSet>,
  parts: readonly LinearPart[],
  columns: number,
): FusedGroup[] {
  const known = parts.map((part) => weights.useMatrix(part.weight, columns, OPERATION));
  const groups: OpenGroup[] = [];
  for (const [i, weight] of known.entries()) {
    const group = groups.at(-1);
    const before = known[i - 1];
    const { precision = 'bf16' } = parts[i]!;
    const follows =
      group !== undefined &&
      before !== undefined &&
      group.parts.length < MAX_PARTS &&
      group.precision === precision &&
      before.matrix === weight.matrix &&
      before.row + before.rows === weight.row &&
      // Each part's columns start at 16 bytes.
      group.n % ROW_MULTIPLE === 0;
    if (follows) {
      group.columns.push(group.n);
      group.parts.push(parts[i]!);
      group.weights.push(weight);
      group.n += weight.rows;
    } else {
      const n = weight.rows;
      groups.push({ first: i, parts: [parts[i]!], weights: [weight], precision, n, columns: [0], adapter: undefined });
    }
  }
  for (const group of groups) group.adapter = adapterOf(store, sets, group, columns);
  return groups;
}

/** The matrix rows of the group's product. */
export function matrixRows({ weights, n }: FusedGroup): {
  readonly matrix: FrozenMatrix;
  readonly row: number;
  readonly rows: number;
} {
  const { matrix, row } = weights[0]!;
  return { matrix, row, rows: n };
}

export function hasDropout({ parts }: Pick<FusedGroup, 'parts'>): boolean {
  return parts.some(({ lora }) => lora !== undefined && lora.dropout > 0);
}

/** The columns of each part in a matrix [T, n] of all, which is released. */
export function splitParts(store: TensorStore, y: CudaTensor, { columns, weights }: FusedGroup): CudaTensor[] {
  if (weights.length === 1) return [y];
  const parts = weights.map((weight, i) => store.view(y, columns[i]!, weight.rows));
  store.release(y);
  return parts;
}

/** Room for the gradients of a layer's outputs: a matrix for each group, and in it the columns of each part. */
export function gradientRoom(
  store: TensorStore,
  groups: readonly FusedGroup[],
  rows: number,
): { readonly whole: readonly CudaTensor[]; readonly parts: readonly CudaTensor[] } {
  const whole = groups.map(({ n }) => store.create([rows, n]));
  const parts = groups.flatMap(({ weights, columns }, g) =>
    weights.map((weight, i) => store.view(whole[g]!, columns[i]!, weight.rows)),
  );
  return { whole, parts };
}

function adapterOf(
  store: TensorStore,
  sets: ReadonlyMap<unknown, CudaParameterSet>,
  { parts, weights }: Pick<FusedGroup, 'parts' | 'weights'>,
  columns: number,
): AdapterGroup | undefined {
  const adapted = parts.find((part) => part.lora);
  if (!adapted) return undefined;
  const set = parameterSetOf(sets, adapted);
  const places = weights.map(({ row, rows }, i) => ({ row, rows, lora: parts[i]!.lora }));
  const { matrix, row } = weights[0]!;
  let group = AdapterGroup.of(matrix, row);
  if (!group || group.set !== set || !group.fits(places)) {
    for (const part of parts) {
      checkLora(part, columns);
      if (part.lora && parameterSetOf(sets, part) !== set) {
        throw new EngineError(`${OPERATION}: the adapters of stacked layers are of different parameter sets`);
      }
    }
    group = new AdapterGroup(store, matrix, set, places);
    store.wantSpare(columns, group.columns);
  }
  set.refresh(group);
  return group;
}

function parameterSetOf(sets: ReadonlyMap<unknown, CudaParameterSet>, part: LinearPart): CudaParameterSet {
  const set = sets.get(part.lora!.a);
  if (!set || sets.get(part.lora!.b) !== set) {
    throw new EngineError(`${OPERATION}: A and B of ${part.weight.name} are not of one parameter set of this engine`);
  }
  return set;
}

function checkLora({ lora, weight }: LinearPart, columns: number): void {
  if (!lora) return;
  const rank = lora.a.shape[0] ?? 0;
  requireMatrix(lora.a, OPERATION, `A of ${weight.name}`, { rows: rank, columns });
  requireMatrix(lora.b, OPERATION, `B of ${weight.name}`, { rows: weight.shape[0]!, columns: rank });
}
