/** Compiles and launches the attention kernels for a head size, and keeps their work lists on the device. */
import { type AttentionBackwardDelta, KERNELS } from '../../../generated/kernel-launchers.js';
import type { OperationAttributes, Segments } from '../../operations.js';
import type { DevicePointer, Kernel, KernelProgram, KernelTemplate } from '../launch.js';
import type { DeviceBlock } from '../memory.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import {
  type AttentionKernel,
  type AttentionTiles,
  attentionSharedBytes,
  attentionTileRows,
  attentionTiles,
  attentionWarpgroupTiles,
  buildAttentionKeyWork,
  buildAttentionWork,
  buildDecodeWork,
  type WarpgroupTiles,
} from './attention-work.js';

type Attributes = OperationAttributes['attention'];

export const ATTENTION_FILES: Readonly<Record<AttentionKernel, string>> = {
  forward: 'attention-forward.cu',
  backwardQuery: 'attention-backward-query.cu',
  backwardKeyValue: 'attention-backward-key-value.cu',
  decode: 'attention-decode.cu',
};
const HELPERS = ['mma-helpers.cuh', 'attention-tiles.cuh'];
/** File of each kernel with warpgroup products; names and parameters are those of the others. delta has none. */
const WARPGROUP_FILES: Readonly<Partial<Record<AttentionKernel, string>>> = {
  forward: 'attention-warpgroup-forward.cu',
  backwardQuery: 'attention-warpgroup-backward-query.cu',
  backwardKeyValue: 'attention-warpgroup-backward-key-value.cu',
};
const WARPGROUP_HELPERS = ['mma-helpers.cuh', 'warpgroup-helpers.cuh', 'warpgroup-tiles.cuh'];
/** Segment objects whose lists are kept: text and images of a pass, and of the one before. */
const KEPT_SEGMENTS = 8;
/** Query heads of a key/value head that attention_decode takes. */
const MAX_DECODE_GROUP = 16;
const DELTA_THREADS = 256;
const DECODE_BLOCKS = 3;

interface AttentionProgram extends KernelProgram {
  readonly tiles: AttentionTiles | WarpgroupTiles;
}

/**
 * What is compiled for a compute capability, e.g. 90, and a head size.
 * @param group query heads of a key head
 * @param hasWarpgroups whether card and compiler have warpgroup products
 */
export function attentionProgram(
  kernel: AttentionKernel,
  capability: number,
  headDim: number,
  group: number,
  hasWarpgroups: boolean,
): AttentionProgram {
  const warpgroups = hasWarpgroups ? attentionWarpgroupTiles(kernel, headDim, group) : undefined;
  const tiles = warpgroups ?? attentionTiles(kernel, capability, headDim, group);
  const files = warpgroups ? [...WARPGROUP_HELPERS, WARPGROUP_FILES[kernel]!] : [...HELPERS, ATTENTION_FILES[kernel]];
  return {
    files,
    defines: { HEAD_DIM: headDim, ...tiles },
    sharedBytes: attentionSharedBytes(kernel, tiles, headDim),
    isSpecific: warpgroups !== undefined,
    tiles,
  };
}

/** The program of attention_backward_delta: that of backwardQuery, which has none of its own with warpgroups. */
function deltaProgram(capability: number, headDim: number): AttentionProgram {
  return attentionProgram('backwardQuery', capability, headDim, 1, false);
}

/** Head sizes and query heads of a key head: the decoder's and the vision tower's of all Ministral 3 models. */
const USUAL_HEADS = [
  [128, 4],
  [64, 1],
] as const;

export function usualAttentionPrograms(capability: number, hasWarpgroups: boolean): AttentionProgram[] {
  return USUAL_HEADS.flatMap(([headDim, group]) => {
    const kernels = (Object.keys(ATTENTION_FILES) as AttentionKernel[]).filter(
      (kernel) => kernel !== 'decode' || group > 1,
    );
    const programs = kernels.map((kernel) => attentionProgram(kernel, capability, headDim, group, hasWarpgroups));
    return hasWarpgroups ? [...programs, deltaProgram(capability, headDim)] : programs;
  });
}

interface WorkList {
  readonly block: DeviceBlock;
  readonly items: number;
}

interface DecodeLists {
  readonly items: WorkList;
  readonly shares: WorkList;
  readonly slots: number;
}

/** The newest key and value of each query row, to be put into the cache, and the rotary tables. */
interface NewestRows {
  readonly k: CudaTensor;
  readonly v: CudaTensor;
  readonly cos: DevicePointer;
  readonly sin: DevicePointer;
  readonly queryScale: DevicePointer | undefined;
}

interface Operands {
  readonly q: CudaTensor;
  readonly k: CudaTensor;
  readonly v: CudaTensor;
}

interface BackwardTensors extends Operands {
  readonly lse: CudaTensor;
  readonly dOut: CudaTensor;
  readonly delta: CudaTensor;
}

const TEMPLATES = {
  forward: KERNELS.attentionForward,
  backwardQuery: KERNELS.attentionBackwardQuery,
  backwardKeyValue: KERNELS.attentionBackwardKeyValue,
  decode: KERNELS.attentionDecode,
} as const satisfies Record<AttentionKernel, unknown>;

type ParametersOf<K extends AttentionKernel> = (typeof TEMPLATES)[K] extends KernelTemplate<infer P> ? P : never;

interface Variant<P> {
  readonly kernel: Kernel<P>;
  readonly tileRows: number;
  /** Query heads that a block takes, on the query side. */
  readonly heads: number;
}

export class AttentionKernels {
  readonly #store: TensorStore;
  readonly #capability: number;
  /** Lists by kernel and settings; least recently used segments first. */
  readonly #lists = new Map<Segments, Map<string, WorkList | DecodeLists>>();
  /** By kernel, head size and query heads of a key head. */
  readonly #variants = new Map<AttentionKernel, Map<number, Variant<unknown>>>();
  readonly #deltas = new Map<number, Kernel<AttentionBackwardDelta>>();

  constructor(store: TensorStore, capability: number) {
    this.#store = store;
    this.#capability = capability;
  }

  forward(
    { out, lse, q, k, v }: Operands & { readonly out: CudaTensor; readonly lse: CudaTensor | undefined },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
  ): void {
    const variant = this.#variant('forward', headDim, heads / kvHeads);
    const work = this.#work(segments, `q${variant.tileRows}${causal}`, () =>
      buildAttentionWork(segments, variant.tileRows, causal),
    );
    // biome-ignore format: parameters by operand
    this.#store.kernels.launch(variant.kernel, [heads / variant.heads, work.items], {
      output: out.address, outputStride: out.ld, logSum: lse?.address, work: work.block.address,
      query: q.address, queryStride: q.ld, key: k.address, keyStride: k.ld, value: v.address, valueStride: v.ld,
      kvHeads, queryRows: q.rows, scale, causal: causal ? 1 : 0,
    });
  }

  /** delta = rowsum(dOut ⊙ out) by head. */
  delta(delta: CudaTensor, dOut: CudaTensor, out: CudaTensor, { heads, headDim }: Attributes): void {
    let kernel = this.#deltas.get(headDim);
    if (!kernel) {
      const program = deltaProgram(this.#capability, headDim);
      kernel = { ...KERNELS.attentionBackwardDelta, program, block: DELTA_THREADS };
      this.#deltas.set(headDim, kernel);
    }
    const lanes = 2 ** Math.ceil(Math.log2(headDim / 8));
    // biome-ignore format: parameters by operand
    this.#store.kernels.launch(kernel, [Math.ceil((out.rows * heads * lanes) / DELTA_THREADS)], {
      delta: delta.address, outputGradient: dOut.address, outputGradientStride: dOut.ld,
      output: out.address, outputStride: out.ld, heads, queryRows: out.rows,
    });
  }

  backwardQuery(
    { dq, dOut, q, k, v, lse, delta }: BackwardTensors & { readonly dq: CudaTensor },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
  ): void {
    const variant = this.#variant('backwardQuery', headDim, heads / kvHeads);
    const work = this.#work(segments, `q${variant.tileRows}${causal}`, () =>
      buildAttentionWork(segments, variant.tileRows, causal),
    );
    // biome-ignore format: parameters by operand
    this.#store.kernels.launch(variant.kernel, [heads / variant.heads, work.items], {
      queryGradient: dq.address, queryGradientStride: dq.ld, outputGradient: dOut.address, outputGradientStride: dOut.ld,
      query: q.address, queryStride: q.ld, key: k.address, keyStride: k.ld, value: v.address, valueStride: v.ld,
      logSum: lse.address, delta: delta.address, work: work.block.address,
      kvHeads, queryRows: q.rows, scale, causal: causal ? 1 : 0,
    });
  }

  /** Key ranges of the segments must not overlap; key rows outside them are left as they were. */
  backwardKeyValue(
    { dk, dv, dOut, q, k, v, lse, delta }: BackwardTensors & { readonly dk: CudaTensor; readonly dv: CudaTensor },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
  ): void {
    const variant = this.#variant('backwardKeyValue', headDim, heads / kvHeads);
    const work = this.#work(segments, `k${variant.tileRows}${causal}`, () =>
      buildAttentionKeyWork(segments, variant.tileRows, causal),
    );
    // biome-ignore format: parameters by operand
    this.#store.kernels.launch(variant.kernel, [kvHeads, work.items], {
      keyGradient: dk.address, keyGradientStride: dk.ld, valueGradient: dv.address, valueGradientStride: dv.ld,
      outputGradient: dOut.address, outputGradientStride: dOut.ld,
      query: q.address, queryStride: q.ld, key: k.address, keyStride: k.ld, value: v.address, valueStride: v.ld,
      logSum: lse.address, delta: delta.address, work: work.block.address,
      heads, queryRows: q.rows, scale, causal: causal ? 1 : 0,
    });
  }

  /** Whether every segment has at most one query row, as when tokens are generated one by one. */
  isDecode({ queryStarts, keyStarts }: Segments, heads: number, kvHeads: number): boolean {
    if (heads / kvHeads > MAX_DECODE_GROUP) return false;
    return keyStarts.every((_, s) => queryStarts[s + 1]! - queryStarts[s]! <= 1);
  }

  /** With `newest`, q is turned and the new rows are appended: k and v are the cache, each segment's last key is new. */
  decode(
    { out, q, k, v }: Operands & { readonly out: CudaTensor },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
    newest?: NewestRows,
  ): void {
    const store = this.#store;
    const { kernel } = this.#variant('decode', headDim, 1);
    const { items, shares, slots } = this.#decodeLists(segments, kvHeads, causal);
    const partial = store.createF32([slots, heads * headDim]);
    const logSum = store.createF32([slots, heads]);
    // biome-ignore format: parameters by operand
    store.kernels.launch(kernel, [kvHeads, items.items], {
      output: out.address, outputStride: out.ld, partialOutput: partial.address, partialLogSum: logSum.address,
      query: q.address, queryStride: q.ld, key: k.address, keyStride: k.ld, value: v.address, valueStride: v.ld,
      work: items.block.address, shares: shares.block.address,
      arrived: slots > 0 ? store.counters(slots * kvHeads) : undefined,
      newKey: newest?.k.address, newKeyStride: newest?.k.ld ?? 0,
      newValue: newest?.v.address, newValueStride: newest?.v.ld ?? 0,
      cosine: newest?.cos, sine: newest?.sin, queryScale: newest?.queryScale, heads, scale,
    });
    store.release(partial);
    store.release(logSum);
  }

  dispose(): void {
    for (const segments of [...this.#lists.keys()]) this.#forget(segments);
  }

  #variant<K extends AttentionKernel>(use: K, headDim: number, group: number): Variant<ParametersOf<K>> {
    const known = this.#variants.get(use) ?? new Map<number, Variant<unknown>>();
    this.#variants.set(use, known);
    const key = 1024 * headDim + group;
    let variant = known.get(key);
    if (!variant) {
      const { hasWarpgroups } = this.#store.kernels;
      const program = attentionProgram(use, this.#capability, headDim, group, hasWarpgroups);
      const { tiles } = program;
      const block = 32 * tiles.WARPS * ('HEAD_SPLIT' in tiles ? tiles.HEAD_SPLIT : tiles.TEAMS);
      variant = {
        kernel: { ...(TEMPLATES[use] as KernelTemplate<unknown>), program, block },
        tileRows: attentionTileRows(use, tiles),
        heads: 'GROUP' in tiles ? tiles.GROUP : 1,
      };
      known.set(key, variant);
    }
    return variant as Variant<ParametersOf<K>>;
  }

  #work(segments: Segments, key: string, build: () => Int32Array): WorkList {
    const lists = this.#listsOf(segments);
    let list = lists.get(key) as WorkList | undefined;
    if (!list) {
      list = this.#upload(build());
      lists.set(key, list);
    }
    return list;
  }

  #decodeLists(segments: Segments, kvHeads: number, causal: boolean): DecodeLists {
    const lists = this.#listsOf(segments);
    const key = `d${kvHeads}${causal}`;
    let list = lists.get(key) as DecodeLists | undefined;
    if (!list) {
      const blocks = DECODE_BLOCKS * this.#store.kernels.multiprocessors;
      const { items, shares, slots } = buildDecodeWork(segments, kvHeads, causal, blocks);
      list = { items: this.#upload(items), shares: this.#upload(shares), slots };
      lists.set(key, list);
    }
    return list;
  }

  #upload(words: Int32Array): WorkList {
    return { block: this.#store.table(words), items: words.length / 4 };
  }

  #listsOf(segments: Segments): Map<string, WorkList | DecodeLists> {
    const known = this.#lists.get(segments);
    const lists = known ?? new Map<string, WorkList | DecodeLists>();
    if (known) this.#lists.delete(segments);
    else if (this.#lists.size >= KEPT_SEGMENTS) this.#forget(this.#lists.keys().next().value!);
    this.#lists.set(segments, lists);
    return lists;
  }

  #forget(segments: Segments): void {
    for (const list of this.#lists.get(segments)?.values() ?? []) {
      const parts = 'slots' in list ? [list.items, list.shares] : [list];
      for (const { block } of parts) this.#store.allocator.free(block);
    }
    this.#lists.delete(segments);
  }
}
