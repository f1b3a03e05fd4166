/** The cases of each operation: sizes that do not divide evenly, single rows, several segments, every weight format. */
import type {
  Activation,
  LinearPart,
  OperationAttributes,
  OperationName,
  Segments,
} from '../../../src/engine/operations.js';
import type { Parameter, ParameterSet, Tensor } from '../../../src/engine/tensor.js';
import type { DType } from '../../../src/formats/weight-source.js';
import { dropoutBits, NOISE_SEED } from '../../../src/random.js';
import type { Laboratory } from './laboratory.js';
import {
  type Plain,
  type PlainPart,
  type PlainRun,
  patchElements,
  plainActivations,
  plainAdd,
  plainAttention,
  plainCrossEntropy,
  plainGathered,
  plainLinear,
  plainMoved,
  plainRmsNorm,
  plainRotary,
  rowElements,
  type Values,
} from './plain-reference.js';

export interface Trial<A> {
  readonly inputs: readonly { readonly tensor: Tensor; readonly values: Float64Array }[];
  readonly attributes: A;
  readonly parameters?: { readonly set: ParameterSet | undefined; readonly values: Float64Array };
  reference(run: PlainRun, inputs: readonly Values[]): Plain;
  /** The first so many outputs carry gradients. Default: all. */
  readonly gradientOutputs?: number;
}

export interface Case<A> {
  readonly title: string;
  prepare(lab: Laboratory): Promise<Trial<A>>;
}

export interface LinearSpec {
  readonly out: number;
  readonly dtype: DType;
  readonly bias?: DType;
  readonly rank?: number;
  /** A multiple of 1/65536. */
  readonly dropout?: number;
}

/** Parts of one input for the engine and for the reference. */
export interface MadeParts {
  readonly parts: readonly LinearPart[];
  readonly plain: readonly PlainPart[];
}

interface PartOptions {
  /** Before the names of weights and parameters. */
  readonly name?: string;
  readonly rowKeys?: Int32Array | undefined;
  /** All weights in one matrix. */
  readonly isStacked?: boolean;
}

/** What the parameters of these parts are. */
export function parameterSpecs(k: number, specs: readonly LinearSpec[], name = '') {
  return specs.flatMap(({ out, rank }, i) =>
    rank
      ? [
          { name: `${name}a${i}`, shape: [rank, k], deviation: k ** -0.5 },
          { name: `${name}b${i}`, shape: [out, rank], deviation: 0.5 },
        ]
      : [],
  );
}

export async function linearParts(
  lab: Laboratory,
  k: number,
  specs: readonly LinearSpec[],
  byName: (name: string) => Parameter,
  { name = '', rowKeys, isStacked = false }: PartOptions = {},
): Promise<MadeParts> {
  const parts: LinearPart[] = [];
  const plain: PlainPart[] = [];
  const rows = specs.reduce((sum, { out }) => sum + out, 0);
  let row = 0;
  for (const [i, { out, dtype, bias, rank, dropout = 0 }] of specs.entries()) {
    const place = isStacked ? { name: `${name}stack`, row, rows } : undefined;
    const weight = await lab.weight(`${name}weight${i}`, [out, k], dtype, k ** -0.5, place);
    row += out;
    const offset = bias && (await lab.weight(`${name}bias${i}`, [out], bias));
    const settings = { scale: 0.5 + i, dropout, seed: 1234567 + 99 * i, rowKeys };
    const [a, b] = rank ? [byName(`${name}a${i}`), byName(`${name}b${i}`)] : [];
    parts.push({
      weight: weight.weight,
      bias: offset?.weight,
      lora: a && b ? { a, b, ...settings } : undefined,
    });
    plain.push({
      weight: weight.values,
      n: out,
      bias: offset?.values,
      lora: a && b ? { a: a.offset, b: b.offset, rank: rank!, ...settings } : undefined,
    });
  }
  return { parts, plain };
}

export function describeSpec({ out, dtype, bias, rank, dropout }: LinearSpec): string {
  return `${out} ${dtype}${bias ? ' + bias' : ''}${rank ? ` + LoRA r=${rank}` : ''}${dropout ? ` p=${dropout.toFixed(2)}` : ''}`;
}

function linear(
  rows: number,
  k: number,
  specs: readonly LinearSpec[],
  isStacked = false,
): Case<OperationAttributes['linear']> {
  return {
    title: `[${rows}, ${k}] → ${specs.map(describeSpec).join(', ')}${isStacked ? ', stacked' : ''}`,
    async prepare(lab) {
      const pairs = lab.parametersIfAny(parameterSpecs(k, specs));
      const rowKeys = specs.some(({ dropout }) => dropout) ? lab.rowKeys(rows) : undefined;
      const { parts, plain } = await linearParts(lab, k, specs, pairs.byName, { rowKeys, isStacked });
      return {
        inputs: [await lab.tensor([rows, k])],
        attributes: { parts },
        parameters: pairs,
        reference: (run, [x]) => plainLinear(run, x!, k, plain),
      };
    },
  };
}

function rmsNorm(rows: number, columns: number, dtype: DType, residual: boolean): Case<OperationAttributes['rmsNorm']> {
  return {
    title: `[${rows}, ${columns}] ${dtype}${residual ? ' + residual' : ''}`,
    async prepare(lab) {
      const { weight, values } = await lab.weight('norm', [columns], dtype);
      const inputs = [await lab.tensor([rows, columns])];
      if (residual) inputs.push(await lab.tensor([rows, columns]));
      return {
        inputs,
        attributes: { weight, eps: 1e-5 },
        reference: (run, all) => plainRmsNorm(run, all, values, 1e-5),
      };
    },
  };
}

function rotary(
  rows: number,
  heads: number,
  kvHeads: number,
  headDim: number,
  scaled: boolean,
): Case<OperationAttributes['rotary']> {
  return {
    title: `${rows} rows, ${heads} and ${kvHeads} heads of ${headDim}${scaled ? ', query scale' : ''}`,
    async prepare(lab) {
      const angles = lab.numbers((rows * headDim) / 2, 3);
      const cos = await lab.table([rows, headDim / 2], angles.map(Math.cos));
      const sin = await lab.table([rows, headDim / 2], angles.map(Math.sin));
      const queryScale = scaled ? await lab.tensor([rows]) : undefined;
      const [q, k] = [heads * headDim, kvHeads * headDim];
      return {
        inputs: [await lab.tensor([rows, q]), await lab.tensor([rows, k])],
        attributes: { headDim, cos: cos.tensor, sin: sin.tensor, queryScale: queryScale?.tensor },
        reference: (run, all) =>
          plainRotary(run, all, { headDim, cos: cos.values, sin: sin.values, queryScale: queryScale?.values }, rows),
      };
    },
  };
}

export function segments(queries: readonly number[], keys: readonly number[], starts?: readonly number[]): Segments {
  const sums = (lengths: readonly number[]): number[] =>
    [0, ...lengths].map((_, i) => lengths.slice(0, i).reduce((sum, length) => sum + length, 0));
  return {
    queryStarts: Int32Array.from(sums(queries)),
    keyStarts: Int32Array.from(starts ?? sums(keys).slice(0, -1)),
    keyLengths: Int32Array.from(keys),
  };
}

interface AttentionSpec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
  readonly queries: readonly number[];
  /** Default: as many as queries. */
  readonly keys?: readonly number[];
  /** Where the key ranges lie. Default: one after the other. */
  readonly keyStarts?: readonly number[];
  /** Rows of k and v beyond the last key range. */
  readonly spare?: number;
  /** Deviation of q and k; large ones make sharp probabilities. */
  readonly deviation?: number;
}

function attention(spec: AttentionSpec): Case<OperationAttributes['attention']> {
  const { heads, kvHeads, headDim, causal, queries, keyStarts, spare = 0, deviation = 1 } = spec;
  const keys = spec.keys ?? queries;
  const at = keyStarts ? ` at ${keyStarts.join(', ')}` : '';
  const sharp = deviation > 1 ? ', sharp' : '';
  return {
    title: `${heads}/${kvHeads} heads of ${headDim}, ${causal ? 'causal' : 'full'}, ${queries.join('+')} queries on ${keys.join('+')} keys${at}${sharp}`,
    async prepare(lab) {
      const ranges = segments(queries, keys, keyStarts);
      const rows = queries.reduce((a, b) => a + b);
      const keyRows = spare + Math.max(...ranges.keyStarts.map((start, s) => start + ranges.keyLengths[s]!));
      const [q, k] = [rows * heads * headDim, keyRows * kvHeads * headDim];
      const attributes = { heads, kvHeads, headDim, causal, segments: ranges, scale: headDim ** -0.5 };
      return {
        inputs: [
          await lab.tensor([rows, heads * headDim], lab.numbers(q, deviation)),
          await lab.tensor([keyRows, kvHeads * headDim], lab.numbers(k, deviation)),
          await lab.tensor([keyRows, kvHeads * headDim]),
        ],
        attributes,
        reference: (run, all) => plainAttention(run, all, attributes),
      };
    },
  };
}

/** Numbers away from relu's kink, and some far from zero. */
function spread(lab: Laboratory, count: number): Float32Array {
  return lab.numbers(count, 2.5).map((value) => value + Math.sign(value) * 0.01);
}

function activation(kind: Activation, rows: number, columns: number): Case<OperationAttributes['activation']> {
  return {
    title: `${kind} [${rows}, ${columns}]`,
    prepare: async (lab) => ({
      inputs: [await lab.tensor([rows, columns], spread(lab, rows * columns))],
      attributes: { activation: kind },
      reference: (run, all) => plainActivations(run, kind, all),
    }),
  };
}

function gatedActivation(
  kind: Activation,
  rows: number,
  columns: number,
): Case<OperationAttributes['gatedActivation']> {
  return {
    title: `${kind} [${rows}, ${columns}]`,
    prepare: async (lab) => ({
      inputs: [await lab.tensor([rows, columns], spread(lab, rows * columns)), await lab.tensor([rows, columns])],
      attributes: { activation: kind },
      reference: (run, all) => plainActivations(run, kind, all),
    }),
  };
}

function add(rows: number, columns: number): Case<OperationAttributes['add']> {
  return {
    title: `[${rows}, ${columns}]`,
    prepare: async (lab) => ({
      inputs: [await lab.tensor([rows, columns]), await lab.tensor([rows, columns])],
      attributes: {},
      reference: plainAdd,
    }),
  };
}

function mergePatches(
  grids: readonly number[],
  columns: number,
  merge: number,
): Case<OperationAttributes['mergePatches']> {
  let patches = 0;
  for (let i = 0; i < grids.length; i += 2) patches += grids[i]! * grids[i + 1]!;
  return {
    title: `grids ${grids.join(', ')} of ${columns}, blocks of ${merge}`,
    prepare: async (lab) => ({
      inputs: [await lab.tensor([patches, columns])],
      attributes: { grids: Int32Array.from(grids), merge },
      reference: (_, all) => plainMoved(all, patchElements(columns, Int32Array.from(grids), merge)),
    }),
  };
}

function gatherRows(rows: readonly number[], count: number, columns: number): Case<OperationAttributes['gatherRows']> {
  const list = rows.length > 20 ? `${rows.slice(0, 8).join(', ')} … (${rows.length})` : rows.join(', ');
  return {
    title: `rows ${list} of [${count}, ${columns}]`,
    prepare: async (lab) => ({
      inputs: [await lab.tensor([count, columns])],
      attributes: { rows: Int32Array.from(rows) },
      reference: (run, all) => plainGathered(run, all, rowElements(rows, columns)),
    }),
  };
}

function scatterRows(
  rows: readonly number[],
  count: number,
  columns: number,
): Case<OperationAttributes['scatterRows']> {
  return {
    title: `rows ${rows.join(', ')} of [${count}, ${columns}]`,
    prepare: async (lab) => ({
      inputs: [await lab.tensor([count, columns]), await lab.tensor([rows.length, columns])],
      attributes: { rows: Int32Array.from(rows) },
      reference: (_, all) => {
        const from = Array.from({ length: count }, (_, row) => (rows.includes(row) ? count + rows.indexOf(row) : row));
        return plainMoved(all, rowElements(from, columns));
      },
    }),
  };
}

function embedding(
  vocabulary: number,
  columns: number,
  ids: readonly number[],
  dtype: DType,
  bound?: number,
): Case<OperationAttributes['embedding']> {
  return {
    title: `ids ${ids.join(', ')} of [${vocabulary}, ${columns}] ${dtype}${bound ? `, noise of ${bound}` : ''}`,
    async prepare(lab) {
      const { weight, values } = await lab.weight('table', [vocabulary, columns], dtype);
      const noise = bound && {
        rowKeys: Int32Array.from(ids, () => lab.random.nextUint32()),
        bounds: Float32Array.from(ids, (_, row) => bound * (1 + row)),
      };
      return {
        inputs: [],
        attributes: { table: weight, ids: Int32Array.from(ids), ...(noise ? { noise } : {}) },
        reference: (run) => {
          const rows = rowElements(ids, columns).map((at, i) => {
            if (!noise) return values[at]!;
            const row = Math.floor(i / columns);
            const bits = dropoutBits(noise.rowKeys[row]!, NOISE_SEED, i % columns);
            return values[at]! + (noise.bounds[row]! * (2 * bits - 65535)) / 65536;
          });
          return { outputs: [run.store(Float64Array.from(rows))], backward: () => [] };
        },
      };
    },
  };
}

function crossEntropy(
  rows: number,
  columns: number,
  vocabulary: number,
  dtype: DType,
  deviation = 1,
  smoothing?: number,
  weighted = false,
): Case<OperationAttributes['crossEntropy']> {
  return {
    title: `[${rows}, ${columns}], ${vocabulary} words ${dtype}${deviation > 1 ? ', sharp' : ''}${smoothing ? `, smoothing ${smoothing}` : ''}${weighted ? ', weighted' : ''}`,
    async prepare(lab) {
      const { weight, values } = await lab.weight('head', [vocabulary, columns], dtype, deviation * columns ** -0.5);
      const targets = Int32Array.from({ length: rows }, () => lab.random.nextUint32() % vocabulary);
      const scale = 1 / (rows + 2);
      // Rows that count several times, once, in part and not at all.
      const weights = weighted ? Float32Array.from(targets, (_, row) => [3, 1, 0.375, 0][row % 4]!) : undefined;
      return {
        inputs: [await lab.tensor([rows, columns])],
        attributes: { head: weight, targets, scale, smoothing, weights },
        gradientOutputs: 1,
        reference: (run, [hidden]) =>
          plainCrossEntropy(run, hidden!, columns, { head: values, targets, scale, smoothing, weights }),
      };
    },
  };
}

const KINDS: readonly Activation[] = ['silu', 'gelu', 'gelu_tanh', 'relu'];

/** An operation without cases does not compile. */
export const CASES: {
  readonly [K in OperationName]: readonly [Case<OperationAttributes[K]>, ...Case<OperationAttributes[K]>[]];
} = {
  embedding: [
    embedding(11, 7, [3, 0, 10, 3, 3], 'f32'),
    embedding(
      40,
      130,
      Array.from({ length: 129 }, (_, i) => (i * 17) % 40),
      'bf16',
    ),
    embedding(5, 24, [4], 'f16'),
    embedding(9, 67, [4, 4, 0, 8], 'bf16', 0.25),
    embedding(5, 130, [1, 3, 3], 'f32', 1.5),
  ],
  linear: [
    linear(1, 8, [{ out: 8, dtype: 'f32' }]),
    linear(7, 24, [{ out: 33, dtype: 'bf16', bias: 'f32' }]),
    linear(129, 67, [{ out: 130, dtype: 'f16', bias: 'f16' }]),
    linear(1, 130, [{ out: 7, dtype: 'bf16', rank: 1 }]),
    linear(7, 64, [{ out: 40, dtype: 'f32', rank: 16, dropout: 19661 / 65536 }]),
    linear(129, 50, [{ out: 66, dtype: 'bf16', bias: 'bf16', rank: 4, dropout: 6554 / 65536 }]),
    linear(33, 48, [
      { out: 48, dtype: 'bf16', rank: 8, dropout: 0.5 },
      { out: 12, dtype: 'f16' },
      { out: 20, dtype: 'f32', bias: 'f32', rank: 3 },
    ]),
  ],
  rmsNorm: [
    rmsNorm(1, 8, 'f32', false),
    rmsNorm(7, 67, 'bf16', true),
    rmsNorm(129, 130, 'f16', true),
    rmsNorm(129, 64, 'bf16', false),
    rmsNorm(2, 9000, 'bf16', true),
  ],
  rotary: [
    rotary(1, 1, 1, 8, false),
    rotary(7, 4, 2, 24, true),
    rotary(129, 2, 1, 64, false),
    rotary(9, 3, 3, 2, true),
    rotary(5, 4, 1, 128, true),
  ],
  attention: [
    attention({ heads: 1, kvHeads: 1, headDim: 8, causal: true, queries: [1] }),
    attention({ heads: 4, kvHeads: 2, headDim: 24, causal: true, queries: [7, 1, 12] }),
    attention({ heads: 1, kvHeads: 1, headDim: 64, causal: false, queries: [129] }),
    attention({ heads: 2, kvHeads: 1, headDim: 8, causal: true, queries: [70, 129, 1, 3] }),
    attention({ heads: 2, kvHeads: 1, headDim: 128, causal: true, queries: [66], deviation: 3 }),
    attention({ heads: 2, kvHeads: 1, headDim: 64, causal: true, queries: [3, 20], keys: [5, 97] }),
    attention({
      heads: 4,
      kvHeads: 2,
      headDim: 32,
      causal: true,
      queries: [1, 1, 1],
      keys: [1, 80, 129],
      keyStarts: [4, 100, 200],
      spare: 9,
    }),
    attention({ heads: 2, kvHeads: 2, headDim: 2, causal: false, queries: [5, 2], keys: [3, 66], keyStarts: [66, 0] }),
    attention({ heads: 4, kvHeads: 2, headDim: 6, causal: true, queries: [9, 4], keys: [5, 8], keyStarts: [2, 0] }),
  ],
  gatedActivation: KINDS.map((kind, i) => gatedActivation(kind, [1, 7, 129, 33][i]!, [3, 66, 70, 8][i]!)) as [
    Case<{ activation: Activation }>,
  ],
  activation: KINDS.map((kind, i) => activation(kind, [129, 33, 1, 7][i]!, [70, 129, 9, 13][i]!)) as [
    Case<{ activation: Activation }>,
  ],
  add: [add(1, 1), add(7, 13), add(129, 67)],
  mergePatches: [mergePatches([2, 2], 8, 2), mergePatches([4, 6, 2, 4, 8, 2], 7, 2), mergePatches([3, 9], 24, 3)],
  gatherRows: [
    gatherRows([0], 1, 5),
    gatherRows([6, 0, 3], 7, 66),
    gatherRows([128, 5, 64, 1], 129, 33),
    gatherRows([2, 2, 0, 2], 4, 7),
    gatherRows(
      Array.from({ length: 300 }, (_, i) => (i % 60 < 40 ? i % 60 : 40 + Math.floor(i / 3))),
      150,
      66,
    ),
    gatherRows(
      Array.from({ length: 40 }, () => 0),
      2,
      1030,
    ),
  ],
  scatterRows: [scatterRows([0], 1, 5), scatterRows([6, 0, 3], 7, 66), scatterRows([128, 5, 64, 1], 129, 33)],
  crossEntropy: [
    crossEntropy(1, 8, 7, 'f32'),
    crossEntropy(7, 24, 1001, 'bf16'),
    crossEntropy(129, 33, 130, 'f16'),
    crossEntropy(5, 64, 515, 'bf16', 12),
    crossEntropy(7, 24, 1001, 'bf16', 1, 0.1),
    crossEntropy(5, 64, 514, 'f32', 12, 0.5),
    crossEntropy(9, 24, 1001, 'bf16', 1, undefined, true),
    crossEntropy(130, 33, 130, 'f16', 1, 0.1, true),
  ],
};

/** Of matrices that an engine keeps in fewer bits only, where a small one may be kept in float32 as well. */
export const HELD_LINEAR_CASES: readonly Case<OperationAttributes['linear']>[] = [
  linear(3, 301, [{ out: 250, dtype: 'bf16', rank: 4 }]),
  linear(20, 640, [{ out: 120, dtype: 'bf16', bias: 'bf16' }]),
  linear(
    40,
    96,
    [
      { out: 21, dtype: 'bf16', rank: 8, dropout: 0.5 },
      { out: 7, dtype: 'bf16', rank: 8, dropout: 0.5 },
      { out: 36, dtype: 'bf16', rank: 8, dropout: 0.5 },
    ],
    true,
  ),
];
