/** Linear layers in e4m3, against plain loops over the same rounded operands. */
import assert from 'node:assert/strict';
import type { E4m3Scales } from '../../../src/engine/cuda/cublas-lt.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { BlockAttributes, Operation, OperationAttributes, Precision } from '../../../src/engine/operations.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { type Case, describeSpec, type LinearSpec, linearParts, type MadeParts, parameterSpecs } from './cases.js';
import { expectSame, relativeError } from './measure.js';
import { plainE4m3Linear } from './plain-e4m3.js';
import { plainLinear } from './plain-reference.js';
import { inLaboratory } from './references.js';

interface PrecisionCase extends Case<OperationAttributes['linear']> {
  readonly precision: Precision;
}

interface Options {
  readonly isStacked?: boolean;
  /** Whether copies of the weights are made in advance. */
  readonly isPrepared?: boolean;
  /** Extents that the library does not support: the product stays in bf16. */
  readonly isPlain?: boolean;
}

/** One scale for an operand, or one a row. */
function isWhole(engine: Engine & { readonly e4m3Scales?: E4m3Scales | undefined }): boolean {
  return engine.e4m3Scales === 'tensor';
}

function linear(
  precision: Exclude<Precision, 'bf16'>,
  rows: number,
  k: number,
  specs: readonly LinearSpec[],
  { isStacked = false, isPrepared = false, isPlain = false }: Options = {},
): PrecisionCase {
  const marks = `${isStacked ? ', stacked' : ''}${isPrepared ? ', copies kept' : ''}${isPlain ? ', as bf16' : ''}`;
  return {
    precision,
    title: `${precision}: [${rows}, ${k}] → ${specs.map(describeSpec).join(', ')}${marks}`,
    async prepare(lab) {
      const pairs = lab.parametersIfAny(parameterSpecs(k, specs));
      const rowKeys = specs.some(({ dropout }) => dropout) ? lab.rowKeys(rows) : undefined;
      const { parts, plain } = await linearParts(lab, k, specs, pairs.byName, { rowKeys, isStacked });
      const weights = parts.map(({ weight }) => weight);
      if (isPrepared) lab.engine.preparePrecision?.(weights, precision);
      const groups = isStacked ? [plain] : plain.map((part) => [part]);
      return {
        inputs: [await lab.tensor([rows, k])],
        attributes: { parts: parts.map((part) => ({ ...part, precision })) },
        parameters: pairs,
        reference: (run, [x]) =>
          isPlain
            ? plainLinear(run, x!, k, plain)
            : plainE4m3Linear(run, x!, k, groups, precision, isWhole(lab.engine)),
      };
    },
  };
}

const bf16 = (out: number, more: Partial<LinearSpec> = {}): LinearSpec => ({ out, dtype: 'bf16', ...more });
const TENTH = 6554 / 65536;
/** For bf16 values whose float32 sums have another order: a few round the other way, by 2^-8. */
const SUM_ORDER = 2e-3;
const THREE = [bf16(64, { rank: 16 }), bf16(32, { rank: 8, dropout: TENTH }), bf16(16)];

export const PRECISION_CASES: readonly PrecisionCase[] = (['fp8-backward', 'fp8'] as const).flatMap((precision) => [
  linear(precision, 37, 64, [bf16(48)]),
  linear(precision, 1, 80, [bf16(16, { rank: 4, bias: 'bf16' })]),
  linear(precision, 133, 144, THREE, { isStacked: true }),
  linear(precision, 133, 144, THREE, { isStacked: true, isPrepared: true }),
  linear(precision, 50, 96, THREE),
  linear(precision, 9, 4112, [bf16(32, { rank: 16, dropout: TENTH })], { isPrepared: true }),
  linear(precision, 20, 72, [bf16(40, { rank: 8 })], { isPlain: true }),
]);

/** Of matrices that are kept in fewer bits. */
export const HELD_PRECISION_CASES: readonly PrecisionCase[] = [
  linear('fp8', 40, 96, THREE, { isStacked: true }),
  linear('fp8-backward', 40, 128, [bf16(64, { rank: 16 })], { isPrepared: true }),
];

/** A block with fused quantising gives the same bits as its separate operations. */
async function gatedBlock(engine: Engine, rows: number, columns: number, features: number): Promise<void> {
  await inLaboratory(engine, rows, async (lab) => {
    const specs = [bf16(features, { rank: 8 }), bf16(features, { rank: 8 })];
    const down = [bf16(columns, { rank: 16, dropout: TENTH })];
    const pairs = lab.parameters([...parameterSpecs(columns, specs), ...parameterSpecs(features, down, 'down.')]);
    const rowKeys = lab.rowKeys(rows);
    const norm = { weight: (await lab.weight('norm', [columns], 'bf16')).weight, eps: 1e-5 };
    const precise = ({ parts }: MadeParts) => parts.map((part) => ({ ...part, precision: 'fp8' as const }));
    const both = precise(await linearParts(lab, columns, specs, pairs.byName, { rowKeys, isStacked: true }));
    const out = precise(await linearParts(lab, features, down, pairs.byName, { name: 'down.', rowKeys }));
    const { tensor: x } = await lab.tensor([rows, columns]);
    const { operations } = engine;
    const block = operations.gatedBlock as Operation<BlockAttributes['gatedBlock']>;
    const attributes = { norm, gateUp: [both[0]!, both[1]!] as const, activation: 'silu' as const, down: out[0]! };
    const whole = block.forward([x], attributes, false).outputs;
    const [normed] = operations.rmsNorm.forward([x], norm, false).outputs as [Tensor];
    const pair = operations.linear.forward([normed], { parts: both }, false).outputs;
    const [gated] = operations.gatedActivation.forward(pair, { activation: 'silu' }, false).outputs as [Tensor];
    const [y] = operations.linear.forward([gated], { parts: out }, false).outputs as [Tensor];
    expectSame(await engine.read(whole[0]!), await engine.read(y));
    for (const tensor of [...whole, normed, ...pair, gated, y]) engine.release(tensor);
  });
}

/**
 * Backward with kept copies of the weights: the gradient of gate and up is quantised by row maxima that the block
 * reduced, and du is computed in the same launch, summed in another order.
 */
async function gatedBlockBackward(
  engine: Engine,
  precision: Exclude<Precision, 'bf16'>,
  rows: number,
  columns: number,
  features: number,
  rank: number,
): Promise<void> {
  await inLaboratory(engine, rows, async (lab) => {
    const specs = [bf16(features, { rank }), bf16(features, { rank: rank - 3 })];
    const down = [bf16(columns, { rank, dropout: TENTH })];
    const pairs = lab.parameters([...parameterSpecs(columns, specs), ...parameterSpecs(features, down, 'down.')]);
    const rowKeys = lab.rowKeys(rows);
    const norm = { weight: (await lab.weight('norm', [columns], 'bf16')).weight, eps: 1e-5 };
    const precise = ({ parts }: MadeParts) => parts.map((part) => ({ ...part, precision }));
    const both = precise(await linearParts(lab, columns, specs, pairs.byName, { rowKeys, isStacked: true }));
    const out = precise(await linearParts(lab, features, down, pairs.byName, { name: 'down.', rowKeys }));
    const { tensor: x } = await lab.tensor([rows, columns]);
    const { tensor: dy } = await lab.tensor([rows, columns]);
    const block = engine.operations.gatedBlock as Operation<BlockAttributes['gatedBlock']>;
    const attributes = { norm, gateUp: [both[0]!, both[1]!] as const, activation: 'silu' as const, down: out[0]! };
    const results: Float32Array[][] = [];
    for (const isKept of [false, true]) {
      const weights = [...both, ...out].map(({ weight }) => weight);
      engine.preparePrecision?.(weights, isKept ? precision : 'bf16');
      engine.zeroGradients(pairs.set);
      const { outputs, saved } = block.forward([x], attributes, true);
      for (const tensor of saved) engine.retain(tensor);
      const [dx] = block.backward(saved, [dy], attributes, [true]) as [Tensor];
      const of = [dx, ...pairs.set.parameters.map(({ grad }) => grad)];
      results.push(await Promise.all(of.map((tensor) => engine.read(tensor))));
      for (const tensor of [...outputs, ...saved, dx]) engine.release(tensor);
    }
    for (const [i, plain] of results[0]!.entries()) {
      const error = relativeError(results[1]![i]!, plain);
      assert.ok(error < SUM_ORDER, `gradient ${i} of the block with copies kept is ${error} away from the one without`);
    }
  });
}

const FORWARD_BLOCKS = (
  [
    [37, 64, 80],
    [3, 48, 4112],
    [2, 16, 8224],
    [2, 16, 16400],
    [2, 16, 32784],
  ] as const
).map(([rows, columns, features]) => ({
  title: `gated block [${rows}, ${columns}] of ${features} in fp8, against its operations`,
  run: (engine: Engine) => gatedBlock(engine, rows, columns, features),
}));

const BACKWARD_BLOCKS = (
  [
    ['fp8', 37, 64, 80, 16],
    ['fp8-backward', 100, 48, 208, 16],
    ['fp8', 21, 32, 112, 32],
  ] as const
).map(([precision, rows, columns, features, rank]) => ({
  title: `gated block [${rows}, ${columns}] of ${features}, rank ${rank}, backward in ${precision}, copies kept or not`,
  run: (engine: Engine) => gatedBlockBackward(engine, precision, rows, columns, features, rank),
}));

export const PRECISION_BLOCK_CHECKS = [...FORWARD_BLOCKS, ...BACKWARD_BLOCKS];
