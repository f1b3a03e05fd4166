/**
 * The part of cuBLASLt that the engine uses, through FFI. Attribute numbers are those of cublasLt.h; matrices are
 * column-major here, as the library sees them.
 */
import { EngineError } from '../../errors.js';
import { type ForeignFunction, foreignFunctions, loadLibrary, outHandle } from './library-search.js';

/** cudaDataType */
const DATA_TYPE = { f32: 0, bf16: 14 } as const;
export type ProductType = keyof typeof DATA_TYPE;

const COMPUTE_32F = 68;
const DESCRIPTOR = { transA: 3, transB: 4 } as const;
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
  readonly #descriptors = new Map<number, number>();
  // Read by the library before it returns: one pair serves every product.
  readonly #alpha = new Float32Array(1);
  readonly #beta = new Float32Array(1);

  constructor() {
    const { library } = loadLibrary('cublasLt');
    this.#function = foreignFunctions(library);
    this.version = Number((library.func('cublasLtGetVersion', 'size_t', []) as unknown as () => number)());
    this.#handle = outHandle((out) => this.#call('cublasLtCreate', ['void*'], out));
    this.#matmul = this.#function('cublasLtMatmul', MATMUL_TYPES);
  }

  descriptor(transA: boolean, transB: boolean): number {
    const key = (transA ? 2 : 0) + (transB ? 1 : 0);
    let descriptor = this.#descriptors.get(key);
    if (descriptor === undefined) {
      const types = ['void*', 'int', 'int'];
      descriptor = outHandle((out) => this.#call('cublasLtMatmulDescCreate', types, out, COMPUTE_32F, DATA_TYPE.f32));
      this.#setDescriptor(descriptor, DESCRIPTOR.transA, transA ? 1 : 0);
      this.#setDescriptor(descriptor, DESCRIPTOR.transB, transB ? 1 : 0);
      this.#descriptors.set(key, descriptor);
    }
    return descriptor;
  }

  createLayout(type: ProductType, rows: number, columns: number, ld: number): number {
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

  #setDescriptor(descriptor: number, attribute: number, value: number): void {
    const types = ['uint64', 'int', 'void*', 'size_t'];
    this.#call('cublasLtMatmulDescSetAttribute', types, descriptor, attribute, Int32Array.of(value), 4);
  }

  #call(name: string, parameters: readonly string[], ...values: unknown[]): void {
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
