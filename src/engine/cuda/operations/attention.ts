/**
 * Attention by segment: flash-attention kernels for head sizes that are multiples of 8 up to 128. Saves q, k, v, the
 * output and the log-sum-exp [H, T]. Work lists are uploaded once for the layers that share a `Segments` object.
 */
import type { Operation, OperationAttributes, Segments } from '../../operations.js';
import { checkAttention } from '../../row-lists.js';
import type { Tensor } from '../../tensor.js';
import { offset } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { AttentionKernels } from './attention-kernels.js';

const OPERATION = 'attention';
export const MAX_HEAD_DIM = 128;

type Attributes = OperationAttributes['attention'];
type Result = { readonly outputs: readonly CudaTensor[]; readonly saved: readonly CudaTensor[] };

/** Whether the key ranges are all key rows, one after the other: then every row of dk and dv is written. */
function coversKeys({ keyStarts, keyLengths }: Segments, keyRows: number): boolean {
  let next = 0;
  for (const [s, start] of keyStarts.entries()) {
    if (start !== next) return false;
    next += keyLengths[s]!;
  }
  return next === keyRows;
}

/** [T, H·from] → [T, H·to]: a copy with heads of another size, zeros in what is added. */
function resizeHeads(store: TensorStore, x: CudaTensor, heads: number, from: number, to: number): CudaTensor {
  const isWider = to > from;
  const out = isWider ? store.create([x.rows, heads * to]) : store.createInput([x.rows, heads * to]);
  if (isWider) store.driver.fillBytes(out.address, 0, 2 * out.rows * out.ld);
  for (let head = 0; head < heads; head++) {
    const [target, source] = [offset(out.address, 2 * head * to), offset(x.address, 2 * head * from)];
    store.driver.copyRows(target, 2 * out.ld, source, 2 * x.ld, 2 * Math.min(from, to), x.rows);
  }
  return out;
}

/** Segments in groups without overlapping key ranges: the kernels write each key row's gradient once. */
function withoutOverlap(segments: Segments): Segments[] {
  const { queryStarts, keyStarts, keyLengths } = segments;
  const groups: number[][] = [];
  const meets = (a: number, b: number): boolean =>
    keyStarts[a]! < keyStarts[b]! + keyLengths[b]! && keyStarts[b]! < keyStarts[a]! + keyLengths[a]!;
  for (const s of keyStarts.keys()) {
    const group = groups.find((members) => !members.some((other) => meets(s, other)));
    if (group) group.push(s);
    else groups.push([s]);
  }
  if (groups.length <= 1) return [segments];
  // A segment that is not in a group keeps its queries and gets no keys.
  return groups.map((members) => ({
    queryStarts,
    keyStarts,
    keyLengths: keyLengths.map((length, s) => (members.includes(s) ? length : 0)),
  }));
}

export class AttentionOperation implements Operation<Attributes> {
  readonly #store: TensorStore;
  readonly kernels: AttentionKernels;

  constructor(store: TensorStore, capability: number) {
    this.#store = store;
    this.kernels = new AttentionKernels(store, capability);
  }

  forward(inputs: readonly Tensor[], attributes: Attributes, record: boolean): Result {
    const store = this.#store;
    const { heads, kvHeads, headDim, segments } = attributes;
    const q = store.matrix(inputs[0], OPERATION, 'q', { columns: heads * headDim });
    const k = store.matrix(inputs[1], OPERATION, 'k', { columns: kvHeads * headDim });
    const v = store.matrix(inputs[2], OPERATION, 'v', { rows: k.rows, columns: kvHeads * headDim });
    checkAttention(attributes, q.rows, k.rows, MAX_HEAD_DIM);
    if (headDim % 8 !== 0) return this.#paddedForward(q, k, v, attributes, record);
    // v is a narrow part of the block of q, k and v, whose other columns nobody needs any more: it is kept alone.
    const value = record ? store.compact(v) : v;
    const out = store.createInput(q.shape);
    if (!record && this.kernels.isDecode(segments, heads, kvHeads)) {
      this.kernels.decode({ out, q, k, v: value }, attributes);
      return { outputs: [out], saved: [] };
    }
    const lse = record ? store.saved(store.createF32([heads, q.rows])) : undefined;
    this.kernels.forward({ out, lse, q, k, v: value }, attributes);
    if (!lse) return { outputs: [out], saved: [] };
    if (value === v) store.release(value);
    else store.saved(value);
    return { outputs: [out], saved: [q, k, value, out, lse] };
  }

  /** @param dvInto where the gradient of v should lie, if there is a choice */
  backward(
    saved: readonly Tensor[],
    [gradient]: readonly (Tensor | undefined)[],
    attributes: Attributes,
    needs: readonly boolean[],
    dvInto?: CudaTensor,
  ): readonly (CudaTensor | undefined)[] {
    const none = [undefined, undefined, undefined];
    if (!gradient || !needs.includes(true)) return none;
    const store = this.#store;
    const { heads, headDim } = attributes;
    const tensors = saved.map((tensor) => store.use(tensor, OPERATION));
    const dOut = store.matrix(gradient, OPERATION, 'output gradient', {
      rows: tensors[0]!.rows,
      columns: heads * headDim,
    });
    if (headDim % 8 !== 0) return this.#paddedBackward(tensors, dOut, attributes, needs);
    return this.#gradients(tensors, dOut, attributes, needs, dvInto);
  }

  dispose(): void {
    this.kernels.dispose();
  }

  #gradients(
    [q, k, v, out, lse]: readonly CudaTensor[],
    dOut: CudaTensor,
    attributes: Attributes,
    needs: readonly boolean[],
    dvInto?: CudaTensor,
  ): (CudaTensor | undefined)[] {
    const store = this.#store;
    const { segments } = attributes;
    const delta = store.createF32([attributes.heads, q!.rows]);
    const common = { q: q!, k: k!, v: v!, lse: lse!, dOut, delta };
    this.kernels.delta(delta, dOut, out!, attributes);
    const dq = needs[0] ? store.create(q!.shape) : undefined;
    if (dq) this.kernels.backwardQuery({ ...common, dq }, attributes);
    let dk: CudaTensor | undefined;
    let dv: CudaTensor | undefined;
    if (needs[1] || needs[2]) {
      const groups = withoutOverlap(segments);
      const isWhole = groups.length === 1 && coversKeys(segments, k!.rows);
      for (const group of groups) {
        const keys = store.create(k!.shape);
        const values = (!dv && dvInto) || store.create(v!.shape);
        // Key rows outside the ranges have zero gradients, and the kernel does not write them.
        if (!isWhole)
          for (const of of [keys, values]) store.driver.clearRows(of.address, 2 * of.ld, 2 * of.columns, of.rows);
        this.kernels.backwardKeyValue({ ...common, dk: keys, dv: values }, { ...attributes, segments: group });
        if (dk && dv) {
          store.add(dk, dk, keys);
          store.add(dv, dv, values);
          store.release(keys);
          store.release(values);
        } else [dk, dv] = [keys, values];
      }
    }
    store.release(delta);
    if (dk && !needs[1]) store.release(dk);
    if (dv && !needs[2]) store.release(dv);
    return [dq, needs[1] ? dk : undefined, needs[2] ? dv : undefined];
  }

  /** Head sizes that are no multiple of 8 (of toy models): every head is copied to a wider place. */
  #paddedForward(q: CudaTensor, k: CudaTensor, v: CudaTensor, attributes: Attributes, record: boolean): Result {
    const store = this.#store;
    const { heads, kvHeads, headDim } = attributes;
    const wide = 8 * Math.ceil(headDim / 8);
    const packed = [q, k, v].map((of, i) => resizeHeads(store, of, i === 0 ? heads : kvHeads, headDim, wide));
    const result = this.forward(packed, { ...attributes, headDim: wide }, record);
    const out = resizeHeads(store, result.outputs[0]!, heads, wide, headDim);
    for (const tensor of [...packed, result.outputs[0]!]) {
      if (record) store.saved(tensor);
      else store.release(tensor);
    }
    return { outputs: [out], saved: result.saved };
  }

  #paddedBackward(saved: readonly CudaTensor[], dOut: CudaTensor, attributes: Attributes, needs: readonly boolean[]) {
    const store = this.#store;
    const { heads, kvHeads, headDim } = attributes;
    const wide = 8 * Math.ceil(headDim / 8);
    const packed = resizeHeads(store, dOut, heads, headDim, wide);
    const results = this.#gradients(saved, packed, { ...attributes, headDim: wide }, needs).map((gradient, i) => {
      const narrow = gradient && resizeHeads(store, gradient, i === 0 ? heads : kvHeads, wide, headDim);
      if (gradient) store.release(gradient);
      return narrow;
    });
    store.release(packed);
    return results;
  }
}
