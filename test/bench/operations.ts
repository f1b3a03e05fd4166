/**
 * Time of each operation of the table, forward and backward, at the shapes of a real size on the cuda engine.
 *
 *   npm run bench:ops -- [--size 14B] [--samples 8] [--tokens 516] [--grid 28x50] [--labels 170] [--rank 16]
 *                        [--dropout 0.05] [--repeat 10] [--only REGEXP]
 *
 * Tokens, picture grid (in patches) and labelled tokens are those of one sample. Events stand around every call while
 * the device still has work before it, so that the host's time does not count; two sets of operands take turns. Prints
 * a line and a RESULT line each: medians in µs; TFLOP/s of products and attention, which leave the adapter's own thin
 * products out; GB/s of what must be read and written once (operands, results and weights in bfloat16). Gradients of
 * q, k, v and of gate, up lie apart here, so their backward puts them side by side first, which a training step need not.
 */
import { parseArgs } from 'node:util';
import type { Tensor } from '../../src/engine/tensor.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { median } from './median.js';
import { openCuda } from './open-cuda.js';
import { type OperationCase, operationCases } from './operation-cases.js';
import { randomModel, type Size } from './random-model.js';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    samples: { type: 'string', default: '8' },
    tokens: { type: 'string', default: '516' },
    grid: { type: 'string', default: '28x50' },
    labels: { type: 'string', default: '170' },
    rank: { type: 'string', default: '16' },
    dropout: { type: 'string', default: '0.05' },
    repeat: { type: 'string', default: '10' },
    only: { type: 'string', default: '' },
  },
});
const WARM_UP = 3;
const SETS = 2;

const { driver, engine } = openCuda();
console.log(engine.description);
const model = await randomModel(engine, options.size as Size, { text: 1, vision: 1 });
const adapter = applyLora(model, {
  ...{ r: Number(options.rank), alpha: 2 * Number(options.rank), dropout: Number(options.dropout) },
  targetModules: [...LAYER_PROJECTIONS],
});

const noise = Float32Array.from({ length: 1 << 20 }, (_, i) => Math.sin(i * 12.9898) * Math.SQRT2);
function randomTensor(shape: readonly number[]): Tensor {
  const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  for (let at = 0; at < data.length; at += noise.length) data.set(noise.subarray(0, data.length - at), at);
  return engine.fromArray(data, shape);
}

interface Call {
  readonly outputs: readonly Tensor[];
  readonly saved: readonly Tensor[];
}

function forward({ operation, attributes, record = true }: OperationCase, inputs: readonly Tensor[]): Call {
  const { outputs, saved } = operation.forward(inputs, attributes, record);
  for (const tensor of saved) engine.retain(tensor);
  return { outputs, saved };
}
function free({ outputs, saved }: Call): void {
  for (const tensor of [...outputs, ...saved]) engine.release(tensor);
}

const [rows, columns] = options.grid.split('x').map(Number) as [number, number];
const cases = operationCases(engine, model, {
  samples: Number(options.samples),
  tokens: Number(options.tokens),
  labels: Number(options.labels),
  grid: [rows, columns],
});
const wanted = cases.filter(({ name }) => new RegExp(options.only).test(name));
const plug = cases.find(({ name }) => name.startsWith('linear text gate,up'))!;
const plugInputs = plug.inputs.map(randomTensor);

/** Work that keeps the device busy while the host queues what is measured. */
function keepBusy(milliseconds: number): void {
  for (let i = 0; i < milliseconds; i++) free(forward({ ...plug, record: false }, plugInputs));
}

/** Device times in µs of a call's two directions. */
function time(one: OperationCase): { forward: number; backward: number | undefined } {
  const sets = Array.from({ length: SETS }, () => one.inputs.map(randomTensor));
  const gradientSets = one.gradients ? Array.from({ length: SETS }, () => one.gradients!.map(randomTensor)) : [];
  const repeat = Number(options.repeat);
  const events = Array.from({ length: 3 * repeat }, () => driver.createEvent(true));
  for (let i = -WARM_UP; i < repeat; i++) {
    if (i === 0) keepBusy(40);
    const mark = (at: number): void => {
      if (i >= 0) driver.recordEvent(events[3 * i + at]!);
    };
    const set = (i + SETS * WARM_UP) % SETS;
    mark(0);
    const call = forward(one, sets[set]!);
    mark(1);
    if (one.gradients) {
      const needs = one.inputs.map(() => true);
      // Outputs without a gradient of their own, such as the losses of rows, come last.
      const results = one.operation.backward(call.saved, gradientSets[set]!, one.attributes, needs);
      mark(2);
      for (const result of results) if (result) engine.release(result);
    }
    free(call);
  }
  driver.synchronize();
  const between = (from: number, to: number): number =>
    1000 *
    median(
      Array.from({ length: repeat }, (_, i) => driver.elapsedMilliseconds(events[3 * i + from]!, events[3 * i + to]!)),
    );
  const times = { forward: between(0, 1), backward: one.gradients && between(1, 2) };
  for (const tensor of [...sets, ...gradientSets].flat()) engine.release(tensor);
  return times;
}

console.log('     µs  TFLOP/s   GB/s  what');
for (const one of wanted) {
  const times = time(one);
  for (const direction of ['forward', 'backward'] as const) {
    const us = times[direction];
    if (us === undefined) continue;
    const { flops, bytes } = one[direction]!;
    const tflops = flops > 0 ? flops / us / 1e6 : undefined;
    const gigabytes = bytes / us / 1e3;
    console.log(
      `${us.toFixed(1).padStart(7)} ${(tflops?.toFixed(0) ?? '').padStart(8)} ${gigabytes.toFixed(0).padStart(6)}  ` +
        `${direction === 'forward' ? 'F' : 'B'} ${one.name}`,
    );
    console.log(
      `RESULT ${JSON.stringify({ bench: 'ops', size: options.size, op: one.name, direction, us, tflops, gigabytes })}`,
    );
  }
}
adapter.dispose();
model.dispose();
await engine.dispose();
