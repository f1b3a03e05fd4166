/**
 * A model of three parameters in typed arrays, with the shape of LoRA: pred = b0 · (a0·x + a1), B starting at zero.
 * A token id is x in thousandths, a label is the target in hundredths; label t belongs to position t-1.
 */
import type { Dataset, SftExample, VlmBatch } from '../../src/data/types.js';
import { AdamW8bitState, applyAdamW, applyAdamW8bit, clipScale, gradientNorm } from '../../src/engine/cpu/optimizer.js';
import type { Engine, OptimizerState, OptimizerStep } from '../../src/engine/engine.js';
import { noteChange } from '../../src/engine/parameter-lease.js';
import type { Parameter, ParameterSet, Tensor } from '../../src/engine/tensor.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { SftTrainer, type SftTrainerOptions } from '../../src/train/sft-trainer.js';
import type { AccumulateOptions, TrainableModel } from '../../src/train/trainable-model.js';

interface LinearState extends OptimizerState {
  readonly steps: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  readonly packed: AdamW8bitState;
}

export interface LinearModel extends TrainableModel {
  readonly values: Float32Array;
  /** Micro-batches by their sample ids, in the order in which they came. */
  readonly seen: string[][];
  readonly seeds: number[];
  readonly steps: OptimizerStep[];
  /** Called before the gradients of a window are made. */
  onWindow?: (window: number, signal: AbortSignal | undefined) => void | Promise<void>;
}

export function linearModel(
  options: { disconnected?: boolean; initialB?: number; lossScale?: () => number } = {},
): LinearModel {
  const values = Float32Array.from([0.5, -0.3, options.initialB ?? 0]);
  const grads = new Float32Array(3);
  const tensor = { id: 0, shape: [], size: 0 } as Tensor;
  const parameter = (name: string, offset: number, size: number): Parameter => {
    return { name, shape: [size], size, offset, value: tensor, grad: tensor };
  };
  const trainable: ParameterSet = { parameters: [parameter('lora_A', 0, 2), parameter('lora_B', 2, 1)], size: 3 };
  const seen: string[][] = [];
  const steps: OptimizerStep[] = [];
  const seeds: number[] = [];

  const engine = {
    tokensPerPass: 0,
    memory: () => ({ bytesInUse: 3 * 2 ** 30, peakBytes: 4 * 2 ** 30, limitBytes: 8 * 2 ** 30 }),
    resetPeak: () => undefined,
    readParameters: async () => values.slice(),
    writeParameters: (set: ParameterSet, source: Float32Array) => {
      noteChange(set);
      values.set(source);
    },
    readGradients: async () => grads.slice(),
    zeroGradients: (set: ParameterSet) => {
      noteChange(set);
      grads.fill(0);
    },
    createOptimizerState: (set: ParameterSet, kind: OptimizerStep['kind']): LinearState => {
      return {
        kind,
        steps: new Float32Array(1),
        m: new Float32Array(3),
        v: new Float32Array(3),
        packed: new AdamW8bitState(set.parameters.map((p) => p.size)),
      };
    },
    releaseOptimizerState: () => undefined,
    optimizerStep: (_: ParameterSet, state: LinearState, options: OptimizerStep) => {
      const step = { ...options, step: ++state.steps[0]! };
      const norm = gradientNorm(grads);
      const scale = clipScale(norm, step.maxGradNorm);
      if (state.kind === 'adamw') applyAdamW(values, grads, state.m, state.v, step, scale);
      else applyAdamW8bit(values, grads, state.packed, step, scale);
      steps.push(step);
      return async () => norm;
    },
    readOptimizerState: async (_: ParameterSet, { kind, steps, m, v, packed }: LinearState) => {
      return { steps: steps.slice(), ...(kind === 'adamw' ? { m: m.slice(), v: v.slice() } : packed.toArrays()) };
    },
    writeOptimizerState: (_: ParameterSet, state: LinearState, arrays: Record<string, Float32Array>) => {
      state.steps.set(arrays.steps!);
      if (state.kind !== 'adamw') return state.packed.fromArrays(arrays);
      state.m.set(arrays.m!);
      state.v.set(arrays.v!);
    },
  } as unknown as Engine;

  const pass = (batch: VlmBatch, scale: number | undefined): { lossSum: number; labelCount: number } => {
    const [rows, columns] = batch.inputIds.shape as [number, number];
    const [a0, a1, b] = values as unknown as [number, number, number];
    let lossSum = 0;
    let labelCount = 0;
    for (let row = 0; row < rows; row++) {
      for (let t = 1; t < columns; t++) {
        const label = batch.labels!.data[row * columns + t]!;
        if (label === -100) continue;
        const x = batch.inputIds.data[row * columns + t - 1]! / 1000;
        const error = b * (a0 * x + a1) - label / 100;
        lossSum += error ** 2;
        labelCount++;
        if (scale === undefined || options.disconnected) continue;
        grads[0]! += scale * 2 * error * b * x;
        grads[1]! += scale * 2 * error * b;
        grads[2]! += scale * 2 * error * (a0 * x + a1);
      }
    }
    return { lossSum, labelCount };
  };

  const model: LinearModel = {
    engine,
    trainable,
    values,
    seen,
    seeds,
    steps,
    async accumulateGradients(batches: readonly VlmBatch[], { labelCount, dropoutSeeds, signal }: AccumulateOptions) {
      await model.onWindow?.(steps.length, signal);
      seeds.push(...dropoutSeeds);
      let loss = 0;
      for (const batch of batches) {
        seen.push([...batch.sampleIds!]);
        loss += pass(batch, 1 / labelCount).lossSum / labelCount;
      }
      const scale = options.lossScale?.() ?? 1;
      if (scale !== 1) grads.set(grads.map((g) => g * scale));
      return async () => loss * scale;
    },
    evaluateLoss: async (batch) => pass(batch, undefined),
  };
  return model;
}

/** Sample i: 3 to 5 tokens, one or two of them without a label. */
export function linearSample(i: number): { ids: number[]; labels: number[] } {
  const length = 3 + (i % 3);
  const ids = Array.from({ length }, (_, t) => 100 * ((7 * i + 3 * t) % 11) - 500);
  const labels = ids.map((_, t) => (t < 1 + (i % 2) ? -100 : 10 * ((5 * i + 2 * t) % 13) + i));
  return { ids, labels };
}

export function linearDataset(length: number, offset = 0): Dataset<SftExample> {
  const get = async (i: number): Promise<SftExample> => {
    return { id: String(i), messages: [{ role: 'user', content: JSON.stringify(linearSample(i + offset)) }] };
  };
  return {
    length,
    get,
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < length; i++) yield await get(i);
    },
  };
}

export const linearCollator = {
  async collate(examples: readonly SftExample[]): Promise<VlmBatch> {
    const rows = examples.map(
      ({ messages }) => JSON.parse(messages[0]!.content as string) as ReturnType<typeof linearSample>,
    );
    const columns = Math.max(0, ...rows.map(({ ids }) => ids.length));
    const shape = [rows.length, columns];
    const fill = (value: number, pick: (row: (typeof rows)[number]) => number[]) => {
      const data = new Int32Array(rows.length * columns).fill(value);
      rows.forEach((row, r) => {
        data.set(pick(row), r * columns);
      });
      return { data, shape };
    };
    return {
      inputIds: fill(0, ({ ids }) => ids),
      attentionMask: fill(0, ({ ids }) => ids.map(() => 1)),
      labels: fill(-100, ({ labels }) => labels),
      sampleIds: examples.map(({ id }) => id!),
    };
  },
};

/** A trainer of seven samples, two in a micro-batch and two micro-batches a step. */
export function linearTrainer(
  model: LinearModel,
  config: SftConfigInput,
  more: Partial<SftTrainerOptions> = {},
): SftTrainer {
  return new SftTrainer({
    model,
    trainDataset: linearDataset(7),
    collator: linearCollator,
    ...more,
    config: {
      progress: 'none',
      perDeviceTrainBatchSize: 2,
      gradientAccumulationSteps: 2,
      learningRate: 0.02,
      ...config,
    },
  });
}
