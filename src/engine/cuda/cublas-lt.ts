/**
 * The part of cuBLASLt that the engine uses, through FFI. Attribute numbers are those of cublasLt.h; matrices are
 * column-major here, as the library sees them.
 */
import { EngineError } from '../../errors.js';
import type { ForeignFunction } from './foreign-calls.js';
import { foreignFunctions, loadLibrary, outHandle } from './library-search.js';

/** cudaDataType */
const DATA_TYPE = { f32: 0, bf16: 14, e4m3: 28 } as const;
export type ProductType = 'f32' | 'bf16';
/** float32 scales of an operand: one per row (a vector along its outer extent), or one for all of it. */
export type E4m3Scales = 'rows' | 'tensor';

const COMPUTE_32F = 68;
const DESCRIPTOR = {
  ...{ transA: 3, transB: 4, scaleA: 17, scaleB: 18, fastAccumulation: 25, scaleModeA: 31, scaleModeB: 32 },
} as const;
/** CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F; one scalar is the default. */
const OUTER_VECTOR = 3;
const PREFERENCE = { workspaceBytes: 1, alignmentA: 5, alignmentB: 6, alignmentC: 7, alignmentD: 8 } as const;
/** A heuristic result: the algorithm (64 bytes), workspace bytes (8), status (4), waves (4), reserved (16). */
const RESULT_BYTES = 96;
const ALGORITHM_BYTES = 64;

export type Algorithm = BigUint64Array;

export interface ProductHandles {
  readonly descriptor: number;
  readonly a: number;
  readonly b: number;
  readonly d: number;
}

const MATMUL_TYPES = [
  ...['uint64', 'uint64', 'void*', 'uint64', 'uint64', 'uint64', 'uint64', 'void*'],
  ...['uint64', 'uint64', 'uint64', 'uint64', 'void*', 'uint64', 'size_t', 'uint64'],
];

export class CublasLt {
  readonly version: number;
  readonly #function: ReturnType<typeof foreignFunctions>;
  readonly #handle: number;
  readonly #matmul: ForeignFunction;
  readonly #descriptors = new Map<string, number>();
  readonly #pointer = new BigUint64Array(1);
  // Read by the library before it returns: one pair serves every product.
  readonly #alpha = new Float32Array(1);
  readonly #beta = new Float32Array(1);

  readonly #makeCurrent: () => void;

  /** @param makeCurrent makes the card's context the one that calls go to */
  constructor(makeCurrent: () => void = () => {}) {
    this.#makeCurrent = makeCurrent;
    const { library } = loadLibrary('cublasLt');
    this.#function = foreignFunctions(library);
    this.version = Number((library.func('cublasLtGetVersion', 'size_t', []) as unknown as () => number)());
    this.#handle = outHandle((out) => this.#call('cublasLtCreate', ['void*'], out));
    this.#matmul = this.#function('cublasLtMatmul', MATMUL_TYPES);
  }

  descriptor(transA: boolean, transB: boolean): number {
    return this.#known(`${transA},${transB}`, (descriptor) => {
      this.#setDescriptor(descriptor, DESCRIPTOR.transA, Int32Array.of(transA ? 1 : 0));
      this.#setDescriptor(descriptor, DESCRIPTOR.transB, Int32Array.of(transB ? 1 : 0));
    });
  }

  /**
   * For e4m3 operands with A transposed, the only order that Ada and Hopper support.
   * @param isFast accumulates in the tensor cores, with fewer bits than float32
   */
  e4m3Descriptor(scales: E4m3Scales, isFast: boolean): number {
    return this.#known(`e4m3,${scales},${isFast}`, (descriptor) => {
      this.#setDescriptor(descriptor, DESCRIPTOR.transA, Int32Array.of(1));
      this.#setDescriptor(descriptor, DESCRIPTOR.fastAccumulation, Int8Array.of(isFast ? 1 : 0));
      if (scales === 'tensor') return;
      this.#setDescriptor(descriptor, DESCRIPTOR.scaleModeA, Int32Array.of(OUTER_VECTOR));
      this.#setDescriptor(descriptor, DESCRIPTOR.scaleModeB, Int32Array.of(OUTER_VECTOR));
    });
  }

  /** Device addresses of the scales of A and B, for the next product of this descriptor. */
  setScales(descriptor: number, a: number, b: number): void {
    for (const [attribute, address] of [[DESCRIPTOR.scaleA, a] as const, [DESCRIPTOR.scaleB, b] as const]) {
      this.#pointer[0] = BigInt(address);
      this.#setDescriptor(descriptor, attribute, this.#pointer);
    }
  }

  #known(key: string, set: (descriptor: number) => void): number {
    let descriptor = this.#descriptors.get(key);
    if (descriptor === undefined) {
      const types = ['void*', 'int', 'int'];
      descriptor = outHandle((out) => this.#call('cublasLtMatmulDescCreate', types, out, COMPUTE_32F, DATA_TYPE.f32));
      set(descriptor);
      this.#descriptors.set(key, descriptor);
    }
    return descriptor;
  }

  createLayout(type: ProductType | 'e4m3', rows: number, columns: number, ld: number): number {
    const types = ['void*', 'int', 'uint64', 'uint64', 'int64'];
    return outHandle((out) => this.#call('cublasLtMatrixLayoutCreate', types, out, DATA_TYPE[type], rows, columns, ld));
  }

  destroyLayout(layout: number): void {
    this.#call('cublasLtMatrixLayoutDestroy', ['uint64'], layout);
  }

  /**
   * The library's first choice for a product.
   * @param alignments bytes that the addresses of A, B and D are multiples of
   */
  firstChoice(
    product: ProductHandles,
    workspaceBytes: number,
    alignments: readonly [number, number, number],
  ): Algorithm | undefined {
    const preference = outHandle((out) => this.#call('cublasLtMatmulPreferenceCreate', ['void*'], out));
    const set = (attribute: number, value: BigUint64Array | Uint32Array): void => {
      const types = ['uint64', 'int', 'void*', 'size_t'];
      this.#call('cublasLtMatmulPreferenceSetAttribute', types, preference, attribute, value, value.byteLength);
    };
    try {
      set(PREFERENCE.workspaceBytes, BigUint64Array.of(BigInt(workspaceBytes)));
      set(PREFERENCE.alignmentA, Uint32Array.of(alignments[0]));
      set(PREFERENCE.alignmentB, Uint32Array.of(alignments[1]));
      set(PREFERENCE.alignmentC, Uint32Array.of(alignments[2]));
      set(PREFERENCE.alignmentD, Uint32Array.of(alignments[2]));
      const result = new Uint8Array(RESULT_BYTES);
      const found = new Int32Array(1);
      const { descriptor, a, b, d } = product;
      const heuristic = this.#function('cublasLtMatmulAlgoGetHeuristic', [
        ...['uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'int', 'void*', 'void*'],
      ]);
      const status = heuristic(this.#handle, descriptor, a, b, d, d, preference, 1, result, found);
      return status === 0 && found[0] === 1 ? readResult(result)?.algorithm : undefined;
    } finally {
      this.#call('cublasLtMatmulPreferenceDestroy', ['uint64'], preference);
    }
  }

  /** Whether an algorithm that was found for another shape runs this product; gives the workspace that it needs. */
  check(product: ProductHandles, algorithm: Algorithm): number | undefined {
    const { descriptor, a, b, d } = product;
    const result = new Uint8Array(RESULT_BYTES);
    const types = ['uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'void*', 'void*'];
    const check = this.#function('cublasLtMatmulAlgoCheck', types);
    this.#makeCurrent();
    if (check(this.#handle, descriptor, a, b, d, d, algorithm, result) !== 0) return undefined;
    return readResult(result)?.workspaceBytes;
  }

  /** Queues D = alpha·op(A)·op(B) + beta·D. @returns the status */
  matmul(
    product: ProductHandles,
    algorithm: Algorithm,
    alpha: number,
    a: number,
    b: number,
    beta: number,
    d: number,
    workspace: number,
    workspaceBytes: number,
    stream: number,
  ): number {
    this.#alpha[0] = alpha;
    this.#beta[0] = beta;
    const { descriptor, a: layoutA, b: layoutB, d: layoutD } = product;
    this.#makeCurrent();
    // biome-ignore format: the 16 arguments in the library's groups
    return this.#matmul(
      this.#handle, descriptor, this.#alpha, a, layoutA, b, layoutB, this.#beta, d, layoutD, d, layoutD,
      algorithm, workspace, workspaceBytes, stream,
    );
  }

  dispose(): void {
    for (const descriptor of this.#descriptors.values())
      this.#call('cublasLtMatmulDescDestroy', ['uint64'], descriptor);
    this.#descriptors.clear();
    this.#call('cublasLtDestroy', ['uint64'], this.#handle);
  }

  #setDescriptor(descriptor: number, attribute: number, value: Int8Array | Int32Array | BigUint64Array): void {
    const types = ['uint64', 'int', 'void*', 'size_t'];
    this.#call('cublasLtMatmulDescSetAttribute', types, descriptor, attribute, value, value.byteLength);
  }

  #call(name: string, parameters: readonly string[], ...values: unknown[]): void {
    this.#makeCurrent();
    const status = this.#function(name, parameters)(...values);
    if (status !== 0) throw new EngineError(`cuBLASLt: ${name} failed with status ${status}`, { status });
  }
}

/** undefined if the library marked the result as not usable. */
function readResult(result: Uint8Array): { algorithm: Algorithm; workspaceBytes: number } | undefined {
  const view = new DataView(result.buffer, result.byteOffset, RESULT_BYTES);
  if (view.getInt32(ALGORITHM_BYTES + 8, true) !== 0) return undefined;
  const algorithm = new BigUint64Array(result.slice(0, ALGORITHM_BYTES).buffer);
  return { algorithm, workspaceBytes: Number(view.getBigUint64(ALGORITHM_BYTES, true)) };
}
