/**
 * Tensors of the `tfjs` engine: handles with a count, each the only owner of one immutable TensorFlow.js tensor, which
 * is exchanged where the engine's contract changes values in place.
 */
import { EngineError, OutOfMemoryError, reasonOf, TuneError } from '../../errors.js';
import { dequantizedSource, type HeldSource } from '../../formats/held-source.js';
import { requireBytes, type WeightSource } from '../../formats/weight-source.js';
import { CountedTensor, CountedTensors } from '../counted-tensors.js';
import { HeldWeights } from '../held-weights.js';
import type { Tensor, Weight } from '../tensor.js';
import { Float32Weight, float32Bytes, readWide } from './float32-weight.js';
import type { FrozenWeight } from './frozen-weight.js';
import type { TfNamespace, TfTensor } from './tf-namespace.js';

export class TfjsTensor extends CountedTensor {
  data: TfTensor;

  constructor(data: TfTensor, isParameter = false) {
    super(data.shape, isParameter);
    this.data = data;
  }
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

export class TensorStore extends CountedTensors<TfjsTensor> {
  readonly tf: TfNamespace;
  /** Most bytes to hold. */
  readonly memoryBudget: number;
  bytesInUse = 0;
  peakBytes = 0;
  readonly weights = new HeldWeights<FrozenWeight>();
  /** Settles when the last weight that was asked for is read. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(tf: TfNamespace, memoryBudget: number) {
    super(TfjsTensor);
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
      throw new EngineError(`${operation}: TensorFlow.js failed: ${reasonOf(cause)}`, { cause });
    }
    return kept.map((data) => this.#adopt(new TfjsTensor(data)));
  }

  /** `run` for a body with one result. */
  one(operation: string, body: (tf: TfNamespace) => TfTensor): TfjsTensor {
    return this.run(operation, (tf) => [body(tf)])[0]!;
  }

  /** Runs a part of a `run` and frees what it made but its results before the next part. */
  part(body: () => readonly TfTensor[]): readonly TfTensor[] {
    // A kept tensor would outlive a failure of the whole: the results are handed to the outer scope by a copy-free
    // reshape.
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

  #adopt(tensor: TfjsTensor): TfjsTensor {
    this.live.add(tensor);
    this.#hold(4 * tensor.size);
    return tensor;
  }

  #hold(bytes: number): void {
    this.bytesInUse += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytesInUse);
  }

  protected drop({ data }: TfjsTensor): void {
    this.bytesInUse -= 4 * data.size;
    data.dispose();
  }

  /** @throws EngineError if so many more bytes do not fit */
  #note(what: string, moreBytes: number): void {
    const needed = this.bytesInUse + moreBytes;
    this.peakBytes = Math.max(this.peakBytes, needed);
    if (needed <= this.memoryBudget) return;
    throw new OutOfMemoryError(
      `${what} needs ${gibibytes(moreBytes)} beside the ${gibibytes(this.bytesInUse)} held: more than the ${gibibytes(this.memoryBudget)} that the tfjs engine may use`,
      {
        hint:
          'tfjs holds every value as float32: use the cpu or cuda engine, a smaller model, fewer tokens and images at a ' +
          'time, or a larger `memoryBudget` of the engine',
        neededBytes: moreBytes,
        freeBytes: this.memoryBudget - this.bytesInUse,
        limitBytes: this.memoryBudget,
      },
    );
  }

  fromArray(data: Float32Array, shape: readonly number[], isParameter = false): TfjsTensor {
    this.#note(`a tensor [${shape.join(', ')}]`, 4 * data.length);
    // A copy: some backends keep the array that they are given.
    return this.#adopt(new TfjsTensor(this.#make(data.slice(), shape), isParameter));
  }

  /** Chooses the storage format. One after another: each is whole in memory before TensorFlow has it. */
  async loadWeight(stored: WeightSource): Promise<FrozenWeight> {
    const { name, hold, shape } = stored;
    if (hold && shape.length > 1) {
      throw new EngineError(
        `loadWeight: ${name} should be held as ${hold.format}, but the tfjs engine holds float32 only`,
        { hint: 'Use the engine cuda or cpu, or load the model without `quantization`.' },
      );
    }
    const source = dequantizedSource(stored);
    requireBytes(source);
    const added = this.#reading.then(() => this.#addWeight(source));
    this.#reading = added.catch(() => undefined);
    return added;
  }

  async #addWeight(source: HeldSource): Promise<FrozenWeight> {
    const { name, shape } = source;
    this.#note(`the weight ${name} (${shape.join(' × ')} values of 4 bytes)`, float32Bytes(shape));
    const values = await readWide(source);
    // Until its first use a tensor may be only a reference to the array on the host. A reshape is a use and no copy:
    // so weights go to a GPU one by one.
    const use = (tensor: TfTensor): TfTensor => this.tf.reshape(tensor, [...shape]);
    const weight = this.weights.add(new Float32Weight(this.tf, source, this.#make(values, shape, use)));
    this.#hold(weight.bytes);
    return weight;
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
      throw new EngineError(`${message}: ${reasonOf(cause)}`, { cause });
    }
  }

  /** Gives a handle other values of the same shape; the old ones are freed. */
  replace(target: TfjsTensor, make: (tf: TfNamespace, old: TfTensor) => TfTensor, operation: string): void {
    const fresh = this.one(operation, (tf) => make(tf, target.data));
    const old = target.data;
    target.data = fresh.data;
    fresh.data = old;
    this.free(fresh);
  }

  /** Adds to a parameter's gradient, and takes the other's values over where it had none. */
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

  releaseWeight(weight: Weight): void {
    this.#dropWeight(this.weights.take(weight, 'releaseWeight'));
  }

  #dropWeight(weight: FrozenWeight): void {
    this.bytesInUse -= weight.bytes;
    weight.dispose();
  }

  vector(weight: Weight, length: number, operation: string): TfTensor {
    return this.weights.useVector(weight, length, operation).values();
  }

  dispose(): void {
    for (const tensor of [...this.live]) this.free(tensor);
    for (const weight of this.weights.takeAll()) this.#dropWeight(weight);
  }
}
