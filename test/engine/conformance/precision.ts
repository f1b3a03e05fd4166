/** Linear layers in e4m3, against plain loops over the same rounded operands. */
import type { E4m3Scales } from '../../../src/engine/cuda/cublas-lt.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { BlockAttributes, Operation, OperationAttributes, Precision } from '../../../src/engine/operations.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { type Case, describeSpec, type LinearSpec, linearParts, type MadeParts, parameterSpecs } from './cases.js';
import { expectSame } from './measure.js';
import { plainE4m3Linear } from './plain-e4m3.js';
import { plainLinear } from './plain-reference.js';
import { inLaboratory } from './references.js';

interface PrecisionCase extends Case<OperationAttributes['linear']> {
  readonly precision: Precision;
}

interface Options {
  readonly isStacked?: boolean;
  /** Copies of the weights are made before. */
  readonly isPrepared?: boolean;
  /** Extents that the library does not take: the product stays in bf16. */
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

/** A block that quantises on the way gives the bits of its operations one by one. */
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

export const PRECISION_BLOCK_CHECKS = (
  [
    [37, 64, 80],
    [3, 48, 4112],
    [2, 16, 8224],
    [2, 16, 32784],
  ] as const
).map(([rows, columns, features]) => ({
  title: `gated block [${rows}, ${columns}] of ${features} in fp8, against its operations`,
  run: (engine: Engine) => gatedBlock(engine, rows, columns, features),
}));
