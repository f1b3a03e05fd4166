/** Trainable parameters: values and gradients in two blocks, where each begins at a binding's alignment. */
import { layOut, sizeOfAll } from '../parameter-layout.js';
import type { Parameter, ParameterSet, ParameterSpec } from '../tensor.js';
import type { BufferRange } from './gpu-types.js';
import { type TensorStore, WebgpuTensor } from './tensor-store.js';

/** Elements: a binding starts at a multiple of 256 bytes. */
const ALIGNMENT = 64;

export interface WebgpuParameter extends Parameter {
  readonly value: WebgpuTensor;
  readonly grad: WebgpuTensor;
  /** First element in the blocks of the set; `offset` is that of the arrays on the host. */
  readonly deviceOffset: number;
}

export class WebgpuParameterSet implements ParameterSet {
  readonly parameters: readonly WebgpuParameter[];
  readonly size: number;
  /** [deviceSize] With zeros between the parameters. */
  readonly values: WebgpuTensor;
  readonly gradients: WebgpuTensor;

  constructor(store: TensorStore, specs: readonly ParameterSpec[]) {
    this.size = sizeOfAll(specs);
    let deviceSize = 0;
    const places = specs.map(({ initial }) => {
      const at = deviceSize;
      deviceSize += ALIGNMENT * Math.ceil(initial.length / ALIGNMENT);
      return at;
    });
    this.values = store.createLasting([deviceSize]);
    try {
      this.gradients = store.createLasting([deviceSize]);
    } catch (error) {
      store.release(this.values);
      throw error;
    }
    const initial = new Float32Array(deviceSize);
    let next = 0;
    this.parameters = layOut(specs, (spec) => {
      const deviceOffset = places[next++]!;
      initial.set(spec.initial, deviceOffset);
      const [value, grad] = [this.values, this.gradients].map(
        (flat) => new WebgpuTensor([...spec.shape], rangeOf(flat, deviceOffset, spec.initial.length)),
      ) as [WebgpuTensor, WebgpuTensor];
      return { value, grad, deviceOffset };
    });
    if (deviceSize > 0) store.queue.upload(this.values.range, initial);
  }

  get isReleased(): boolean {
    return this.values.isFreed;
  }

  /** From the layout of the device to that of the host. */
  packed(flat: Float32Array): Float32Array {
    const packed = new Float32Array(this.size);
    for (const { offset, deviceOffset, size } of this.parameters)
      packed.set(flat.subarray(deviceOffset, deviceOffset + size), offset);
    return packed;
  }

  /** From the layout of the host to that of the device. */
  spread(packed: Float32Array): Float32Array {
    const flat = new Float32Array(this.values.size);
    for (const { offset, deviceOffset, size } of this.parameters)
      flat.set(packed.subarray(offset, offset + size), deviceOffset);
    return flat;
  }
}

function rangeOf({ range: { buffer, offset } }: WebgpuTensor, first: number, count: number): BufferRange {
  return { buffer, offset: offset + 4 * first, size: Math.max(4, 4 * count) };
}
