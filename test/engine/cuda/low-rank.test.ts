import { describe, expect, it } from 'vitest';
import { splitRows } from '../../../src/engine/cuda/operations/low-rank-gradients.js';
import type { TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import type { LinearPart } from '../../../src/engine/operations.js';
import { Tape } from '../../../src/engine/tape.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { recordingEngine } from '../recording-engine.js';

const [T, C] = [200, 48];

/** Launches of forward and backward of linear → attention block, whose q, k and v have adapters of these ranks. */
async function launchesOf(
  ranks: readonly number[],
  rematerialize = true,
): Promise<{ forward: string[]; back: string[]; rstd: unknown }> {
  const { engine, launches } = recordingEngine({ rematerialize });
  const load = (name: string, shape: number[], stack?: { name: string; row: number; rows: number }) =>
    engine.loadWeight({
      ...{ name, shape, dtype: 'bf16', byteLength: 2 * shape.reduce((a, b) => a * b), read: async () => {} },
      ...(stack && { stack }),
    });
  const norm = await load('norm', [C]);
  const head = await load('head', [9, C]);
  // The last one is of the layer before.
  const all = [...ranks, 16];
  const set = engine.createParameters(
    all.flatMap((rank, i) => [
      { name: `a${i}`, shape: [rank, C], initial: new Float32Array(rank * C) },
      { name: `b${i}`, shape: [C, rank], initial: new Float32Array(rank * C) },
    ]),
  );
  const rowKeys = new Int32Array(T);
  const parts: LinearPart[] = [];
  for (const i of all.keys()) {
    const stack = i < ranks.length ? { name: 'stack', row: C * i, rows: C * ranks.length } : undefined;
    const [a, b] = [set.parameters[2 * i]!, set.parameters[2 * i + 1]!];
    parts.push({
      weight: await load(`w${i}`, [C, C], stack),
      lora: { a, b, scale: 1, dropout: 0.1, seed: i, rowKeys },
    });
  }
  const before = parts.pop()!;
  let forward: string[] = [];
  // The first pass asks for the spare columns, the second one has them.
  for (let pass = 0; pass < 2; pass++) {
    const tape = new Tape(engine);
    const x = tape.own(engine.fromArray(new Float32Array(T * C), [T, C]));
    launches.length = 0;
    const table = tape.own(engine.fromArray(new Float32Array((T * C) / 2), [T, C / 2]));
    const segments = { queryStarts: Int32Array.of(0, T), keyStarts: Int32Array.of(0), keyLengths: Int32Array.of(T) };
    const loss = tape.region([x], (inner) => {
      const [first] = inner.apply('linear', [x], { parts: [before] });
      const [attended, sum] = inner.apply('attentionBlock', [first!, x], {
        norm: { weight: norm, eps: 1e-5 },
        projections: parts as [LinearPart, LinearPart, LinearPart],
        rotary: { headDim: C, cos: table, sin: table },
        attention: { heads: 1, kvHeads: 1, headDim: C, scale: 1, causal: true, segments },
      }) as [Tensor, Tensor];
      const stream = inner.apply('add', [attended, sum], {});
      return inner.apply('crossEntropy', stream, { head, targets: new Int32Array(T), scale: 1 });
    })[0]!;
    forward = launches.map(({ name }) => name);
    launches.length = 0;
    tape.backward(loss);
  }
  const back = launches.map(({ name }) => name);
  const fused = launches.find(({ name }) => name.startsWith('lora_backward'));
  return { forward, back, rstd: fused?.parameters.rstd };
}

describe('adapters of a stacked layer', () => {
  it('take x of a norm as it is made, and both gradients in one pass', async () => {
    const { forward, back, rstd } = await launchesOf([16, 8, 4]);
    expect(back).not.toContain('rms_norm_forward');
    expect(rstd).toBeGreaterThan(0);
    const at = back.findIndex((name) => name.startsWith('lora'));
    expect(back.slice(at, at + 3)).toEqual(['lora_gradient_b', 'product', 'lora_backward_48']);
    // u is saved by the kernel that makes it.
    expect(forward).toContain('lora_down_48');
    expect(forward.filter((name) => name === 'copy_bf16')).toHaveLength(1);
  });

  it('read x where it was kept', async () => {
    const { back, rstd } = await launchesOf([16, 16, 16], false);
    expect(back).toContain('lora_backward_48');
    expect(rstd).toBeUndefined();
  });

  it('of wide ranks take a pass for dx and one for A, for which the norm is computed again', async () => {
    const { back } = await launchesOf([32, 32, 32]);
    const at = back.findIndex((name) => name.startsWith('lora'));
    expect(back.slice(at, at + 5)).toEqual([
      ...['lora_gradient_b', 'product', 'lora_input_gradient', 'rms_norm_forward', 'lora_gradient_a'],
    ]);
  });
});

describe('splitRows', () => {
  const store = { kernels: { multiprocessors: 132 } } as unknown as TensorStore;

  it('covers all rows in ranges of whole tiles, none of them empty', () => {
    for (const rows of [1, 64, 65, 3841, 9440]) {
      for (const strips of [1, 16, 80, 256, 700]) {
        const split = splitRows(store, rows, strips, 2, 0.5);
        expect(split.rows % 64).toBe(0);
        expect(split.rows * split.splits).toBeGreaterThanOrEqual(rows);
        expect(split.rows * (split.splits - 1)).toBeLessThan(rows);
      }
    }
  });

  it('fills the card with one wave, or with whole ones', () => {
    expect(splitRows(store, 3841, 256, 2, 0.5).splits).toBe(1);
    expect(splitRows(store, 3841, 80, 2, 0.5).splits).toBe(3);
    expect(splitRows(store, 9440, 16, 2, 0.5).splits).toBe(15);
  });
});
