/** The calls that a training step and a decoding step of Ministral 3 make, with their shapes and their work. */

import type { Engine } from '../../src/engine/engine.js';
import type { Operation, OperationAttributes, OperationName, Segments } from '../../src/engine/operations.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { sizeOf } from '../../src/formats/weight-source.js';
import type { LinearModule } from '../../src/model/linear-module.js';
import { linearPart } from '../../src/model/network/layers.js';
import { textFrequencies, textRotary, visionRotary } from '../../src/model/network/rope.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { counterHash } from '../../src/random.js';

/** What one sample holds. */
export interface SampleShape {
  readonly samples: number;
  readonly tokens: number;
  readonly labels: number;
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number];
}

export interface Work {
  /** Of products and attention; 0 elsewhere. */
  readonly flops: number;
  /** What must be read and written once. */
  readonly bytes: number;
}

export interface OperationCase {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: cases of all operations stand in one list
  readonly operation: Operation<any>;
  readonly attributes: unknown;
  /** Shapes of the inputs, and of the outputs' gradients; absent where there is no backward. */
  readonly inputs: readonly (readonly number[])[];
  readonly gradients?: readonly (readonly number[])[];
  readonly record?: boolean;
  readonly forward: Work;
  readonly backward?: Work;
}

type Shape = readonly number[];
const bytesOf = (shapes: readonly Shape[]): number => 2 * shapes.reduce((sum, shape) => sum + sizeOf(shape), 0);

export function operationCases(engine: Engine, model: VisionLanguageModel, sample: SampleShape): OperationCase[] {
  const { text, vision, spatialMergeSize: merge } = model.config;
  const { samples, tokens, labels, grid } = sample;
  const T = samples * tokens;
  const perImage = grid[0] * grid[1];
  const P = samples * perImage;
  const M = P / merge ** 2;
  const L = samples * labels;
  const cases: OperationCase[] = [];

  function add<K extends OperationName>(
    operation: K,
    label: string,
    attributes: OperationAttributes[K],
    inputs: readonly Shape[],
    outputs: readonly Shape[],
    work: {
      flops?: number;
      backwardFlops?: number;
      weightBytes?: number;
      backwardWeightBytes?: number;
      noBackward?: boolean;
    } = {},
  ): void {
    const { flops = 0, backwardFlops = flops, weightBytes = 0, noBackward = false } = work;
    const { backwardWeightBytes = weightBytes } = work;
    const shapes = inputs.map((shape) => `[${shape.join('×')}]`).join(' ');
    const own = bytesOf(inputs) + bytesOf(outputs);
    cases.push({
      name: `${operation} ${label} ${shapes}`.trim(),
      operation: engine.operations[operation],
      attributes,
      inputs,
      forward: { flops, bytes: own + weightBytes },
      // Gradients in, gradients out, and the inputs once more.
      ...(noBackward
        ? { record: false }
        : {
            gradients: outputs,
            backward: { flops: backwardFlops, bytes: own + bytesOf(inputs) + backwardWeightBytes },
          }),
    });
  }

  function linear(label: string, rows: number, modules: readonly LinearModule[], noBackward = false): void {
    const rowKeys = noBackward ? undefined : Int32Array.from({ length: rows }, (_, row) => counterHash(1, row));
    const parts = modules.map((module) => linearPart(module, rowKeys));
    const inner = modules[0]!.weight.shape[1]!;
    const outputs = modules.map(({ weight }) => [rows, weight.shape[0]!]);
    const width = outputs.reduce((sum, [, columns]) => sum + columns!, 0);
    const weightBytes = 2 * inner * width;
    add('linear', label, { parts }, [[rows, inner]], outputs, {
      flops: 2 * rows * inner * width,
      weightBytes,
      noBackward,
    });
  }

  function attention(
    label: string,
    heads: number,
    kvHeads: number,
    headDim: number,
    causal: boolean,
    lengths: { query: number; key: number },
    count: number,
  ): void {
    const isDecoding = lengths.query !== lengths.key;
    const starts = (length: number): Int32Array => Int32Array.from({ length: count + 1 }, (_, i) => i * length);
    const segments: Segments = {
      queryStarts: starts(lengths.query),
      keyStarts: starts(lengths.key).slice(0, count),
      keyLengths: new Int32Array(count).fill(lengths.key),
    };
    const [q, k] = [
      [count * lengths.query, heads * headDim],
      [count * lengths.key, kvHeads * headDim],
    ];
    const pairs = count * lengths.query * lengths.key * (causal && !isDecoding ? 0.5 : 1);
    const flops = 4 * pairs * heads * headDim;
    const attributes = { heads, kvHeads, headDim, scale: headDim ** -0.5, causal, segments };
    const work = { flops, backwardFlops: 2.5 * flops, noBackward: isDecoding };
    add('attention', label, attributes, [q!, k!, k!], [q!], work);
  }

  const table = (values: Float32Array, rows: number): Tensor => engine.fromArray(values, [rows, values.length / rows]);
  const { modules } = model;

  // The decoder.
  const H = text.hiddenSize;
  const [layer] = modules.textLayers;
  const { q, k, v, o } = layer!.attention;
  const row = [T, H];
  const ids = Int32Array.from({ length: T }, (_, i) => 1000 + ((i * 7919) % 100000));
  add('embedding', 'tokens', { table: modules.embedTokens, ids }, [], [row], { noBackward: true });
  add('rmsNorm', 'text, with residual', { weight: layer!.mlpNorm, eps: text.normEps }, [row, row], [row, row]);
  linear('text q,k,v', T, [q, k, v]);
  const positions = Int32Array.from({ length: T }, (_, i) => i % tokens);
  const textTables = textRotary(text.rope, textFrequencies(text.rope, text.headDim), positions);
  const [textCos, textSin] = [table(textTables.cos, T), table(textTables.sin, T)];
  const queries = [T, text.heads * text.headDim];
  const keys = [T, text.kvHeads * text.headDim];
  add('rotary', 'text', { headDim: text.headDim, cos: textCos, sin: textSin }, [queries, keys], [queries, keys]);
  const whole = { query: tokens, key: tokens };
  attention('text', text.heads, text.kvHeads, text.headDim, true, whole, samples);
  linear('text o', T, [o]);
  linear('text gate,up', T, [layer!.gate, layer!.up]);
  const inner = [T, text.intermediateSize];
  add('gatedActivation', 'text', { activation: text.activation }, [inner, inner], [inner]);
  linear('text down', T, [layer!.down]);
  add('add', 'text', {}, [row, row], [row]);
  const labelRows = Int32Array.from({ length: L }, (_, i) => Math.floor(i / labels) * tokens + (i % labels));
  add('gatherRows', 'labelled', { rows: labelRows }, [row], [[L, H]]);
  const targets = Int32Array.from({ length: L }, (_, i) => (i * 7919) % text.vocabSize);
  const headFlops = 2 * L * H * text.vocabSize;
  add('crossEntropy', 'with its gradient', { head: modules.lmHead, targets, scale: 1 / L }, [[L, H]], [[1]], {
    ...{ flops: 2 * headFlops, backwardFlops: 0, weightBytes: 4 * text.vocabSize * H, backwardWeightBytes: 0 },
  });

  // The vision tower and the projector.
  const C = vision.hiddenSize;
  const [visionLayer] = modules.visionLayers;
  const eye = visionLayer!.attention;
  const patch = [P, C];
  const pixels = 3 * vision.patchSize ** 2;
  add('linear', 'patches', { parts: [{ weight: modules.patchConv }] }, [[P, pixels]], [patch], {
    ...{ flops: 2 * P * pixels * C, weightBytes: 2 * pixels * C, noBackward: true },
  });
  add('rmsNorm', 'vision, with residual', { weight: visionLayer!.mlpNorm, eps: 1e-5 }, [patch, patch], [patch, patch]);
  linear('vision q,k,v', P, [eye.q, eye.k, eye.v]);
  const grids = Int32Array.from({ length: 2 * samples }, (_, i) => grid[i % 2]!);
  const visionTables = visionRotary(vision.ropeTheta, vision.headDim, grids);
  const [visionCos, visionSin] = [table(visionTables.cos, P), table(visionTables.sin, P)];
  add('rotary', 'vision', { headDim: vision.headDim, cos: visionCos, sin: visionSin }, [patch, patch], [patch, patch]);
  attention('vision', vision.heads, vision.heads, vision.headDim, false, { query: perImage, key: perImage }, samples);
  linear('vision o', P, [eye.o]);
  linear('vision gate,up', P, [visionLayer!.gate, visionLayer!.up]);
  const visionInner = [P, vision.intermediateSize];
  add('gatedActivation', 'vision', { activation: vision.activation }, [visionInner, visionInner], [visionInner]);
  linear('vision down', P, [visionLayer!.down]);
  add('mergePatches', 'vision', { grids, merge }, [patch], [[M, C * merge ** 2]]);
  linear('projector merging', M, [modules.mergingLayer]);
  linear('projector 1', M, [modules.linear1]);
  add('activation', 'projector', { activation: model.config.projectorActivation }, [[M, H]], [[M, H]]);
  linear('projector 2', M, [modules.linear2]);
  const imageRows = Int32Array.from(
    { length: M },
    (_, i) => Math.floor(i / (M / samples)) * tokens + (i % (M / samples)),
  );
  add('scatterRows', 'features', { rows: imageRows }, [row, [M, H]], [row]);

  // One new token of one sequence.
  linear('one token q,k,v', 1, [q, k, v], true);
  attention('one token', text.heads, text.kvHeads, text.headDim, true, { query: 1, key: tokens }, 1);
  linear('one token o', 1, [o], true);
  linear('one token gate,up', 1, [layer!.gate, layer!.up], true);
  linear('one token down', 1, [layer!.down], true);
  add('linear', 'one token lm_head', { parts: [{ weight: modules.lmHead }] }, [[1, H]], [[1, text.vocabSize]], {
    ...{ flops: 2 * H * text.vocabSize, weightBytes: 2 * H * text.vocabSize, noBackward: true },
  });
  return cases;
}
