/** Compiles and launches the attention kernels for a head size, and keeps their work lists on the device. */
import type { OperationAttributes, Segments } from '../../operations.js';
import type { KernelFunction } from '../driver.js';
import type { KernelProgram } from '../kernels.js';
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

/** File of each kernel. */
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
/** Blocks under way on each multiprocessor while decoding. */
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

/** What such a model will need; the kernel of decoding only for the decoder. */
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

/** The newest key and value of each query row, to be put into the cache, and the rotary tables (addresses). */
interface NewestRows {
  readonly k: CudaTensor;
  readonly v: CudaTensor;
  readonly cos: number;
  readonly sin: number;
  /** 0 for none. */
  readonly queryScale: number;
}

interface BackwardTensors {
  readonly q: CudaTensor;
  readonly k: CudaTensor;
  readonly v: CudaTensor;
  readonly lse: CudaTensor;
  readonly dOut: CudaTensor;
  readonly delta: CudaTensor;
}

interface Compiled {
  readonly kernel: KernelFunction;
  readonly block: number;
  readonly sharedBytes: number;
  readonly tileRows: number;
  /** Query heads that a block takes, on the query side. */
  readonly heads: number;
}

export class AttentionKernels {
  readonly #store: TensorStore;
  readonly #capability: number;
  /** Lists by kernel and settings; least recently used segments first. */
  readonly #lists = new Map<Segments, Map<string, WorkList | DecodeLists>>();
  /** attention_decode by head size. */
  readonly #decoders = new Map<number, Compiled>();

  constructor(store: TensorStore, capability: number) {
    this.#store = store;
    this.#capability = capability;
  }

  forward(
    {
      out,
      lse,
      q,
      k,
      v,
    }: { out: CudaTensor; lse?: CudaTensor | undefined; q: CudaTensor; k: CudaTensor; v: CudaTensor },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
  ): void {
    const compiled = this.#compile('forward', 'attention_forward', headDim, heads / kvHeads);
    const work = this.#work(segments, `q${compiled.tileRows}${causal}`, () =>
      buildAttentionWork(segments, compiled.tileRows, causal),
    );
    this.#launch(compiled, heads / compiled.heads, work, 'ppppppiiiiiifi', [
      ...[out.address, lse?.address ?? 0, q.address, k.address, v.address, work.block.address],
      ...[out.ld, q.ld, k.ld, v.ld, kvHeads, q.rows, scale, causal ? 1 : 0],
    ]);
  }

  /** delta = rowsum(dOut ⊙ out) by head. */
  delta(delta: CudaTensor, dOut: CudaTensor, out: CudaTensor, { heads, headDim }: Attributes): void {
    const program = deltaProgram(this.#capability, headDim);
    const kernel = this.#store.kernels.variant(program, 'attention_backward_delta');
    const lanes = 2 ** Math.ceil(Math.log2(headDim / 8));
    const grid = [Math.ceil((out.rows * heads * lanes) / 256)] as const;
    const values = [delta.address, dOut.address, out.address, dOut.ld, out.ld, heads, out.rows];
    this.#store.kernels.launch(kernel, grid, 256, 'pppiiii', values);
  }

  backwardQuery(
    { dq, dOut, q, k, v, lse, delta }: BackwardTensors & { readonly dq: CudaTensor },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
  ): void {
    const compiled = this.#compile('backwardQuery', 'attention_backward_query', headDim, heads / kvHeads);
    const work = this.#work(segments, `q${compiled.tileRows}${causal}`, () =>
      buildAttentionWork(segments, compiled.tileRows, causal),
    );
    this.#launch(compiled, heads / compiled.heads, work, 'ppppppppiiiiiiifi', [
      ...[dq.address, dOut.address, q.address, k.address, v.address, lse.address, delta.address, work.block.address],
      ...[dq.ld, dOut.ld, q.ld, k.ld, v.ld, kvHeads, q.rows, scale, causal ? 1 : 0],
    ]);
  }

  /** Key ranges of the segments must not overlap; key rows outside them are left as they were. */
  backwardKeyValue(
    { dk, dv, dOut, q, k, v, lse, delta }: BackwardTensors & { readonly dk: CudaTensor; readonly dv: CudaTensor },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
  ): void {
    const compiled = this.#compile('backwardKeyValue', 'attention_backward_key_value', headDim, heads / kvHeads);
    const work = this.#work(segments, `k${compiled.tileRows}${causal}`, () =>
      buildAttentionKeyWork(segments, compiled.tileRows, causal),
    );
    this.#launch(compiled, kvHeads, work, 'pppppppppiiiiiiiifi', [
      ...[dk.address, dv.address, dOut.address, q.address, k.address, v.address],
      ...[lse.address, delta.address, work.block.address],
      ...[dk.ld, dv.ld, dOut.ld, q.ld, k.ld, v.ld, heads, q.rows, scale, causal ? 1 : 0],
    ]);
  }

  /** Whether every segment has at most one query row, as when tokens are generated one by one. */
  isDecode({ queryStarts, keyStarts }: Segments, heads: number, kvHeads: number): boolean {
    if (heads / kvHeads > MAX_DECODE_GROUP) return false;
    return keyStarts.every((_, s) => queryStarts[s + 1]! - queryStarts[s]! <= 1);
  }

  /** With `newest`, q is turned and the new rows are appended: k and v are the cache, each segment's last key is new. */
  decode(
    { out, q, k, v }: { out: CudaTensor; q: CudaTensor; k: CudaTensor; v: CudaTensor },
    { heads, kvHeads, headDim, scale, causal, segments }: Attributes,
    newest?: NewestRows,
  ): void {
    const store = this.#store;
    // Once a layer and token: looked up without putting its name together.
    const compiled = this.#decoders.get(headDim) ?? this.#compile('decode', 'attention_decode', headDim);
    this.#decoders.set(headDim, compiled);
    const { items, shares, slots } = this.#decodeLists(segments, kvHeads, causal);
    const partial = store.createF32([slots, heads * headDim]);
    const logSum = store.createF32([slots, heads]);
    this.#launch(compiled, kvHeads, items, 'ppppppppppppppiiiiiiif', [
      ...[out.address, partial.address, logSum.address, q.address, k.address, v.address],
      ...[items.block.address, shares.block.address, slots > 0 ? store.counters(slots * kvHeads) : 0],
      ...[newest?.k.address ?? 0, newest?.v.address ?? 0, newest?.cos ?? 0, newest?.sin ?? 0, newest?.queryScale ?? 0],
      ...[out.ld, q.ld, k.ld, v.ld, newest?.k.ld ?? 0, newest?.v.ld ?? 0, heads, scale],
    ]);
    store.release(partial);
    store.release(logSum);
  }

  dispose(): void {
    for (const segments of [...this.#lists.keys()]) this.#forget(segments);
  }

  #launch(compiled: Compiled, heads: number, work: WorkList, signature: string, values: readonly number[]): void {
    const { kernel, block, sharedBytes } = compiled;
    this.#store.kernels.launch(kernel, [heads, work.items], block, signature, values, sharedBytes);
  }

  #compile(file: AttentionKernel, name: string, headDim: number, group = 1): Compiled {
    const { kernels } = this.#store;
    const program = attentionProgram(file, this.#capability, headDim, group, kernels.hasWarpgroups);
    const { tiles, sharedBytes } = program;
    return {
      kernel: kernels.variant(program, name),
      block: 32 * tiles.WARPS * ('HEAD_SPLIT' in tiles ? tiles.HEAD_SPLIT : tiles.TEAMS),
      sharedBytes,
      tileRows: attentionTileRows(file, tiles),
      heads: 'GROUP' in tiles ? tiles.GROUP : 1,
    };
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
