/** What an engine is: memory, frozen weights, trainable parameters, and the table of operations. */

import type { GradientSum, ProcessGroup } from '../distributed/process-group.js';
import type { HeldFormat, WeightSource } from '../formats/weight-source.js';
import type { ImagePatches } from './image-patches.js';
import type { Operations, Precision } from './operations.js';
import type { ParameterSet, ParameterSpec, Tensor, Weight } from './tensor.js';

/** The engines: WebAssembly on the CPU, TensorFlow.js, NVIDIA cards, any GPU through WebGPU. */
export type EngineName = 'cpu' | 'tfjs' | 'cuda' | 'webgpu';

/** An engine's memory accounting, in bytes. */
export interface EngineMemory {
  /** Bytes held by tensors, parameters and weights now. */
  readonly bytesInUse: number;
  /** The most that `bytesInUse` has been since `resetPeak`; on `cpu` weights count as they are now. */
  readonly peakBytes: number;
  /**
   * The most that `bytesInUse` can reach. `cuda`: the budget less `overheadBytes`, or what the card had free when the
   * engine was made; `cpu`: held weights and a heap of 4 GiB; `tfjs`: the budget, or the host's memory, on a GPU
   * Infinity.
   */
  readonly limitBytes: number;
  /** `cuda`: reserved from the budget for the rest of the process: context, code, library buffers. */
  readonly overheadBytes?: number | undefined;
  /** `cuda`: device memory of the process, as nvidia-smi shows it; measured at most a second ago. */
  readonly deviceBytes?: number | undefined;
}

/** How an engine keeps what backward needs: enough to say beforehand what a pass will take. */
export interface StorageCosts {
  /** Bytes of an element of a tensor. */
  readonly elementBytes: number;
  /** Backward recomputes norms and gated activations; else they are kept. */
  readonly rematerializes: boolean;
  /** Dropout masks are kept, a bit an element; else they are recomputed. */
  readonly keepsMasks: boolean;
  /** Most logits that cross-entropy holds at once, and the bytes that one takes. */
  readonly logits: {
    /** Rows of a block times the vocabulary; one row is always taken, however wide. */
    readonly most: number;
    /** Bytes for each, with its gradient and temporaries. */
    readonly bytes: number;
  };
  /** Arrays of its longest rows that an operation makes beside its results while it runs. */
  readonly temporaries: number;
  /** Bytes of buffers whose size does not depend on rows, including scratch of dequantised matrices. */
  readonly scratchBytes: number;
  /** Matrix products take as long for fewer rows as for the next multiple of this. 1 for engines without such steps. */
  readonly rowTile: number;
  /** Bytes of weights in host memory that the device fetches in forward, and again in backward. */
  readonly streamedBytes?: number | undefined;
  /** What `streamedBytes` would be with the share LESS_MEMORY of the memory; undefined where that is not known. */
  readonly nextStreamedBytes?: number | undefined;
  /**
   * Whether the inputs that recomputed layers save are moved to host memory between forward and backward: where a plan
   * needs it, or always. Default: never.
   */
  readonly offloadsInputs?: 'auto' | 'always' | undefined;
  /** Most bytes of the limit that a pass should leave alone, because free memory lies in pieces. */
  readonly reserveBytes: number;
  /** Small passes leave less alone: so many bytes and this share of the pass. Default: `reserveBytes`. */
  readonly smallReserve?: { readonly bytes: number; readonly share: number } | undefined;
}

/** Settings of one optimizer step. */
export interface OptimizerStep {
  /** torch's AdamW, or the block-wise 8-bit one of bitsandbytes. It must be the kind of the state. */
  readonly kind: 'adamw' | 'adamw8bit';
  /** For this step: schedules are the caller's. */
  readonly learningRate: number;
  /** Share of the first moment (of the gradient) that a step keeps. */
  readonly beta1: number;
  /** Share of the second moment (of the squared gradient) that a step keeps. */
  readonly beta2: number;
  /** Added to the root of the second moment, after bias correction. */
  readonly eps: number;
  /** Values are multiplied by 1 - learningRate · weightDecay: by adamw before the update, by adamw8bit after it. */
  readonly weightDecay: number;
  /** Largest L2 norm of all gradients together; 0 switches clipping off. */
  readonly maxGradNorm: number;
  /** What each parameter multiplies `learningRate` with, in the order of the set. Default: 1 for all. */
  readonly learningRateFactors?: ArrayLike<number> | undefined;
}

/** The rate of a set's parameter `index` in this step. */
export function learningRateOf({ learningRate, learningRateFactors }: OptimizerStep, index: number): number {
  return learningRateFactors ? learningRate * learningRateFactors[index]! : learningRate;
}

/** First and second moments, in the form that the engine keeps them; opaque to everything but the engine. */
export interface OptimizerState {
  /** What it was created for; a step of another kind throws EngineError. */
  readonly kind: OptimizerStep['kind'];
}

/** Everything that a bit-equal resume of an optimizer needs, by name. */
export type OptimizerArrays = Record<string, Float32Array | Uint8Array>;

/** Result of `Engine.rowMaxima`. */
export interface RowMaxima {
  /** [R] NaN where the row has one. */
  readonly values: Float32Array;
  /** [R] Its column: the lowest of equal values, or that of the first NaN. */
  readonly indices: Int32Array;
}

/** A value that is on its way from the device; awaiting it is the only thing that waits. */
export type Deferred<T> = () => Promise<T>;

/** Shapes of a model, from a checkpoint's header. */
export interface ModelShapes {
  /** All weights. */
  readonly weights: readonly (readonly number[])[];
  /** Of those the ones that LoRA may adapt: [out, in]. */
  readonly linear: readonly (readonly number[])[];
}

/** What training takes beside the weights: see `Engine.placeWeights`. */
export type TrainingBytes = (
  tokens: number,
  offloadInputs?: boolean,
  isHeld?: (weightName: string) => boolean,
) => number;

/** One of the devices that an engine lays a model over. */
export interface EngineDevice {
  /** Of the weights that lie there. */
  readonly storage: StorageCosts;
  /** As it is now. */
  memory(): EngineMemory;
  /** Whether the weight lies there. */
  holds(weight: Weight): boolean;
}

/**
 * Memory and arithmetic of one device; `createEngine` makes one. Tensors, weights, parameters and states are handles of
 * the engine that made them.
 */
export interface Engine {
  /** Which of them it is. */
  readonly name: EngineName;
  /** One line for the log: what runs, on what. */
  readonly description: string;
  /** Forward and backward of each operation; a `Tape` calls them. */
  readonly operations: Operations;
  /**
   * The window of an optimizer step runs in as few packed passes as keep to about so many tokens each, more where
   * memory asks for it; 0 runs its micro-batches one by one, as written. Larger passes use a GPU better and take more
   * memory.
   */
  readonly tokensPerPass: number;
  /** Quantised formats in which it can hold frozen matrices. Default: none. */
  readonly heldFormats?: readonly HeldFormat['format'][] | undefined;
  /** Precisions of products with frozen matrices other than `bf16`. Default: none. */
  readonly precisions?: readonly Precision[] | undefined;
  /** For planning passes; constant while no weights are loaded or released. */
  readonly storage: StorageCosts;
  /**
   * The devices that a model's layers are laid over, computed one after the other; `memory()` is then that of the one
   * with the least room. Default: there is one device.
   */
  readonly devices?: readonly EngineDevice[] | undefined;
  /**
   * Rate of large matrix products of this engine here, in 10^12 operations a second, where it knows. May measure once.
   */
  matrixTflops?(): number | undefined;

  // Tensors are counted by reference; a new one has a count of 1.
  /** The values are copied: `data` may be reused at once. */
  fromArray(data: Float32Array, shape: readonly number[]): Tensor;
  /**
   * The patches of images in order [P, channels · patchSize²], a row for each: its pixels by channel, row and column. The
   * pixels are copied. Present where the device cuts patches faster than the host.
   */
  imagePatches?(images: ImagePatches): Tensor;
  /**
   * A new tensor filled with zeros.
   * @param beside a weight of the operations that it is for: an engine of several devices puts it there
   */
  zeros(shape: readonly number[], beside?: Weight): Tensor;
  /** A copy of the values, as float32. */
  read(tensor: Tensor): Promise<Float32Array>;
  /** The largest value of each row of [R, C]; present where reading back all values is slower. */
  rowMaxima?(matrix: Tensor): Promise<RowMaxima>;
  /** Counts one more reference. @throws EngineError if the tensor is freed */
  retain(tensor: Tensor): void;
  /**
   * Counts one reference less and frees the tensor after the last; a parameter's tensors are freed with their set.
   * @throws EngineError if the tensor is freed
   */
  release(tensor: Tensor): void;
  /** A point in the order in which tensors are made, for `releaseSince`. */
  mark(): number;
  /** Frees every tensor made since the mark, whatever counts on it: what failed half-way leaves nothing behind. */
  releaseSince(mark: number): void;
  /**
   * Hint that a tensor is not used for a while: its values may be moved to host memory to free device memory. A later
   * use brings them back, bit for bit.
   */
  moveToHost?(tensor: Tensor): void;
  /** Hint that a tensor is used soon: starts copying its values back. @throws OutOfMemoryError */
  prefetch?(tensor: Tensor): void;
  /** target += source, same shape; for gradients that arrive from several consumers. */
  addInPlace(target: Tensor, source: Tensor): void;
  /** Copies source row i to row rows[i] of target; for key/value caches. Not differentiable. */
  writeRows(target: Tensor, source: Tensor, rows: Int32Array): void;

  /**
   * Called before the first weight of a model is read; an engine without it finds out on the way.
   * @throws EngineError with the arithmetic if the model cannot fit
   */
  requireRoom?(model: ModelShapes): void;
  /**
   * Called with all weights of a model before the first is loaded: an engine that can keep weights in host memory
   * decides which.
   * @param trainingBytes bytes of training with a usual adapter, without the weights, in passes of so many tokens;
   *   `offloadInputs`: with the inputs of recomputed layers in host memory; `isHeld`: on a device that holds these weights
   *   alone, by name
   * @throws OutOfMemoryError if the weights do not fit at all
   */
  placeWeights?(sources: readonly WeightSource[], trainingBytes: TrainingBytes): void;
  /**
   * Streams a weight into the engine's memory; calls may overlap. The caller releases it.
   * @throws EngineError if there is no room, EngineError or (8-bit floats) CheckpointError if its bytes do not fill
   *   dtype and shape, and whatever the source throws
   */
  loadWeight(source: WeightSource): Promise<Weight>;
  /** The weight widened to float32. */
  readWeight(weight: Weight): Promise<Float32Array>;
  /** @throws EngineError if it is released already or belongs to another engine */
  releaseWeight(weight: Weight): void;
  /**
   * Makes and keeps the copies that products of these weights read in this precision, as far as memory allows; `bf16`
   * frees them. Without copies products convert each time, with the same results.
   * @throws EngineError if the engine lacks the precision
   */
  preparePrecision?(weights: readonly Weight[], precision: Precision): void;

  /**
   * Connects the device with those of the group's other ranks, to sum gradients of the set over them. All ranks call it at
   * the same time. Missing where an engine cannot: then it trains alone.
   * @throws EngineError if the library for it is missing; DistributedError if ranks differ in what they need
   */
  joinGroup?(group: ProcessGroup, set: ParameterSet, signal?: AbortSignal): Promise<GradientSum>;

  /**
   * Called before a training of the set, with nothing under way: prepares what would else be done in its first steps,
   * such as loading code. Yields every few milliseconds. Results do not depend on it.
   */
  prepareTraining?(set: ParameterSet): Iterable<void>;

  /** Values start at `initial` (float32, in order), gradients at zero. */
  createParameters(specs: readonly ParameterSpec[]): ParameterSet;
  /**
   * All values in one array, in the order of the set.
   * @param inTurns they may be those of a moment later than the call: the event loop has turns before
   */
  readParameters(set: ParameterSet, inTurns?: boolean): Promise<Float32Array>;
  /** Copies all values in, in the order of the set. @throws EngineError for another number of them */
  writeParameters(set: ParameterSet, values: Float32Array): void;
  /** All gradients in one array, in the order of the set. */
  readGradients(set: ParameterSet): Promise<Float32Array>;
  /** Sets all to zero; a parameter counts as without one until an operation adds to it. */
  zeroGradients(set: ParameterSet): void;
  /** Frees values and gradients; optimizer states are released on their own. @throws EngineError the second time */
  releaseParameters(set: ParameterSet): void;

  /** Moments and counts of steps start at zero. */
  createOptimizerState(set: ParameterSet, kind: OptimizerStep['kind']): OptimizerState;
  /**
   * Clips, updates the values and the state; gives the gradient norm before clipping. As in torch, a parameter that no
   * operation gave a gradient since `zeroGradients` is left out entirely: no decay, no change of its moments, and its
   * own count of steps stays. Nothing is updated if the norm is not finite.
   */
  optimizerStep(set: ParameterSet, state: OptimizerState, options: OptimizerStep): Deferred<number>;
  /** Frees the moments; the state must not be used after it. */
  releaseOptimizerState(set: ParameterSet, state: OptimizerState): void;
  /** Copies of the state's arrays. */
  readOptimizerState(set: ParameterSet, state: OptimizerState): Promise<OptimizerArrays>;
  /**
   * Copies in what `readOptimizerState` gave, here or on another engine, for a state of this kind and set.
   * @throws EngineError if an array is missing or of another type or length: then nothing is changed
   */
  writeOptimizerState(set: ParameterSet, state: OptimizerState, arrays: OptimizerArrays): void;

  /**
   * Which parameters' values or gradients are zero throughout; for engines where reading all of them is slow. In the
   * order of the set.
   */
  areZero?(set: ParameterSet, of: 'values' | 'gradients'): Promise<readonly boolean[]>;

  /**
   * Resolves when the device has only so much work left as keeps it busy for a while. Whoever calls it between
   * stretches of work leaves the thread to others meanwhile: one that queues without end waits inside the driver.
   * Engines that compute at once have none.
   */
  keepPace?(): Promise<void>;
  /**
   * Resolves when nothing that is queued waits for other ranks any more (`GradientSum.finish`): until then work that finds
   * memory too full to be had at once ends with a HeldDeviceError. Missing where an engine trains alone.
   */
  whenFree?(): Promise<void>;

  /** As it is now; it does not change afterwards. */
  memory(): EngineMemory;
  /** `peakBytes` counts from here on, beginning with what is held. */
  resetPeak(): void;
  /** Frees everything and stops worker threads. */
  dispose(): Promise<void>;
  /** The same as `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
