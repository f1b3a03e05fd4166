/** Launches the attention kernels with tiles for the head size and the device, and keeps the lists of their work. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { OperationAttributes, Segments } from '../../operations.js';
import type { BufferRange } from '../gpu-types.js';
import { flat } from '../kernels.js';
import type { TensorStore, WebgpuTensor } from '../tensor-store.js';
import {
  type AttentionPass,
  type AttentionTiles,
  attentionDefines,
  type DecodeWork,
  decodeWork,
  keyWork,
  queryWork,
  TILES,
  tileRows,
} from './attention-work.js';

type Attributes = OperationAttributes['attention'];

export interface AttentionOperands {
  readonly q: WebgpuTensor;
  readonly k: WebgpuTensor;
  readonly v: WebgpuTensor;
}

interface Gradients extends AttentionOperands {
  readonly dOut: WebgpuTensor;
  /** [heads, rows, 2] Pairs of the log-sum-exp and Σ dOut · out. */
  readonly sums: WebgpuTensor;
}

/** Query heads that a workgroup of attention-decode.wgsl takes at most. */
const DECODE_MEMBERS = 8;
const DECODE_THREADS = 256;
/** Query rows of a segment up to which its keys are shared out rather than its rows. */
const DECODE_ROWS = 8;

/** Head sizes are multiples of 4. */
export class AttentionKernels {
  readonly #store: TensorStore;
  /** By kernel and settings. */
  readonly #lists = new WeakMap<Segments, Map<string, Int32Array | DecodeWork>>();
  readonly #defines = new Map<AttentionTiles, Map<number, ReturnType<typeof attentionDefines>>>();
  /** Instead of the usual tiles; for measurements. */
  readonly tiles: Partial<Record<AttentionPass, AttentionTiles>> = {};

  constructor(store: TensorStore) {
    this.#store = store;
  }

  /** Writes out and the log-sum-exp [heads, rows]. */
  forward({ q, k, v }: AttentionOperands, out: WebgpuTensor, lse: WebgpuTensor, attributes: Attributes): void {
    const { work, defines, items } = this.#variant('forward', attributes);
    this.#launch(work, [q, k, v, out, lse], (table, [qs, ks, vs, outs, lses]) => {
      this.#store.kernels.launch(
        WGSL.attentionForward,
        [attributes.heads, items],
        { ...uniforms(attributes, q), work: table, q: qs!, k: ks!, v: vs!, out: outs!, lse: lses! },
        { defines },
      );
    });
  }

  /** Pairs of the log-sum-exp and Σ dOut · out by head and row. */
  sums(lse: WebgpuTensor, dOut: WebgpuTensor, out: WebgpuTensor, { heads, headDim }: Attributes): WebgpuTensor {
    const rows = dOut.shape[0]!;
    const sums = this.#store.create([heads, rows, 2]);
    this.#store.apart([sums, lse, dOut, out], (to, from, gradient, output) => {
      this.#store.kernels.launch(WGSL.attentionSums, flat(Math.ceil((rows * heads) / 64)), {
        ...{ sums: to!, lse: from!, gradient: gradient!, out: output!, heads, rows, head4: headDim / 4 },
      });
    });
    return sums;
  }

  backwardQuery({ q, k, v, dOut, sums }: Gradients, dq: WebgpuTensor, attributes: Attributes): void {
    const { work, defines, items } = this.#variant('backwardQuery', attributes);
    this.#launch(work, [q, k, v, dOut, sums, dq], (table, [qs, ks, vs, gradient, pairs, dqs]) => {
      this.#store.kernels.launch(
        WGSL.attentionBackwardQuery,
        [attributes.heads, items],
        {
          ...uniforms(attributes, q),
          work: table,
          q: qs!,
          k: ks!,
          v: vs!,
          gradient: gradient!,
          sums: pairs!,
          dq: dqs!,
        },
        { defines },
      );
    });
  }

  /**
   * Key ranges must not overlap; key rows outside of them are left as they were.
   * @param isAdded to what dk and dv hold
   */
  backwardKeyValue(
    { q, k, v, dOut, sums }: Gradients,
    dk: WebgpuTensor,
    dv: WebgpuTensor,
    attributes: Attributes,
    isAdded: boolean,
  ): void {
    const { work, defines, items } = this.#variant('backwardKeyValue', attributes);
    this.#launch(work, [q, k, v, dOut, sums, dk, dv], (table, [qs, ks, vs, gradient, pairs, dks, dvs]) => {
      const bindings = { q: qs!, k: ks!, v: vs!, gradient: gradient!, sums: pairs!, dk: dks!, dv: dvs! };
      this.#store.kernels.launch(
        WGSL.attentionBackwardKeyValue,
        [attributes.kvHeads, items],
        { ...uniforms(attributes, q), work: table, ...bindings },
        { defines: { ...defines, ADD: isAdded } },
      );
    });
  }

  /** Whether every segment has so few query rows that its keys are shared out, as when tokens are generated. */
  isDecode({ queryStarts, keyStarts }: Segments): boolean {
    return keyStarts.every((_, s) => queryStarts[s + 1]! - queryStarts[s]! <= DECODE_ROWS);
  }

  decode({ q, k, v }: AttentionOperands, out: WebgpuTensor, attributes: Attributes): void {
    const store = this.#store;
    const { heads, kvHeads, headDim, segments, causal } = attributes;
    const group = heads / kvHeads;
    let members = Math.min(DECODE_MEMBERS, group);
    while (group % members !== 0) members--;
    const { items, slots, slotCount } = this.#list(segments, `decode ${heads / members} ${causal}`, () =>
      decodeWork(segments, causal, heads / members),
    );
    const head4 = headDim / 4;
    const lanes = 2 ** Math.ceil(Math.log2(head4));
    const parts = store.create([Math.max(1, slotCount), heads * headDim]);
    const stats = store.create([Math.max(1, slotCount), 2 * heads]);
    this.#launch(items, [q, k, v, parts, stats], (work, [qs, ks, vs, partial, pairs]) => {
      store.kernels.launch(
        WGSL.attentionDecode,
        [heads / members, items.length / 4],
        { ...uniforms(attributes, q), work, q: qs!, k: ks!, v: vs!, partial: partial!, stats: pairs! },
        { defines: { HEAD4: head4, MEMBERS: members, LANES: lanes, PARTS: DECODE_THREADS / lanes } },
      );
    });
    this.#launch(slots, [out, parts, stats], (table, [outs, partial, pairs]) => {
      const bindings = { slots: table, out: outs!, partial: partial!, stats: pairs! };
      store.kernels.launch(WGSL.attentionCombine, [heads, slots.length / 2], { ...bindings, heads, head4 });
    });
    store.release(parts);
    store.release(stats);
  }

  #variant(pass: AttentionPass, { headDim, segments, causal }: Attributes) {
    const tiles = this.tiles[pass] ?? TILES;
    const rows = tileRows(tiles);
    const [name, build] =
      pass === 'backwardKeyValue' ? (['keys', keyWork] as const) : (['queries', queryWork] as const);
    const work = this.#list(segments, `${name} ${rows} ${causal}`, () => build(segments, rows, causal));
    return { work, items: work.length / 4, defines: this.#definesOf(tiles, headDim) };
  }

  #definesOf(tiles: AttentionTiles, headDim: number) {
    let byHeadDim = this.#defines.get(tiles);
    if (!byHeadDim) {
      byHeadDim = new Map();
      this.#defines.set(tiles, byHeadDim);
    }
    let defines = byHeadDim.get(headDim);
    if (!defines) {
      defines = attentionDefines(tiles, headDim);
      byHeadDim.set(headDim, defines);
    }
    return defines;
  }

  #list<T extends Int32Array | DecodeWork>(segments: Segments, key: string, build: () => T): T {
    let lists = this.#lists.get(segments);
    if (!lists) {
      lists = new Map();
      this.#lists.set(segments, lists);
    }
    let list = lists.get(key) as T | undefined;
    if (!list) {
      list = build();
      lists.set(key, list);
    }
    return list;
  }

  #launch(
    table: Int32Array,
    tensors: readonly WebgpuTensor[],
    body: (table: BufferRange, ranges: readonly BufferRange[]) => void,
  ): void {
    if (table.length === 0) return;
    this.#store.apart(tensors, (...ranges) => this.#store.withTable(table, (range) => body(range, ranges)));
  }
}

function uniforms({ heads, kvHeads, scale, causal }: Attributes, q: WebgpuTensor) {
  return {
    ...{ heads, kv_heads: kvHeads, rows: q.shape[0]!, is_causal: causal ? 1 : 0, scale },
    score_scale: scale * Math.LOG2E,
  };
}
