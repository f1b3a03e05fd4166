import { expect, it } from 'vitest';
import { runPass } from '../../src/engine/computation.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import type { Tape } from '../../src/engine/tape.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { Laboratory } from './conformance/laboratory.js';

const [T, C, R] = [5, 16, 2];
/** Which weights and parameters each layer of the chain has: those of `a` come twice. */
const CHAIN = ['a', 'b', 'a', 'c'];
const NAMES = ['a', 'b', 'c', 'unused'].flatMap((name) => [`${name}.A`, `${name}.B`]);

it.each([
  ['kept', false],
  ['recomputed', true],
])('backward says when nothing more is added to a gradient, with %s layers', async (_, recompute) => {
  await using engine = createCpuEngine({ threads: 1 });
  const lab = new Laboratory(engine, 7);
  const { set } = lab.parameters(
    NAMES.map((name) => ({ name, shape: name.endsWith('A') ? [R, C] : [C, R], deviation: 0.5 })),
  );
  const [{ weight }, { weight: head }] = [
    await lab.weight('weight', [C, C], 'f32', 0.3),
    await lab.weight('head', [7, C], 'f32'),
  ];
  const { tensor: x } = await lab.tensor([T, C]);
  const parameter = (name: string) => set.parameters.find((one) => one.name === name)!;
  const layer = (tape: Tape, input: Tensor, name: string): Tensor => {
    const lora = { a: parameter(`${name}.A`), b: parameter(`${name}.B`), scale: 1, dropout: 0, seed: 1 };
    return tape.apply('linear', [input], { parts: [{ weight, lora }] })[0]!;
  };
  /** Names in the order in which they were final, and their gradients at that moment. */
  const heard: string[] = [];
  const then = new Map<string, Promise<Float32Array>>();
  const part = (name: string, all: Float32Array): number[] => {
    const { offset, size } = parameter(name);
    return [...all.subarray(offset, offset + size)];
  };
  await runPass(engine, { record: true }, async (pass) => {
    let stream: Tensor = x;
    for (const name of CHAIN) {
      const options = { recompute };
      stream = pass.tape.region([stream], (tape, [input]) => [layer(tape, input!, name)], options)[0]!;
    }
    const targets = Int32Array.from({ length: T }, (_, i) => i % 7);
    const [loss] = pass.tape.apply('crossEntropy', [stream], { head, targets, scale: 1 });
    const final = (names: readonly string[]): void => {
      heard.push(...names);
      for (const name of names) then.set(name, engine.readGradients(set));
    };
    await pass.backward(loss!, { set, final });
  });
  expect(heard).toEqual(['unused', 'c', 'b', 'a'].flatMap((name) => [`${name}.A`, `${name}.B`]));
  const last = await engine.readGradients(set);
  for (const name of NAMES) {
    const gradient = part(name, last);
    expect(gradient.some((value) => value !== 0)).toBe(!name.startsWith('unused'));
    expect(part(name, await then.get(name)!)).toEqual(gradient);
  }
});
