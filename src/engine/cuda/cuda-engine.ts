/**
 * The `cuda` engine: bf16 activations and frozen weights, float32 adapters, on one NVIDIA card. Everything is queued on
 * one stream; nothing waits for it but the promises of read-backs.
 */
import type { ProcessGroup } from '../../distributed/process-group.js';
import { EngineError } from '../../errors.js';
import { sizeOf, type WeightSource } from '../../formats/weight-source.js';
import { CountingEngine } from '../counted-tensors.js';
import type {
  Deferred,
  EngineMemory,
  OptimizerArrays,
  OptimizerState,
  OptimizerStep,
  RowMaxima,
  StorageCosts,
} from '../engine.js';
import type { ImagePatches } from '../image-patches.js';
import type { Precision } from '../operations.js';
import { requireOwnSet, requireValues } from '../parameter-layout.js';
import { noteChange, requireIdleEngine, requireNotTraining, requireOwnCall } from '../parameter-lease.js';
import type { PartEngine, SquaredGradients } from '../split/part-engine.js';
import { type ParameterSet, type ParameterSpec, requireFilled, type Tensor, type Weight } from '../tensor.js';
import { ActivationOffload } from './activation-offload.js';
import { CudaParameterSet } from './adapters.js';
import { KernelCompiler } from './compiler.js';
import { CublasLt, type E4m3Scales } from './cublas-lt.js';
import { type CudaEngineOptions, requireCudaOptions } from './cuda-options.js';
import { CudaDriver } from './driver.js';
import { E4m3Products, e4m3ScalesOf } from './e4m3-products.js';
import { type Communication, type CudaGradientSum, GradientSums } from './gradient-sum.js';
import { KernelLoader } from './kernel-loading.js';
import { Kernels, PLAIN_PROGRAMS } from './kernels.js';
import type { KernelLauncher } from './launch.js';
import { MatrixProducts, type ProductDriver, type ProductLibrary } from './matrix-products.js';
import { matrixRate, type RateDriver } from './matrix-rate.js';
import { DeviceAllocator, type PhysicalMemory } from './memory.js';
import { Nccl } from './nccl.js';
import { usualAttentionPrograms } from './operations/attention-kernels.js';
import { MAX_LOGITS } from './operations/cross-entropy.js';
import { imagePatches } from './operations/image-patches.js';
import { rowMaxima } from './operations/largest.js';
import { writeRows } from './operations/rows.js';
import { type CudaOperations, cudaOperations } from './operations.js';
import { CudaOptimizerState, zeroParameters } from './optimizer.js';
import { Pace, type PaceDriver } from './pace.js';
import { physicalMemory } from './physical-memory.js';
import { Overhead } from './process-memory.js';
import { SavedProducts } from './saved-products.js';
import { Staging, type StagingDriver } from './staging.js';
import { type DeviceContext, TensorStore } from './tensor-store.js';
import type { WeightDriver } from './weight-stream.js';
import { WeightStore } from './weights.js';

/**
 * One pass for eight samples of 500 tokens, where memory allows: a few percent faster than two, and shared prefixes are
 * computed once. Larger products gain nothing.
 */
const TOKENS_PER_PASS = 5120;

/** Larger, as each pass streams the layers again. */
const STREAMED_TOKENS_PER_PASS = 8192;

export type EngineDriver = StagingDriver &
  ProductDriver &
  RateDriver &
  PaceDriver &
  DeviceContext['driver'] &
  WeightDriver &
  Pick<CudaDriver, 'device' | 'synchronize' | 'dispose'>;

/** What an engine is made of; a test gives stand-ins. */
export interface CudaParts {
  readonly driver: EngineDriver;
  readonly memory: PhysicalMemory;
  readonly kernels: KernelLauncher & { dispose(): void };
  readonly library: ProductLibrary & { readonly version: number };
  readonly compilerVersion: string;
  /** Default: what card and library support. */
  readonly e4m3Scales?: E4m3Scales;
  /** Device memory of the process outside `memory`. Default: none. */
  readonly overhead?: Overhead;
  /** Loads kernels of cuBLASLt before their first launch. Default: none are. */
  readonly loader?: Pick<KernelLoader, 'load' | 'dispose'>;
  /** Settles when the kernels are compiled; loading waits for it at its end. */
  readonly prepared?: Promise<void>;
  /** What connects the card with those of other ranks. Default: the engine trains alone. */
  readonly communication?: Communication;
}

export class CudaEngine extends CountingEngine implements PartEngine {
  readonly name = 'cuda';
  readonly description: string;
  readonly operations: CudaOperations;
  tokensPerPass: number;
  readonly heldFormats = ['nf4', 'f8_e4m3'] as const;
  readonly precisions: readonly Precision[];
  /** Scales of e4m3 operands; undefined without e4m3 products. */
  readonly e4m3Scales: E4m3Scales | undefined;
  readonly #storage: StorageCosts;
  readonly #e4m3: E4m3Products;
  readonly #options: CudaEngineOptions;
  readonly #parts: CudaParts;
  readonly allocator: DeviceAllocator;
  readonly #staging: Staging;
  readonly #activations: ActivationOffload;
  readonly #products: MatrixProducts;
  readonly #saved: SavedProducts | undefined;
  readonly #store: TensorStore;
  readonly #weights: WeightStore;
  readonly #disposeOperations: () => void;
  readonly #sets = new Map<unknown, CudaParameterSet>();
  #matrixTflops: number | undefined;
  readonly #pace: Pace;
  readonly #sums: GradientSums;
  #loading = 0;
  #isDisposed = false;

  constructor(parts: CudaParts, options: CudaEngineOptions = {}) {
    const { driver, kernels, library, compilerVersion } = parts;
    const allocator = new DeviceAllocator(parts.memory, options.memoryBudget, parts.overhead);
    const staging = new Staging(driver);
    const products = new MatrixProducts(driver, library, allocator);
    const rematerialize = options.rematerialize ?? true;
    const activations = new ActivationOffload(driver, allocator);
    const store = new TensorStore({ driver, kernels, allocator, products, staging, activations }, { rematerialize });
    super(store);
    this.#parts = parts;
    this.#options = options;
    this.tokensPerPass = options.tokensPerPass ?? TOKENS_PER_PASS;
    this.allocator = allocator;
    this.#staging = staging;
    this.#activations = activations;
    this.#pace = new Pace(driver, staging);
    this.#sums = new GradientSums(parts.communication, { memory: parts.memory, staging, allocator });
    allocator.isHeld = () => this.#sums.areUnderWay;
    staging.isHeld = allocator.isHeld;
    this.#products = products;
    const made = `${driver.device.name} ${library.version}`;
    this.#saved = parts.loader && new SavedProducts(products, parts.loader, made);
    this.#store = store;
    const { name, capability, totalBytes, driverVersion } = driver.device;
    const { offload = 'auto' } = options;
    const moves = typeof offload === 'object' && offload.activations ? 'always' : undefined;
    this.#storage = {
      elementBytes: 2,
      rematerializes: rematerialize,
      keepsMasks: true,
      // float32 logits and their bf16 gradient.
      logits: { most: MAX_LOGITS, bytes: 6 },
      temporaries: 0,
      scratchBytes: 24 << 20,
      rowTile: 256,
      // Free memory lies in holes about as large as the tensors of a pass.
      reserveBytes: 320 << 20,
      smallReserve: { bytes: 128 << 20, share: 0.1 },
      offloadsInputs: offload === 'auto' ? 'auto' : moves,
    };
    this.#weights = new WeightStore(store, driver, staging, options.adapterRank ?? 16);
    const scales = parts.e4m3Scales ?? e4m3ScalesOf(capability, library.version);
    this.e4m3Scales = scales;
    this.precisions = scales ? ['fp8-backward', 'fp8'] : [];
    this.#e4m3 = new E4m3Products(store, scales, capability);
    const { operations, dispose } = cudaOperations(store, this.#weights, this.#sets, capability, this.#e4m3);
    this.operations = operations;
    this.#disposeOperations = dispose;
    const gigabytes = (totalBytes / 2 ** 30).toFixed(0);
    const cuda = `${Math.floor(driverVersion / 1000)}.${Math.floor((driverVersion % 1000) / 10)}`;
    this.description =
      `cuda: bfloat16, ${name} (sm_${capability}, ${gigabytes} GiB), driver for CUDA ${cuda}, ` +
      `NVRTC ${compilerVersion}, cuBLASLt ${library.version}`;
  }

  /** For the weights that are loaded now and the precision they are prepared for. */
  get storage(): StorageCosts {
    const { streamedBytes, nextStreamedBytes } = this.#weights;
    const scratchBytes = this.#storage.scratchBytes + this.#weights.scratchBytes + this.#e4m3.scratchBytes;
    return { ...this.#storage, scratchBytes, nextStreamedBytes, ...(streamedBytes > 0 ? { streamedBytes } : {}) };
  }

  fromArray(data: Float32Array, shape: readonly number[]): Tensor {
    requireFilled(data, shape, 'fromArray');
    const tensor = this.#store.createF32(shape);
    this.#staging.upload(tensor.address, data);
    return tensor;
  }

  imagePatches(images: ImagePatches): Tensor {
    return imagePatches(this.#store, images);
  }

  zeros(shape: readonly number[]): Tensor {
    return this.#store.zeros(shape);
  }

  /** @throws EngineError for a tensor of another kind of engine; OutOfMemoryError */
  receive(tensor: Tensor, from: PartEngine): Tensor {
    if (!(from instanceof CudaEngine)) throw new EngineError('receive: the tensor is of another kind of engine');
    return this.#store.receive(tensor, from.#store);
  }

  moveToHost(tensor: Tensor): void {
    this.#store.moveToHost(tensor);
  }

  prefetch(tensor: Tensor): void {
    this.#store.prefetch(tensor);
  }

  read(tensor: Tensor): Promise<Float32Array> {
    return this.#store.read(tensor);
  }

  rowMaxima(matrix: Tensor): Promise<RowMaxima> {
    return rowMaxima(this.#store, matrix);
  }

  addInPlace(target: Tensor, source: Tensor): void {
    const store = this.#store;
    const to = store.use(target, 'addInPlace');
    // Vectors and the gradients of parameters stay float32.
    if (to.isParameter || to.shape.length < 2) {
      if (sizeOf(source.shape) !== to.size) store.like(source, to, 'addInPlace', 'source');
      store.withF32(source, 'addInPlace', (from) => store.addF32(to.address, from, to.size));
    } else {
      store.asBf16(to);
      store.add(to, to, store.like(source, to, 'addInPlace', 'source'));
    }
    store.forgetAhead(to);
    to.isTouched = true;
  }

  writeRows(target: Tensor, source: Tensor, rows: Int32Array): void {
    const to = this.#store.matrix(target, 'writeRows', 'target');
    const from = this.#store.matrix(source, 'writeRows', 'source', { rows: rows.length, columns: to.columns });
    writeRows(this.#store, to, from, rows);
  }

  placeWeights(
    sources: readonly WeightSource[],
    trainingBytes: (tokens: number, offloadInputs?: boolean) => number,
  ): void {
    const { offload = 'auto', tokensPerPass } = this.#options;
    const isStreamed = this.#weights.place(sources, offload, trainingBytes);
    this.tokensPerPass = tokensPerPass ?? (isStreamed ? STREAMED_TOKENS_PER_PASS : this.tokensPerPass);
  }

  weightBytes(source: WeightSource): number {
    return this.#weights.bytesOf(source);
  }

  async loadWeight(source: WeightSource): Promise<Weight> {
    this.#loading++;
    let weight: Weight;
    try {
      weight = await this.#weights.load(source);
    } finally {
      this.#loading--;
    }
    // Only the last one under way waits: a loader that has so many at a time would not come to the next ones.
    if (this.#loading === 0) await this.#parts.prepared;
    return weight;
  }

  async readWeight(weight: Weight): Promise<Float32Array> {
    return this.#weights.read(this.#weights.use(weight, 'readWeight'));
  }

  releaseWeight(weight: Weight): void {
    this.#weights.release(this.#weights.use(weight, 'releaseWeight'));
  }

  preparePrecision(weights: readonly Weight[], precision: Precision): void {
    const known = weights.map((weight) => this.#weights.use(weight, 'preparePrecision'));
    this.#e4m3.prepare(known, precision);
  }

  joinGroup(group: ProcessGroup, set: ParameterSet, signal?: AbortSignal): Promise<CudaGradientSum> {
    return this.#sums.join(group, this.#set(set), signal);
  }

  createParameters(specs: readonly ParameterSpec[]): ParameterSet {
    const set = new CudaParameterSet(this.#store, specs);
    for (const parameter of set.parameters) this.#sets.set(parameter, set);
    return set;
  }

  async readParameters(set: ParameterSet): Promise<Float32Array> {
    return this.read(this.#set(set).values);
  }

  writeParameters(set: ParameterSet, values: Float32Array): void {
    const known = this.#set(set);
    requireValues(known, values);
    noteChange(set);
    this.#staging.upload(known.values.address, values);
    known.version++;
  }

  async readGradients(set: ParameterSet): Promise<Float32Array> {
    return this.read(this.#set(set).gradients);
  }

  zeroGradients(set: ParameterSet): void {
    noteChange(set);
    this.#set(set).zeroGradients();
  }

  releaseParameters(set: ParameterSet): void {
    requireNotTraining(set, 'releaseParameters: the set');
    const known = this.#set(set);
    for (const parameter of known.parameters) this.#sets.delete(parameter);
    known.release();
  }

  createOptimizerState(set: ParameterSet, kind: OptimizerStep['kind']): OptimizerState {
    return new CudaOptimizerState(this.#store, this.#set(set), kind);
  }

  squaredGradients(set: ParameterSet, state: OptimizerState): SquaredGradients {
    return this.#state(set, state).squaredGradients();
  }

  optimizerStep(...[set, state, options, parts]: Parameters<PartEngine['optimizerStep']>): Deferred<number> {
    requireOwnCall(set, options, 'optimizerStep');
    return this.#state(set, state).step(options, parts);
  }

  releaseOptimizerState(set: ParameterSet, state: OptimizerState): void {
    if (!(state instanceof CudaOptimizerState)) return;
    state.release();
    // A training has ended.
    this.#saved?.save(set);
  }

  prepareTraining(set: ParameterSet): Iterable<void> {
    return this.#saved?.load(set) ?? [];
  }

  readOptimizerState(set: ParameterSet, state: OptimizerState): Promise<OptimizerArrays> {
    return this.#state(set, state).read();
  }

  writeOptimizerState(set: ParameterSet, state: OptimizerState, arrays: OptimizerArrays): void {
    this.#state(set, state).write(arrays);
  }

  areZero(set: ParameterSet, of: 'values' | 'gradients'): Promise<readonly boolean[]> {
    return zeroParameters(this.#store, this.#set(set), of);
  }

  keepPace(): Promise<void> {
    return this.#pace.keep();
  }

  whenFree(): Promise<void> {
    return this.#sums.passed();
  }

  memory(): EngineMemory {
    return this.allocator.memory();
  }

  resetPeak(): void {
    this.allocator.resetPeak();
  }

  matrixTflops(): number | undefined {
    if (this.#matrixTflops === undefined) {
      const { driver, library } = this.#parts;
      const context = { driver, allocator: this.allocator, products: this.#products, staging: this.#staging };
      this.#matrixTflops = matrixRate(context, driver.device.name, library.version);
    }
    return this.#matrixTflops;
  }

  /** Waits for all that is queued. For measurements. */
  synchronize(): void {
    this.#parts.driver.synchronize();
  }

  async dispose(): Promise<void> {
    requireIdleEngine(this, 'engine.dispose');
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    const { driver, kernels } = this.#parts;
    await this.#sums.close();
    await this.#weights.dispose();
    driver.synchronize();
    this.#weights.disposeHost();
    this.#disposeOperations();
    this.#e4m3.dispose();
    this.#products.dispose();
    this.#parts.loader?.dispose();
    this.#pace.dispose();
    this.#activations.dispose();
    this.#staging.dispose();
    kernels.dispose();
    this.allocator.dispose();
    driver.dispose();
  }

  #set(set: ParameterSet): CudaParameterSet {
    return requireOwnSet(set, CudaParameterSet);
  }

  #state(set: ParameterSet, state: OptimizerState): CudaOptimizerState {
    if (state instanceof CudaOptimizerState && state.set === this.#set(set)) return state;
    throw new EngineError('the optimizer state belongs to another parameter set or engine');
  }
}

/**
 * @param parts overrides, to test what other cards support
 * @throws EngineError naming what is missing: a card, the driver, NVRTC or cuBLASLt
 */
export function createCudaEngine(
  options: CudaEngineOptions = {},
  parts: Pick<CudaParts, 'e4m3Scales'> = {},
): CudaEngine {
  requireCudaOptions(options, 'cuda engine');
  const driver = new CudaDriver(options.device);
  try {
    const compiler = new KernelCompiler();
    const kernels = new Kernels(driver, compiler);
    const library = new CublasLt(() => driver.makeCurrent());
    const attention = usualAttentionPrograms(driver.device.capability, kernels.hasWarpgroups);
    const prepared = kernels.prepare([...PLAIN_PROGRAMS, ...attention]);
    const memory = physicalMemory(driver);
    const overhead = new Overhead(driver.process, driver.process.contextBytes);
    const compilerVersion = compiler.version;
    const loader = new KernelLoader(driver);
    const made = { driver, memory, overhead, kernels, library, compilerVersion, loader, prepared };
    return new CudaEngine({ ...made, communication: { driver, load: () => new Nccl() }, ...parts }, options);
  } catch (error) {
    // Else the card's memory stays taken, though the process may go on with another engine.
    driver.dispose();
    throw error;
  }
}
