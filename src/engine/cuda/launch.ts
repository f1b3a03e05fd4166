/**
 * What a kernel launch is made of. Device pointers are numbers of a type of their own, below 2^53: a kernel takes them
 * only where it wants a pointer, and no other number there. generated/kernel-launchers.ts has the parameters of each
 * kernel, read from its source.
 */
import { EngineError } from '../../errors.js';

declare const device: unique symbol;

/** A device address. */
export type DevicePointer = number & { readonly [device]: true };
/** Any number but a device address. */
export type Scalar = number & { readonly [device]?: never };

/** Of tensors without elements. A kernel's parameter that may be null takes undefined. */
export const NULL_POINTER = 0 as DevicePointer;

export function offset(pointer: DevicePointer, bytes: Scalar): DevicePointer {
  return (pointer + bytes) as DevicePointer;
}

/** Blocks in x, y and z. */
export type Grid = readonly [number, number?, number?];

/** Blocks for a [rows, columns] pass of 1024 elements a block. */
export function grid2(rows: number, columns: number): Grid {
  return [Math.ceil(columns / 1024), Math.min(rows, 65535)];
}

/** A source that is compiled once for each set of macros. */
export interface KernelProgram {
  /** Concatenated; the last one names the program. */
  readonly files: readonly string[];
  readonly defines: Readonly<Record<string, number>>;
  /** Dynamic shared memory of a launch. */
  readonly sharedBytes: number;
  /** Compiled for this very compute capability and no later one, e.g. sm_90a. */
  readonly isSpecific: boolean;
}

/** A program that needs no macros. */
export function plainProgram(...files: string[]): KernelProgram {
  return { files, defines: {}, sharedBytes: 0, isSpecific: false };
}

/** A kernel without its program: it is compiled for several head sizes. `P` names its parameters. */
export interface KernelTemplate<P> {
  readonly name: string;
  pack(to: ParameterBlock, parameters: P): void;
}

export interface Kernel<P> extends KernelTemplate<P> {
  readonly program: KernelProgram;
  /** Threads of a block at most; usually of each launch. */
  readonly block: number;
}

/** One kernel for several widths, by width. */
export type KernelFamily<P> = Readonly<Record<number, Kernel<P>>>;

/** @throws EngineError if there is no kernel of this width */
export function ofWidth<P>(family: KernelFamily<P>, width: number): Kernel<P> {
  const kernel = family[width];
  if (kernel) return kernel;
  const known = Object.values(family);
  throw new EngineError(`${known[0]!.name.replace(/_\d+$/, '')} has the widths ${Object.keys(family)}, not ${width}`);
}

/** What operations need of the kernels; a test gives a recorder. */
export interface KernelLauncher {
  readonly multiprocessors: number;
  /** Whether card and compiler have the warpgroup products of Hopper. */
  readonly hasWarpgroups: boolean;
  /** Queues a kernel; nothing where the grid is empty. @param block threads, default what the source allows */
  launch<P>(kernel: Kernel<P>, grid: Grid, parameters: NoInfer<P>, block?: number): void;
}

const MAX_PARAMETERS = 64;
const HIGH_WORD = 2 ** 32;

/** The parameters of a launch, 8 bytes each, as the driver reads them: little-endian, like every host of a card. */
export class ParameterBlock {
  readonly bytes = new Uint8Array(8 * MAX_PARAMETERS);
  readonly #u32 = new Uint32Array(this.bytes.buffer);
  readonly #i32 = new Int32Array(this.bytes.buffer);
  readonly #f32 = new Float32Array(this.bytes.buffer);

  pointer(at: number, value: DevicePointer | undefined): void {
    this.i64(at, value ?? 0);
  }

  /** Not negative. */
  i64(at: number, value: number): void {
    this.#u32[2 * at] = value;
    this.#u32[2 * at + 1] = value / HIGH_WORD;
  }

  i32(at: number, value: number): void {
    this.#i32[2 * at] = value;
  }

  u32(at: number, value: number): void {
    this.#u32[2 * at] = value;
  }

  f32(at: number, value: number): void {
    this.#f32[2 * at] = value;
  }

  /** Values `from` .. `from + count` of a list. */
  pointers(at: number, values: readonly (DevicePointer | undefined)[], from: number, count: number): void {
    requireValues(values, from + count);
    for (let i = 0; i < count; i++) this.pointer(at + i, values[from + i]);
  }

  i32s(at: number, values: readonly number[], from: number, count: number): void {
    requireValues(values, from + count);
    for (let i = 0; i < count; i++) this.i32(at + i, values[from + i]!);
  }

  u32s(at: number, values: readonly number[], from: number, count: number): void {
    requireValues(values, from + count);
    for (let i = 0; i < count; i++) this.u32(at + i, values[from + i]!);
  }

  f32s(at: number, values: readonly number[], from: number, count: number): void {
    requireValues(values, from + count);
    for (let i = 0; i < count; i++) this.f32(at + i, values[from + i]!);
  }
}

function requireValues(values: readonly unknown[], count: number): void {
  if (values.length < count) throw new EngineError(`a kernel takes a list of ${count} values, got ${values.length}`);
}
