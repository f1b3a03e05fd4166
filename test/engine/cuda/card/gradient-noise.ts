/**
 * Gradients of adapters on the `cuda` engine in each precision, from held matrices and with shared prefixes, against
 * float32 on the `cpu` engine with the same weights, which e4m3 holds exactly. A deep net of random weights, chaotic or
 * with residual branches as small as in a trained one.
 *
 *   npx tsx test/engine/cuda/card/gradient-noise.ts [--layers 16] [--width 256] [--tokens 48] [--emulated]
 *
 * Prints medians over the adapters' matrices. At most: three times the error of bf16 for `fp8-backward` (`fp8` is
 * reported alone), and that of bf16 between a held base and the same one dequantised, and between shared and unshared
 * prefixes. Two runs must be equal. The exit status is 1 if a check fails.
 */
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../../../src/data/types.js';
import { createEngine } from '../../../../src/engine/create-engine.js';
import type { Engine } from '../../../../src/engine/engine.js';
import type { Precision } from '../../../../src/engine/operations.js';
import { dequantizedSource, quantizedSource } from '../../../../src/formats/held-source.js';
import { type HeldFormat, sizeOf, type WeightSource } from '../../../../src/formats/weight-source.js';
import { applyLora } from '../../../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../../../src/lora/lora-config.js';
import { VisionLanguageModel } from '../../../../src/model/network/vision-language-model.js';
import { parseModelConfig } from '../../../../src/model/parse-config.js';
import { MersenneTwister } from '../../../../src/random.js';
import { accumulateGradients } from '../../../../src/train/window-step.js';
import { median } from '../../../bench/median.js';
import { shapesOf } from '../../../bench/random-model.js';
import { CheckList } from '../../../parity/check-list.js';
import { relativeError } from '../../conformance/measure.js';
import { roundE4m3 } from '../../conformance/plain-e4m3.js';

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string', default: '16' },
    width: { type: 'string', default: '256' },
    tokens: { type: 'string', default: '48' },
    emulated: { type: 'boolean', default: false },
  },
});
const [layers, width, tokens] = [Number(options.layers), Number(options.width), Number(options.tokens)];
const VOCABULARY = 2048;
const config = parseModelConfig({
  model_type: 'mistral3',
  image_token_index: 10,
  text_config: {
    model_type: 'ministral3',
    ...{ hidden_size: width, intermediate_size: 2 * width, num_hidden_layers: layers, vocab_size: VOCABULARY },
    ...{ num_attention_heads: width / 32, num_key_value_heads: width / 64, head_dim: 32 },
    rope_parameters: { rope_type: 'default', rope_theta: 1e6 },
  },
  vision_config: {
    ...{ model_type: 'pixtral', patch_size: 14, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 1 },
    ...{ num_attention_heads: 1, head_dim: 64 },
  },
});
const shapes = shapesOf(config, false);

/** Normal values rounded to e4m3, drawn from again and again: making each would take minutes. */
const CODES = (() => {
  const random = new MersenneTwister(11);
  return Float32Array.from({ length: 65536 }, () => roundE4m3(100 * random.nextNormal()));
})();

/** bf16 bits of values that have no more than 8 places. */
function bytesOf(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(bits, (value) => value >>> 16).buffer);
}

/** Made once for all engines. By name and factor. */
const made = new Map<string, Uint8Array>();

/** @param branch factor of what a layer adds to the residual stream, a power of two */
function weightOf(name: string, branch: number): WeightSource {
  const shape = shapes.get(name)!;
  const own = /o_proj|down_proj/.test(name) ? branch : 1;
  const key = `${name} ${own}`;
  const bytes = made.get(key) ?? randomBytes(name, shape, own);
  made.set(key, bytes);
  const read = async (target: Uint8Array, offset = 0) => target.set(bytes.subarray(offset, offset + target.length));
  return { name, shape, dtype: 'bf16', byteLength: bytes.length, read };
}

function randomBytes(name: string, shape: readonly number[], factor: number): Uint8Array {
  let state = [...name].reduce((hash, letter) => (Math.imul(hash, 31) + letter.charCodeAt(0)) >>> 0, 7);
  const values = new Float32Array(sizeOf(shape)).fill(1);
  if (shape.length > 1) {
    const columns = shape.at(-1)!;
    const scale = factor * 2 ** -Math.round(Math.log2(100 * Math.sqrt(columns)));
    // A row's largest magnitude is that of e4m3, so that its scale is a power of two and every value a code.
    for (let i = 0; i < values.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      values[i] = scale * (i % columns === 0 ? 448 : CODES[state >>> 16]!);
    }
  }
  return bytesOf(values);
}

const NF4: HeldFormat = { format: 'nf4', blockSize: 64, doubleQuantization: true };

/** Linear layers of the decoder as they are, held in a format, or with the values that NF4 makes of them in bf16. */
type Base = 'plain' | 'held fp8' | 'held nf4' | 'dequantised nf4';

function baseWeight(name: string, branch: number, base: Base): WeightSource {
  const source = weightOf(name, branch);
  if (base === 'plain' || !/language_model\.layers\..*_proj/.test(name)) return source;
  if (base === 'held fp8') return { ...source, hold: { format: 'f8_e4m3' } };
  const held = { ...source, hold: NF4 };
  if (base === 'held nf4') return held;
  let values: Promise<WeightSource> | undefined;
  const read = async (target: Uint8Array, offset?: number): Promise<void> => {
    values ??= quantizedSource(held).then(dequantizedSource);
    await (await values).read(target, offset);
  };
  return { ...source, read };
}

/** Two samples that begin alike, with labels everywhere. */
function batchOf(): VlmBatch {
  const random = new MersenneTwister(3);
  const ids = Int32Array.from({ length: 2 * tokens }, () => 100 + (random.nextUint32() % (VOCABULARY - 100)));
  ids.copyWithin(tokens, 0, tokens / 2);
  const shape = [2, tokens] as const;
  const tensor = (data: Int32Array) => ({ data, shape: [...shape] });
  return {
    inputIds: tensor(ids),
    attentionMask: tensor(new Int32Array(ids.length).fill(1)),
    labels: tensor(ids.slice()),
  } as unknown as VlmBatch;
}

interface Run {
  readonly precision?: Precision;
  readonly sharePrefix?: boolean;
}

interface Result {
  readonly loss: number;
  readonly logits: Float32Array;
  /** Of each matrix of the adapter. */
  readonly gradients: readonly Float32Array[];
}

const seconds = (): string => `${(performance.now() / 1000).toFixed(1)} s`;

async function resultsOf(engine: Engine, branch: number, base: Base, runs: readonly Run[]): Promise<Result[]> {
  const model = await VisionLanguageModel.load(engine, config, {
    has: (name) => shapes.has(name),
    source: (name) => baseWeight(name, branch, base),
    description: 'random',
  });
  const targetModules = LAYER_PROJECTIONS.map((name) => name);
  const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0, targetModules });
  const { parameters } = adapter;
  const random = new MersenneTwister(5);
  engine.writeParameters(
    parameters,
    Float32Array.from({ length: parameters.size }, () => 0.2 * width ** -0.5 * random.nextNormal()),
  );
  const results: Result[] = [];
  for (const { precision = 'bf16', sharePrefix = true } of runs) {
    engine.zeroGradients(parameters);
    const pass = { labelCount: 2 * (tokens - 1), dropoutSeeds: [1], gradientCheckpointing: false };
    const loss = await (await accumulateGradients(model, [batchOf()], { ...pass, precision, sharePrefix }))();
    const whole = await engine.readGradients(parameters);
    const ofText = parameters.parameters.filter(({ name }) => name.includes('language_model'));
    const gradients = ofText.map(({ offset, shape }) => whole.slice(offset, offset + sizeOf(shape)));
    const logits = await model.lastLogits(batchOf(), { sharePrefix });
    results.push({ loss, logits, gradients });
  }
  adapter.dispose();
  model.dispose();
  console.log(`  ${engine.name}, ${base}: ${runs.length} runs done after ${seconds()}`);
  return results;
}

/** Median over the matrices. */
function errorOf({ gradients }: Result, exact: Result): number {
  return median(gradients.map((one, i) => relativeError(one, exact.gradients[i]!)));
}

function isSame(a: Result, b: Result): boolean {
  return a.loss === b.loss && a.gradients.every((one, i) => one.every((value, at) => value === b.gradients[i]![at]));
}

async function cudaEngine(): Promise<Engine> {
  if (!options.emulated) return createEngine('cuda');
  const { emulatedEngine } = await import('../emulated-card.js');
  return emulatedEngine({ capability: 90 });
}

const checks = new CheckList();
const engine = await cudaEngine();
const cpu = await createEngine('cpu');
console.log(`${engine.description}; both engines ready after ${seconds()}`);
for (const [what, branch] of [
  ['chaotic', 1],
  ['calm', 2 ** -Math.round(Math.log2(2 * layers) / 2 + 1)],
] as const) {
  console.log(`${what}, ${layers} layers of ${width}, ${tokens} tokens`);
  const [exact, apart] = (await resultsOf(cpu, branch, 'plain', [{}, { sharePrefix: false }])) as [Result, Result];
  checks.atMost(`${what}: cpu, shared prefix beside unshared, loss`, Math.abs(exact.loss / apart.loss - 1), 1e-6);
  checks.atMost(`${what}: cpu, shared prefix beside unshared, gradients`, errorOf(exact, apart), 1e-5);
  const precisions = (engine.precisions?.length ? ['bf16', 'fp8-backward', 'fp8', 'fp8'] : ['bf16']) as Precision[];
  const runs = [{ sharePrefix: false }, ...precisions.map((precision) => ({ precision }))];
  const [unshared, bf16, backward, fp8, again] = (await resultsOf(engine, branch, 'plain', runs)) as Result[];
  const noise = errorOf(bf16!, exact);
  const report = (name: string, result: Result, against: Result): void => {
    const error = errorOf(result, against);
    const loss = `loss ${result.loss.toFixed(5)} (float32 ${against.loss.toFixed(5)})`;
    console.log(
      `  ${name}: error of gradients ${error.toFixed(5)}, ${(error / noise).toFixed(2)} times that of bf16; ${loss}`,
    );
  };
  report('bf16', bf16!, exact);
  report('bf16 unshared', unshared!, exact);
  checks.atMost(`${what}: shared prefix beside unshared, gradients`, errorOf(bf16!, unshared!), noise);
  if (backward && fp8 && again) {
    report('fp8-backward', backward, exact);
    report('fp8', fp8, exact);
    checks.atMost(`${what}: fp8-backward, error by that of bf16`, errorOf(backward, exact) / noise, 3);
    checks.exact(`${what}: two runs in fp8`, isSame(fp8, again));
  }
  if (what === 'chaotic') continue;
  const [held8] = (await resultsOf(engine, branch, 'held fp8', [{}])) as [Result];
  report('held fp8', held8, exact);
  checks.atMost('held fp8 beside the same base in bf16, logits', relativeError(held8.logits, bf16!.logits), noise);
  checks.atMost('held fp8 beside the same base in bf16, gradients', errorOf(held8, bf16!), noise);
  const [exact4] = (await resultsOf(cpu, branch, 'dequantised nf4', [{}])) as [Result];
  const [plain4] = (await resultsOf(engine, branch, 'dequantised nf4', [{}])) as [Result];
  const [held4] = (await resultsOf(engine, branch, 'held nf4', [{}])) as [Result];
  const [host4] = (await resultsOf(cpu, branch, 'held nf4', [{}])) as [Result];
  report('dequantised nf4', plain4, exact4);
  report('held nf4', held4, exact4);
  const noise4 = errorOf(plain4, exact4);
  checks.atMost('held nf4 beside the base dequantised, logits', relativeError(held4.logits, plain4.logits), noise4);
  checks.atMost('held nf4 beside the base dequantised, gradients', errorOf(held4, plain4), noise4);
  checks.atMost('cpu, held nf4 beside the base dequantised, gradients', errorOf(host4, exact4), noise4);
}
await engine.dispose();
await cpu.dispose();
console.log(`${seconds()} in all\n${checks.summary()}`);
process.exitCode = checks.failed > 0 ? 1 : 0;
