/**
 * Gives an engine that cannot sum gradients over ranks a `joinGroup` that does, for tests: all values go to all ranks and
 * are added in the order of the ranks. It keeps to what a device does: what a pass has called final is as good as sent.
 */
import type { GradientSum, ProcessGroup } from '../../src/distributed/process-group.js';
import type { Engine } from '../../src/engine/engine.js';
import type { ParameterSet, Tensor } from '../../src/engine/tensor.js';

type Touchable = Tensor & { isTouched: boolean };

/** How gradients are reached. */
export interface GradientAccess {
  read(set: ParameterSet): Promise<Float32Array>;
  write(set: ParameterSet, values: Float32Array, touched: readonly boolean[]): void;
  touched(set: ParameterSet): boolean[];
}

/** Those of engines whose tensors know whether they were touched. */
export function accessOf(engine: Engine): GradientAccess {
  return {
    read: (set) => engine.readGradients(set),
    write: (set, values, touched) => {
      engine.zeroGradients(set);
      set.parameters.forEach(({ grad, offset, size, shape }, i) => {
        if (!touched[i]) return;
        const piece = engine.fromArray(values.slice(offset, offset + size), shape);
        engine.addInPlace(grad, piece);
        engine.release(piece);
      });
    },
    touched: (set) => set.parameters.map(({ grad }) => (grad as Touchable).isTouched),
  };
}

/** What a sum has done, for tests. */
export interface LoopbackTrace {
  /** Names that were final before their window ended, of each window. */
  readonly early: string[][];
  restarts: number;
  finished: number;
  closed: number;
}

export function withLoopback<T extends Engine>(
  engine: T,
  access: GradientAccess = accessOf(engine),
  trace: LoopbackTrace = newTrace(),
): T {
  engine.joinGroup = async (group, set) => new LoopbackSum(group, set, access, trace);
  return engine;
}

export function newTrace(): LoopbackTrace {
  return { early: [], restarts: 0, finished: 0, closed: 0 };
}

export class LoopbackSum implements GradientSum {
  readonly #group: ProcessGroup;
  readonly #set: ParameterSet;
  readonly #access: GradientAccess;
  readonly #trace: LoopbackTrace;
  /** Parameters that are final, with their gradients then, which are on their way. */
  #sent = new Map<string, Promise<Float32Array>>();
  #kept = new Map<string, Float32Array>();

  constructor(group: ProcessGroup, set: ParameterSet, access: GradientAccess, trace: LoopbackTrace) {
    this.#group = group;
    this.#set = set;
    this.#access = access;
    this.#trace = trace;
  }

  overlap() {
    return {
      final: (names: readonly string[]): void => {
        const now = this.#access.read(this.#set);
        for (const name of names) {
          if (this.#kept.has(name)) continue;
          if (this.#sent.has(name)) throw new Error(`${name} is final twice`);
          const { offset, size } = this.#set.parameters.find((parameter) => parameter.name === name)!;
          this.#sent.set(
            name,
            now.then((values) => values.slice(offset, offset + size)),
          );
        }
      },
    };
  }

  async restart(): Promise<void> {
    this.#trace.restarts++;
    for (const [name, values] of this.#sent) this.#kept.set(name, await values);
    this.#sent.clear();
  }

  touched(): boolean[] {
    return this.#access.touched(this.#set);
  }

  async finish(touched: readonly boolean[]): Promise<void> {
    const { parameters } = this.#set;
    const own = (await this.#access.read(this.#set)).slice();
    for (const { name, offset, size } of parameters) {
      const sent = this.#kept.get(name) ?? (await this.#sent.get(name));
      const isSame = sent?.every((value, i) => Object.is(value, own[offset + i]!));
      if (sent && !isSame && !this.#kept.has(name)) throw new Error(`${name} was called final and has changed since`);
      if (sent) own.set(sent, offset);
      if (
        own.subarray(offset, offset + size).some((value) => value !== 0) &&
        !touched[parameters.findIndex((p) => p.name === name)]
      )
        throw new Error(`${name} has a gradient and does not count as touched`);
    }
    this.#trace.early.push([...this.#sent.keys(), ...this.#kept.keys()]);
    this.#sent = new Map();
    this.#kept = new Map();
    const all = await this.#group.allGatherBytes(
      'gradients of all',
      new Uint8Array(own.buffer, own.byteOffset, own.byteLength),
    );
    const sum = new Float32Array(own.length);
    for (const bytes of all) {
      const values = new Float32Array(new Uint8Array(bytes).buffer);
      for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
    }
    this.#access.write(this.#set, sum, touched);
    this.#trace.finished++;
  }

  async close(): Promise<void> {
    this.#trace.closed++;
  }
}
