/** The least of an engine that an adapter needs, and a model of both towers without weights. */
import type { Parameter, ParameterSet, Tensor } from '../../src/engine/tensor.js';
import { type DType, sizeOf } from '../../src/formats/weight-source.js';
import type { LoraEngine, LoraHost } from '../../src/lora/apply-lora.js';
import type { LinearModule } from '../../src/model/linear-module.js';

let nextId = 1;
const tensor = (shape: readonly number[]): Tensor => ({ id: nextId++, shape, size: sizeOf(shape) });

/** Holds parameter sets in plain arrays. */
export class FakeEngine implements LoraEngine {
  readonly values = new Map<ParameterSet, Float32Array>();

  createParameters(specs: readonly { name: string; shape: readonly number[]; initial: Float32Array }[]): ParameterSet {
    const parameters: Parameter[] = [];
    let size = 0;
    for (const { name, shape, initial } of specs) {
      if (initial.length !== sizeOf(shape)) throw new Error(`${name}: ${initial.length} values for [${shape}]`);
      parameters.push({ name, shape, size: initial.length, offset: size, value: tensor(shape), grad: tensor(shape) });
      size += initial.length;
    }
    const set = { parameters, size };
    const flat = new Float32Array(size);
    for (const [i, { initial }] of specs.entries()) flat.set(initial, parameters[i]!.offset);
    this.values.set(set, flat);
    return set;
  }

  async readParameters(set: ParameterSet): Promise<Float32Array> {
    return this.#flat(set).slice();
  }

  writeParameters(set: ParameterSet, values: Float32Array): void {
    this.#flat(set).set(values);
  }

  releaseParameters(set: ParameterSet): void {
    this.#flat(set);
    this.values.delete(set);
  }

  #flat(set: ParameterSet): Float32Array {
    const flat = this.values.get(set);
    if (!flat) throw new Error('released or unknown parameter set');
    return flat;
  }
}

/** [name in memory, out, in] of every linear layer of a model with `layers` layers in each tower. */
export function linearShapes(layers: number): [string, number, number][] {
  const shapes: [string, number, number][] = [];
  for (let i = 0; i < layers; i++) {
    const text = `model.language_model.layers.${i}`;
    const vision = `model.vision_tower.transformer.layers.${i}`;
    shapes.push(
      [`${text}.self_attn.q_proj`, 16, 12],
      [`${text}.self_attn.k_proj`, 8, 12],
      [`${text}.self_attn.v_proj`, 8, 12],
      [`${text}.self_attn.o_proj`, 12, 16],
      [`${text}.mlp.gate_proj`, 20, 12],
      [`${text}.mlp.up_proj`, 20, 12],
      [`${text}.mlp.down_proj`, 12, 20],
      ...(['q', 'k', 'v', 'o'] as const).map((p): [string, number, number] => [
        `${vision}.attention.${p}_proj`,
        10,
        10,
      ]),
      [`${vision}.feed_forward.gate_proj`, 14, 10],
      [`${vision}.feed_forward.up_proj`, 14, 10],
      [`${vision}.feed_forward.down_proj`, 10, 14],
    );
  }
  const projector = 'model.multi_modal_projector';
  shapes.push(
    [`${projector}.patch_merger.merging_layer`, 10, 40],
    [`${projector}.linear_1`, 12, 10],
    [`${projector}.linear_2`, 12, 12],
  );
  return shapes;
}

export interface FakeModel extends LoraHost {
  readonly engine: FakeEngine;
}

export function fakeModel(options: { layers?: number; dtype?: DType } = {}): FakeModel {
  const { layers = 2, dtype = 'f32' } = options;
  const linearModules = linearShapes(layers).map(([name, out, inner], index): LinearModule => {
    return {
      name,
      index,
      weight: { name: `${name}.weight`, shape: [out, inner], dtype },
      bias: undefined,
      lora: undefined,
    };
  });
  return { engine: new FakeEngine(), linearModules };
}

/** Reproducible numbers in ±0.5. */
export function someNumbers(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const x = Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453;
    return x - Math.floor(x) - 0.5;
  });
}
