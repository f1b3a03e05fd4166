/** One set of parameters in parts, each on the engine of the weights that they are used with; one flat order over all. */
import { EngineError } from '../../errors.js';
import { requireArray, stateLayout } from '../cpu/optimizer.js';
import type { OptimizerArrays, OptimizerState, OptimizerStep } from '../engine.js';
import type { LinearPart } from '../operations.js';
import { sizeOfAll } from '../parameter-layout.js';
import type { Parameter, ParameterSet, ParameterSpec } from '../tensor.js';
import type { PartEngine } from './part-engine.js';
import type { Place } from './tensor-places.js';

/** Runs `body` for what lies at a place; what fails there is named. */
type OnPlace = <T>(place: Place, body: () => T) => T;

/** What lies on one engine. */
interface SetPart {
  readonly place: Place;
  readonly engine: PartEngine;
  readonly set: ParameterSet;
  /** Indices of its parameters in the whole set, in order. */
  readonly indices: readonly number[];
}

export class SplitParameterSet implements ParameterSet {
  readonly parameters: readonly Parameter[];
  readonly size: number;
  readonly parts: readonly SetPart[];
  isReleased = false;

  /** @param places of each parameter */
  constructor(engines: readonly PartEngine[], specs: readonly ParameterSpec[], places: readonly Place[], on: OnPlace) {
    this.size = sizeOfAll(specs);
    const parts: SetPart[] = [];
    try {
      for (const [place, engine] of engines.entries()) {
        const indices = places.flatMap((own, i) => (own === place ? [i] : []));
        if (indices.length === 0) continue;
        const set = on(place, () => engine.createParameters(indices.map((i) => specs[i]!)));
        parts.push({ place, engine, indices, set });
      }
    } catch (error) {
      for (const { engine, set } of parts) engine.releaseParameters(set);
      throw error;
    }
    this.parts = parts;
    const own: Parameter[] = [];
    for (const { set, indices } of parts) for (const [at, i] of indices.entries()) own[i] = set.parameters[at]!;
    let offset = 0;
    this.parameters = own.map((parameter) => {
      const { name, shape, size, value, grad } = parameter;
      offset += size;
      return { name, shape, size, value, grad, offset: offset - size };
    });
    for (const { place, set, indices } of parts) {
      for (const [at, i] of indices.entries()) {
        partParameters.set(this.parameters[i]!, { place, parameter: set.parameters[at]! });
      }
    }
  }

  /** One array in the order of the set, from one of each part. */
  async join(read: (part: SetPart) => Promise<Float32Array>): Promise<Float32Array> {
    const arrays = await Promise.all(this.parts.map(read));
    const whole = new Float32Array(this.size);
    for (const [p, { set, indices }] of this.parts.entries()) {
      for (const [at, i] of indices.entries()) {
        const { offset, size } = set.parameters[at]!;
        whole.set(arrays[p]!.subarray(offset, offset + size), this.parameters[i]!.offset);
      }
    }
    return whole;
  }

  /** The values of one part, in its order. */
  cut({ set, indices }: SetPart, whole: Float32Array): Float32Array {
    const values = new Float32Array(set.size);
    for (const [at, i] of indices.entries()) {
      const { offset, size } = this.parameters[i]!;
      values.set(whole.subarray(offset, offset + size), set.parameters[at]!.offset);
    }
    return values;
  }
}

const partParameters = new WeakMap<Parameter, { readonly place: Place; readonly parameter: Parameter }>();
/** Engines keep what they know of parts by these objects, so each is translated once. */
const translated = new WeakMap<object, { readonly place: Place; readonly to: object }>();

/** Parts of linear layers as the engine at `place` takes them: with its own parameters. */
export function partsAt<T extends readonly LinearPart[]>(place: Place, parts: T): T {
  if (parts.every(({ lora }) => lora === undefined)) return parts;
  return once(place, parts, () => parts.map((part) => partAt(place, part)) as unknown as T);
}

export function partAt(place: Place, part: LinearPart): LinearPart {
  const { lora } = part;
  if (!lora) return part;
  return once(place, part, () => {
    const [a, b] = [lora.a, lora.b].map((parameter) => parameterAt(place, parameter)) as [Parameter, Parameter];
    return { ...part, lora: { ...lora, a, b } };
  });
}

function once<T extends object>(place: Place, from: T, make: () => T): T {
  const known = translated.get(from);
  if (known?.place === place) return known.to as T;
  const to = make();
  translated.set(from, { place, to });
  return to;
}

/** @throws EngineError if it lies elsewhere, or belongs to another engine */
function parameterAt(place: Place, parameter: Parameter): Parameter {
  const known = partParameters.get(parameter);
  if (!known) throw new EngineError(`linear: the parameter ${parameter.name} belongs to another engine`);
  if (known.place === place) return known.parameter;
  throw new EngineError(
    `linear: the parameter ${parameter.name} lies on another device than the weight that it is used with`,
    {
      hint: 'Name that weight when the parameter is made: { name, shape, initial, beside: weight }.',
    },
  );
}

/** Moments of a set in parts; the arrays are those of one engine. */
export class SplitOptimizerState implements OptimizerState {
  readonly kind: OptimizerStep['kind'];
  readonly set: SplitParameterSet;
  readonly states: readonly OptimizerState[];
  isReleased = false;

  constructor(set: SplitParameterSet, kind: OptimizerStep['kind'], on: OnPlace) {
    this.kind = kind;
    this.set = set;
    const states: OptimizerState[] = [];
    try {
      for (const { place, engine, set: own } of set.parts) {
        states.push(on(place, () => engine.createOptimizerState(own, kind)));
      }
    } catch (error) {
      for (const [p, state] of states.entries()) set.parts[p]!.engine.releaseOptimizerState(set.parts[p]!.set, state);
      throw error;
    }
    this.states = states;
  }

  async read(): Promise<OptimizerArrays> {
    const { parts } = this.set;
    const arrays = await Promise.all(
      parts.map(({ engine, set }, p) => engine.readOptimizerState(set, this.states[p]!)),
    );
    const whole = this.#empty();
    this.#eachRange((p, name, from, to) => {
      whole[name]!.set(arrays[p]![name]!.subarray(from.start, from.start + from.length), to.start);
    });
    return whole;
  }

  /** @throws EngineError if an array is missing or has another length: then nothing was written */
  write(whole: OptimizerArrays): void {
    for (const [name, { type, length }] of Object.entries(this.#lengths())) {
      requireArray(name, whole[name], type, length);
    }
    const { parts } = this.set;
    const arrays = parts.map(({ set }) => emptyArrays(this.kind, set));
    this.#eachRange((p, name, to, from) => {
      arrays[p]![name]!.set(whole[name]!.subarray(from.start, from.start + from.length), to.start);
    });
    for (const [p, { engine, set }] of parts.entries()) engine.writeOptimizerState(set, this.states[p]!, arrays[p]!);
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    for (const [p, { engine, set }] of this.set.parts.entries()) engine.releaseOptimizerState(set, this.states[p]!);
  }

  /** Calls `copy` with the range of each parameter in an array of its part, and in that of the whole. */
  #eachRange(copy: (part: number, name: string, inPart: Range, inWhole: Range) => void): void {
    const whole = layoutOf(this.kind, this.set);
    for (const [p, { set, indices }] of this.set.parts.entries()) {
      for (const [name, { ranges }] of Object.entries(layoutOf(this.kind, set))) {
        for (const [at, i] of indices.entries()) copy(p, name, ranges[at]!, whole[name]!.ranges[i]!);
      }
    }
  }

  #empty(): OptimizerArrays {
    return emptyArrays(this.kind, this.set);
  }

  #lengths() {
    return lengthsOf(this.kind, this.set);
  }
}

type Range = ReturnType<typeof stateLayout>[string]['ranges'][number];

function layoutOf(kind: OptimizerStep['kind'], { parameters }: ParameterSet): ReturnType<typeof stateLayout> {
  return stateLayout(
    kind,
    parameters.map(({ size }) => size),
  );
}

function lengthsOf(kind: OptimizerStep['kind'], set: ParameterSet) {
  const entries = Object.entries(layoutOf(kind, set)).map(([name, { type, ranges }]) => {
    return [name, { type, length: ranges.reduce((sum, { length }) => sum + length, 0) }] as const;
  });
  return Object.fromEntries(entries);
}

function emptyArrays(kind: OptimizerStep['kind'], set: ParameterSet): OptimizerArrays {
  const entries = Object.entries(lengthsOf(kind, set)).map(([name, { type, length }]) => [name, new type(length)]);
  return Object.fromEntries(entries) as OptimizerArrays;
}
