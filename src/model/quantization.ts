/** The option `quantization` of loading, checked. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';

/** How linear layers are held: NF4 as with `load_in_4bit`, e4m3 with scales, or 16 bits. */
export type QuantizationMethod = 'nf4' | 'fp8' | 'none';

/** Options of `quantization`, each with its name in transformers' `BitsAndBytesConfig`. */
export interface QuantizationOptions {
  /**
   * `nf4` (`bnb_4bit_quant_type`): 4 bits a value and an absmax for each block, as bitsandbytes. `fp8`: e4m3, with
   * the scales of an FP8 checkpoint, or one scale a row for others. `none`: 16 bits, however the checkpoint is stored.
   * Required.
   */
  method: QuantizationMethod;
  /** `bnb_4bit_use_double_quant`: quantise the absmax of `nf4` to 8 bits: 0.4 bits less a value. Default: true. */
  doubleQuantization?: boolean | undefined;
  /** Values that share an absmax of `nf4`: a power of two from 32 to 4096. Default: 64. */
  blockSize?: number | undefined;
  /**
   * `llm_int8_skip_modules`: modules that stay in 16 bits, by name or by part of a name between dots, in the spelling
   * of file or memory: `vision_tower`, `o_proj`, `model.language_model.layers.0`. The embedding is never quantised.
   * Default: `vision_tower`, `multi_modal_projector`, `lm_head`.
   */
  skipModules?: readonly string[] | undefined;
}

const METHODS = ['nf4', 'fp8', 'none'] as const;

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
type _Input = NoMismatch<Mismatch<Given<z.input<typeof schema>>, Given<QuantizationOptions>>>;

/** Arguments of transformers' `from_pretrained`, in lower case, and the option here. */
export const LOAD_ALIASES: Readonly<Record<string, string>> = {
  devicemap: 'deviceMap',
  maxmemory: 'maxMemory',
  device: 'engine',
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

/** Names of the methods in other libraries, lower-case letters and digits. */
const METHOD_ALIASES: Readonly<Record<string, QuantizationMethod>> = {
  ...{ '4bit': 'nf4', int4: 'nf4', fp4: 'nf4', bnb: 'nf4', bnb4bit: 'nf4', bitsandbytes: 'nf4', loadin4bit: 'nf4' },
  ...{ '8bit': 'fp8', int8: 'fp8', e4m3: 'fp8', f8e4m3: 'fp8', float8: 'fp8', loadin8bit: 'fp8' },
  ...{ '16bit': 'none', bf16: 'none', bfloat16: 'none', no: 'none', off: 'none' },
};

/**
 * Checks the option.
 * @param what name of the public function, for messages
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

/** Names of the options that are not undefined. */
export function namesOfGiven(options: object): string[] {
  return Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : `\`${name}\``));
}
