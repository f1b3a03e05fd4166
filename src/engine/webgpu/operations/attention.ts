/**
 * Attention by segment without the score matrix, for head sizes up to 128; those that are no multiples of 4 are padded.
 * Saves q, k, v, the output and the log-sum-exp [H, T]. Few query rows on many keys share the keys out instead.
 */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkAttention } from '../../row-lists.js';
import { blocks, type TensorStore, type WebgpuTensor } from '../tensor-store.js';
import { AttentionKernels, type AttentionOperands } from './attention-kernels.js';
import { coversKeys, MAX_HEAD_DIM, withoutOverlap } from './attention-work.js';

const OPERATION = 'attention';

type Attributes = OperationAttributes['attention'];

/** [T, H·from] → [T, H·to]: heads of another size, with zeros in what is added. */
function resizeHeads(store: TensorStore, x: WebgpuTensor, heads: number, from: number, to: number): WebgpuTensor {
  const out = store.create([x.shape[0]!, heads * to]);
  const n = out.size;
  store.kernels.launch(WGSL.resizeHeads, blocks(n), {
    ...{ out: out.range, source: x.range, n, size: to, source_size: from },
  });
  return out;
}

/** The attributes for heads of the next multiple of 4; undefined where they are one. */
function padded(attributes: Attributes): Attributes | undefined {
  const headDim = 4 * Math.ceil(attributes.headDim / 4);
  return headDim === attributes.headDim ? undefined : { ...attributes, headDim };
}

export class AttentionOperation implements Operation<Attributes> {
  readonly #store: TensorStore;
  readonly kernels: AttentionKernels;

  constructor(store: TensorStore) {
    this.#store = store;
    this.kernels = new AttentionKernels(store);
  }

  forward(inputs: Parameters<Operation<Attributes>['forward']>[0], attributes: Attributes, record: boolean) {
    const store = this.#store;
    const { heads, kvHeads, headDim } = attributes;
    const q = store.matrix(inputs[0], OPERATION, 'q', { columns: heads * headDim });
    const k = store.matrix(inputs[1], OPERATION, 'k', { columns: kvHeads * headDim });
    const v = store.matrix(inputs[2], OPERATION, 'v', { rows: k.shape[0]!, columns: kvHeads * headDim });
    checkAttention(attributes, q.shape[0]!, k.shape[0]!, MAX_HEAD_DIM);
    const wide = padded(attributes);
    if (!wide) {
      const { out, lse } = this.#attend({ q, k, v }, attributes, record);
      return { outputs: [out], saved: lse ? [q, k, v, out, store.saved(lse)] : [] };
    }
    const [wideQ, wideK, wideV] = [q, k, v].map((of, i) =>
      resizeHeads(store, of, i === 0 ? heads : kvHeads, headDim, wide.headDim),
    ) as [WebgpuTensor, WebgpuTensor, WebgpuTensor];
    const { out, lse } = this.#attend({ q: wideQ, k: wideK, v: wideV }, wide, record);
    const outputs = [resizeHeads(store, out, heads, wide.headDim, headDim)];
    const made = [wideQ, wideK, wideV, out];
    if (lse) return { outputs, saved: [...made, lse].map((tensor) => store.saved(tensor)) };
    for (const tensor of made) store.release(tensor);
    return { outputs, saved: [] };
  }

  backward(
    saved: Parameters<Operation<Attributes>['backward']>[0],
    [gradient]: Parameters<Operation<Attributes>['backward']>[1],
    attributes: Attributes,
    needs: readonly boolean[],
  ): readonly (WebgpuTensor | undefined)[] {
    if (!gradient || !needs.includes(true)) return [undefined, undefined, undefined];
    const store = this.#store;
    const { heads, kvHeads, headDim } = attributes;
    const tensors = saved.map((tensor) => store.use(tensor, OPERATION));
    const dOut = store.matrix(gradient, OPERATION, 'output gradient', {
      rows: tensors[0]!.shape[0]!,
      columns: heads * headDim,
    });
    const wide = padded(attributes);
    if (!wide) return this.#gradients(tensors, dOut, attributes, needs);
    const wideGradient = resizeHeads(store, dOut, heads, headDim, wide.headDim);
    const results = this.#gradients(tensors, wideGradient, wide, needs).map((of, i) => {
      const narrow = of && resizeHeads(store, of, i === 0 ? heads : kvHeads, wide.headDim, headDim);
      if (of) store.release(of);
      return narrow;
    });
    store.release(wideGradient);
    return results;
  }

  /** The output, and the log-sum-exp if backward will want it. */
  #attend(operands: AttentionOperands, attributes: Attributes, record: boolean) {
    const store = this.#store;
    const { q, k } = operands;
    // Without keys there is nothing to bind, and every row gives zeros.
    const isEmpty = q.size === 0 || k.size === 0;
    const out = isEmpty ? store.zeros(q.shape) : store.create(q.shape);
    if (!record && this.kernels.isDecode(attributes.segments)) {
      if (!isEmpty) this.kernels.decode(operands, out, attributes);
      return { out };
    }
    const lse = store.create([attributes.heads, q.shape[0]!]);
    if (!isEmpty) this.kernels.forward(operands, out, lse, attributes);
    if (record) return { out, lse };
    store.release(lse);
    return { out };
  }

  #gradients(
    [q, k, v, out, lse]: readonly WebgpuTensor[],
    dOut: WebgpuTensor,
    attributes: Attributes,
    needs: readonly boolean[],
  ): (WebgpuTensor | undefined)[] {
    const store = this.#store;
    if (q!.size === 0 || k!.size === 0)
      return [q, k, v].map((of, i) => (needs[i] ? store.zeros(of!.shape) : undefined));
    const sums = this.kernels.sums(lse!, dOut, out!, attributes);
    const operands = { q: q!, k: k!, v: v!, dOut, sums };
    const dq = needs[0] ? store.create(q!.shape) : undefined;
    if (dq) this.kernels.backwardQuery(operands, dq, attributes);
    let dk: WebgpuTensor | undefined;
    let dv: WebgpuTensor | undefined;
    if (needs[1] || needs[2]) {
      const groups = withoutOverlap(attributes.segments);
      const isWhole = groups.length === 1 && coversKeys(attributes.segments, k!.shape[0]!);
      dk = isWhole ? store.create(k!.shape) : store.zeros(k!.shape);
      dv = isWhole ? store.create(v!.shape) : store.zeros(v!.shape);
      for (const segments of groups)
        this.kernels.backwardKeyValue(operands, dk, dv, { ...attributes, segments }, groups.length > 1);
    }
    store.release(sums);
    if (dk && !needs[1]) store.release(dk);
    if (dv && !needs[2]) store.release(dv);
    return [dq, needs[1] ? dk : undefined, needs[2] ? dv : undefined];
  }
}
