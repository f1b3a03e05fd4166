/**
 * Linear layers with optional low-rank additions. Parts whose weights are stacked are one product.
 *
 * The frozen matrix holds scale·B in columns behind its own, the input's rows have room for u = dropout(x)·Aᵀ behind x:
 *   [x | u] · [W | scale·B]ᵀ = y          base and adapter in one product
 *   dy · [W | scale·B] = [dx | du]        both gradients in one product; then dx += mask⊙(du·A)/(1-p)
 *   dA += duᵀ·(mask⊙x)/(1-p),  dB += scale·dyᵀ·u
 * Saved: x (or what it is made of), u, and the dropout mask as bits. What dx and dA still lack may be left to the
 * operation that x came from (unfinished-gradient.ts), and dB may have been prepared by the one that dy came from.
 */
import { EngineError } from '../../../errors.js';
import type { LinearPart, Operation, OperationAttributes } from '../../operations.js';
import { rowKeysOf } from '../../row-keys.js';
import type { Tensor } from '../../tensor.js';
import { AdapterGroup, type CudaParameterSet, MAX_PARTS } from '../adapters.js';
import { roundUp } from '../arena.js';
import { ROW_MULTIPLE, type TensorStore } from '../tensor-store.js';
import { type CudaTensor, GradientHome } from '../tensors.js';
import type { DeviceWeight, WeightStore } from '../weights.js';
import { DeferredPair } from './deferred-pair.js';
import { DeferredResult } from './deferred-result.js';
import { DropoutMasks } from './dropout-masks.js';
import { loraDown } from './low-rank.js';
import {
  finishB,
  type LoraOutputSide,
  loraGradientA,
  loraGradientB,
  loraInputGradients,
} from './low-rank-gradients.js';
import { DeferredNorm } from './rms-norm.js';
import { SMALL_ROWS, SmallLinear, type SmallProduct } from './small-linear.js';
import { UnfinishedGradient } from './unfinished-gradient.js';

const OPERATION = 'linear';

/** Parts that are computed as one product: neighbours in one matrix. */
interface Run {
  /** Position of the first part. */
  readonly first: number;
  readonly parts: readonly LinearPart[];
  readonly weights: readonly DeviceWeight[];
  /** Columns of the output. */
  readonly n: number;
  /** First output column of each part. */
  readonly columns: readonly number[];
}

function parameterSetOf(sets: ReadonlyMap<unknown, CudaParameterSet>, part: LinearPart): CudaParameterSet {
  const set = sets.get(part.lora!.a);
  if (!set || sets.get(part.lora!.b) !== set) {
    throw new EngineError(`${OPERATION}: A and B of ${part.weight.name} are not of one parameter set of this engine`);
  }
  return set;
}

function runsOf(weights: WeightStore, parts: readonly LinearPart[], k: number): Run[] {
  const known = parts.map((part) => weights.useMatrix(part.weight, k, OPERATION));
  const runs: { first: number; parts: LinearPart[]; weights: DeviceWeight[]; n: number; columns: number[] }[] = [];
  for (const [i, weight] of known.entries()) {
    const run = runs.at(-1);
    const before = known[i - 1];
    const follows =
      run !== undefined &&
      before !== undefined &&
      run.parts.length < MAX_PARTS &&
      before.matrix === weight.matrix &&
      before.row + before.rows === weight.row &&
      // Each part's columns start at 16 bytes.
      run.n % ROW_MULTIPLE === 0;
    if (follows) {
      run.columns.push(run.n);
      run.parts.push(parts[i]!);
      run.weights.push(weight);
      run.n += weight.rows;
    } else runs.push({ first: i, parts: [parts[i]!], weights: [weight], n: weight.rows, columns: [0] });
  }
  return runs;
}

function checkLora({ lora, weight }: LinearPart, k: number): void {
  if (!lora) return;
  const [rank, n] = [lora.a.shape[0] ?? 0, weight.shape[0]!];
  for (const [what, shape, expected] of [
    ['A', lora.a.shape, [rank, k]],
    ['B', lora.b.shape, [n, rank]],
  ] as const) {
    if (shape.join() === expected.join()) continue;
    throw new EngineError(
      `${OPERATION}: ${what} of ${weight.name} has shape [${shape.join(', ')}], expected [${expected.join(', ')}]`,
    );
  }
}

export class LinearOperation implements Operation<OperationAttributes['linear']> {
  readonly #store: TensorStore;
  readonly #weights: WeightStore;
  /** The set of each parameter. */
  readonly #sets: ReadonlyMap<unknown, CudaParameterSet>;
  readonly small: SmallLinear;
  readonly #masks: DropoutMasks;

  constructor(store: TensorStore, weights: WeightStore, sets: ReadonlyMap<unknown, CudaParameterSet>) {
    this.#store = store;
    this.#weights = weights;
    this.#sets = sets;
    this.small = new SmallLinear(store);
    this.#masks = new DropoutMasks(store);
  }

  dispose(): void {
    this.#masks.dispose();
  }

  forward(inputs: readonly Tensor[], { parts }: OperationAttributes['linear'], record: boolean) {
    const input = inputs[0] && this.#store.useUnfinished(inputs[0], OPERATION);
    const x = input && !record && DeferredResult.of(input) ? input : this.#store.matrix(input, -1, -1, OPERATION, 'x');
    const rowKeys = rowKeysOf(parts, x.rows);
    const saved: CudaTensor[] = [];
    const runs = runsOf(this.#weights, parts, x.columns);
    if (!record && x.rows <= SMALL_ROWS && isPair(runs, rowKeys)) return { outputs: this.#pair(x, runs[0]!), saved };
    const outputs = runs.flatMap((run) => this.#run(x, run, rowKeys, record ? saved : undefined));
    // Without a low-rank part, backward needs no more than the weights.
    if (saved.length > 0) saved.unshift(this.#store.keepOrRemake(x));
    return { outputs, saved };
  }

  backward(
    saved: readonly Tensor[],
    outputGradients: readonly (Tensor | undefined)[],
    { parts }: OperationAttributes['linear'],
    needs: readonly boolean[],
  ): readonly (Tensor | undefined)[] {
    const store = this.#store;
    const gradients = outputGradients.map(
      (dy, i) => dy && store.matrix(dy, -1, parts[i]!.weight.shape[0]!, OPERATION, 'output gradient'),
    );
    if (!gradients.some((dy) => dy)) return [undefined];
    const k = parts[0]!.weight.shape[1]!;
    const runs = runsOf(this.#weights, parts, k);
    const kept = saved[0] && store.use(saved[0], OPERATION);
    const isLeft = needs[0] === true && runs.length === 1 && kept?.recipe?.gatedBy !== undefined;
    let dx: CudaTensor | undefined;
    let next = 1;
    for (const run of runs) {
      const group = this.#group(run, k);
      const u = group && store.use(saved[next++]!, OPERATION);
      const bits = group && hasDropout(run) ? store.use(saved[next++]!, OPERATION) : undefined;
      const own = gradients.slice(run.first, run.first + run.parts.length);
      if (!own.some((dy) => dy)) continue;
      const dy = this.#join(own, run);
      if (group && u) {
        const isWanted = own.map((gradient) => gradient !== undefined);
        this.#gradientB(u, dy, own, { group, parts: run.parts, isWanted, columns: run.columns });
        const wide = this.#wideGradient(dy, k, run, group, needs[0] === true);
        const du = wide.address + 2 * (needs[0] ? roundUp(k, ROW_MULTIPLE) : 0);
        const low = { du, lddu: wide.ld, bits, group, parts: run.parts, isWanted };
        if (isLeft) {
          new UnfinishedGradient(store, wide, kept!, low);
          dx = wide;
        } else if (needs[0]) {
          loraInputGradients(store, wide, low, kept!);
          dx = this.#sum(dx, wide);
        } else {
          loraGradientA(store, low, kept!);
          store.release(wide);
        }
      } else if (needs[0]) {
        const weight = run.weights[0]!;
        const beta = dx ? 1 : 0;
        dx ??= store.create([dy.rows, k]);
        store.products.run({
          ...{ m: dy.rows, n: k, k: run.n, a: dy.address, lda: dy.ld, b: weight.address, ldb: weight.ld },
          ...{ d: dx.address, ldd: dx.ld, beta },
        });
      }
      store.release(dy);
    }
    return [dx];
  }

  #run(x: CudaTensor, run: Run, rowKeys: Int32Array | undefined, saved?: CudaTensor[]): CudaTensor[] {
    const group = this.#group(run, x.columns);
    return group ? this.#adapted(x, run, group, rowKeys, saved) : this.#plain(x, run);
  }

  /** The outputs of a run that `isPair`. */
  #pair(x: CudaTensor, run: Run): readonly CudaTensor[] {
    const store = this.#store;
    const shape = [x.rows, run.weights[0]!.rows];
    const gated = (activation: number): CudaTensor => {
      const y = store.createInput(shape);
      const group = this.#group(run, x.columns);
      this.#runSmall({ y, x, weight: run.weights[0]!, n: y.columns, group, activation });
      return y;
    };
    return new DeferredPair(store, x, shape, { plain: () => this.#run(x, run, undefined), gated }).outputs;
  }

  /** The adapter of a run, with fresh copies of its values; undefined if no part has one. */
  #group(run: Run, k: number): AdapterGroup | undefined {
    const adapted = run.parts.find((part) => part.lora);
    if (!adapted) return undefined;
    const set = parameterSetOf(this.#sets, adapted);
    const parts = run.weights.map(({ row, rows }, i) => ({ row, rows, lora: run.parts[i]!.lora }));
    const { matrix, row } = run.weights[0]!;
    let group = matrix.adapters.get(row);
    if (!group || group.set !== set || !group.fits(parts)) {
      for (const part of run.parts) {
        checkLora(part, k);
        if (part.lora && parameterSetOf(this.#sets, part) !== set) {
          throw new EngineError(`${OPERATION}: the adapters of stacked layers are of different parameter sets`);
        }
      }
      group = new AdapterGroup(this.#store, this.#weights, matrix, set, parts);
      this.#store.wantSpare(k, group.columns);
    }
    set.refresh(group);
    return group;
  }

  /** Outputs of a run, side by side in one block. */
  #outputs(rows: number, run: Run): { y: CudaTensor; parts: CudaTensor[] } {
    const store = this.#store;
    if (run.parts.length === 1) {
      const y = store.createInput([rows, run.n]);
      return { y, parts: [y] };
    }
    const y = store.create([rows, run.n]);
    const home = new GradientHome(rows, run.n);
    const parts = run.weights.map((weight, i) =>
      store.withHome(store.view(y, run.columns[i]!, weight.rows), home, run.columns[i]!),
    );
    store.release(y);
    return { y, parts };
  }

  #plain(x: CudaTensor, run: Run): CudaTensor[] {
    const { y, parts } = this.#outputs(x.rows, run);
    if (x.rows <= SMALL_ROWS) this.#runSmall({ y, x, weight: run.weights[0]!, n: run.n });
    else this.#product(x, x.columns, y, run);
    this.#addBias(parts, run);
    return parts;
  }

  #adapted(
    x: CudaTensor,
    run: Run,
    group: AdapterGroup,
    rowKeys: Int32Array | undefined,
    saved: CudaTensor[] | undefined,
  ): CudaTensor[] {
    const store = this.#store;
    const padded = roundUp(x.columns, ROW_MULTIPLE);
    const { y, parts } = this.#outputs(x.rows, run);
    const keys = hasDropout(run) ? rowKeys : undefined;
    if (!saved && !keys && x.rows <= SMALL_ROWS) {
      this.#runSmall({ y, x, weight: run.weights[0]!, n: run.n, group });
      this.#addBias(parts, run);
      return parts;
    }
    store.use(x, OPERATION);
    const wide = this.#withSpare(x, padded, group.columns);
    const bits = keys && this.#masks.make(x, keys, run.parts);
    const low = wide.address + 2 * padded;
    const kept = saved && store.saved(store.create([x.rows, group.columns]));
    loraDown(store, { u: low, ldu: wide.ld, saved: kept, x: wide, bits, group, parts: run.parts });
    this.#product(wide, padded + group.columns, y, run);
    this.#addBias(parts, run);
    if (saved && kept) {
      saved.push(kept);
      const home = parts[0]!.home?.at;
      if (home) home.adapter = { u: kept, group };
      if (bits) saved.push(store.saved(bits));
    } else if (bits) store.release(bits);
    store.release(wide);
    return parts;
  }

  /** A product whose x may wait for its norm. */
  #runSmall(product: SmallProduct): void {
    const { x } = product;
    const deferred = DeferredResult.of(x);
    if (deferred instanceof DeferredNorm && this.small.takesNorm(x)) {
      deferred.fold((norm) => this.small.run({ ...product, x: norm.x, norm }));
    } else {
      this.#store.use(x, OPERATION);
      this.small.run(product);
    }
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

  /** y = x·Wᵀ over the first k columns of both. */
  #product(x: CudaTensor, k: number, y: CudaTensor, run: Run): void {
    const { address, ld } = run.weights[0]!;
    const operands = { a: x.address, lda: x.ld, b: address, ldb: ld, transB: true, d: y.address, ldd: y.ld };
    this.#store.products.run({ m: x.rows, n: run.n, k, ...operands });
  }

  #addBias(outputs: readonly CudaTensor[], run: Run): void {
    for (const [i, { bias }] of run.parts.entries()) {
      if (!bias) continue;
      const y = outputs[i]!;
      const vector = this.#weights.vector(bias, y.columns, OPERATION);
      const grid = [Math.ceil(y.columns / 1024), Math.min(y.rows, 65535)] as const;
      this.#store.kernels.run('add_bias', grid, 128, [y.address, vector, y.rows, y.columns, y.ld]);
    }
  }

  /** dB, from dy or from what was summed up while dy was written. */
  #gradientB(
    u: CudaTensor,
    dy: CudaTensor,
    gradients: readonly (CudaTensor | undefined)[],
    low: Omit<LoraOutputSide, 'u' | 'dy'>,
  ): void {
    const known = gradients[0]?.rowProducts;
    const isKnown =
      known?.u === u &&
      known.partial.shape[1] === dy.columns &&
      known.partial.shape[2] === low.group.width &&
      gradients.every((gradient) => gradient?.rowProducts === known);
    if (isKnown) finishB(this.#store, low, known.partial);
    else loraGradientB(this.#store, { ...low, u, dy });
  }

  /** [dx | du] but for the low-rank part of dx; without a gradient of x, only its spare columns du. */
  #wideGradient(dy: CudaTensor, k: number, run: Run, group: AdapterGroup, needsInput: boolean): CudaTensor {
    const store = this.#store;
    const weight = run.weights[0]!;
    const padded = weight.matrix.paddedColumns;
    const wide = needsInput ? store.create([dy.rows, k], group.columns) : store.create([dy.rows, group.columns]);
    const skipped = needsInput ? 0 : padded;
    store.products.run({
      ...{ m: dy.rows, n: padded + group.columns - skipped, k: run.n, a: dy.address, lda: dy.ld },
      ...{ b: weight.address + 2 * skipped, ldb: weight.ld, d: wide.address, ldd: wide.ld },
    });
    return wide;
  }

  /** The gradients of a run's outputs as one matrix, to be released: where they lie side by side, without a copy. */
  #join(gradients: readonly (CudaTensor | undefined)[], run: Run): CudaTensor {
    const store = this.#store;
    const first = gradients[0];
    const isJoined = gradients.every(
      (dy, i) =>
        dy &&
        first &&
        dy.storage === first.storage &&
        dy.ld === first.ld &&
        dy.address === first.address + 2 * run.columns[i]!,
    );
    if (isJoined) {
      if (gradients.length > 1) return store.view(first!, 0, run.n);
      store.retain(first!);
      return first!;
    }
    const rows = gradients.find((dy) => dy)!.rows;
    const joined = store.create([rows, run.n]);
    for (const [i, weight] of run.weights.entries()) {
      const part = store.view(joined, run.columns[i]!, weight.rows);
      const dy = gradients[i];
      if (dy) store.copyInto(part, dy);
      else store.driver.clearRows(part.address, 2 * part.ld, 2 * part.columns, rows);
      store.release(part);
    }
    return joined;
  }

  #sum(dx: CudaTensor | undefined, share: CudaTensor): CudaTensor {
    if (!dx) return share;
    this.#store.add(dx, dx, share);
    this.#store.release(share);
    return dx;
  }
}

/** Whether all is one product whose two outputs may be gate and up. */
function isPair(runs: readonly Run[], rowKeys: Int32Array | undefined): boolean {
  const [run] = runs;
  if (!run || runs.length > 1 || run.weights.length !== 2 || (rowKeys && hasDropout(run))) return false;
  const [gate, up] = run.weights;
  return gate!.rows === up!.rows && run.parts.every(({ bias }) => !bias);
}

function hasDropout(run: Run): boolean {
  return run.parts.some(({ lora }) => lora !== undefined && lora.dropout > 0);
}
