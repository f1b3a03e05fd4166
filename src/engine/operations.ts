/**
 * The operations that the model is written against, and the blocks of a layer that engines may fuse. An engine gives a
 * forward and a backward for each operation, and for each block either that or a composition of operations
 * (compositions.ts); the table type is exhaustive, so what is missing from an engine does not compile.
 *
 * Shape letters: T rows (tokens or patches), C channels, H query heads, K key/value heads, D head size, R rank,
 * V vocabulary, N images. All rows are packed: there is no batch dimension and no padding inside the model.
 */
import type { RowNoise } from '../random.js';
import type { Parameter, Tensor, Weight } from './tensor.js';

/** silu is x·σ(x), gelu x·Φ(x), gelu_tanh its tanh approximation, relu max(x, 0). */
export type Activation = 'silu' | 'gelu' | 'gelu_tanh' | 'relu';

/** Low-rank addition to a linear layer: y += scale · B(A(dropout(x))). */
export interface LoraPart {
  /** [R, in] */
  readonly a: Parameter;
  /** [out, R] */
  readonly b: Parameter;
  /** Factor of the low-rank product: alpha / r, or alpha / √r with rsLoRA. */
  readonly scale: number;
  /**
   * Probability p that an input element is zeroed, 0 <= p < 1, rounded to 1/65536; kept ones are divided by 1 - p. 0 at
   * inference. Which elements those are is defined in random.ts.
   */
  readonly dropout: number;
  /** The layer's own 32 bits of the masks. */
  readonly seed: number;
  /** [T] 32-bit keys of the rows of x; needed where dropout > 0. All parts of an operation have the same array. */
  readonly rowKeys?: Int32Array | undefined;
}

/**
 * Number format of the operands of a product with a frozen matrix. `fp8-backward`: e4m3 for the gradient of the input
 * only; `fp8`: in forward too, where sums keep fewer bits than float32. Low-rank parts, and products whose extents are
 * not multiples of 16, stay in bf16.
 */
export type Precision = 'bf16' | 'fp8-backward' | 'fp8';

/** One output of a linear operation. */
export interface LinearPart {
  /** [out, in] */
  readonly weight: Weight;
  /** [out] */
  readonly bias?: Weight | undefined;
  /** Without one nothing here is trained. */
  readonly lora?: LoraPart | undefined;
  /** Equal for all parts of an operation, and listed in `Engine.precisions`. Default `bf16`. */
  readonly precision?: Precision | undefined;
}

/**
 * Row ranges that attend to each other: query rows queryStarts[s]..queryStarts[s+1] see the key rows
 * keyStarts[s]..keyStarts[s] + keyLengths[s]. With `causal`, the last query row of a segment is aligned with its
 * last key row. Query ranges tile the query rows in order; key ranges may lie anywhere (a cache).
 */
export interface Segments {
  /** [S + 1] */
  readonly queryStarts: Int32Array;
  /** [S] */
  readonly keyStarts: Int32Array;
  /** [S] */
  readonly keyLengths: Int32Array;
}

/** What each operation takes besides its tensors. Inputs and outputs are listed in the comments. */
export interface OperationAttributes {
  /** () → [T, C]: rows of a frozen table [V, C], with noise where it is given. */
  embedding: {
    /** [V, C] */
    readonly table: Weight;
    /** [T], in 0..V-1 */
    readonly ids: Int32Array;
    /** Uniform noise that is added to the rows: `uniformNoise` of random.ts defines it. Default: none. */
    readonly noise?: RowNoise | undefined;
  };
  /** (x [T, in]) → one [T, out] per part: x·Wᵀ + bias + LoRA. Parts share x, so that an engine may fuse them. */
  linear: {
    /** In the order of the outputs. */
    readonly parts: readonly LinearPart[];
  };
  /** (x) → (y), or (x, residual) → (y, x + residual): y = sum·rsqrt(mean(sum²) + eps)·weight, by row. */
  rmsNorm: {
    /** [C] */
    readonly weight: Weight;
    /** Added to the mean of the squares. */
    readonly eps: number;
  };
  /**
   * (q [T, H·D], k [T, K·D]) → the same, rotated half-split (element i with i + D/2) by cos and sin [T, D/2];
   * q is then multiplied by queryScale [T] where given.
   */
  rotary: {
    /** D, even. */
    readonly headDim: number;
    /** [T, D/2] */
    readonly cos: Tensor;
    /** [T, D/2] */
    readonly sin: Tensor;
    /** [T]; undefined for no scaling. */
    readonly queryScale?: Tensor | undefined;
  };
  /**
   * (q [Tq, H·D], k [Tk, K·D], v [Tk, K·D]) → [Tq, H·D]: softmax(scale · q·kᵀ)·v by segment; head h uses k/v head
   * ⌊h·K/H⌋.
   */
  attention: {
    /** H, a multiple of kvHeads. */
    readonly heads: number;
    /** K */
    readonly kvHeads: number;
    /** D, at most 512 on `cpu`, 128 on `cuda` and `webgpu`. */
    readonly headDim: number;
    /** Factor of the scores, as a rule 1/√D. */
    readonly scale: number;
    /** Query rows see no keys after their own position; `Segments` has the alignment. */
    readonly causal: boolean;
    /** `cuda` and `webgpu` keep work lists by this object: layers share it, and nobody changes it. */
    readonly segments: Segments;
  };
  /** (gate, up) → activation(gate) ⊙ up. */
  gatedActivation: {
    /** Of the gate. */
    readonly activation: Activation;
  };
  /** (x) → activation(x). */
  activation: {
    /** Taken element by element. */
    readonly activation: Activation;
  };
  /** (a, b) → a + b. */
  add: Record<never, never>;
  /**
   * (x [T, C]) → [T / merge², C·merge²]: for each image grid of (rows, columns) patches, blocks of merge × merge in
   * row-major order; within a row the layout is channel-major, index c·merge² + dy·merge + dx.
   */
  mergePatches: {
    /** [N, 2], rows and columns of patches: multiples of merge; all images together have T. */
    readonly grids: Int32Array;
    /** Patches along a side of a block. */
    readonly merge: number;
  };
  /** (x [T, C]) → [rows.length, C]. Rows may repeat: backward sums their gradients. */
  gatherRows: {
    /** In 0..T-1, in the order of the result. */
    readonly rows: Int32Array;
  };
  /** (base [T, C], source [rows.length, C]) → base with its listed (distinct) rows replaced. */
  scatterRows: {
    /** In 0..T-1; row rows[i] of base becomes row i of source. */
    readonly rows: Int32Array;
  };
  /**
   * (hidden [T, C]) → (loss [1], rowLoss [T]): rowLoss = -log softmax(hidden·headᵀ)[target],
   * loss = scale · Σ weights · rowLoss.
   * With smoothing ε, rowLoss is 1 - ε of that and ε of the mean of -log softmax over the vocabulary.
   * Never holds [T, V]. rowLoss carries no gradient.
   */
  crossEntropy: {
    /** [V, C] */
    readonly head: Weight;
    /** [T], in 0..V-1 */
    readonly targets: Int32Array;
    /** Factor of the summed loss and its gradient; rowLoss goes without. */
    readonly scale: number;
    /** ε of label smoothing, 0 <= ε < 1. Default 0. */
    readonly smoothing?: number | undefined;
    /** [T] Weight of each row in loss and gradient; rowLoss is unweighted. Default: 1. */
    readonly weights?: Float32Array | undefined;
  };
}

/** Keys and values of one layer that stay from pass to pass; the rows of a pass are appended in place. */
export interface KeyValueRows {
  /** [capacity, K·D] */
  readonly keys: Tensor;
  /** [capacity, K·D] */
  readonly values: Tensor;
  /** [T] Where the new rows go: the last keys of their segments. */
  readonly rows: Int32Array;
}

/** The blocks of a layer. Each is defined by its composition of operations in compositions.ts. */
export interface BlockAttributes {
  /**
   * (x [T, C]) → (attended [T, H·D]), or (x, residual) → (attended, x + residual): norm, the product with q, k and v,
   * rotation of q and k, attention.
   */
  attentionBlock: {
    /** Of x + residual. */
    readonly norm: OperationAttributes['rmsNorm'];
    /** q, k and v. */
    readonly projections: readonly [LinearPart, LinearPart, LinearPart];
    /** Positions of the rows of x. */
    readonly rotary: OperationAttributes['rotary'];
    /** Its key ranges lie in the cache where there is one, the new rows included. */
    readonly attention: OperationAttributes['attention'];
    /** Gets k and v of these rows, and all of it is attended to. At inference only. */
    readonly cache?: KeyValueRows | undefined;
    /**
     * [Tk] Key j of `attention.segments`, or of `cache.rows`, is row keyRows[j] of the rotated k and v; a row that
     * several segments share is listed once for each. Default: each row once, in order. Layers share the array, which
     * must not change: `cuda` caches tables by it.
     */
    readonly keyRows?: Int32Array | undefined;
  };
  /**
   * (x [T, C]) → (y [T, C]), or (x, residual) → (y, x + residual): norm, the product with gate and up,
   * activation(gate) ⊙ up, the product with down.
   */
  gatedBlock: {
    /** Of x + residual. */
    readonly norm: OperationAttributes['rmsNorm'];
    /** gate and up. */
    readonly gateUp: readonly [LinearPart, LinearPart];
    /** Of the gate. */
    readonly activation: Activation;
    /** [C, F] */
    readonly down: LinearPart;
  };
}

/** The operations of an engine's table. */
export type OperationName = keyof OperationAttributes;

/** The blocks of an engine's table. */
export type BlockName = keyof BlockAttributes;

/** Attributes by the key of the table. */
export type EntryAttributes = OperationAttributes & BlockAttributes;

/** What a forward gives. */
export interface ForwardResult {
  /** New tensors with a count of 1, in the order of the operation's comment. */
  readonly outputs: readonly Tensor[];
  /**
   * What backward needs. May name inputs, outputs and tensors among the attributes. Empty when `record` was false.
   * Whoever keeps it retains each tensor and releases it after backward, so one that was made only to be saved starts
   * with a count of 0.
   */
  readonly saved: readonly Tensor[];
}

/**
 * One operation of an engine, or a block that it computes as one; `A` are its attributes. What forward and backward may
 * do with what they are given:
 *
 * - The values of inputs, output gradients, saved tensors and tensors among the attributes are read, never changed. The
 *   one exception are the keys and values of a cache, which get the new rows.
 * - Their representation may change: an engine may bring what came from `fromArray` to its own number format in place
 *   when it first computes with it. On `cuda` matrices become bfloat16 so, and a later `read` gives the rounded values;
 *   vectors and tables among the attributes stay float32.
 * - They are neither released nor held beyond the call: what backward needs is named in `saved`.
 * - Outputs are new tensors. A gradient may be one of the output gradients again, or the same tensor for several
 *   inputs, counted once for each.
 * - Backward adds to the gradients of parameters and may be called once for each forward.
 */
export interface Operation<A> {
  /** `record` is false at inference and where nothing below needs a gradient: save nothing then. */
  forward(inputs: readonly Tensor[], attributes: A, record: boolean): ForwardResult;
  /**
   * Gradients of the inputs where `needs` says so, else undefined. A missing output gradient counts as zero.
   * Gradients of parameters are added to their `grad`.
   */
  backward(
    saved: readonly Tensor[],
    outputGradients: readonly (Tensor | undefined)[],
    attributes: A,
    needs: readonly boolean[],
  ): readonly (Tensor | undefined)[];
}

/** What a composition runs its operations on: a tape, which records each of them. */
export interface OperationRunner {
  readonly engine: { writeRows(target: Tensor, source: Tensor, rows: Int32Array): void };
  /** As `Tape.apply`: what comes out belongs to the tape's innermost region. */
  apply<K extends OperationName>(
    name: K,
    inputs: readonly Tensor[],
    attributes: OperationAttributes[K],
  ): readonly Tensor[];
}

/** A block made of operations of the same table. */
export interface Composition<A> {
  /** Gives the block's outputs; pauses where it yields. */
  compose(
    runner: OperationRunner,
    inputs: readonly Tensor[],
    attributes: A,
  ): Generator<number, readonly Tensor[], void>;
}

/** An engine's whole table. */
export type Operations = { readonly [K in OperationName]: Operation<OperationAttributes[K]> } & {
  readonly [K in BlockName]: Operation<BlockAttributes[K]> | Composition<BlockAttributes[K]>;
};
