/**
 * Checkpoints of bitsandbytes with 4-bit weights. A matrix P.weight is stored as U8, two codes a byte, with
 * P.weight.absmax (U8 with double quantisation, else F32), P.weight.quant_map (the 16 values), with double quantisation
 * P.weight.nested_absmax and P.weight.nested_quant_map, and P.weight.quant_state.bitsandbytes__nf4: bytes of JSON. Which
 * matrices are in 4 bits is decided by these tensors; what config.json lists as skipped is not read.
 */
import { CheckpointError } from '../errors.js';
import { JsonFault, parseJson } from '../files/read-json.js';
import { showValue } from '../messages/show-value.js';
import { NF4_VALUES } from './nf4.js';
import type { ShardedCheckpoint } from './safetensors.js';
import { type Nf4Absmax, sizeOf, type WeightSource } from './weight-source.js';

/** What the `quantization_config` of a bitsandbytes checkpoint says; the rest is beside each weight. */
export interface BitsAndBytesQuantization {
  readonly method: 'bitsandbytes';
}

/** P.weight.quant_state, checked. */
export interface BnbState {
  readonly shape: readonly [rows: number, columns: number];
  readonly blockSize: number;
  /** Double quantisation: values of absmax that share one of `nested_absmax`, and the mean that was subtracted. */
  readonly nested: { readonly blockSize: number; readonly offset: number } | undefined;
}

const STATE = /^(.+\.weight)\.quant_state\.bitsandbytes__(\w+)$/;
const COMPANION =
  /^(.+\.weight)\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__\w+)$|^(.+)\.(?:SCB|weight_format)$/;
/** A state takes some 200 bytes. */
const MAX_STATE_BYTES = 65_536;
const HINT =
  'Use a 4-bit checkpoint as bitsandbytes writes it (NF4), or the model in bfloat16 with the option quantization: "nf4".';

/** Stored name of the weight that a tensor belongs to as part of its quant state; undefined for other tensors. */
export function bnbWeightOf(name: string): string | undefined {
  const [, fourBit, eightBit] = COMPANION.exec(name) ?? [];
  return fourBit ?? (eightBit === undefined ? undefined : `${eightBit}.weight`);
}

/** Reads `quantization_config` where its quant_method is bitsandbytes. @param faults receives what is not supported */
export function parseBitsAndBytes(json: Readonly<Record<string, unknown>>, faults: string[]): BitsAndBytesQuantization {
  const fault = (field: string, expected: string): void => {
    faults.push(`quantization_config.${field}: expected ${expected}, got ${showValue(json[field])}; ${INSTEAD}`);
  };
  if (json['load_in_8bit'] === true) fault('load_in_8bit', 'false: LLM.int8 is not read');
  if (!['nf4', undefined].includes(json['bnb_4bit_quant_type'] as string | undefined)) {
    fault('bnb_4bit_quant_type', '"nf4"');
  }
  if (!['uint8', undefined].includes(json['bnb_4bit_quant_storage'] as string | undefined)) {
    fault('bnb_4bit_quant_storage', '"uint8"');
  }
  return { method: 'bitsandbytes' };
}

const INSTEAD = 'use an NF4 checkpoint, or the model in bfloat16, which the option quantization: "nf4" quantises';

/** States of all 4-bit weights by their stored names; an error where one is not as expected. Reads some KiB. */
export async function readBnbStates(checkpoint: ShardedCheckpoint): Promise<Map<string, BnbState | CheckpointError>> {
  const states = new Map<string, BnbState | CheckpointError>();
  for (const name of checkpoint.tensors.keys()) {
    const [, weight, type] = STATE.exec(name) ?? [];
    // A leftover without its weight is reported as a tensor that belongs to nothing.
    if (weight === undefined || checkpoint.tensors.get(weight)?.dtype !== 'U8') continue;
    const state = states.has(weight) ? refusal(checkpoint, weight, 'has two quant states') : undefined;
    states.set(weight, state ?? (await readState(checkpoint, weight, name, type!)));
  }
  return states;
}

/**
 * A 4-bit weight to be streamed into an engine.
 * @param state undefined where the weight has none
 * @throws CheckpointError if the state or a tensor of it is missing or does not fit
 */
export function bnbSource(
  checkpoint: ShardedCheckpoint,
  name: string,
  state: BnbState | CheckpointError | undefined,
): WeightSource {
  const file = checkpoint.fileOf(name);
  const { dtype, byteLength } = file.info(name);
  if (state instanceof CheckpointError) throw state;
  if (!state) {
    const is8Bit = dtype === 'I8';
    throw refusal(
      checkpoint,
      name,
      is8Bit
        ? 'is stored as I8, as LLM.int8 does (load_in_8bit), which is not read'
        : `is stored as ${dtype} without "${name}.quant_state.bitsandbytes__nf4"`,
    );
  }
  const { shape, blockSize, nested } = state;
  const size = sizeOf(shape);
  const blocks = Math.ceil(size / blockSize);
  const require = (suffix: string, type: string, length: number): string => {
    const part = `${name}${suffix}`;
    const info = checkpoint.tensors.get(part);
    if (!info) throw refusal(checkpoint, name, `is stored in 4 bits without "${part}"`);
    if (info.dtype !== type || sizeOf(info.shape) !== length) {
      const came = `${info.dtype} [${info.shape.join(', ')}]`;
      throw refusal(checkpoint, name, `has "${part}" as ${came}, expected ${length} values of ${type}`);
    }
    return part;
  };
  if (byteLength !== Math.ceil(size / 2)) {
    const needed = `[${shape.join(', ')}] in 4 bits needs ${Math.ceil(size / 2)}`;
    throw refusal(checkpoint, name, `has ${byteLength} bytes, ${needed}`);
  }
  const map = require('.quant_map', 'F32', 16);
  const absmax = require('.absmax', nested ? 'U8' : 'F32', blocks);
  const nestedParts = nested && {
    map: require('.nested_quant_map', 'F32', 256),
    absmax: require('.nested_absmax', 'F32', Math.ceil(blocks / nested.blockSize)),
  };
  const readFinite = async (part: string): Promise<Float32Array> => {
    const values = await checkpoint.readFloat32(part);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw refusal(checkpoint, name, `has the value ${values[bad]} in "${part}"`);
    return values;
  };
  const readAbsmax = async (): Promise<Nf4Absmax> => {
    const values = await checkpoint.readFloat32(map);
    if (values.some((value, i) => value !== NF4_VALUES[i])) {
      throw refusal(checkpoint, name, `has other values in "${map}" than those of NF4`);
    }
    if (!nested || !nestedParts) return { absmax: await readFinite(absmax) };
    const codes = new Uint8Array(blocks);
    await checkpoint.fileOf(absmax).readBytes(absmax, codes);
    return {
      codes,
      map: await readFinite(nestedParts.map),
      nestedAbsmax: await readFinite(nestedParts.absmax),
      nestedBlockSize: nested.blockSize,
      offset: nested.offset,
    };
  };
  const read = (target: Uint8Array, offset = 0): Promise<void> => file.readBytes(name, target, offset);
  return { name, shape, dtype: 'nf4', byteLength, quantState: { blockSize, read: readAbsmax }, read };
}

async function readState(
  checkpoint: ShardedCheckpoint,
  weight: string,
  name: string,
  type: string,
): Promise<BnbState | CheckpointError> {
  const refuse = (reason: string): CheckpointError => refusal(checkpoint, weight, `has ${reason}`);
  if (type !== 'nf4') return refuse(`the quant state of ${type}, expected nf4`);
  const file = checkpoint.fileOf(name);
  const { dtype, byteLength } = file.info(name);
  if (dtype !== 'U8' || byteLength > MAX_STATE_BYTES) return refuse(`${byteLength} bytes of ${dtype} in "${name}"`);
  const bytes = new Uint8Array(byteLength);
  await file.readBytes(name, bytes);
  let json: unknown;
  try {
    json = parseJson(bytes);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof JsonFault)) throw error;
    return refuse(`no JSON in "${name}": ${error.message}`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return refuse(`no JSON object in "${name}"`);
  const state = json as Record<string, unknown>;
  const wrong = (field: string, expected: string): CheckpointError =>
    refuse(`${field} ${showValue(state[field])} in its quant state, expected ${expected}`);
  const { quant_type, blocksize, shape, dtype: computed } = state;
  if (quant_type !== 'nf4') return wrong('quant_type', '"nf4"');
  if (!isPowerOfTwo(blocksize) || blocksize < 32 || blocksize > 4096) {
    return wrong('blocksize', 'a power of two from 32 to 4096');
  }
  if (!['bfloat16', 'float16', 'float32'].includes(computed as string)) {
    return wrong('dtype', '"bfloat16", "float16" or "float32"');
  }
  const isShape =
    Array.isArray(shape) &&
    shape.length === 2 &&
    shape.every((extent) => Number.isSafeInteger(extent) && extent > 0) &&
    Number.isSafeInteger(shape[0] * shape[1]);
  if (!isShape) return wrong('shape', 'rows and columns of a matrix');
  const result = { shape: [shape[0], shape[1]], blockSize: blocksize } as const;
  const { nested_blocksize: nestedSize, nested_offset: offset, nested_dtype: nestedDtype } = state;
  if (nestedSize === undefined && offset === undefined) return { ...result, nested: undefined };
  if (!isPowerOfTwo(nestedSize)) return wrong('nested_blocksize', 'a power of two');
  if (typeof offset !== 'number' || !Number.isFinite(Math.fround(offset))) return wrong('nested_offset', 'a number');
  if (nestedDtype !== undefined && nestedDtype !== 'float32') return wrong('nested_dtype', '"float32"');
  return { ...result, nested: { blockSize: nestedSize, offset: Math.fround(offset) } };
}

function isPowerOfTwo(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0 && Number.isInteger(Math.log2(value as number));
}

function refusal({ directory }: ShardedCheckpoint, name: string, reason: string): CheckpointError {
  return new CheckpointError(`${directory}: "${name}" ${reason}`, { hint: HINT, details: { name } });
}
