/**
 * Tensors of the `tfjs` engine: handles with a count, each the only owner of one immutable TensorFlow.js tensor, which
 * is exchanged where the engine's contract changes numbers in place. Also the shape checks of operations.
 */
import { EngineError, TuneError } from '../../errors.js';
import { type DType, sizeOf } from '../../formats/weight-source.js';
import { LESS_MEMORY } from '../out-of-memory.js';
import type { Tensor, Weight } from '../tensor.js';
import type { TfNamespace, TfTensor } from './tf-namespace.js';

let nextId = 1;

/** The id of the next tensor. */
export function nextTensorId(): number {
  return nextId;
}

export class TfjsTensor implements Tensor {
  readonly id = nextId++;
  readonly shape: readonly number[];
  readonly size: number;
  data: TfTensor;
  references = 1;
  isFreed = false;
  /** Value or gradient of a parameter: freed with its set. */
  readonly isParameter: boolean;
  /** Of a parameter's gradient: whether an operation has added to it since it was zeroed. */
  isTouched = false;

  constructor(data: TfTensor, isParameter = false) {
    this.shape = data.shape;
    this.size = data.size;
    this.data = data;
    this.isParameter = isParameter;
  }
}

/** A frozen weight, widened to float32. */
class TfjsWeight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: TfTensor;

  constructor(name: string, shape: readonly number[], dtype: DType, data: TfTensor) {
    this.name = name;
    this.shape = shape;
    this.dtype = dtype;
    this.data = data;
  }
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

export class TensorStore {
  readonly tf: TfNamespace;
  /** Most bytes to hold. */
  readonly memoryBudget: number;
  bytesInUse = 0;
  peakBytes = 0;
  readonly #owned = new Set<TfjsTensor | TfjsWeight>();

  constructor(tf: TfNamespace, memoryBudget: number) {
    this.tf = tf;
    this.memoryBudget = memoryBudget;
  }

  /**
   * Runs `body`, frees what it made but its results, and puts those into handles with a count of 1. The results must
   * be made in `body`.
   * @throws EngineError with TensorFlow.js's own error as its cause, or if the tensors exceed `memoryBudget`
   */
  run(operation: string, body: (tf: TfNamespace) => readonly TfTensor[]): TfjsTensor[] {
    const { tf } = this;
    const before = tf.memory().numBytes;
    const kept: TfTensor[] = [];
    try {
      tf.tidy(() => {
        const results = body(tf);
        // Nothing of the scope is freed yet: this is its high-water mark.
        this.#note(operation, tf.memory().numBytes - before);
        for (const result of results) kept.push(tf.keep(result));
      });
    } catch (cause) {
      if (cause instanceof TuneError) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new EngineError(`${operation}: TensorFlow.js failed: ${message}`, { cause });
    }
    return kept.map((data) => this.adopt(new TfjsTensor(data)));
  }

  /** `run` for a body with one result. */
  one(operation: string, body: (tf: TfNamespace) => TfTensor): TfjsTensor {
    return this.run(operation, (tf) => [body(tf)])[0]!;
  }

  /** Runs a part of a `run` and frees what it made but its results before the next part. */
  part(body: () => readonly TfTensor[]): readonly TfTensor[] {
    // A kept tensor would outlive a failure of the whole: the results are handed to the outer scope by a copy-free reshape.
    let results: readonly TfTensor[] = [];
    const { tf } = this;
    tf.tidy(() => {
      results = body().map((tensor) => tf.keep(tensor));
    });
    return results.map((kept) => {
      const handed = tf.reshape(kept, kept.shape);
      kept.dispose();
      return handed;
    });
  }

  /** Counts a handle or a weight as held. */
  adopt<T extends TfjsTensor | TfjsWeight>(held: T): T {
    this.#owned.add(held);
    this.bytesInUse += 4 * held.data.size;
    this.peakBytes = Math.max(this.peakBytes, this.bytesInUse);
    return held;
  }

  #drop(held: TfjsTensor | TfjsWeight): void {
    if (!this.#owned.delete(held)) return;
    this.bytesInUse -= 4 * held.data.size;
    held.data.dispose();
  }

  /** @throws EngineError if so many more bytes do not fit */
  #note(what: string, moreBytes: number): void {
    const needed = this.bytesInUse + moreBytes;
    this.peakBytes = Math.max(this.peakBytes, needed);
    if (needed <= this.memoryBudget) return;
    throw new EngineError(
      `${what} needs ${gibibytes(moreBytes)} beside the ${gibibytes(this.bytesInUse)} held: more than the ${gibibytes(this.memoryBudget)} that the tfjs engine may use`,
      {
        hint: `tfjs holds every number as float32; use the cpu or cuda engine, a smaller model, or a larger memoryBudget; or ${LESS_MEMORY}`,
        details: {
          outOfMemory: true,
          neededBytes: moreBytes,
          heldBytes: this.bytesInUse,
          limitBytes: this.memoryBudget,
        },
      },
    );
  }

  fromArray(data: Float32Array, shape: readonly number[], isParameter = false): TfjsTensor {
    this.#note(`a tensor [${shape.join(', ')}]`, 4 * data.length);
    // A copy: some backends keep the array that they are given.
    return this.adopt(new TfjsTensor(this.#make(data.slice(), shape), isParameter));
  }

  async addWeight(
    name: string,
    shape: readonly number[],
    dtype: DType,
    read: () => Promise<Float32Array>,
  ): Promise<TfjsWeight> {
    const numbers = `${shape.join(' × ')} numbers of 4 bytes`;
    this.#note(`the weight ${name} (${numbers})`, 4 * sizeOf(shape));
    const values = await read();
    // Until its first use a tensor may be only a reference to the array on the host. A reshape is a use and no copy:
    // so weights go to a GPU one by one.
    const use = (tensor: TfTensor): TfTensor => this.tf.reshape(tensor, [...shape]);
    return this.adopt(new TfjsWeight(name, shape, dtype, this.#make(values, shape, use)));
  }

  #make(data: Float32Array, shape: readonly number[], use = (tensor: TfTensor): TfTensor => tensor): TfTensor {
    try {
      let made: TfTensor | undefined;
      this.tf.tidy(() => {
        made = this.tf.keep(use(this.tf.tensor(data, [...shape], 'float32')));
      });
      return made!;
    } catch (cause) {
      const message = `TensorFlow.js cannot hold [${shape.join(', ')}], ${gibibytes(4 * data.length)}`;
      throw new EngineError(`${message}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }

  /** Gives a handle other numbers of the same shape; the old ones are freed. */
  replace(target: TfjsTensor, make: (tf: TfNamespace, old: TfTensor) => TfTensor, operation: string): void {
    const fresh = this.one(operation, (tf) => make(tf, target.data));
    const old = target.data;
    target.data = fresh.data;
    fresh.data = old;
    this.#drop(fresh);
  }

  /** Adds to a parameter's gradient, and takes the other's numbers over where there were none. */
  accumulate(gradient: Tensor, addition: TfjsTensor, operation: string): void {
    const target = this.like(gradient, addition, operation, 'parameter gradient');
    if (target.isTouched) {
      this.replace(target, (tf, old) => tf.add(old, addition.data), operation);
    } else {
      const zeros = target.data;
      target.data = addition.data;
      addition.data = zeros;
      target.isTouched = true;
    }
    this.release(addition);
  }

  /** @throws EngineError if the tensor is freed or belongs to another engine */
  use(tensor: Tensor | undefined, operation: string, what = 'the tensor'): TfjsTensor {
    if (!tensor) throw new EngineError(`${operation}: ${what} is missing`);
    if (!(tensor instanceof TfjsTensor)) throw new EngineError(`${operation}: ${what} belongs to another engine`);
    if (!tensor.isFreed) return tensor;
    const name = `tensor #${tensor.id} [${tensor.shape.join(', ')}]`;
    throw new EngineError(`${operation}: ${name} is used after it was freed`, {
      hint: 'Retain it, or make it outside the tape region that ended.',
    });
  }

  /** `use`, and the shape must be [rows, columns]; -1 leaves an extent open. */
  matrix(tensor: Tensor | undefined, rows: number, columns: number, operation: string, what: string): TfjsTensor {
    const known = this.use(tensor, operation, what);
    const [r, c] = known.shape;
    if (known.shape.length === 2 && (rows < 0 || r === rows) && (columns < 0 || c === columns)) return known;
    const expected = [rows, columns].map((extent) => (extent < 0 ? 'any' : extent)).join(', ');
    throw new EngineError(`${operation}: ${what} has shape [${known.shape.join(', ')}], expected [${expected}]`);
  }

  /** `use`, and the shape must be that of `model`. */
  like(tensor: Tensor | undefined, model: Tensor, operation: string, what: string): TfjsTensor {
    const known = this.use(tensor, operation, what);
    if (known.shape.join() === model.shape.join()) return known;
    const expected = model.shape.join(', ');
    throw new EngineError(`${operation}: ${what} has shape [${known.shape.join(', ')}], expected [${expected}]`);
  }

  retain(tensor: Tensor): void {
    this.use(tensor, 'retain').references++;
  }

  release(tensor: Tensor): void {
    const known = this.use(tensor, 'release');
    known.references--;
    if (known.references <= 0 && !known.isParameter) this.free(known);
  }

  /** Frees the tensors made since the one with this id. */
  releaseSince(id: number): void {
    for (const held of [...this.#owned]) {
      if (held instanceof TfjsTensor && !held.isParameter && held.id >= id) this.free(held);
    }
  }

  free(tensor: TfjsTensor): void {
    tensor.isFreed = true;
    this.#drop(tensor);
  }

  releaseWeight(weight: Weight): void {
    this.#drop(this.#weight(weight, 'releaseWeight'));
  }

  #weight(weight: Weight, operation: string): TfjsWeight {
    if (weight instanceof TfjsWeight && this.#owned.has(weight)) return weight;
    throw new EngineError(`${operation}: the weight ${weight.name} is released, or belongs to another engine`);
  }

  /** The numbers of a weight; its shape must be as given, -1 leaves an extent open. */
  weight(weight: Weight, shape: readonly number[], operation: string): TfTensor {
    const known = this.#weight(weight, operation);
    if (shape.length === known.shape.length && shape.every((extent, i) => extent < 0 || extent === known.shape[i])) {
      return known.data;
    }
    const expected = shape.map((extent) => (extent < 0 ? 'any' : extent)).join(', ');
    throw new EngineError(`${operation}: ${known.name} has shape [${known.shape.join(', ')}], expected [${expected}]`);
  }

  anyWeight(weight: Weight, operation: string): TfTensor {
    return this.#weight(weight, operation).data;
  }

  /** Frees everything. */
  dispose(): void {
    for (const held of [...this.#owned]) {
      if (held instanceof TfjsTensor) held.isFreed = true;
      this.#drop(held);
    }
  }
}
