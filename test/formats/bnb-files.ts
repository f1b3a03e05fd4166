/** Tensors of a 4-bit matrix as bitsandbytes writes them. */
import { NF4_VALUES, Nf4Quantizer } from '../../src/formats/nf4.js';
import type { TensorToWrite } from '../../src/formats/safetensors.js';

export type Stored = TensorToWrite & { readonly data: ArrayBufferView };

/** By what comes after the name of the weight: '' is the weight itself. */
export function bnbTensors(
  name: string,
  [rows, columns]: readonly [number, number],
  values: Float32Array,
  { double = true, blockSize = 64, state = {} }: { double?: boolean; blockSize?: number; state?: object } = {},
): Map<string, Stored> {
  const quantizer = new Nf4Quantizer(name, values.length, blockSize);
  quantizer.push(values);
  const absmax = quantizer.finish(double);
  const tensors = new Map<string, Stored>();
  const add = (
    suffix: string,
    dtype: TensorToWrite['dtype'],
    shape: readonly number[],
    data: ArrayBufferView,
  ): void => {
    tensors.set(suffix, { name: `${name}${suffix}`, dtype, shape, data });
  };
  const { codes } = quantizer;
  add('', 'U8', [codes.length, 1], codes);
  add('.quant_map', 'F32', [16], NF4_VALUES);
  const plain = { quant_type: 'nf4', blocksize: blockSize, dtype: 'bfloat16', shape: [rows, columns] };
  let json: object = plain;
  if ('absmax' in absmax) {
    add('.absmax', 'F32', [absmax.absmax.length], absmax.absmax);
  } else {
    add('.absmax', 'U8', [absmax.codes.length], absmax.codes);
    add('.nested_absmax', 'F32', [absmax.nestedAbsmax.length], absmax.nestedAbsmax);
    add('.nested_quant_map', 'F32', [256], absmax.map);
    json = { ...plain, nested_blocksize: 256, nested_dtype: 'float32', nested_offset: absmax.offset };
  }
  const bytes = new TextEncoder().encode(JSON.stringify({ ...json, ...state }));
  add('.quant_state.bitsandbytes__nf4', 'U8', [bytes.length], bytes);
  return tensors;
}
