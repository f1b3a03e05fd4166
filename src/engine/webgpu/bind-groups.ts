/** Bind groups by what they bind: making one takes longer than the rest of a launch, and most launches bind the same again. */
import type { BufferRange, GpuBindGroup, GpuBindGroupLayout, GpuBuffer, GpuDevice } from './gpu-types.js';

/** Groups of a generation: those of a training pass over all layers. */
const GENERATION = 4096;

export interface BindingLayout {
  /** Distinct for each layout. */
  readonly number: number;
  readonly layout: GpuBindGroupLayout;
  /** In order, without the uniforms at 0. */
  readonly bindings: readonly { readonly index: number; readonly name: string }[];
}

/** Parameters of a launch by name; those of the layout's bindings are ranges. */
export type Given = Readonly<Record<string, BufferRange | number | undefined>>;

interface Entry {
  readonly layout: BindingLayout;
  readonly ranges: readonly BufferRange[];
  readonly group: GpuBindGroup;
}

export class BindGroups {
  readonly #device: GpuDevice;
  readonly #uniforms: BufferRange;
  readonly #generation: number;
  /** By a hash of layout and ranges; of two with one hash the later stays. */
  #recent = new Map<number, Entry>();
  /** What was made or used before as many others. */
  #older = new Map<number, Entry>();
  readonly #numbers = new WeakMap<GpuBuffer, number>();
  #nextNumber = 1;

  /** @param uniforms of the first launch: binding 0, with a dynamic offset */
  constructor(device: GpuDevice, uniforms: BufferRange, generation = GENERATION) {
    this.#device = device;
    this.#uniforms = uniforms;
    this.#generation = generation;
  }

  get size(): number {
    return this.#recent.size + this.#older.size;
  }

  /** @param check called before a group is made, with what it would bind */
  find(layout: BindingLayout, given: Given, check: (ranges: readonly BufferRange[]) => void): GpuBindGroup {
    const { bindings } = layout;
    let hash = layout.number;
    for (const { name } of bindings) {
      const { buffer, offset, size } = given[name] as BufferRange;
      hash = mixed(mixed(mixed(hash, this.#numberOf(buffer)), offset / 256), size);
    }
    let entry = this.#recent.get(hash);
    if (entry && isOf(entry, layout, given)) return entry.group;
    entry = this.#older.get(hash);
    if (!entry || !isOf(entry, layout, given)) entry = this.#create(layout, given, check);
    if (this.#recent.size >= this.#generation) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(hash, entry);
    return entry.group;
  }

  /** When a buffer ends: groups would keep what they know of it. */
  clear(): void {
    this.#recent.clear();
    this.#older.clear();
  }

  #create(layout: BindingLayout, given: Given, check: (ranges: readonly BufferRange[]) => void): Entry {
    const ranges = layout.bindings.map(({ name }) => given[name] as BufferRange);
    check(ranges);
    const entries = [
      { binding: 0, resource: this.#uniforms },
      ...layout.bindings.map(({ index }, i) => ({ binding: index, resource: ranges[i]! })),
    ];
    return { layout, ranges, group: this.#device.createBindGroup({ layout: layout.layout, entries }) };
  }

  #numberOf(buffer: GpuBuffer): number {
    let number = this.#numbers.get(buffer);
    if (number === undefined) {
      number = this.#nextNumber++;
      this.#numbers.set(buffer, number);
    }
    return number;
  }
}

function isOf({ layout, ranges }: Entry, wanted: BindingLayout, given: Given): boolean {
  if (layout !== wanted) return false;
  for (let i = 0; i < ranges.length; i++) {
    const known = ranges[i]!;
    const { buffer, offset, size } = given[layout.bindings[i]!.name] as BufferRange;
    if (known.buffer !== buffer || known.offset !== offset || known.size !== size) return false;
  }
  return true;
}

function mixed(hash: number, value: number): number {
  const product = Math.imul(hash ^ value, 0x9e3779b1);
  return product ^ (product >>> 15);
}
