import { describe, expect, it } from 'vitest';
import { COMPOSITIONS } from '../../../src/engine/compositions.js';
import type { CudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import type { CudaTensor } from '../../../src/engine/cuda/tensors.js';
import type { LinearPart } from '../../../src/engine/operations.js';
import { runAtOnce, Tape } from '../../../src/engine/tape.js';
import type { ParameterSet, Tensor, Weight } from '../../../src/engine/tensor.js';
import { type Launch, recordingEngine } from '../recording-engine.js';

const [T, C, F] = [130, 24, 72];

/** gate, up and down of one layer, gate and up stacked, each with an adapter of its rank or none. */
class Block {
  readonly engine: CudaEngine;
  readonly norm: Weight;
  readonly parts: readonly LinearPart[];
  readonly set: ParameterSet;

  private constructor(engine: CudaEngine, norm: Weight, parts: readonly LinearPart[], set: ParameterSet) {
    this.engine = engine;
    this.norm = norm;
    this.parts = parts;
    this.set = set;
  }

  static async create(engine: CudaEngine, ranks: readonly number[], dropout: number): Promise<Block> {
    const shapes = [
      [F, C],
      [F, C],
      [C, F],
    ] as const;
    const weights: Weight[] = [];
    for (const [i, shape] of shapes.entries()) {
      const stack = i < 2 ? { stack: { name: 'gateUp', row: F * i, rows: 2 * F } } : {};
      const [dtype, byteLength] = ['bf16', 2 * shape[0] * shape[1]] as const;
      weights.push(
        await engine.loadWeight({ name: `w${i}`, shape, dtype, byteLength, read: async () => {}, ...stack }),
      );
    }
    const set = engine.createParameters(
      shapes.flatMap(([out, input], i) => {
        const rank = ranks[i]!;
        if (rank === 0) return [];
        return [
          { name: `a${i}`, shape: [rank, input], initial: new Float32Array(rank * input) },
          { name: `b${i}`, shape: [out, rank], initial: new Float32Array(out * rank) },
        ];
      }),
    );
    const find = (name: string) => set.parameters.find((parameter) => parameter.name === name)!;
    const rowKeys = new Int32Array(T);
    const parts = weights.map((weight, i): LinearPart => {
      if (ranks[i] === 0) return { weight };
      return { weight, lora: { a: find(`a${i}`), b: find(`b${i}`), scale: 2, dropout, seed: i, rowKeys } };
    });
    const source = { name: 'norm', shape: [C], dtype: 'bf16', byteLength: 2 * C, read: async () => {} } as const;
    return new Block(engine, await engine.loadWeight(source), parts, set);
  }

  /** The block as one entry, or as the operations that it is made of. */
  run(tape: Tape, x: Tensor, isFused = true): Tensor {
    const [gate, up, down] = this.parts as [LinearPart, LinearPart, LinearPart];
    const norm = { weight: this.norm, eps: 1e-5 };
    const attributes = { norm, gateUp: [gate, up], activation: 'silu', down } as const;
    if (isFused) return tape.apply('gatedBlock', [x], attributes)[0]!;
    return runAtOnce(COMPOSITIONS.gatedBlock.compose(tape, [x], attributes))[0]!;
  }

  get touched(): string[] {
    return this.set.parameters.filter(({ grad }) => (grad as CudaTensor).isTouched).map(({ name }) => name);
  }
}

/** Of the backward of the activation, and of A of down and of gate and up. */
const SEPARATE = /gated_activation_forward|lora_backward|lora_gradient_a|gated_activation_backward/;

interface Run {
  readonly names: string[];
  readonly launches: readonly Launch[];
  readonly touched: readonly string[];
}

/** The launches of backward, after a first pass has asked for the spare columns. */
async function backward({
  ranks = [16, 16, 16],
  dropout = 0.1,
  rematerialize = true,
  recompute = false,
  isFused = true,
}): Promise<Run> {
  const { engine, launches } = recordingEngine({ rematerialize });
  const block = await Block.create(engine, ranks, dropout);
  const source = { name: 'head', shape: [9, C], dtype: 'bf16', byteLength: 18 * C, read: async () => {} } as const;
  const head = await engine.loadWeight(source);
  let held: number | undefined;
  for (;;) {
    const tape = new Tape(engine);
    const x = tape.own(engine.fromArray(new Float32Array(T * C), [T, C]));
    const last = tape.region([x], (inner) => [block.run(inner, x, isFused)], { recompute })[0]!;
    const loss = tape.apply('crossEntropy', [last], { head, targets: new Int32Array(T), scale: 1 })[0]!;
    engine.zeroGradients(block.set);
    launches.length = 0;
    tape.backward(loss);
    const { bytesInUse } = engine.memory();
    if (held !== undefined) {
      expect(bytesInUse, 'bytes held after each pass').toBe(held);
      return { names: launches.map(({ name }) => name), launches, touched: block.touched };
    }
    held = bytesInUse;
  }
}

const ALL = ['a0', 'b0', 'a1', 'b1', 'a2', 'b2'];

describe('the backward of a gated activation between adapted layers', () => {
  it.each([
    ['', {}],
    ['without dropout', { dropout: 0 }],
    ['of ranks 32', { ranks: [20, 32, 17] }],
    ['with kept results', { rematerialize: false }],
    ['in a region that runs again', { recompute: true }],
  ])('is one kernel %s', async (_title, options) => {
    const { names, launches, touched } = await backward(options);
    const rank = 'ranks' in options ? 32 : 16;
    const at = names.indexOf(`gated_backward_lora_${rank}`);
    expect(at).toBeGreaterThan(0);
    // Behind it, the sums are finished; what is left is the gradient of A of gate and up.
    const norm = 'rematerialize' in options ? [] : ['rms_norm_forward'];
    expect(names.slice(at + 1)).toEqual(['lora_finish_b', 'product', ...norm, 'lora_gradient_a']);
    const first = names.lastIndexOf('product', at);
    expect(names.slice(first, at)).toEqual(['product']);
    expect(names.filter((name) => name === 'lora_gradient_b')).toHaveLength(1);
    const { dgate, dup, dy, du, bits } = launches[at]!.parameters as Partial<Record<string, number>>;
    expect(dup! - dgate!).toBe(2 * F);
    // du lies behind dx.
    expect(du! - dy!).toBe(2 * F);
    expect(bits === undefined).toBe('dropout' in options);
    expect(touched).toEqual(ALL);
  });

  it.each([
    ['ranks differ', [16, 16, 32]],
    ['ranks are large', [64, 64, 64]],
    ['gate has no adapter', [0, 16, 16]],
    ['down has no adapter', [16, 16, 0]],
    ['only down has one', [0, 0, 16]],
  ])('is done by the separate kernels where %s', async (_title, ranks) => {
    const { names, touched } = await backward({ ranks });
    expect(names.some((name) => name.startsWith('gated_backward_lora'))).toBe(false);
    // Where nothing before down is trained, its input needs no gradient.
    const wanted =
      ranks[0] === 0 && ranks[1] === 0
        ? ['gated_activation_forward', 'lora_gradient_a']
        : ranks[2] === 0
          ? ['gated_activation_backward']
          : ['gated_activation_forward', `lora_backward_${ranks[2]}`, 'gated_activation_backward'];
    expect(names.filter((name) => SEPARATE.test(name)).slice(0, wanted.length)).toEqual(wanted);
    expect(touched).toEqual(ALL.filter((name) => ranks[Number(name[1])] !== 0));
  });

  it('is left to each operation where they are applied one by one', async () => {
    const { names, touched } = await backward({ isFused: false });
    expect(names.filter((name) => SEPARATE.test(name))).toEqual([
      ...['lora_backward_16', 'gated_activation_backward', 'lora_gradient_a'],
    ]);
    expect(touched).toEqual(ALL);
  });
});
