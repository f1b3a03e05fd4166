/**
 * Norm, q, k and v, rotation and attention as one unit. What passes between them lies in variables here; the block of
 * q, k and v is freed when attention has read it, and backward writes their gradients side by side, as the product
 * behind them wants to read them. Shared keys and values are copied for each segment while attention reads them.
 */
import { EngineError } from '../../../errors.js';
import type { BlockAttributes, KeyValueRows, Operation } from '../../operations.js';
import type { Tensor } from '../../tensor.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { AttentionOperation } from './attention.js';
import { decodeCached } from './cached-attention.js';
import { gradientRoom, splitParts } from './fused-group.js';
import { KeyRows, type KeysAndValues } from './key-rows.js';
import type { NormedLinear } from './normed-linear.js';
import { tablesOf, turn } from './rotary.js';
import { inverseOf, writeRows } from './rows.js';

const OPERATION = 'attentionBlock';

type Attributes = BlockAttributes['attentionBlock'];
type Projected = readonly CudaTensor[] & readonly [q: CudaTensor, k: CudaTensor, v: CudaTensor];
type Attended = ReturnType<AttentionOperation['forward']>;

export class AttentionBlock implements Operation<Attributes> {
  readonly #store: TensorStore;
  readonly #normed: NormedLinear;
  readonly #attention: AttentionOperation;
  readonly #keyRows: KeyRows;

  constructor(store: TensorStore, normed: NormedLinear, attention: AttentionOperation) {
    this.#store = store;
    this.#normed = normed;
    this.#attention = attention;
    this.#keyRows = new KeyRows(store);
  }

  dispose(): void {
    this.#keyRows.dispose();
  }

  forward(inputs: readonly Tensor[], attributes: Attributes, record: boolean) {
    const store = this.#store;
    const { norm, projections, rotary, cache } = attributes;
    const opened = this.#normed.open(inputs, norm, projections, record);
    const { ys, saved } = this.#normed.forward(opened);
    const qkv = opened.groups.flatMap((group, i) =>
      splitParts(store, ys[i]!, group),
    ) as readonly CudaTensor[] as Projected;
    const attended = cache ? this.#attendCached(qkv, attributes, cache) : this.#attend(qkv, attributes, record);
    const [out] = attended.outputs as [CudaTensor];
    const { sum } = opened.norm;
    return {
      outputs: sum ? [out, sum] : [out],
      saved: record ? [...saved, ...tablesOf(rotary), ...attended.saved] : [],
    };
  }

  backward(
    saved: readonly Tensor[],
    [gradient, gradientOfSum]: readonly (Tensor | undefined)[],
    { norm, projections, rotary, attention, keyRows }: Attributes,
    needs: readonly boolean[],
  ) {
    const store = this.#store;
    const all = store.reader(saved, OPERATION);
    const normed = this.#normed.take(all.next, norm, projections);
    for (const _ of tablesOf(rotary)) all.next();
    const tensors = all.rest();
    const extents = { rows: normed.sum.rows };
    const dSum = gradientOfSum && store.matrix(gradientOfSum, OPERATION, 'gradient of the sum', extents);
    if (!gradient) return this.#normed.backward(normed, undefined, dSum, needs);
    const room = gradientRoom(store, normed.groups, normed.sum.rows);
    const [qInto, kInto, vInto] = room.parts as Projected;
    const kept = keyRows && this.#isShared(attention) ? this.#copied(tensors, keyRows) : tensors;
    const needsAll = [true, true, true];
    const into = keyRows ? undefined : vInto;
    const [dq, dk, dv] = this.#attention.backward(kept, [gradient], attention, needsAll, into) as Projected;
    if (kept !== tensors) for (const copy of kept.slice(1, 3)) store.release(copy);
    if (keyRows) this.#keyRows.sum([kInto, vInto], [dk, dv], keyRows);
    else if (dv !== vInto) store.copyInto(vInto, dv);
    turn(store, [dq, keyRows ? kInto : dk], [qInto, kInto], rotary, -1);
    for (const tensor of new Set([dq, dk, dv, ...room.parts])) store.release(tensor);
    const gradients = room.whole.map((dy) => ({ dy }));
    return this.#normed.backward(normed, gradients, dSum, needs);
  }

  /** Consumes q, k and v. */
  #attend([q, k, v]: Projected, { rotary, attention, keyRows }: Attributes, record: boolean): Attended {
    const store = this.#store;
    const rotated = this.#rotate(q, k, rotary);
    store.release(q);
    store.release(k);
    if (keyRows) return this.#attendShared(rotated[0], [rotated[1], v], keyRows, attention, record);
    return this.#attended([...rotated, v], attention, record);
  }

  /** Consumes q, k and v; attends to rows `keyRows` of k and v. */
  #attendShared(
    q: CudaTensor,
    [k, v]: KeysAndValues,
    keyRows: Int32Array,
    attention: Attributes['attention'],
    record: boolean,
  ): Attended {
    const store = this.#store;
    const copies = this.#keyRows.gather([k, v], keyRows);
    if (!record || !this.#isShared(attention)) {
      store.release(k);
      store.release(v);
      return this.#attended([q, ...copies], attention, record);
    }
    // Backward makes the copies anew.
    const value = store.compact(v);
    store.release(v);
    const { outputs, saved } = this.#attention.forward([q, ...copies], attention, record);
    for (const copy of copies) store.release(copy);
    for (const tensor of [q, k, value]) store.saved(tensor);
    return { outputs, saved: [q, k, value, ...saved.slice(3)] };
  }

  /** Whether k and v are kept once rather than per segment. Other head sizes are kept with their padding. */
  #isShared({ headDim }: Attributes['attention']): boolean {
    return this.#store.rematerialize && headDim % 8 === 0;
  }

  /** The tensors that attention saves, restored from what was kept. */
  #copied([q, k, v, ...rest]: readonly CudaTensor[], keyRows: Int32Array): readonly CudaTensor[] {
    return [q!, ...this.#keyRows.gather([k!, v!], keyRows), ...rest];
  }

  /** Consumes q, k and v. */
  #attended(qkv: readonly CudaTensor[], attention: Attributes['attention'], record: boolean): Attended {
    const store = this.#store;
    const attended = this.#attention.forward(qkv, attention, record);
    for (const tensor of qkv) {
      if (attended.saved.includes(tensor)) store.saved(tensor);
      else store.release(tensor);
    }
    return attended;
  }

  /** Consumes q, k and v: k, turned, and v are appended to the cache, and all of it is attended to. */
  #attendCached([q, k, v]: Projected, { rotary, attention, keyRows }: Attributes, cache: KeyValueRows): Attended {
    const store = this.#store;
    const release = (...tensors: CudaTensor[]): void => {
      for (const tensor of tensors) store.release(tensor);
    };
    const decoded = keyRows ? undefined : decodeCached(store, this.#attention, [q, k, v], cache, rotary, attention);
    if (decoded) {
      release(q, k, v);
      return { outputs: [decoded], saved: [] };
    }
    const rotated = this.#rotate(q, k, rotary);
    const extents = { columns: k.columns };
    const keys = store.matrix(cache.keys, OPERATION, 'cached keys', extents);
    const values = store.matrix(cache.values, OPERATION, 'cached values', extents);
    if (keyRows) {
      if (keyRows.length !== cache.rows.length) {
        throw new EngineError(`${OPERATION}: ${keyRows.length} key rows for ${cache.rows.length} rows of the cache`);
      }
      inverseOf(cache.rows, Math.min(keys.rows, values.rows), OPERATION);
      this.#keyRows.append([keys, values], [rotated[1], v], keyRows, cache.rows);
    } else {
      writeRows(store, keys, rotated[1], cache.rows);
      writeRows(store, values, v, cache.rows);
    }
    release(q, k, v);
    const attended = this.#attention.forward([rotated[0], keys, values], attention, false);
    release(...rotated);
    return attended;
  }

  #rotate(q: CudaTensor, k: CudaTensor, rotary: Attributes['rotary']): readonly [CudaTensor, CudaTensor] {
    const rotated = [this.#store.create(q.shape), this.#store.create(k.shape)] as const;
    turn(this.#store, [q, k], rotated, rotary, 1);
    return rotated;
  }
}
