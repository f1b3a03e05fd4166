/** Tensors that are handed over to be written: in plain JavaScript the compiler has not seen them. */
import { ConfigError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { showValue } from '../messages/show-value.js';
import { isOptions } from '../require-given.js';
import { DTYPE_BITS } from './safetensors-header.js';

const TENSOR_HINT = 'Write [{ name, dtype: "F32", shape: [2, 3], data: new Float32Array(6) }].';

/** @throws ConfigError for what is no list, or metadata that are no texts by name */
export function checkTensors(tensors: unknown, metadata: unknown): void {
  const isList =
    typeof tensors !== 'string' && typeof (tensors as Iterable<unknown> | null)?.[Symbol.iterator] === 'function';
  if (!isList) {
    throw new ConfigError(`writeSafetensors: expected a list of tensors, got ${describeGiven(tensors)}`, {
      hint: TENSOR_HINT,
    });
  }
  const wrong = isObject(metadata) ? Object.entries(metadata).find(([, text]) => typeof text !== 'string') : undefined;
  if (isOptions(metadata) && wrong === undefined) return;
  const came = wrong ? `${describeGiven(wrong[1])} as ${showValue(wrong[0])}` : describeGiven(metadata);
  throw new ConfigError(`writeSafetensors: \`metadata\`: expected an object of names and texts, got ${came}`);
}

/** @throws ConfigError for what is no tensor; its bytes are counted when they are written */
export function checkTensor(tensor: unknown): void {
  const { name, dtype, shape, data, chunks } = isObject(tensor) ? tensor : {};
  const isShape = Array.isArray(shape) && shape.every((extent) => typeof extent === 'number');
  const isKnown = typeof dtype === 'string' && Object.hasOwn(DTYPE_BITS, dtype);
  if (typeof name === 'string' && isKnown && isShape && (ArrayBuffer.isView(data) || typeof chunks === 'function'))
    return;
  throw new ConfigError(`writeSafetensors: expected a tensor, got ${describeGiven(tensor)}`, { hint: TENSOR_HINT });
}
