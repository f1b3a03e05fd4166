/**
 * Label smoothing, noise on embeddings and rates by parameter: the `cuda` engine on a card against the `cpu` engine.
 *
 *   npx tsx test/engine/cuda/card/check-options.ts
 */
import { createEngine } from '../../../../src/engine/create-engine.js';
import type { Engine } from '../../../../src/engine/engine.js';
import { relativeL2 } from '../../../parity/check-list.js';
import { Laboratory } from '../../conformance/laboratory.js';

const [ROWS, COLUMNS, VOCABULARY] = [1500, 24, 100_003];
/** Of one rounding to bf16, and of a chain of them. */
const [ROUNDING, CHAIN] = [4e-3, 1.5e-2];

let failed = 0;
function check(name: string, isRight: boolean, note: string | number = ''): void {
  if (!isRight) failed++;
  console.log(`${isRight ? 'ok    ' : 'FAILED'} ${name} ${note}`);
}

function isSame(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
}

/** Loss and gradient of hidden rows, on both engines of the same values. */
async function lossOn(engine: Engine, smoothing: number | undefined): Promise<[number, Float32Array]> {
  const lab = new Laboratory(engine, 5, true);
  const { weight } = await lab.weight('head', [VOCABULARY, COLUMNS], 'bf16', 2 * COLUMNS ** -0.5);
  const { tensor } = await lab.tensor([ROWS, COLUMNS]);
  const targets = Int32Array.from({ length: ROWS }, (_, i) => (i * 7919) % VOCABULARY);
  const attributes = { head: weight, targets, scale: 1 / ROWS, smoothing };
  const { crossEntropy } = engine.operations;
  const { outputs, saved } = crossEntropy.forward([tensor], attributes, true);
  const one = engine.fromArray(Float32Array.of(1), [1]);
  for (const each of saved) engine.retain(each);
  const [gradient] = crossEntropy.backward(saved, [one, undefined], attributes, [true]);
  const result = [(await engine.read(outputs[0]!))[0]!, await engine.read(gradient!)] as [number, Float32Array];
  for (const each of [...outputs, ...saved, one, gradient!]) engine.release(each);
  lab.clear();
  return result;
}

async function embeddedOn(engine: Engine, bound: number): Promise<Float32Array> {
  const lab = new Laboratory(engine, 6, true);
  const { weight } = await lab.weight('table', [99, 5120], 'bf16');
  const ids = Int32Array.from({ length: 777 }, (_, i) => (i * 31) % 99);
  const noise = { rowKeys: lab.rowKeys(777), bounds: new Float32Array(777).fill(bound) };
  const [out] = engine.operations.embedding.forward([], { table: weight, ids, noise }, false).outputs;
  const values = await engine.read(out!);
  engine.release(out!);
  lab.clear();
  return values;
}

async function steppedOn(
  engine: Engine,
  kind: 'adamw' | 'adamw8bit',
  learningRate: number,
  learningRateFactors?: readonly number[],
): Promise<Float32Array> {
  const lab = new Laboratory(engine, 7, true);
  const shapes = [
    [64, 70],
    [9, 5],
    [70, 64],
  ] as const;
  const { set } = lab.parameters(shapes.map((shape, i) => ({ name: `p${i}`, shape, deviation: 1 })));
  const state = engine.createOptimizerState(set, kind);
  const plain = { kind, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };
  for (let step = 0; step < 3; step++) {
    engine.zeroGradients(set);
    for (const { grad, shape, size } of set.parameters) {
      const { tensor } = await lab.tensor(shape, lab.numbers(size));
      engine.addInPlace(grad, tensor);
    }
    await engine.optimizerStep(set, state, { ...plain, learningRate, learningRateFactors })();
  }
  const values = await engine.readParameters(set);
  engine.releaseOptimizerState(set, state);
  lab.clear();
  return values;
}

async function main(): Promise<void> {
  const [cpu, cuda] = [await createEngine('cpu'), await createEngine('cuda')];
  for (const smoothing of [undefined, 0.1]) {
    const [[a, da], [b, db]] = [await lossOn(cpu, smoothing), await lossOn(cuda, smoothing)];
    const name = `smoothing ${smoothing ?? 'off'}`;
    check(`${name}: loss`, Math.abs(b / a - 1) < 1e-3, `${a} ${b}`);
    check(`${name}: gradient`, relativeL2(db, da) < CHAIN, relativeL2(db, da).toExponential(2));
  }
  const [[none, dNone], [zero, dZero]] = [await lossOn(cuda, undefined), await lossOn(cuda, 0)];
  check('smoothing 0 changes no bit', none === zero && isSame(dNone, dZero));

  for (const bound of [0.25, 3]) {
    const [a, b] = [await embeddedOn(cpu, bound), await embeddedOn(cuda, bound)];
    check(`noise of ${bound}`, relativeL2(b, a) < ROUNDING, relativeL2(b, a).toExponential(2));
  }

  for (const kind of ['adamw', 'adamw8bit'] as const) {
    const [slow, fast] = [await steppedOn(cuda, kind, 0.01), await steppedOn(cuda, kind, 0.04)];
    check(`${kind}: factors of 1 change no bit`, isSame(await steppedOn(cuda, kind, 0.01, [1, 1, 1]), slow));
    const mixed = await steppedOn(cuda, kind, 0.01, [1, 4, 4]);
    const wanted = Float32Array.from([...slow.subarray(0, 4480), ...fast.subarray(4480)]);
    check(`${kind}: factors of 1, 4 and 4`, isSame(mixed, wanted));
    check(`${kind}: as on the cpu`, relativeL2(mixed, await steppedOn(cpu, kind, 0.01, [1, 4, 4])) < 1e-4);
  }
  console.log(failed === 0 ? 'all passed' : `${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
  await cuda.dispose();
  await cpu.dispose();
}

await main();
