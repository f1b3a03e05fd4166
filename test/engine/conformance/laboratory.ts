/** Random tensors, weights and parameters on an engine, with the numbers that the engine really holds, in double. */
import assert from 'node:assert/strict';
import type { Engine } from '../../../src/engine/engine.js';
import type { Parameter, ParameterSet, Tensor, Weight } from '../../../src/engine/tensor.js';
import type { DType, HeldFormat, StackPlace } from '../../../src/formats/weight-source.js';
import { DTYPE_BYTES, sizeOf } from '../../../src/formats/weight-source.js';
import { MersenneTwister } from '../../../src/random.js';
import { plainHeldValues } from './plain-quantization.js';
import { joined, roundBfloat16 } from './plain-reference.js';

const view = new DataView(new ArrayBuffer(4));

/** Cuts a float32 down to the stored format and gives its bits and its value. Normal numbers only. */
function encode(value: number, dtype: DType): { bits: number; value: number } {
  view.setFloat32(0, value);
  const whole = view.getUint32(0);
  if (dtype === 'f32') return { bits: whole, value: Math.fround(value) };
  if (dtype === 'bf16') {
    view.setUint32(0, whole & 0xffff0000);
    return { bits: whole >>> 16, value: view.getFloat32(0) };
  }
  const exponent = ((whole >>> 23) & 0xff) - 127;
  if (exponent < -14 || exponent > 15) return { bits: 0, value: 0 };
  view.setUint32(0, whole & 0xffffe000);
  const bits = ((whole >>> 16) & 0x8000) | ((exponent + 15) << 10) | ((whole >>> 13) & 0x3ff);
  return { bits, value: view.getFloat32(0) };
}

/** Stored bytes and what they stand for. */
export function encodeAll(numbers: Float32Array | Float64Array, dtype: DType): { bytes: Uint8Array; values: number[] } {
  const bytes = new Uint8Array(numbers.length * DTYPE_BYTES[dtype]);
  const stored = new DataView(bytes.buffer);
  const values = new Array<number>(numbers.length);
  for (let i = 0; i < numbers.length; i++) {
    const { bits, value } = encode(numbers[i]!, dtype);
    if (dtype === 'f32') stored.setUint32(4 * i, bits, true);
    else stored.setUint16(2 * i, bits, true);
    values[i] = value;
  }
  return { bytes, values };
}

export class Laboratory {
  readonly engine: Engine;
  readonly random: MersenneTwister;
  /** Whether the engine keeps matrices in bfloat16: then all numbers here are such ones, so that it holds them exactly. */
  readonly isBfloat16: boolean;
  /** What matrices are held in, if not as they are stored. */
  readonly hold: HeldFormat | undefined;
  readonly #tensors: Tensor[] = [];
  readonly #weights: Weight[] = [];
  readonly #sets: ParameterSet[] = [];

  constructor(engine: Engine, seed: number, isBfloat16 = engine.storage.elementBytes === 2, hold?: HeldFormat) {
    this.engine = engine;
    this.random = new MersenneTwister(seed);
    this.isBfloat16 = isBfloat16;
    this.hold = hold;
  }

  numbers(count: number, deviation = 1): Float32Array {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = deviation * this.random.nextNormal();
    return values;
  }

  /** Random 32-bit keys of dropout rows. */
  rowKeys(count: number): Int32Array {
    return Int32Array.from({ length: count }, () => this.random.nextUint32());
  }

  /** A tensor and its numbers as the engine holds them, also when it has computed with it. */
  async tensor(
    shape: readonly number[],
    data = this.numbers(sizeOf(shape)),
  ): Promise<{ tensor: Tensor; values: Float64Array }> {
    return this.table(shape, this.isBfloat16 && shape.length > 1 ? Float32Array.from(roundBfloat16(data)) : data);
  }

  /** A tensor that stays float32 everywhere. */
  async table(shape: readonly number[], data: Float32Array): Promise<{ tensor: Tensor; values: Float64Array }> {
    const tensor = this.engine.fromArray(data, shape);
    this.#tensors.push(tensor);
    return { tensor, values: Float64Array.from(await this.engine.read(tensor)) };
  }

  async weight(
    name: string,
    shape: readonly number[],
    dtype: DType,
    deviation = 1,
    stack?: StackPlace,
  ): Promise<{ weight: Weight; values: Float64Array }> {
    const numbers = this.numbers(sizeOf(shape), deviation);
    const { bytes, values } = encodeAll(this.isBfloat16 ? roundBfloat16(numbers) : numbers, dtype);
    const read = async (target: Uint8Array, offset = 0): Promise<void> => {
      target.set(bytes.subarray(offset, offset + target.length));
    };
    const hold = shape.length > 1 ? this.hold : undefined;
    const source = { name, shape, dtype, byteLength: bytes.length, stack, hold, read };
    const weight = await this.engine.loadWeight(source);
    this.#weights.push(weight);
    const { held } = weight;
    assert.equal(held, hold?.format, `what ${name} is held in`);
    return { weight, values: hold ? plainHeldValues(values, shape.at(-1)!, hold) : Float64Array.from(values) };
  }

  parameters(specs: readonly { name: string; shape: readonly number[]; deviation: number }[]): {
    set: ParameterSet;
    values: Float64Array;
    byName: (name: string) => Parameter;
  } {
    const full = specs.map(({ name, shape, deviation }) => ({
      name,
      shape,
      initial: this.numbers(sizeOf(shape), deviation),
    }));
    const set = this.engine.createParameters(full);
    this.#sets.push(set);
    const values = joined(full.map(({ initial }) => initial));
    return { set, values, byName: (name) => set.parameters.find((parameter) => parameter.name === name)! };
  }

  /** `parameters`, without a set where there are none. */
  parametersIfAny(specs: Parameters<Laboratory['parameters']>[0]): {
    set: ParameterSet | undefined;
    values: Float64Array;
    byName: (name: string) => Parameter;
  } {
    if (specs.length > 0) return this.parameters(specs);
    return { set: undefined, values: new Float64Array(0), byName: (name) => assert.fail(`no parameter ${name}`) };
  }

  /** Frees everything that was made here. */
  clear(): void {
    for (const tensor of this.#tensors.splice(0)) this.engine.release(tensor);
    for (const weight of this.#weights.splice(0)) this.engine.releaseWeight(weight);
    for (const set of this.#sets.splice(0)) this.engine.releaseParameters(set);
  }
}
