/** Float32 values and, in the same memory, their bits. */
export class BitView {
  readonly floats: Float32Array;
  readonly bits: Uint32Array;

  constructor(length: number) {
    this.floats = new Float32Array(length);
    this.bits = new Uint32Array(this.floats.buffer);
  }
}
