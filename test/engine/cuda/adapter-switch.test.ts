import { describe, expect, it } from 'vitest';
import type { LinearPart } from '../../../src/engine/operations.js';
import { Tape } from '../../../src/engine/tape.js';
import type { ParameterSet } from '../../../src/engine/tensor.js';
import { recordingEngine } from '../recording-engine.js';

const C = 48;

describe('a stacked layer whose adapter changes between passes', () => {
  it.each([1, 40, 600])('computes with the one that is asked for, %i rows', async (rows) => {
    const { engine, launches } = recordingEngine();
    const weights = await Promise.all(
      [0, 1, 2].map((i) =>
        engine.loadWeight({
          ...{ name: `w${i}`, shape: [C, C], dtype: 'bf16', byteLength: 2 * C * C, read: async () => {} },
          stack: { name: 'stack', row: C * i, rows: 3 * C },
        }),
      ),
    );
    const parameters = (ranks: readonly number[]): ParameterSet =>
      engine.createParameters(
        ranks.flatMap((rank, i) => [
          { name: `a${i}`, shape: [rank, C], initial: new Float32Array(rank * C) },
          { name: `b${i}`, shape: [C, rank], initial: new Float32Array(rank * C) },
        ]),
      );
    /** On all three parts; on the last alone, of a higher rank. */
    const sets = { a: parameters([16, 8, 4]), b: parameters([64]) };
    const loraOf = (set: ParameterSet, at: number, scale: number): NonNullable<LinearPart['lora']> => {
      const [a, b] = [set.parameters[2 * at]!, set.parameters[2 * at + 1]!];
      return { a, b, scale, dropout: 0, seed: 0, rowKeys: undefined };
    };
    const parts: Record<string, LinearPart[]> = {
      off: weights.map((weight) => ({ weight })),
      a: weights.map((weight, i) => ({ weight, lora: loraOf(sets.a, i, 2) })),
      b: weights.map((weight, i) => ({ weight, ...(i === 2 ? { lora: loraOf(sets.b, 0, 0.5) } : {}) })),
    };
    const run = (which: string): string[] => {
      const tape = new Tape(engine, { record: false });
      const x = tape.own(engine.fromArray(new Float32Array(rows * C), [rows, C]));
      launches.length = 0;
      tape.apply('linear', [x], { parts: parts[which]! });
      tape.dispose();
      return launches.map(({ name }) => name);
    };
    const base = run('off');
    expect(base).not.toContain('lora_refresh');
    // A change writes the copies of the new one; the same one again has them.
    expect(run('a')).toContain('lora_refresh');
    expect(run('a')).not.toContain('lora_refresh');
    expect(run('off')).toEqual(base);
    expect(run('a')).not.toContain('lora_refresh');
    expect(run('b')).toContain('lora_refresh');
    // scale·B of the third part alone: two copies, A and B.
    expect(launches.find(({ name }) => name === 'lora_refresh')!.parameters.entries).toBe(2);
    expect(run('off')).toEqual(base);
    expect(run('a')).toContain('lora_refresh');
    expect(launches.find(({ name }) => name === 'lora_refresh')!.parameters.entries).toBe(6);

    const before = engine.memory().bytesInUse;
    for (let i = 0; i < 5; i++) for (const which of ['b', 'off', 'a']) run(which);
    expect(engine.memory().bytesInUse).toBe(before);
    engine.releaseParameters(sets.b);
    expect(run('a')).not.toContain('lora_refresh');
    engine.releaseParameters(sets.a);
    expect(run('off')).toEqual(base);
  });
});
