/**
 * A model of three parameters in typed arrays, with the shape of LoRA: pred = b0 · (a0·x + a1), B starting at zero.
 * A token id is x in thousandths, a label is the target in hundredths; label t belongs to position t-1.
 */
import type { PackedBatch } from '../../src/batch/packed-batch.js';
import type { Dataset, SftExample, VlmBatch } from '../../src/data/types.js';
import { AdamW8bitState, applyAdamW, applyAdamW8bit, clipScale, gradientNorm } from '../../src/engine/cpu/optimizer.js';
import type { Engine, OptimizerState, OptimizerStep } from '../../src/engine/engine.js';
import type { OperationAttributes } from '../../src/engine/operations.js';
import { noteChange } from '../../src/engine/parameter-lease.js';
import type { Tape } from '../../src/engine/tape.js';
import type { Parameter, ParameterSet, Tensor } from '../../src/engine/tensor.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { SftTrainer, type SftTrainerOptions } from '../../src/train/sft-trainer.js';
import type { TrainableModel } from '../../src/train/trainable-model.js';
import type { GradientAccess } from '../distributed/loopback-sum.js';

interface LinearState extends OptimizerState {
  readonly steps: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  readonly packed: AdamW8bitState;
}

export interface LinearModel extends TrainableModel {
  /** For `withLoopback`. */
  readonly gradients: GradientAccess;
  readonly values: Float32Array;
  /** Micro-batches by their sample ids, in the order in which they came. */
  readonly seen: string[][];
  readonly seeds: number[];
  readonly steps: OptimizerStep[];
  /** Called before the gradients of a window are made. */
  onWindow?: (window: number) => unknown;
  /** Called before the loss of a batch is measured. */
  onEvaluate?: () => unknown;
  /** Called when the loss of a window is fetched. */
  onFetch?: (window: number) => unknown;
}

/** On the stand-in engine a tensor is its values. */
interface LinearTensor extends Tensor {
  readonly data: Float64Array;
  /** The window whose loss it is; -1 for others. */
  readonly window: number;
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

  const tensorOf = (data: Float64Array, window = -1): LinearTensor => {
    return { id: nextId++, shape: [data.length], size: data.length, data, window };
  };
  let nextId = 1;
  /** A window was packed, and none of it is computed. */
  let begins = false;
  /** What the next pause calls. */
  let hook: (() => unknown) | undefined;
  let lossScale = 1;

  /** Calls `each` with the input of every labelled token and its error. */
  const errors = ({ ids, labelRows, labelTargets }: PackedBatch, each: (x: number, error: number) => void): void => {
    const [a0, a1, b] = values as unknown as [number, number, number];
    for (const [i, row] of labelRows.entries()) {
      const x = ids[row]! / 1000;
      each(x, b * (a0 * x + a1) - labelTargets[i]! / 100);
    }
  };
  const loss = {
    forward: (_: unknown, { packed, scale }: { packed: PackedBatch; scale: number }) => {
      let sum = 0;
      errors(packed, (_x, error) => {
        sum += error ** 2;
      });
      return { outputs: [tensorOf(Float64Array.of(sum * scale), packed.rowKeys && steps.length)], saved: [] };
    },
    backward: (_: unknown, __: unknown, { packed, scale }: { packed: PackedBatch; scale: number }) => {
      const [a0, a1, b] = values as unknown as [number, number, number];
      if (options.disconnected) return [];
      isTouched = true;
      errors(packed, (x, error) => {
        grads[0]! += scale * 2 * error * b * x;
        grads[1]! += scale * 2 * error * b;
        grads[2]! += scale * 2 * error * (a0 * x + a1);
      });
      return [];
    },
  };

  const engine = {
    tokensPerPass: 0,
    storage: { reserveBytes: 0 },
    operations: { linear: loss },
    keepPace: async () => {
      const begun = hook;
      hook = undefined;
      await begun?.();
    },
    mark: () => 0,
    releaseSince: () => undefined,
    retain: () => undefined,
    release: () => undefined,
    fromArray: (array: Float32Array) => tensorOf(Float64Array.from(array)),
    read: async ({ data, window }: LinearTensor) => {
      if (window >= 0) await model.onFetch?.(window);
      return data;
    },
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
      isTouched = false;
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
      let isCounted = false;
      return async () => {
        // As engines do: a step that was none does not count.
        if (!Number.isFinite(norm) && !isCounted) state.steps[0]!--;
        isCounted = true;
        return norm;
      };
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

  let isTouched = false;
  const gradients: GradientAccess = {
    read: async () => grads.slice(),
    write: (_, sums, touched) => {
      grads.set(sums);
      isTouched = touched[0]!;
    },
    touched: () => [isTouched, isTouched],
  };

  const model: LinearModel = {
    gradients,
    engine,
    trainable,
    values,
    seen,
    seeds,
    steps,
    pack: (batch, dropout) => {
      if (dropout) {
        seen.push([...batch.sampleIds!]);
        seeds.push(dropout.seed);
        begins = true;
      }
      return packRows(batch, dropout !== undefined);
    },
    passCosts: () => ({
      layers: { vision: 0, text: 0 },
      hostBytes: () => 0,
      peakBytes: () => 0,
      weight: ({ tokens }) => tokens,
      recomputeTime: () => 0,
      tileTime: () => 0,
      passTime: 1,
    }),
    *lossSteps(tape: Tape, packed, scale) {
      const isTrained = packed.rowKeys !== undefined;
      if (isTrained && begins) {
        begins = false;
        hook = async () => {
          await model.onWindow?.(steps.length);
          lossScale = options.lossScale?.() ?? 1;
        };
      } else if (!isTrained) hook = () => model.onEvaluate?.();
      yield 0;
      if (packed.labelRows.length === 0) return undefined;
      const [a, b] = trainable.parameters;
      const attributes = { parts: [{ lora: { a, b } }], packed, scale: isTrained ? scale * lossScale : scale };
      return tape.apply('linear', [], attributes as unknown as OperationAttributes['linear'])[0];
    },
  };
  return model;
}

/** As `packBatch`, for ids that may be negative. */
function packRows({ inputIds, attentionMask, labels }: VlmBatch, isTrained: boolean): PackedBatch {
  const [rows, columns] = inputIds.shape as [number, number];
  const ids: number[] = [];
  const positions: number[] = [];
  const starts = [0];
  const labelRows: number[] = [];
  const labelTargets: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let t = 0; t < columns && attentionMask.data[row * columns + t]; t++) {
      const label = labels!.data[row * columns + t]!;
      if (t > 0 && label !== -100) {
        labelRows.push(ids.length - 1);
        labelTargets.push(label);
      }
      ids.push(inputIds.data[row * columns + t]!);
      positions.push(t);
    }
    starts.push(ids.length);
  }
  return {
    ids: Int32Array.from(ids),
    positions: Int32Array.from(positions),
    starts: Int32Array.from(starts),
    labelRows: Int32Array.from(labelRows),
    labelTargets: Int32Array.from(labelTargets),
    rowKeys: isTrained ? new Int32Array(ids.length) : undefined,
    images: undefined,
  };
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
