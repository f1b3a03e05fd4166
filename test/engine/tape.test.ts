import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { Tape } from '../../src/engine/tape.js';
import type { Parameter, ParameterSet, Tensor, Weight } from '../../src/engine/tensor.js';
import { EngineError } from '../../src/errors.js';
import { expectSame } from './conformance/conformance.js';
import { Laboratory } from './conformance/laboratory.js';
import {
  plainActivation,
  plainAttention,
  plainCrossEntropy,
  plainLinear,
  plainRmsNorm,
  plainRotary,
  plainRun,
  rowElements,
} from './conformance/plain-reference.js';

// Pauses are counted here, so none may come because the machine is slow.
vi.mock('../../src/async/event-loop.js', async (original) => ({
  ...(await original<object>()),
  isTurnDue: () => false,
}));

const [T, C, HEADS, KV_HEADS, D, R, V] = [23, 24, 4, 2, 8, 3, 19];
const SCALE = 1.5;
const EPS = 1e-5;
const MODULES = { q: [HEADS * D, C], k: [KV_HEADS * D, C], v: [KV_HEADS * D, C], o: [C, HEADS * D] } as const;
type Module = keyof typeof MODULES;

interface Held {
  readonly weight: Weight;
  readonly values: Float64Array;
}

/** A small decoder with LoRA on its attention, on an engine and in plain double precision. */
class Network {
  readonly lab: Laboratory;
  readonly layers: number;
  readonly dropout: number;
  readonly table: Held;
  readonly head: Held;
  readonly norms: Held[];
  readonly weights: Record<Module, Held>[];
  readonly set: ParameterSet;
  readonly values: Float64Array;
  readonly angles: Float32Array;
  readonly ids = Int32Array.from({ length: T }, (_, i) => (7 * i) % V);
  readonly targets = Int32Array.from({ length: T }, (_, i) => (5 * i + 3) % V);
  readonly rowKeys = Int32Array.from({ length: T }, (_, i) => 0x51ed270b * (i + 1));
  readonly segments = {
    queryStarts: Int32Array.of(0, 9, 10, T),
    keyStarts: Int32Array.of(0, 9, 10),
    keyLengths: Int32Array.of(9, 1, T - 10),
  };

  private constructor(
    lab: Laboratory,
    dropout: number,
    held: { table: Held; head: Held; norms: Held[]; weights: Record<Module, Held>[] },
  ) {
    this.lab = lab;
    this.layers = held.weights.length;
    this.dropout = dropout;
    this.table = held.table;
    this.head = held.head;
    this.norms = held.norms;
    this.weights = held.weights;
    this.angles = lab.numbers((T * D) / 2);
    const { set, values } = lab.parameters(
      held.weights.flatMap((_, layer) =>
        Object.entries(MODULES).flatMap(([name, [out, input]]) => [
          { name: `${layer}.${name}.a`, shape: [R, input], deviation: 0.3 },
          { name: `${layer}.${name}.b`, shape: [out, R], deviation: 0.3 },
        ]),
      ),
    );
    this.set = set;
    this.values = values;
  }

  static async create(engine: Engine, layers: number, dropout: number): Promise<Network> {
    const lab = new Laboratory(engine, 42);
    const [table, head] = [await lab.weight('table', [V, C], 'bf16'), await lab.weight('head', [V, C], 'bf16', 0.5)];
    const norms: Held[] = [];
    const weights: Record<Module, Held>[] = [];
    for (let i = 0; i < layers; i++) {
      const own: Partial<Record<Module, Held>> = {};
      for (const [name, shape] of Object.entries(MODULES))
        own[name as Module] = await lab.weight(name, shape, 'bf16', 0.3);
      weights.push(own as Record<Module, Held>);
    }
    for (let i = 0; i <= layers; i++) norms.push(await lab.weight('norm', [C], 'f32'));
    return new Network(lab, dropout, { table, head, norms, weights });
  }

  parameter(name: string): Parameter {
    return this.set.parameters.find((parameter) => parameter.name === name)!;
  }

  #part(layer: number, name: Module) {
    const [a, b] = [this.parameter(`${layer}.${name}.a`), this.parameter(`${layer}.${name}.b`)];
    const seed = 100 * layer + name.charCodeAt(0);
    const lora = { a, b, scale: SCALE, dropout: this.dropout, seed, rowKeys: this.rowKeys };
    return { weight: this.weights[layer]![name].weight, lora };
  }

  /** Each layer keeps the stream as a pair, added by the next norm. */
  loss(tape: Tape, recompute: boolean, leaves = false): Tensor {
    const [embedded] = tape.apply('embedding', [], { table: this.table.weight, ids: this.ids }) as [Tensor];
    let stream: readonly Tensor[] = [embedded];
    for (let layer = 0; layer < this.layers; layer++) {
      const options = { recompute, offload: leaves ? stream : [] };
      stream = tape.region(stream, (inner, inputs) => this.#layer(inner, inputs, layer), options);
    }
    const [normed] = tape.apply('rmsNorm', [stream[1]!, stream[0]!], {
      weight: this.norms[this.layers]!.weight,
      eps: EPS,
    }) as [Tensor];
    const attributes = { head: this.head.weight, targets: this.targets, scale: 1 / T };
    return tape.apply('crossEntropy', [normed], attributes)[0]!;
  }

  #layer(tape: Tape, stream: readonly Tensor[], layer: number): readonly Tensor[] {
    const norm = { weight: this.norms[layer]!.weight, eps: EPS };
    const [normed, sum = stream[0]!] = tape.apply('rmsNorm', [...stream].reverse(), norm) as [Tensor, Tensor?];
    const parts = (['q', 'k', 'v'] as const).map((name) => this.#part(layer, name));
    const [q, k, v] = tape.apply('linear', [normed], { parts }) as [Tensor, Tensor, Tensor];
    const half = [T, D / 2];
    // Made in the region: they must live until backward has used them, without the region's help.
    const cos = tape.own(tape.engine.fromArray(this.angles.map(Math.cos), half));
    const sin = tape.own(tape.engine.fromArray(this.angles.map(Math.sin), half));
    const [rotatedQ, rotatedK] = tape.apply('rotary', [q, k], { headDim: D, cos, sin }) as [Tensor, Tensor];
    const shape = {
      heads: HEADS,
      kvHeads: KV_HEADS,
      headDim: D,
      scale: D ** -0.5,
      causal: true,
      segments: this.segments,
    };
    const attended = tape.apply('attention', [rotatedQ, rotatedK, v], shape);
    const [out] = tape.apply('linear', attended, { parts: [this.#part(layer, 'o')] }) as [Tensor];
    return [sum, out];
  }

  plainLoss(parameters: Float64Array): number {
    const run = plainRun(parameters, false);
    let x = Float64Array.from(rowElements(this.ids, C), (at) => this.table.values[at]!);
    const [cos, sin] = [Math.cos, Math.sin].map((f) => Float64Array.from(this.angles.map(f))) as [
      Float64Array,
      Float64Array,
    ];
    for (let layer = 0; layer < this.layers; layer++) {
      const linear = (input: Float64Array, name: Module): Float64Array => {
        const [n, k] = MODULES[name];
        const { seed, rowKeys } = this.#part(layer, name).lora;
        const [a, b] = [this.parameter(`${layer}.${name}.a`).offset, this.parameter(`${layer}.${name}.b`).offset];
        const lora = { a, b, rank: R, scale: SCALE, dropout: this.dropout, seed, rowKeys };
        return plainLinear(run, input, k, [{ weight: this.weights[layer]![name].values, n, lora }]).outputs[0]!;
      };
      const normed = plainRmsNorm(run, [x], this.norms[layer]!.values, EPS).outputs[0]!;
      const turned = plainRotary(run, [linear(normed, 'q'), linear(normed, 'k')], { headDim: D, cos, sin }, T);
      const shape = {
        heads: HEADS,
        kvHeads: KV_HEADS,
        headDim: D,
        scale: D ** -0.5,
        causal: true,
        segments: this.segments,
      };
      const attended = plainAttention(run, [...turned.outputs, linear(normed, 'v')], shape);
      const out = linear(attended.outputs[0]!, 'o');
      x = x.map((value, i) => value + out[i]!);
    }
    const last = plainRmsNorm(run, [x], this.norms[this.layers]!.values, EPS).outputs[0]!;
    const wanted = { head: this.head.values, targets: this.targets, scale: 1 / T };
    return plainCrossEntropy(run, last, C, wanted).outputs[0]![0]!;
  }
}

/** Relative L2 error of a gradient, by differences along random directions. */
function errorAlong(
  lab: Laboratory,
  values: Float64Array,
  gradient: Float32Array,
  f: (values: Float64Array) => number,
): number {
  let [total, size] = [0, 0];
  for (let k = 0; k < 12; k++) {
    const u = lab.numbers(values.length);
    const moved = (step: number): number => f(values.map((value, i) => value + step * u[i]!));
    const expected = (moved(1e-4) - moved(-1e-4)) / 2e-4;
    total += (gradient.reduce((sum, g, i) => sum + g * u[i]!, 0) - expected) ** 2;
    size += expected ** 2;
  }
  return Math.sqrt(total / size);
}

describe('tape', () => {
  let engine: Engine;
  beforeAll(() => {
    engine = createCpuEngine({ threads: 2 });
  });
  afterAll(() => engine.dispose());

  /** Loss, gradients and the most bytes that the pass took. */
  async function train(
    network: Network,
    recompute: boolean,
  ): Promise<{ loss: number; gradients: Float32Array; peak: number }> {
    engine.zeroGradients(network.set);
    const before = engine.memory().bytesInUse;
    engine.resetPeak();
    const tape = new Tape(engine);
    const loss = network.loss(tape, recompute);
    const [value] = await engine.read(loss);
    tape.backward(loss);
    expect(engine.memory().bytesInUse, 'bytes in use after the step').toBe(before);
    return {
      loss: value!,
      gradients: await engine.readGradients(network.set),
      peak: engine.memory().peakBytes - before,
    };
  }

  it.each([0, 0.25])('differentiates a decoder with LoRA, dropout %s', async (dropout) => {
    const network = await Network.create(engine, 2, dropout);
    const { loss, gradients } = await train(network, false);
    expect(loss).toBeCloseTo(network.plainLoss(network.values), 5);
    const error = errorAlong(network.lab, network.values, gradients, (values) => network.plainLoss(values));
    expect(error).toBeLessThan(1e-5);
    network.lab.clear();
  });

  it('gives the same bits with recomputed regions, in less memory', async () => {
    const network = await Network.create(engine, 6, 0.25);
    const plain = await train(network, false);
    const recomputed = await train(network, true);
    expect(recomputed.loss).toBe(plain.loss);
    expect(plain.gradients.some((value) => value !== 0)).toBe(true);
    expectSame(recomputed.gradients, plain.gradients);
    expect(recomputed.peak).toBeLessThan(0.6 * plain.peak);
    network.lab.clear();
  });

  it.each([false, true])('gives the same bits in stretches, and all is freed (recompute %s)', async (recompute) => {
    const network = await Network.create(engine, 7, 0.25);
    const plain = await train(network, recompute);
    engine.zeroGradients(network.set);
    const before = engine.memory().bytesInUse;
    const tape = new Tape(engine);
    const bytes: number[] = [];
    await tape.backwardInStretches(network.loss(tape, recompute), async () => {
      await new Promise((resolve) => setImmediate(resolve));
      bytes.push(engine.memory().bytesInUse);
    });
    expect(engine.memory().bytesInUse).toBe(before);
    expectSame(await engine.readGradients(network.set), plain.gradients);
    // There is a pause after each recomputed layer.
    expect(bytes.length).toBe(recompute ? 7 : 2);
    if (!recompute) expect(bytes[1]).toBeLessThan(bytes[0]!);
    network.lab.clear();
  });

  it('frees everything when it is disposed without backward, and saves nothing when it does not record', async () => {
    const network = await Network.create(engine, 4, 0);
    const before = engine.memory().bytesInUse;
    const peaks = [true, false].map((record) => {
      engine.resetPeak();
      const tape = new Tape(engine, { record });
      network.loss(tape, false);
      tape.dispose();
      expect(engine.memory().bytesInUse).toBe(before);
      return engine.memory().peakBytes - before;
    });
    expect(peaks[1]).toBeLessThan(0.5 * peaks[0]!);
    network.lab.clear();
  });

  it.each([false, true])('adds up the gradients of every consumer of a tensor (recompute %s)', async (recompute) => {
    const lab = new Laboratory(engine, 11);
    const [rows, columns, vocabulary] = [5, 12, 7];
    const x = await lab.tensor([rows, columns]);
    const weight = await lab.weight('w', [columns, columns], 'f32', 0.3);
    const head = await lab.weight('head', [vocabulary, columns], 'f32', 0.3);
    const specs = [
      { name: 'a', shape: [2, columns], deviation: 0.5 },
      { name: 'b', shape: [columns, 2], deviation: 0.5 },
    ];
    const { set, values, byName } = lab.parameters(specs);
    const targets = Int32Array.from({ length: rows }, (_, i) => i);
    const lora = { a: byName('a'), b: byName('b'), scale: 1, dropout: 0, seed: 0 };
    const before = engine.memory().bytesInUse;
    const tape = new Tape(engine);
    const y = tape.apply('linear', [x.tensor], { parts: [{ weight: weight.weight, lora }] });
    // y goes into both sides of a sum, into a gate, and past both; the sum of sums is a side of two more.
    const mixed = tape.region(
      y,
      (inner, [input]) => {
        const twice = inner.apply('add', [input!, input!], {})[0]!;
        const gated = inner.apply('gatedActivation', [input!, twice], { activation: 'silu' })[0]!;
        return inner.apply('add', [inner.apply('add', [gated, twice], {})[0]!, input!], {});
      },
      { recompute },
    );
    const fourfold = tape.apply('add', [mixed[0]!, mixed[0]!], {});
    const loss = tape.apply('crossEntropy', fourfold, { head: head.weight, targets, scale: 1 })[0]!;
    tape.backward(loss);
    expect(engine.memory().bytesInUse).toBe(before);
    const plainLoss = (parameters: Float64Array): number => {
      const run = plainRun(parameters, false);
      const pair = { a: 0, b: 24, rank: 2, scale: 1, dropout: 0, seed: 0 };
      const part = { weight: weight.values, n: columns, lora: pair };
      const output = plainLinear(run, x.values, columns, [part]).outputs[0]!;
      const sum = output.map((value) => 2 * (plainActivation('silu', value) * 2 * value + 3 * value));
      return plainCrossEntropy(run, sum, columns, { head: head.values, targets, scale: 1 }).outputs[0]![0]!;
    };
    expect(errorAlong(lab, values, await engine.readGradients(set), plainLoss)).toBeLessThan(1e-5);
    lab.clear();
  });

  it('lets inputs of recomputed regions leave, and asks for each while the region after it runs again', async () => {
    const network = await Network.create(engine, 3, 0);
    const calls: string[] = [];
    const order: Tensor[] = [];
    Object.assign(engine, {
      moveToHost: (tensor: Tensor) => calls.push(`out ${order.push(tensor) - 1}`),
      prefetch: (tensor: Tensor) => calls.push(`back ${order.indexOf(tensor)}`),
    });
    const tape = new Tape(engine);
    const loss = network.loss(tape, true, true);
    // One tensor of the first layer, then two of each; the second layer reads the first one's again.
    expect(calls.splice(0)).toEqual(['out 0', 'out 1', 'out 2', 'out 3', 'out 4']);
    await tape.backwardInStretches(loss, async () => void calls.push('pause'));
    expect(calls).toEqual(['back 3', 'back 4', 'back 0', 'back 2', 'pause', 'back 0', 'pause', 'pause']);
    delete engine.moveToHost;
    delete engine.prefetch;
    network.lab.clear();
  });

  it('frees what a region made, so that using it afterwards is an error', () => {
    const tape = new Tape(engine);
    const x = tape.own(engine.fromArray(new Float32Array(4), [2, 2]));
    let inside: Tensor | undefined;
    tape.region([x], (inner) => {
      inside = inner.apply('add', [x, x], {})[0]!;
      return inner.apply('add', [inside, x], {});
    });
    expect(() => tape.apply('add', [inside!, x], {})).toThrow(EngineError);
    tape.dispose();
  });
});
