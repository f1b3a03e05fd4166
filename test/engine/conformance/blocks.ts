/**
 * The blocks of a layer on a tape, as the model runs them, against the composition of plain operations. Each case is made
 * for one way in which an engine may fuse a block; engines that do not fuse pass them as well.
 */
import type { Activation, BlockAttributes, BlockName } from '../../../src/engine/operations.js';
import { Tape } from '../../../src/engine/tape.js';
import type { ParameterSet, Tensor } from '../../../src/engine/tensor.js';
import type { DType } from '../../../src/formats/weight-source.js';
import { describeSpec, type LinearSpec, linearParts, type MadeParts, parameterSpecs, segments } from './cases.js';
import type { Laboratory } from './laboratory.js';
import { expectSame, type Meter } from './measure.js';
import {
  type Plain,
  type PlainRun,
  plainActivations,
  plainAttention,
  plainGathered,
  plainLinear,
  plainRmsNorm,
  plainRotary,
  rowElements,
  type Values,
} from './plain-reference.js';
import { outputGradients, References, type Tolerances } from './references.js';
import { describeSharing, type Sharing, sharedLayout } from './shared-rows.js';
import { gradientsThrough } from './tape-gradients.js';

export const EPS = 1e-5;

interface BlockShape {
  /** What is looked at. */
  readonly about: string;
  readonly rows: number;
  readonly columns: number;
  readonly residual?: boolean;
  /** Forward alone, without recording. */
  readonly inference?: boolean;
  /** The block runs a second time in backward. */
  readonly recompute?: boolean;
  /** Weights that share an input lie in one matrix. Default true. */
  readonly stacked?: boolean;
  readonly dtype?: DType;
  /** Of q, k, v or of gate, up, down; 0 or none for no adapter. */
  readonly ranks?: readonly number[];
  /** Of these too; multiples of 1/65536. */
  readonly dropout?: readonly number[];
  readonly bias?: boolean;
}

export interface GatedShape extends BlockShape {
  readonly features: number;
  readonly activation?: Activation;
}

export interface AttentionBlockShape extends BlockShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal?: boolean;
  readonly segments?: readonly number[];
  /** In place of segments: `keyRows` for samples with common rows. */
  readonly sharing?: readonly Sharing[];
  readonly queryScale?: boolean;
}

interface MadeBlock<K extends BlockName> {
  readonly name: K;
  readonly attributes: BlockAttributes[K];
  readonly parameters: { readonly set: ParameterSet | undefined; readonly values: Values };
  plain(run: PlainRun, inputs: readonly Values[]): Plain;
}

export interface BlockCase {
  readonly block: BlockName;
  readonly title: string;
  readonly shape: BlockShape;
  make(lab: Laboratory): Promise<MadeBlock<BlockName>>;
}

function specsOf(
  { ranks = [], dropout = [], bias, dtype = 'bf16' }: BlockShape,
  outs: readonly number[],
): LinearSpec[] {
  return outs.map((out, i) => ({
    out,
    dtype,
    ...(bias ? { bias: 'bf16' as const } : {}),
    ...(ranks[i] ? { rank: ranks[i]! } : {}),
    ...(ranks[i] && dropout[i] ? { dropout: dropout[i]! } : {}),
  }));
}

function titleOf(what: string, shape: BlockShape, specs: readonly LinearSpec[]): string {
  const marks = [
    shape.residual ? 'residual' : '',
    shape.inference ? 'inference' : '',
    shape.recompute ? 'recomputed' : '',
    shape.stacked === false ? 'apart' : '',
  ];
  const parts = specs.map(describeSpec).join(', ');
  return `${shape.about}: [${shape.rows}, ${shape.columns}] ${what} → ${parts} ${marks.filter(Boolean).join(', ')}`.trim();
}

/** Gradients through a chain: each link's first output is the next one's only input, or its inputs are all of them. */
function chained(first: Plain, rest: readonly Plain[], last: Plain, residual: boolean): Plain {
  const links = [first, ...rest];
  return {
    outputs: residual ? [last.outputs[0]!, first.outputs[1]!] : [last.outputs[0]!],
    backward: ([dy, direct]) => {
      let gradients: readonly (Values | undefined)[] = [dy];
      for (const link of links.slice(1).reverse()) gradients = link.backward(gradients);
      return first.backward([gradients[0], direct]);
    },
  };
}

function gatedBlock(shape: GatedShape): BlockCase {
  const { rows, columns, features, activation = 'silu', stacked: isStacked = true } = shape;
  const specs = specsOf(shape, [features, features, columns]);
  const gateUp = specs.slice(0, 2);
  return {
    block: 'gatedBlock',
    title: titleOf(activation, shape, specs),
    shape,
    async make(lab) {
      const down = specs.slice(2);
      const pairs = [...parameterSpecs(columns, gateUp), ...parameterSpecs(features, down, 'down.')];
      const parameters = lab.parametersIfAny(pairs);
      const rowKeys = shape.dropout?.some((p) => p > 0) ? lab.rowKeys(rows) : undefined;
      const norm = await lab.weight('norm', [columns], 'bf16');
      const up = await linearParts(lab, columns, gateUp, parameters.byName, { rowKeys, isStacked });
      const out = await linearParts(lab, features, down, parameters.byName, { name: 'down.', rowKeys });
      return {
        name: 'gatedBlock',
        attributes: {
          norm: { weight: norm.weight, eps: EPS },
          gateUp: [up.parts[0]!, up.parts[1]!],
          activation,
          down: out.parts[0]!,
        },
        parameters,
        plain: (run, inputs) => {
          const normed = plainRmsNorm(run, inputs, norm.values, EPS);
          const both = plainLinear(run, normed.outputs[0]!, columns, up.plain);
          const gated = plainActivations(run, activation, both.outputs);
          const y = plainLinear(run, gated.outputs[0]!, features, out.plain);
          return chained(normed, [both, gated, y], y, inputs.length > 1);
        },
      };
    },
  };
}

/** q, k and v of a block, with everything that belongs to them. */
export async function attentionParts(lab: Laboratory, shape: AttentionBlockShape) {
  const { rows, columns, heads, kvHeads, headDim, stacked: isStacked = true } = shape;
  const specs = specsOf(shape, [heads * headDim, kvHeads * headDim, kvHeads * headDim]);
  const parameters = lab.parametersIfAny(parameterSpecs(columns, specs));
  const rowKeys = shape.dropout?.some((p) => p > 0) ? lab.rowKeys(rows) : undefined;
  const norm = await lab.weight('norm', [columns], 'bf16');
  const made: MadeParts = await linearParts(lab, columns, specs, parameters.byName, { rowKeys, isStacked });
  return { parameters, norm, made };
}

/** Rotary tables of some rows. */
export async function rotaryTables(lab: Laboratory, rows: number, headDim: number, isScaled: boolean) {
  const angles = lab.numbers((rows * headDim) / 2, 3);
  const cos = await lab.table([rows, headDim / 2], angles.map(Math.cos));
  const sin = await lab.table([rows, headDim / 2], angles.map(Math.sin));
  const queryScale = isScaled
    ? await lab.tensor(
        [rows],
        lab.numbers(rows).map((x) => 1 + Math.abs(x)),
      )
    : undefined;
  return {
    attributes: { headDim, cos: cos.tensor, sin: sin.tensor, queryScale: queryScale?.tensor },
    plain: { headDim, cos: cos.values, sin: sin.values, queryScale: queryScale?.values },
  };
}

function attentionBlock(shape: AttentionBlockShape): BlockCase {
  const { rows, columns, heads, kvHeads, headDim, causal = true } = shape;
  const lengths = shape.segments ?? [rows];
  const shared = shape.sharing && sharedLayout(shape.sharing);
  const layout = shape.sharing ? describeSharing(shape.sharing) : lengths.join('+');
  const specs = specsOf(shape, [heads * headDim, kvHeads * headDim, kvHeads * headDim]);
  return {
    block: 'attentionBlock',
    title: titleOf(`${heads}/${kvHeads} heads of ${headDim}, ${causal ? 'causal' : 'full'} ${layout}`, shape, specs),
    shape,
    async make(lab) {
      const { parameters, norm, made } = await attentionParts(lab, shape);
      const tables = await rotaryTables(lab, rows, headDim, shape.queryScale ?? false);
      const attention = {
        heads,
        kvHeads,
        headDim,
        causal,
        scale: headDim ** -0.5,
        segments: shared ? segments(shared.queries, shared.keys) : segments(lengths, lengths),
      };
      return {
        name: 'attentionBlock',
        attributes: {
          norm: { weight: norm.weight, eps: EPS },
          projections: [made.parts[0]!, made.parts[1]!, made.parts[2]!],
          rotary: tables.attributes,
          attention,
          keyRows: shared?.keyRows,
        },
        parameters,
        plain: (run, inputs) => {
          const normed = plainRmsNorm(run, inputs, norm.values, EPS);
          const projected = plainLinear(run, normed.outputs[0]!, columns, made.plain);
          const [q, k, v] = projected.outputs;
          const turned = plainRotary(run, [q!, k!], tables.plain, rows);
          const [turnedQ, turnedK] = turned.outputs;
          const gather = (x: Values): Plain =>
            shared
              ? plainGathered(run, [x], rowElements(shared.keyRows, kvHeads * headDim))
              : { outputs: [x], backward: ([dx]) => [dx!] };
          const [keys, values] = [gather(turnedK!), gather(v!)];
          const rotated: Plain = {
            outputs: [turnedQ!, keys.outputs[0]!, values.outputs[0]!],
            backward: ([dq, dk, dv]) => [...turned.backward([dq, keys.backward([dk])[0]]), values.backward([dv])[0]!],
          };
          const attended = plainAttention(run, rotated.outputs, attention);
          return chained(normed, [projected, rotated, attended], attended, inputs.length > 1);
        },
      };
    },
  };
}

/** Forward and, unless at inference, backward of a block through a tape. */
export async function runBlock(
  lab: Laboratory,
  meter: Meter,
  testCase: BlockCase,
  tolerances: Tolerances,
): Promise<void> {
  const { engine } = lab;
  const { shape } = testCase;
  const block = await testCase.make(lab);
  const inputs = [await lab.tensor([shape.rows, shape.columns])];
  if (shape.residual) inputs.push(await lab.tensor([shape.rows, shape.columns]));
  const references = new References(lab, block.parameters.values, (run) =>
    block.plain(
      run,
      inputs.map(({ values }) => values),
    ),
  );
  const tensors = inputs.map(({ tensor }) => tensor);
  const results = await throughTape(lab, block, tensors, references, shape);
  references.compareOutputs(meter, results.outputs, tolerances.forward);
  for (const { tensor, values } of inputs) expectSame(await engine.read(tensor), values, 'input');
  if (!results.gradients) return;
  references.compareGradients(meter, results.incoming, results.gradients, tolerances.backward, 'gradient');
}

async function throughTape(
  lab: Laboratory,
  block: MadeBlock<BlockName>,
  tensors: readonly Tensor[],
  references: References,
  shape: BlockShape,
) {
  const { engine } = lab;
  const outputs: Float32Array[] = [];
  if (shape.inference) {
    const tape = new Tape(engine, { record: false });
    for (const output of tape.apply(block.name, tensors, block.attributes)) outputs.push(await engine.read(output));
    tape.dispose();
    return { outputs, incoming: [], gradients: undefined };
  }
  const incoming = await outputGradients(lab, references.exact);
  const body = (tape: Tape, given: readonly Tensor[]): readonly Tensor[] =>
    tape.apply(block.name, given, block.attributes);
  const gradients = await gradientsThrough(engine, tensors, incoming, async (tape, given) => {
    const made = tape.region(given, body, { recompute: shape.recompute ?? false });
    for (const output of made) outputs.push(await engine.read(output));
    return made;
  });
  if (block.parameters.set) gradients.push(await engine.readGradients(block.parameters.set));
  return { outputs, incoming, gradients };
}

const THIRD = 19661 / 65536;
const TENTH = 6554 / 65536;

export const BLOCK_CASES: readonly BlockCase[] = [
  // The two outputs of the first product come as activation(gate) ⊙ up, after the norm that a single row may wait for.
  gatedBlock({ about: 'one row', rows: 1, columns: 64, features: 96, inference: true, residual: true }),
  gatedBlock({ about: 'one row', rows: 1, columns: 136, features: 72, inference: true, ranks: [8, 16, 4] }),
  gatedBlock({
    about: 'one row, odd',
    rows: 1,
    columns: 67,
    features: 40,
    inference: true,
    ranks: [3, 3, 3],
    activation: 'gelu',
  }),
  gatedBlock({
    about: 'few rows',
    rows: 7,
    columns: 64,
    features: 96,
    inference: true,
    residual: true,
    ranks: [4, 0, 4],
  }),
  gatedBlock({ about: 'sixteen rows', rows: 16, columns: 48, features: 64, inference: true, ranks: [4, 4, 4] }),
  gatedBlock({ about: 'more than a few rows', rows: 17, columns: 48, features: 64, inference: true, ranks: [4, 4, 4] }),
  gatedBlock({ about: 'apart', rows: 1, columns: 64, features: 40, inference: true, stacked: false, ranks: [4, 4, 4] }),
  gatedBlock({ about: 'biases', rows: 3, columns: 64, features: 40, inference: true, bias: true, ranks: [4, 4, 4] }),
  // Backward: what the gradients of y and of the three adapters need may come in one pass over gate and up.
  gatedBlock({ about: 'rank 16', rows: 70, columns: 64, features: 136, residual: true, ranks: [16, 16, 16] }),
  gatedBlock({ about: 'rank 32', rows: 130, columns: 64, features: 72, residual: true, ranks: [32, 32, 32] }),
  gatedBlock({
    ...{ about: 'dropout', rows: 129, columns: 72, features: 200, residual: true, ranks: [16, 16, 16] },
    dropout: [THIRD, THIRD, TENTH],
  }),
  gatedBlock({
    ...{ about: 'dropout, recomputed', rows: 65, columns: 64, features: 64, residual: true, ranks: [8, 8, 8] },
    ...{ dropout: [0.5, 0.5, 0.5], recompute: true },
  }),
  gatedBlock({ about: 'rank 64', rows: 40, columns: 64, features: 64, ranks: [64, 64, 64], activation: 'gelu_tanh' }),
  gatedBlock({ about: 'down alone', rows: 33, columns: 64, features: 64, ranks: [0, 0, 16], dropout: [0, 0, TENTH] }),
  gatedBlock({ about: 'gate and down', rows: 33, columns: 64, features: 64, ranks: [8, 0, 16], residual: true }),
  gatedBlock({
    about: 'odd sizes',
    rows: 37,
    columns: 67,
    features: 75,
    ranks: [5, 7, 3],
    dropout: [TENTH, TENTH, TENTH],
  }),
  gatedBlock({
    about: 'apart',
    rows: 37,
    columns: 64,
    features: 72,
    ranks: [8, 8, 8],
    stacked: false,
    activation: 'relu',
  }),
  gatedBlock({
    about: 'biases',
    rows: 20,
    columns: 64,
    features: 72,
    ranks: [8, 8, 8],
    bias: true,
    activation: 'gelu',
  }),
  gatedBlock({ about: 'no adapter', rows: 20, columns: 64, features: 72, residual: true }),
  gatedBlock({ about: 'one row', rows: 1, columns: 64, features: 72, residual: true, ranks: [16, 16, 16] }),

  attentionBlock({
    about: 'one row',
    rows: 1,
    columns: 64,
    heads: 4,
    kvHeads: 1,
    headDim: 16,
    inference: true,
    residual: true,
  }),
  attentionBlock({
    ...{ about: 'few rows', rows: 9, columns: 64, heads: 4, kvHeads: 2, headDim: 64, inference: true },
    ...{ ranks: [8, 8, 8], queryScale: true },
  }),
  attentionBlock({
    ...{ about: 'dropout on a stack', rows: 70, columns: 64, heads: 4, kvHeads: 1, headDim: 128, residual: true },
    ...{ ranks: [16, 16, 16], dropout: [THIRD, THIRD, THIRD], queryScale: true, segments: [30, 1, 39] },
  }),
  attentionBlock({
    ...{ about: 'heads of 64, full', rows: 40, columns: 64, heads: 2, kvHeads: 2, headDim: 64, residual: true },
    ...{ ranks: [16, 16, 16], causal: false, segments: [16, 24] },
  }),
  attentionBlock({
    ...{ about: 'wide ranks', rows: 33, columns: 64, heads: 4, kvHeads: 2, headDim: 32, residual: true },
    ...{ ranks: [32, 32, 32], dropout: [TENTH, TENTH, TENTH] },
  }),
  attentionBlock({
    ...{ about: 'recomputed', rows: 21, columns: 64, heads: 2, kvHeads: 1, headDim: 64, residual: true },
    ...{ ranks: [8, 0, 8], dropout: [0.5, 0, 0.5], recompute: true },
  }),
  attentionBlock({
    ...{
      about: 'odd sizes',
      rows: 19,
      columns: 67,
      heads: 3,
      kvHeads: 1,
      headDim: 6,
      ranks: [5, 5, 5],
      queryScale: true,
    },
  }),
  attentionBlock({
    ...{ about: 'apart', rows: 19, columns: 64, heads: 2, kvHeads: 1, headDim: 64, stacked: false, ranks: [4, 4, 4] },
    residual: true,
  }),
  attentionBlock({ about: 'no adapter', rows: 20, columns: 64, heads: 2, kvHeads: 1, headDim: 64, residual: true }),

  attentionBlock({
    ...{ about: 'shared rows', rows: 147, columns: 64, heads: 4, kvHeads: 1, headDim: 128, residual: true },
    ...{ ranks: [16, 16, 16], dropout: [THIRD, THIRD, THIRD], queryScale: true },
    sharing: [
      { prefix: 40, own: [9, 1, 20] },
      { prefix: 0, own: [7] },
      { prefix: 3, own: [0, 66, 1] },
    ],
  }),
  attentionBlock({
    ...{ about: 'shared rows, long', rows: 345, columns: 64, heads: 2, kvHeads: 1, headDim: 64, ranks: [8, 8, 8] },
    sharing: [{ prefix: 150, own: [60, 5, 130] }],
  }),
  attentionBlock({
    ...{ about: 'shared rows, recomputed', rows: 61, columns: 64, heads: 8, kvHeads: 2, headDim: 32, residual: true },
    ...{ ranks: [8, 0, 8], recompute: true, sharing: [{ prefix: 33, own: [1, 1, 1, 1, 1, 17, 6] }] },
  }),
  attentionBlock({
    ...{ about: 'shared rows, odd sizes', rows: 20, columns: 67, heads: 3, kvHeads: 1, headDim: 6, ranks: [5, 5, 5] },
    sharing: [
      { prefix: 5, own: [2, 3] },
      { prefix: 4, own: [5, 1] },
    ],
  }),
  attentionBlock({
    ...{
      about: 'shared rows, apart, full',
      rows: 24,
      columns: 64,
      heads: 2,
      kvHeads: 2,
      headDim: 64,
      ranks: [4, 4, 4],
    },
    ...{ stacked: false, residual: true, causal: false, sharing: [{ prefix: 11, own: [4, 9] }] },
  }),
  attentionBlock({
    ...{ about: 'shared rows', rows: 26, columns: 64, heads: 4, kvHeads: 1, headDim: 128, inference: true },
    ...{ residual: true, queryScale: true, ranks: [8, 8, 8], sharing: [{ prefix: 17, own: [3, 1, 5] }] },
  }),
];

/** Of matrices in fewer bits: few rows take more than one of their blocks at once, and thread blocks many rows in turns. */
export const HELD_BLOCK_CASES: readonly BlockCase[] = [
  gatedBlock({
    ...{ about: 'one row, wide', rows: 1, columns: 256, features: 384, inference: true, residual: true },
    ranks: [8, 16, 4],
  }),
  gatedBlock({ about: 'one row, wide', rows: 1, columns: 1280, features: 128, inference: true }),
  gatedBlock({ about: 'four rows, wide', rows: 4, columns: 384, features: 256, inference: true, ranks: [16, 0, 64] }),
  attentionBlock({
    ...{ about: 'one row, wide', rows: 1, columns: 128, heads: 4, kvHeads: 1, headDim: 16, inference: true },
    ...{ residual: true, ranks: [64, 64, 64] },
  }),
];
