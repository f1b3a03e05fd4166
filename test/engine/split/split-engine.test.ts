/** A model laid over two and three cpu engines computes what it does on one, bit by bit. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../../src/data/types.js';
import { VlmCollator } from '../../../src/data/vlm-collator.js';
import { type CpuEngine, createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import type { Engine, OptimizerArrays, OptimizerStep } from '../../../src/engine/engine.js';
import { SplitEngine } from '../../../src/engine/split/split-engine.js';
import { EngineError, OutOfMemoryError } from '../../../src/errors.js';
import { loadModel, loadProcessor } from '../../../src/model/load.js';
import type { VisionLanguageModel } from '../../../src/model/network/vision-language-model.js';
import { type AccumulateOptions, countLabels } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { makeAdapter, makeExamples, writeTinyModel } from '../../e2e/tiny-model.js';

let dir: string;
let batches: VlmBatch[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ministral-tune-split-'));
  await writeTinyModel(dir);
  const processor = await loadProcessor(dir);
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
  const examples = makeExamples(4, 9);
  batches = await Promise.all([0, 2].map((i) => collator.collate(examples.slice(i, i + 2))));
});
afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** @param rooms bytes that the heaps may grow to: the model is laid over them in proportion */
function splitOver(...rooms: number[]): { engine: SplitEngine; parts: CpuEngine[] } {
  const parts = rooms.map((maxBytes) => createCpuEngine({ threads: 1, maxBytes }));
  return { engine: new SplitEngine(parts), parts };
}

const MIB = 2 ** 20;

/** Which engine each layer lies on: of the vision tower, of the decoder, and the head. */
function placesOf({ engine, modules }: VisionLanguageModel): string {
  const layers = [...modules.visionLayers, ...modules.textLayers].map(({ down }) => down.weight);
  return [...layers, modules.lmHead]
    .map((weight) => engine.devices!.findIndex((device) => device.holds(weight)))
    .join('');
}

async function withModel<T>(engine: Engine, body: (model: VisionLanguageModel) => Promise<T>): Promise<T> {
  try {
    const model = await loadModel(dir, { engine });
    const result = await body(model);
    await model.dispose();
    return result;
  } finally {
    await engine.dispose();
  }
}

interface Trained {
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly gradients: Float32Array;
  readonly values: Float32Array;
  readonly arrays: OptimizerArrays;
}

/** Whatever memory the values lie in, for comparisons. */
function copyOf<T extends Float32Array | Uint8Array>(values: T): T {
  return (values instanceof Float32Array ? Float32Array.from(values) : Uint8Array.from(values)) as T;
}

async function train(
  model: VisionLanguageModel,
  kind: OptimizerStep['kind'],
  options: Partial<AccumulateOptions> = {},
  start?: { readonly values: Float32Array; readonly arrays: OptimizerArrays },
): Promise<Trained> {
  const { engine } = model;
  const adapter = makeAdapter(model, 0.1);
  const set = adapter.parameters;
  const state = engine.createOptimizerState(set, kind);
  if (start) {
    engine.writeParameters(set, start.values);
    engine.writeOptimizerState(set, state, start.arrays);
  }
  const [losses, norms]: [number[], number[]] = [[], []];
  let gradients: Float32Array = new Float32Array(0);
  for (let step = 0; step < 2; step++) {
    const loss = await accumulateGradients(model, batches, {
      labelCount: batches.reduce((sum, batch) => sum + countLabels(batch), 0),
      dropoutSeeds: batches.map((_, i) => 10 * step + i),
      gradientCheckpointing: false,
      ...options,
    });
    losses.push(await loss());
    gradients = copyOf(await engine.readGradients(set));
    const settings = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxGradNorm: 0.5 };
    norms.push(await engine.optimizerStep(set, state, { kind, ...settings })());
    engine.zeroGradients(set);
  }
  const values = copyOf(await engine.readParameters(set));
  const read = Object.entries(await engine.readOptimizerState(set, state));
  const arrays = Object.fromEntries(read.map(([name, array]) => [name, copyOf(array)]));
  engine.releaseOptimizerState(set, state);
  adapter.dispose();
  return { losses, norms, gradients, values, arrays };
}

function expectSame(got: Trained, expected: Trained): void {
  // The squares are summed in blocks, which begin anew on each engine: the order of the sum alone is another.
  for (const [i, norm] of got.norms.entries()) expect(norm / expected.norms[i]!).toBeCloseTo(1, 12);
  const bits = ({ losses, gradients, values, arrays }: Trained) => ({ losses, gradients, values, arrays });
  expect(bits(got)).toEqual(bits(expected));
}

/** Where the layers and the head lie with heaps of so many MiB. */
const CUTS: readonly (readonly [places: string, ...rooms: number[]])[] = [
  ['01111', 64, 64],
  ['00111', 96, 64],
  ['01222', 64, 64, 64],
];

describe('a model over several engines', () => {
  it.each(['adamw', 'adamw8bit'] as const)('trains as on one with %s, to the bit', async (kind) => {
    const one = await withModel(createCpuEngine({ threads: 1 }), (model) => train(model, kind));
    for (const [places, ...rooms] of CUTS) {
      const { engine, parts } = splitOver(...rooms.map((room) => room * MIB));
      await withModel(engine, async (model) => {
        expect(placesOf(model)).toBe(places);
        const held = parts.map((part) => part.memory().bytesInUse);
        expectSame(await train(model, kind), one);
        // Every copy went with its tensor.
        expect(parts.map((part) => part.memory().bytesInUse)).toEqual(held);
        expectSame(await train(model, kind, { gradientCheckpointing: true }), one);
        expect(parts.map((part) => part.memory().bytesInUse)).toEqual(held);
      });
    }
    expect(one.losses[1]).toBeLessThan(one.losses[0]!);
    // It was clipped.
    expect(one.norms[0]).toBeGreaterThan(0.5);
  });
});
