/** Which matrices of a checkpoint are held in 4 or 8 bits, by the option `quantization` and how they are stored. */

import type { Engine } from '../engine/engine.js';
import { ConfigError, EngineError } from '../errors.js';
import { dequantizedSource } from '../formats/held-source.js';
import { type HeldFormat, sizeOf, type WeightSource } from '../formats/weight-source.js';
import { formatBytes } from '../messages/format-bytes.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';
import { namesOfGiven, type QuantizationOptions } from './quantization.js';
import { linearModuleName, toDiskName, toMemoryName } from './tensor-names.js';

const DEFAULT_SKIPPED: readonly string[] = ['vision_tower', 'multi_modal_projector', 'lm_head'];

/** A tensor of a checkpoint. */
export interface StoredTensor {
  /** Name in memory. */
  readonly name: string;
  /** Quantised format in the files. */
  readonly stored: 'nf4' | 'f8_e4m3' | undefined;
  /** Of the weight, not of its packed codes. */
  readonly shape: readonly number[];
  /** Stored bytes, scales included. */
  readonly bytes: number;
}

/** How a matrix is held: as stored, dequantised to bf16, or in the format of the option. */
type Held = { readonly as: 'stored' | 'widened' } | { readonly as: 'held'; readonly hold: HeldFormat };

/** Decides for each weight of a checkpoint how it is held. */
export class QuantizationPlan {
  readonly #held = new Map<string, Held>();
  /** One line of counts and sizes; undefined if all matrices are stored and held in 16 or 32 bits. */
  readonly notice: string | undefined;
  /** What was quantised, for the comparison of runs; undefined if values are those of the checkpoint. */
  readonly description: string | undefined;

  /**
   * @param option checked
   * @param what name of the public function, for messages
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
    // What a quantised checkpoint stores in 16 bits, its publisher left so on purpose.
    const staysPlain = has('nf4') || (has('f8_e4m3') && method === 'fp8');
    for (const { name, stored } of matrices) {
      if (stored === 'nf4') this.#held.set(name, { as: method === 'none' || !isHeld('nf4') ? 'widened' : 'stored' });
      else if (method === 'nf4' || method === 'fp8') {
        const isWanted = stored === 'f8_e4m3' && method === 'fp8' ? !option?.skipModules || !skips(name) : !skips(name);
        if (isWanted && (stored !== undefined || !staysPlain)) this.#held.set(name, { as: 'held', hold });
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

  /** The source with its held format. @param name in memory */
  apply(name: string, source: WeightSource): WeightSource {
    const held = this.#held.get(name);
    // Only linear layers are held in 4 bits: an embedding that is stored so is dequantised.
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
    `${what}: ${given.join(', ')} of \`quantization\`: the checkpoint is already quantised to 4 bits (bitsandbytes)`,
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
    const kept = held?.as === 'held' ? describeHold(held.hold) : held?.as === 'stored' ? 'nf4, as stored' : '';
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
    const sizes = `${formatBytes(bytes)} instead of ${formatBytes(plain)} in 16 bits`;
    return `${count} of ${matrices.length} matrices are held as ${kept}: ${sizes}`;
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

/** Bytes of the matrix in this format; e4m3 with a scale a row. */
function bytesOf(hold: HeldFormat, shape: readonly number[]): number {
  const size = sizeOf(shape);
  if (hold.format === 'f8_e4m3') return size + 4 * (shape[0] ?? 1);
  const blocks = Math.ceil(size / hold.blockSize);
  return Math.ceil(size / 2) + (hold.doubleQuantization ? blocks + 4 * Math.ceil(blocks / 256) : 4 * blocks);
}
