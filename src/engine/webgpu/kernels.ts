/** The kernels of kernels/*.wgsl: made for the device on first use, with what a launch defines. */
import { EngineError } from '../../errors.js';
import { WGSL_SOURCES } from '../../generated/wgsl-sources.js';
import type { BindingLayout, Given } from './bind-groups.js';
import { type CommandQueue, UNIFORM_BYTES } from './command-queue.js';
import type { BufferRange, GpuDevice, GpuLimits, GpuPipeline } from './gpu-types.js';
import { type Defines, kernelSource } from './kernel-source.js';

/** What scripts/wgsl-kernels.mjs reads in a file. `P` are its bindings and uniforms by name. */
export interface Kernel<P> {
  readonly file: string;
  readonly bindings: readonly { readonly index: number; readonly name: string; readonly access: string }[];
  readonly uniforms: readonly { readonly name: string; readonly type: string }[];
  /** Only for the type. */
  readonly parameters?: P;
}

/** What makes one of several programs of a file. */
export interface Variant {
  /** Of kernel-source.ts. */
  readonly defines?: Defines;
  /** `override` constants. */
  readonly constants?: Readonly<Record<string, number>>;
}

interface Program {
  readonly pipeline: GpuPipeline;
  readonly layout: KernelLayout;
  readonly variant: Variant;
  /** The object that last asked for it. */
  asked: Variant;
}

interface KernelLayout extends BindingLayout {
  readonly bindings: Kernel<unknown>['bindings'];
}

const PLAIN: Variant = {};

export class Kernels {
  readonly #device: GpuDevice;
  readonly #queue: CommandQueue;
  /** By kernel and the set of bindings that a launch gives, as bits; the one last used first. */
  readonly #programs = new Map<Kernel<unknown>, Map<number, Program[]>>();
  readonly #layouts = new Map<string, KernelLayout>();
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
    const given = parameters as Given;
    const { pipeline, layout } = this.#program(kernel as Kernel<unknown>, given, variant);
    const queue = this.#queue;
    const group = queue.bindGroups.find(layout, given, (ranges) => requireApart(kernel.file, layout.bindings, ranges));
    const offset = queue.reserve();
    const { uniforms } = kernel;
    for (let i = 0; i < uniforms.length; i++) {
      const { name, type } = uniforms[i]!;
      const value = given[name] as number;
      if (type === 'f32') queue.floats[offset / 4 + i] = value;
      // Stored modulo 2^32, as i32 as well.
      else queue.words[offset / 4 + i] = value;
    }
    queue.dispatch(pipeline, group, offset, x, y, z);
    this.onLaunch?.(kernel.file);
  }

  #program(kernel: Kernel<unknown>, given: Given, variant: Variant): Program {
    const { bindings } = kernel;
    let bits = 0;
    for (let i = 0; i < bindings.length; i++) if (given[bindings[i]!.name] !== undefined) bits |= 1 << i;
    let known = this.#programs.get(kernel);
    if (!known) {
      known = new Map();
      this.#programs.set(kernel, known);
    }
    let programs = known.get(bits);
    if (!programs) {
      programs = [];
      known.set(bits, programs);
    }
    for (let i = 0; i < programs.length; i++) {
      const program = programs[i]!;
      if (program.asked !== variant && !isSameVariant(program.variant, variant)) continue;
      program.asked = variant;
      if (i > 0) {
        programs[i] = programs[0]!;
        programs[0] = program;
      }
      return program;
    }
    const used = bindings.filter((_, i) => (bits & (1 << i)) !== 0);
    const program = this.#create(kernel, used, variant);
    programs.unshift(program);
    return program;
  }

  #create(kernel: Kernel<unknown>, used: Kernel<unknown>['bindings'], asked: Variant): Program {
    const { defines, constants } = asked;
    const layout = this.#layout(used);
    const label = `${kernel.file}${variantText(defines)}${variantText(constants)}`;
    const code = kernelSource(WGSL_SOURCES, kernel.file, defines);
    const module = this.#device.createShaderModule({ code, label });
    const pipeline = this.#device.createComputePipeline({
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout.layout] }),
      compute: { module, entryPoint: 'main', ...(constants && { constants: { ...constants } }) },
      label,
    });
    // Copies: who gave them may change them.
    const variant = { ...(defines && { defines: { ...defines } }), ...(constants && { constants: { ...constants } }) };
    return { pipeline, layout, variant, asked };
  }

  /** By what is bound, with the uniforms at binding 0. */
  #layout(used: Kernel<unknown>['bindings']): KernelLayout {
    const key = used.map(({ index, name, access }) => `${index} ${name} ${access}`).join();
    let layout = this.#layouts.get(key);
    if (!layout) {
      const visibility = 4;
      const entries = [
        {
          binding: 0,
          visibility,
          buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: UNIFORM_BYTES },
        },
        ...used.map(({ index, access }) => ({
          ...{ binding: index, visibility },
          buffer: { type: access === 'read' ? 'read-only-storage' : 'storage' },
        })),
      ];
      const number = this.#layouts.size;
      layout = { number, layout: this.#device.createBindGroupLayout({ entries }), bindings: used };
      this.#layouts.set(key, layout);
    }
    return layout;
  }
}

type Values = Readonly<Record<string, unknown>>;

const NONE: Values = {};

function isSameVariant(known: Variant, wanted: Variant): boolean {
  return isSame(known.defines, wanted.defines) && isSame(known.constants, wanted.constants);
}

/** Whether the same names have the same values. No key is made of them: this happens on every launch. */
function isSame(known: Values = NONE, wanted: Values = NONE): boolean {
  if (known === wanted) return true;
  let count = 0;
  for (const name in wanted) {
    if (known[name] !== wanted[name]) return false;
    count++;
  }
  for (const _ in known) count--;
  return count === 0;
}

function variantText(values: Readonly<Record<string, unknown>> | undefined): string {
  if (!values) return '';
  return ` ${Object.entries(values)
    .map(([name, value]) => `${name}=${value}`)
    .join()}`;
}

/** A buffer is either read or written by a launch as a whole, and what is written must not be bound twice. */
function requireApart(file: string, used: Kernel<unknown>['bindings'], ranges: readonly BufferRange[]): void {
  for (const [i, one] of used.entries()) {
    const a = ranges[i]!;
    for (let j = i + 1; j < used.length; j++) {
      const [other, b] = [used[j]!, ranges[j]!];
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
