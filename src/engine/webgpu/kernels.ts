/** The kernels of kernels/*.wgsl: made for the device on first use, with what a launch defines. */
import { EngineError } from '../../errors.js';
import { WGSL_SOURCES } from '../../generated/wgsl-sources.js';
import { type CommandQueue, UNIFORM_BYTES } from './command-queue.js';
import type { BufferRange, GpuBindGroupLayout, GpuDevice, GpuLimits, GpuPipeline } from './gpu-types.js';
import { type Defines, kernelSource } from './kernel-source.js';

/** What scripts/wgsl-kernels.mjs reads in a file. `P` are its bindings and uniforms by name. */
export interface Kernel<P> {
  readonly file: string;
  readonly bindings: readonly { readonly index: number; readonly name: string; readonly access: string }[];
  readonly uniforms: readonly { readonly name: string; readonly type: string }[];
  /** Only for the type. */
  readonly parameters?: P;
}

/** What makes one of several programs of a file. Whoever launches often gives the same object for the same program. */
export interface Variant {
  /** Of kernel-source.ts. */
  readonly defines?: Defines;
  /** `override` constants. */
  readonly constants?: Readonly<Record<string, number>>;
}

interface Program {
  readonly pipeline: GpuPipeline;
  readonly layout: GpuBindGroupLayout;
}

const PLAIN: Variant = {};

export class Kernels {
  readonly #device: GpuDevice;
  readonly #queue: CommandQueue;
  readonly #programs = new Map<string, Program>();
  readonly #layouts = new Map<string, GpuBindGroupLayout>();
  /** Hears of each launch; a test counts them. */
  onLaunch: ((name: string) => void) | undefined;

  constructor(device: GpuDevice, queue: CommandQueue) {
    this.#device = device;
    this.#queue = queue;
  }

  /** What the device allows, by which tiles are chosen. */
  get limits(): GpuLimits {
    return this.#device.limits;
  }

  /**
   * Queues a launch.
   * @param parameters bindings as ranges and uniforms as numbers, by name
   * @param groups workgroups in x, y and z; none if one of them is 0
   * @throws EngineError if bindings of which one is written overlap, which WebGPU refuses
   */
  launch<P>(kernel: Kernel<P>, groups: readonly number[], parameters: P, variant: Variant = PLAIN): void {
    const [x = 1, y = 1, z = 1] = groups;
    if (x === 0 || y === 0 || z === 0) return;
    const given = parameters as Readonly<Record<string, BufferRange | number | undefined>>;
    const used = kernel.bindings.filter(({ name }) => given[name] !== undefined);
    requireApart(kernel.file, used, given);
    const { pipeline, layout } = this.#program(kernel, used, variant);
    const { offset, view } = this.#queue.reserve();
    for (const [i, { name, type }] of kernel.uniforms.entries()) {
      const value = given[name] as number;
      if (type === 'f32') view.setFloat32(4 * i, value, true);
      else if (type === 'i32') view.setInt32(4 * i, value, true);
      else view.setUint32(4 * i, value, true);
    }
    const entries = [
      { binding: 0, resource: { buffer: this.#queue.uniforms, offset: 0, size: UNIFORM_BYTES } },
      ...used.map(({ index, name }) => ({ binding: index, resource: given[name] as BufferRange })),
    ];
    const pass = this.#queue.pass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.#device.createBindGroup({ layout, entries }), [offset]);
    pass.dispatchWorkgroups(x, y, z);
    this.onLaunch?.(kernel.file);
  }

  #program<P>(kernel: Kernel<P>, used: Kernel<P>['bindings'], variant: Variant): Program {
    const { defines, constants } = variant;
    const bound = used.map(({ index, access }) => `${index}${access === 'read' ? 'r' : 'w'}`).join();
    const key = `${kernel.file} ${bound} ${variantKey(variant)}`;
    let program = this.#programs.get(key);
    if (!program) {
      const layout = this.#layout(bound, used);
      const code = kernelSource(WGSL_SOURCES, kernel.file, defines);
      const module = this.#device.createShaderModule({ code, label: key });
      const pipeline = this.#device.createComputePipeline({
        layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main', ...(constants && { constants: { ...constants } }) },
        label: key,
      });
      program = { pipeline, layout };
      this.#programs.set(key, program);
    }
    return program;
  }

  /** By what is bound, with the uniforms at binding 0. */
  #layout(key: string, used: Kernel<unknown>['bindings']): GpuBindGroupLayout {
    let layout = this.#layouts.get(key);
    if (!layout) {
      const visibility = 4;
      layout = this.#device.createBindGroupLayout({
        entries: [
          {
            binding: 0,
            visibility,
            buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: UNIFORM_BYTES },
          },
          ...used.map(({ index, access }) => ({
            ...{ binding: index, visibility },
            buffer: { type: access === 'read' ? 'read-only-storage' : 'storage' },
          })),
        ],
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }
}

const variantKeys = new WeakMap<Variant, string>();

function variantKey(variant: Variant): string {
  let key = variantKeys.get(variant);
  if (key === undefined) {
    key = [variant.defines, variant.constants]
      .map((values = {}) => Object.entries(values).map(([name, value]) => `${name}=${value}`))
      .join(' ');
    variantKeys.set(variant, key);
  }
  return key;
}

/** A buffer is either read or written by a launch as a whole, and what is written must not be bound twice. */
function requireApart(
  file: string,
  used: Kernel<unknown>['bindings'],
  given: Readonly<Record<string, BufferRange | number | undefined>>,
): void {
  for (const [i, one] of used.entries()) {
    const a = given[one.name] as BufferRange;
    for (const other of used.slice(i + 1)) {
      const b = given[other.name] as BufferRange;
      if (a.buffer !== b.buffer) continue;
      if (one.access !== other.access) throw new EngineError(`${file}: ${one.name} and ${other.name} share a buffer`);
      const isOverlap = a.offset < b.offset + b.size && b.offset < a.offset + a.size;
      if (one.access !== 'read' && isOverlap) throw new EngineError(`${file}: ${one.name} and ${other.name} overlap`);
    }
  }
}

/** Workgroups for so many items in x and y, as one dimension has at most 65535: the index is x + y · num_workgroups.x. */
export function flat(count: number): readonly [number, number] {
  const most = 65535;
  if (count <= most) return [count, 1];
  const y = Math.ceil(count / most);
  return [Math.ceil(count / y), y];
}
