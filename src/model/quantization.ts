/** The option `quantization`: which matrices of a model are held in 4 or 8 bits, and what that comes to. */
import { z } from 'zod';
import { nearestName, parseOptions } from '../config.js';
import type { Engine } from '../engine/engine.js';
import { ConfigError, EngineError } from '../errors.js';
import { dequantizedSource } from '../formats/held-source.js';
import { type HeldFormat, sizeOf, type WeightSource } from '../formats/weight-source.js';
import { showValue } from '../messages/show-value.js';
import { linearModuleName, toDiskName, toMemoryName } from './tensor-names.js';

/** How the matrices of a model are held: `load_in_4bit` with NF4, e4m3 with scales, or in 16 bits. */
export type QuantizationMethod = 'nf4' | 'fp8' | 'none';

/** Options of `quantization`, with what transformers' `BitsAndBytesConfig` calls them. */
export interface QuantizationOptions {
  /**
   * `nf4` (`bnb_4bit_quant_type`): 4 bits a value and a factor for each block, as bitsandbytes. `fp8`: e4m3, a published
   * FP8 checkpoint with its own scales, another with one for each row. `none`: 16 bits, whatever the checkpoint has.
   */
  method: QuantizationMethod;
  /** `bnb_4bit_use_double_quant`: the factors of `nf4` in 8 bits as well. 0.4 bits less a value. Default true. */
  doubleQuantization?: boolean | undefined;
  /** Values that share a factor of `nf4`: a power of two from 32 to 4096. Default 64. */
  blockSize?: number | undefined;
  /**
   * `llm_int8_skip_modules`: names of modules that stay in 16 bits, or parts of names between dots, in either spelling:
   * `vision_tower`, `o_proj`, `model.language_model.layers.0`. In place of the default: `vision_tower`,
   * `multi_modal_projector`, `lm_head`. The embedding always stays.
   */
  skipModules?: readonly string[] | undefined;
}

const METHODS = ['nf4', 'fp8', 'none'] as const;
const DEFAULT_SKIPPED: readonly string[] = ['vision_tower', 'multi_modal_projector', 'lm_head'];

const schema = z.strictObject({
  method: z.enum(METHODS),
  doubleQuantization: z.boolean().optional(),
  blockSize: z
    .int()
    .refine((size) => size >= 32 && size <= 4096 && Number.isInteger(Math.log2(size)), {
      message: 'expected a power of two from 32 to 4096',
    })
    .optional(),
  skipModules: z.array(z.string().min(1)).readonly().optional(),
});

/** Arguments of transformers' `from_pretrained`, by what they are called here. */
export const LOAD_ALIASES: Readonly<Record<string, string>> = {
  loadin4bit: 'quantization',
  loadin8bit: 'quantization',
  quantizationconfig: 'quantization',
};

const ALIASES: Readonly<Record<string, string>> = {
  bnb4bitusedoublequant: 'doubleQuantization',
  bnb4bitquanttype: 'method',
  loadin4bit: 'method',
  loadin8bit: 'method',
  bnb4bitblocksize: 'blockSize',
  llmint8skipmodules: 'skipModules',
  modulestonotconvert: 'skipModules',
};

/** What other libraries call the methods, in lower case without signs. */
const METHOD_ALIASES: Readonly<Record<string, QuantizationMethod>> = {
  ...{ '4bit': 'nf4', int4: 'nf4', fp4: 'nf4', bnb: 'nf4', bnb4bit: 'nf4', bitsandbytes: 'nf4', loadin4bit: 'nf4' },
  ...{ '8bit': 'fp8', int8: 'fp8', e4m3: 'fp8', f8e4m3: 'fp8', float8: 'fp8', loadin8bit: 'fp8' },
  ...{ '16bit': 'none', bf16: 'none', bfloat16: 'none', no: 'none', off: 'none' },
};

/**
 * Checks the option.
 * @param what who asks, for messages
 * @throws ConfigError
 */
export function parseQuantizationOption(given: unknown, what: string): QuantizationOptions | undefined {
  if (given === undefined) return undefined;
  const name = `${what}: \`quantization\``;
  if (typeof given === 'object' && given !== null) {
    const parsed = parseOptions(schema, given, name, ALIASES);
    const { method, doubleQuantization, blockSize, skipModules } = parsed;
    const unused = namesOfGiven({
      ...(method !== 'nf4' && { doubleQuantization, blockSize }),
      ...(method === 'none' && { skipModules }),
    });
    if (unused.length > 0) {
      throw new ConfigError(`${name}: the method ${showValue(method)} has no ${unused.join(', ')}`, {
        hint: `Leave ${unused.length === 1 ? 'it' : 'them'} out, or quantise with the method "nf4".`,
      });
    }
    return parsed;
  }
  if (METHODS.includes(given as QuantizationMethod)) return { method: given as QuantizationMethod };
  const plain = String(given)
    .toLowerCase()
    .replaceAll(/[^a-z\d]/g, '');
  const near = Object.hasOwn(METHOD_ALIASES, plain) ? METHOD_ALIASES[plain] : nearestName(String(given), METHODS);
  throw new ConfigError(
    `${name}: expected one of ${METHODS.map((method) => `"${method}"`).join(', ')} or an object with a \`method\`, got ` +
      `${showValue(given)}${near ? `; did you mean "${near}"?` : ''}`,
  );
}

function namesOfGiven(options: object): string[] {
  return Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : `\`${name}\``));
}

/** A tensor of a checkpoint. */
export interface StoredTensor {
  /** In memory. */
  readonly name: string;
  /** The quantised format that it is stored in. */
  readonly stored: 'nf4' | 'f8_e4m3' | undefined;
  /** Of the weight, not of its codes. */
  readonly shape: readonly number[];
  /** With its scales. */
  readonly bytes: number;
}

/** How one matrix is kept. */
type Held = { readonly as: 'stored' | 'widened' } | { readonly as: 'held'; readonly hold: HeldFormat };

/** Says of each weight of a checkpoint how it is held. */
export class QuantizationPlan {
  readonly #held = new Map<string, Held>();
  /** What is held how, in a line; undefined where all is in 16 or 32 bits, as it is stored. */
  readonly notice: string | undefined;
  /** What the values are if not those of the checkpoint, for the comparison of runs. */
  readonly description: string | undefined;

  /**
   * @param option checked
   * @param what who asks, for messages
   * @throws ConfigError if the option contradicts the checkpoint, EngineError if the engine does not hold the format
   */
  constructor(
    engine: Pick<Engine, 'name' | 'heldFormats'>,
    tensors: readonly StoredTensor[],
    option: QuantizationOptions | undefined,
    what: string,
  ) {
    const matrices = tensors.filter(({ name, shape }) => linearModuleName(name, shape) !== undefined);
    const has = (format: StoredTensor['stored']): boolean => matrices.some(({ stored }) => stored === format);
    const isHeld = (format: HeldFormat['format']): boolean => engine.heldFormats?.includes(format) ?? false;
    const method = option?.method;
    const format = method === 'nf4' ? 'nf4' : 'f8_e4m3';
    requireConsistent(option, has('nf4'), what);
    if ((method === 'nf4' || method === 'fp8') && !isHeld(format)) throw unheld(engine, method, what);
    const skips = skipRule(option?.skipModules, matrices, what);
    const hold: HeldFormat =
      method === 'nf4'
        ? { format: 'nf4', blockSize: option?.blockSize ?? 64, doubleQuantization: option?.doubleQuantization ?? true }
        : { format: 'f8_e4m3' };
    // What a checkpoint that is quantised has in 16 bits was left so by its publisher.
    const staysSo = has('nf4') || (has('f8_e4m3') && method === 'fp8');
    for (const { name, stored } of matrices) {
      if (stored === 'nf4') this.#held.set(name, { as: method === 'none' || !isHeld('nf4') ? 'widened' : 'stored' });
      else if (method === 'nf4' || method === 'fp8') {
        const isWanted = stored === 'f8_e4m3' && method === 'fp8' ? !option?.skipModules || !skips(name) : !skips(name);
        if (isWanted && (stored !== undefined || !staysSo)) this.#held.set(name, { as: 'held', hold });
      }
    }
    if (option?.skipModules && ![...this.#held.values()].some(({ as }) => as === 'held')) {
      throw new ConfigError(`${what}: \`quantization.skipModules\` leaves no matrix to be held in ${method}`, {
        hint: 'Skip fewer modules, or leave the option `quantization` out.',
      });
    }
    this.notice = noticeOf(matrices, this.#held, engine);
    const changed = matrices.filter(({ name, stored }) => {
      const held = this.#held.get(name);
      return held?.as === 'held' && held.hold.format !== stored;
    });
    if (changed.length > 0) this.description = `${describeHold(hold)}, ${changed.length} matrices`;
  }

  /** The source with how it is to be held. @param name in memory */
  apply(name: string, source: WeightSource): WeightSource {
    const held = this.#held.get(name);
    // Matrices are planned for; products with others, such as the embedding, are only made from 16 bits.
    if (held?.as === 'widened' || (!held && source.dtype === 'nf4')) return dequantizedSource(source);
    return held?.as === 'held' ? { ...source, hold: held.hold } : source;
  }
}

function requireConsistent(option: QuantizationOptions | undefined, isNf4: boolean, what: string): void {
  if (!isNf4 || !option || option.method === 'none') return;
  if (option.method === 'fp8') {
    throw new ConfigError(`${what}: \`quantization\` is "fp8", but the checkpoint is stored in 4 bits (bitsandbytes)`, {
      hint: 'Leave the option out to hold it in 4 bits, or set it to "none" for 16 bits; for 8 bits take the FP8 checkpoint or the one in bfloat16.',
    });
  }
  const { doubleQuantization, blockSize, skipModules } = option;
  const given = namesOfGiven({ doubleQuantization, blockSize, skipModules });
  if (given.length === 0) return;
  throw new ConfigError(
    `${what}: ${given.join(', ')} of \`quantization\`: the checkpoint is stored in 4 bits (bitsandbytes), which decides this`,
    { hint: 'Leave it out, or take the checkpoint in bfloat16.' },
  );
}

function unheld(
  { name, heldFormats }: Pick<Engine, 'name' | 'heldFormats'>,
  method: string,
  what: string,
): EngineError {
  const known = heldFormats?.map((format) => (format === 'nf4' ? 'nf4' : 'fp8')) ?? [];
  return new EngineError(
    `${what}: the ${name} engine does not hold matrices in ${method}; below 16 bits it holds ${known.join(', ') || 'none'}`,
    { hint: 'Use the engine cuda or cpu, or leave the option `quantization` out.' },
  );
}

/** Whether the module of a weight (name in memory) is skipped. @throws ConfigError for a name of nothing */
function skipRule(
  given: readonly string[] | undefined,
  matrices: readonly StoredTensor[],
  what: string,
): (name: string) => boolean {
  const skipped = given ?? DEFAULT_SKIPPED;
  const matches = (weight: string, module: string): boolean =>
    [weight, toDiskName(weight)].some((name) => `.${name}`.includes(`.${module}.`));
  const unknown = given?.find(
    (module) =>
      !['lm_head', 'embed_tokens'].includes(toMemoryName(`${module}.`).split('.').at(-2) ?? '') &&
      !matrices.some(({ name }) => matches(name, module)),
  );
  if (unknown !== undefined) {
    const modules = matrices.map(({ name }) => name.replace(/\.weight$/, ''));
    const parts = modules.flatMap((name) => name.split('.').filter((part) => /^[a-z]/.test(part)));
    const near = nearestName(unknown, [...new Set([...modules, ...parts])]);
    throw new ConfigError(
      `${what}: \`quantization.skipModules\`: no linear layer is called ${showValue(unknown)}` +
        `${near ? `; did you mean "${near}"?` : ''}`,
      { hint: 'Give names of modules or parts of them between dots, no patterns: vision_tower, o_proj, layers.0.' },
    );
  }
  return (name) => skipped.some((module) => matches(name, module));
}

function noticeOf(
  matrices: readonly StoredTensor[],
  plan: ReadonlyMap<string, Held>,
  { name: engine, heldFormats = [] }: Pick<Engine, 'name' | 'heldFormats'>,
): string | undefined {
  const groups = new Map<string, { count: number; bytes: number; plain: number }>();
  let widened8 = 0;
  let widened4 = 0;
  for (const { name, stored, shape, bytes: storedBytes } of matrices) {
    const held = plan.get(name);
    const kept = held?.as === 'held' ? describeHold(held.hold) : held?.as === 'stored' ? 'nf4, as they are stored' : '';
    if (kept === '') {
      if (stored === 'f8_e4m3') widened8++;
      if (stored === 'nf4') widened4++;
      continue;
    }
    const group = groups.get(kept) ?? { count: 0, bytes: 0, plain: 0 };
    const size = sizeOf(shape);
    const bytes = held?.as === 'held' && held.hold.format !== stored ? bytesOf(held.hold, shape) : storedBytes;
    groups.set(kept, { count: group.count + 1, bytes: group.bytes + bytes, plain: group.plain + 2 * size });
  }
  const lines = [...groups].map(([kept, { count, bytes, plain }]) => {
    const [small, large] = inOneUnit(bytes, plain);
    return `${count} of ${matrices.length} matrices are held as ${kept}: ${small} instead of ${large}`;
  });
  if (widened8 > 0) {
    lines.push(
      `${widened8} FP8 matrices are dequantised to bfloat16 and take as much memory as those of the BF16 checkpoint` +
        `${heldFormats.includes('f8_e4m3') && groups.size === 0 ? '; the option quantization: "fp8" keeps them in 8 bits' : ''}`,
    );
  }
  if (widened4 > 0) {
    lines.push(
      `${widened4} NF4 matrices are dequantised to bfloat16 and take as much memory as those of the BF16 checkpoint` +
        `${heldFormats.includes('nf4') ? '' : `, for the ${engine} engine does not hold 4 bits`}`,
    );
  }
  return lines.length === 0 ? undefined : lines.join('; ');
}

function describeHold(hold: HeldFormat): string {
  if (hold.format === 'f8_e4m3') return 'e4m3';
  const blocks = hold.blockSize === 64 ? '' : ` in blocks of ${hold.blockSize}`;
  return `nf4${blocks}${hold.doubleQuantization ? ' with double quantisation' : ''}`;
}

/** Of the matrix in this format; e4m3 with a scale a row. */
function bytesOf(hold: HeldFormat, shape: readonly number[]): number {
  const size = sizeOf(shape);
  if (hold.format === 'f8_e4m3') return size + 4 * (shape[0] ?? 1);
  const blocks = Math.ceil(size / hold.blockSize);
  return Math.ceil(size / 2) + (hold.doubleQuantization ? blocks + 4 * Math.ceil(blocks / 256) : 4 * blocks);
}

/** `5.8 GiB` and `22.7`. */
function inOneUnit(small: number, large: number): [string, string] {
  const power = large >= 2 ** 30 ? 30 : large >= 2 ** 20 ? 20 : 10;
  const [unit, bytes] = [{ 30: 'GiB', 20: 'MiB', 10: 'KiB' }[power], 2 ** power];
  return [`${(small / bytes).toFixed(1)} ${unit}`, (large / bytes).toFixed(1)];
}
