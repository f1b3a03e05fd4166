/**
 * The part of TensorFlow.js that the engine uses, written down here so that neither the package nor its types need
 * TensorFlow.js. `@tensorflow/tfjs`, `tfjs-node` and `tfjs-node-gpu` fit.
 */
import { EngineError } from '../../errors.js';

/**
 * The part of a TensorFlow.js tensor that the engine uses; members mean what they mean there.
 * A type and not an interface, so that TensorFlow.js's own functions, which also take nested arrays, accept it.
 */
export type TfTensor = {
  readonly shape: number[];
  readonly size: number;
  data(): Promise<Float32Array | Int32Array | Uint8Array>;
  dataSync(): Float32Array | Int32Array | Uint8Array;
  dispose(): void;
};

/** The functions of TensorFlow.js that the engine uses; they have TensorFlow.js' meaning. */
export interface TfNamespace {
  ready(): Promise<void>;
  getBackend(): string;
  /** The backend itself; that of tfjs-node reports whether TensorFlow sees a GPU. */
  backend?(): object;
  memory(): { numTensors: number; numBytes: number };
  /** Frees every tensor made in `body` but those that were kept. */
  tidy(body: () => void): void;
  keep(tensor: TfTensor): TfTensor;
  tensor(values: Float32Array | Int32Array, shape: number[], dtype: 'float32' | 'int32'): TfTensor;
  zeros(shape: number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA: boolean, transposeB: boolean): TfTensor;
  add(a: TfTensor, b: TfTensor | number): TfTensor;
  sub(a: TfTensor | number, b: TfTensor | number): TfTensor;
  mul(a: TfTensor, b: TfTensor | number): TfTensor;
  div(a: TfTensor, b: TfTensor | number): TfTensor;
  exp(x: TfTensor): TfTensor;
  log(x: TfTensor): TfTensor;
  rsqrt(x: TfTensor): TfTensor;
  square(x: TfTensor): TfTensor;
  sigmoid(x: TfTensor): TfTensor;
  tanh(x: TfTensor): TfTensor;
  erf(x: TfTensor): TfTensor;
  relu(x: TfTensor): TfTensor;
  step(x: TfTensor): TfTensor;
  sum(x: TfTensor, axis: number, keepDims: boolean): TfTensor;
  mean(x: TfTensor, axis: number, keepDims: boolean): TfTensor;
  max(x: TfTensor, axis: number, keepDims: boolean): TfTensor;
  reshape(x: TfTensor, shape: number[]): TfTensor;
  transpose(x: TfTensor, permutation: number[]): TfTensor;
  slice(x: TfTensor, begin: number[], size: number[]): TfTensor;
  concat(tensors: TfTensor[], axis: number): TfTensor;
  gather(x: TfTensor, indices: TfTensor): TfTensor;
  unstack(x: TfTensor): TfTensor[];
  stack(tensors: TfTensor[]): TfTensor;
}

const FUNCTIONS = [
  ...['ready', 'getBackend', 'memory', 'tidy', 'keep', 'tensor', 'zeros', 'matMul', 'add', 'sub', 'mul', 'div', 'exp'],
  ...['log', 'rsqrt', 'square', 'sigmoid', 'tanh', 'erf', 'relu', 'step', 'sum', 'mean', 'max', 'reshape', 'transpose'],
  ...['slice', 'concat', 'gather', 'unstack', 'stack'],
] as const satisfies readonly (keyof TfNamespace)[];

/**
 * The namespace itself, or the default export that an `import *` of a CommonJS package wraps it in.
 * @throws EngineError naming the functions that are missing
 */
export function asTfNamespace(given: object): TfNamespace {
  const missingIn = (space: object): string[] =>
    FUNCTIONS.filter((name) => typeof (space as Record<string, unknown>)[name] !== 'function');
  const { default: inner } = given as { default?: unknown };
  const space = typeof inner === 'object' && inner !== null && missingIn(given).length > 0 ? inner : given;
  const missing = missingIn(space);
  if (missing.length === 0) return space as TfNamespace;
  throw new EngineError(`tf is not the TensorFlow.js namespace: it has no ${missing.join(', ')}`, {
    hint: "pass what `import * as tf from '@tensorflow/tfjs-node'` gives",
  });
}

/**
 * a·b of two matrices, or of equally many matrices [B, ·, ·]; either side may be transposed first.
 * The wasm backend multiplies plain matrices ten times faster than transposed or batched ones, so there a transposed
 * copy is made and batches are taken apart. That of webgpu gives wrong values for a·bᵀ where it splits the inner sum (few
 * results, 2000 terms and more, TensorFlow.js 4.22): it gets a copy of bᵀ.
 */
export function product(tf: TfNamespace, a: TfTensor, b: TfTensor, transA = false, transB = false): TfTensor {
  const backend = tf.getBackend();
  if (backend === 'webgpu' && transB) return tf.matMul(a, transposed(tf, b), transA, false);
  if (backend !== 'wasm') return tf.matMul(a, b, transA, transB);
  if (a.shape.length === 3) {
    const right = tf.unstack(b);
    return tf.stack(tf.unstack(a).map((left, i) => product(tf, left, right[i]!, transA, transB)));
  }
  return tf.matMul(transA ? transposed(tf, a) : a, transB ? transposed(tf, b) : b, false, false);
}

/** Of a matrix, or of each of a batch. */
function transposed(tf: TfNamespace, x: TfTensor): TfTensor {
  return tf.transpose(x, x.shape.length === 3 ? [0, 2, 1] : [1, 0]);
}

export function takeRows(tf: TfNamespace, x: TfTensor, rows: Int32Array): TfTensor {
  if (rows.length === 0) return tf.zeros([0, ...x.shape.slice(1)]);
  return tf.gather(x, tf.tensor(rows, [rows.length], 'int32'));
}
