/**
 * One engine of several of one kind, for a model that no single device holds: its layers lie on them in order and are
 * computed one after the other. What an operation reads from elsewhere is copied to where its weight lies. Results are those
 * of one engine.
 */
import { EngineError, OutOfMemoryError } from '../../errors.js';
import type { WeightSource } from '../../formats/weight-source.js';
import type {
  Deferred,
  Engine,
  EngineDevice,
  EngineMemory,
  EngineName,
  OptimizerArrays,
  OptimizerState,
  OptimizerStep,
  RowMaxima,
  StorageCosts,
  TrainingBytes,
} from '../engine.js';
import type { ImagePatches } from '../image-patches.js';
import type { Operations, Precision } from '../operations.js';
import { requireOwnSet, requireValues } from '../parameter-layout.js';
import { noteChange, requireIdleEngine, requireNotTraining, requireOwnCall } from '../parameter-lease.js';
import type { ParameterSet, ParameterSpec, Tensor, Weight } from '../tensor.js';
import type { PartEngine } from './part-engine.js';
import { cutStages, stagesOf } from './place-stages.js';
import { splitOperations } from './split-operations.js';
import { SplitOptimizerState, SplitParameterSet } from './split-parameters.js';
import { type Place, TensorPlaces } from './tensor-places.js';

/** Passes of so many tokens are made room for beside the weights of each device. */
const USUAL_TOKENS = 4096;
/** Where tensors from the program go first: the device with the first layers. */
const FIRST: Place = 0;

export class SplitEngine implements Engine {
  readonly name: EngineName;
  readonly operations: Operations;
  readonly devices: readonly EngineDevice[];
  readonly heldFormats: Engine['heldFormats'];
  readonly precisions: readonly Precision[];
  readonly imagePatches?: NonNullable<Engine['imagePatches']>;
  readonly rowMaxima?: NonNullable<Engine['rowMaxima']>;
  readonly areZero?: NonNullable<Engine['areZero']>;
  readonly keepPace?: NonNullable<Engine['keepPace']>;
  readonly preparePrecision?: NonNullable<Engine['preparePrecision']>;
  readonly #parts: readonly PartEngine[];
  readonly #labels: readonly string[];
  readonly #places: TensorPlaces;
  readonly #weights = new WeakMap<Weight, Place>();
  /** By name: of weights that are not loaded yet. */
  readonly #planned = new Map<string, Place>();

  /**
   * @param parts two or more of one kind; they are disposed of with this engine, and used through it alone
   * @param labels of the devices, for messages: e.g. `card 0`
   */
  constructor(parts: readonly PartEngine[], labels: readonly string[] = parts.map((_, i) => `device ${i}`)) {
    const [first] = parts;
    if (!first || parts.some(({ name }) => name !== first.name)) {
      throw new EngineError(
        `a model is laid over engines of one kind, not ${parts.map(({ name }) => name).join(', ')}`,
      );
    }
    this.#parts = parts;
    this.#labels = labels;
    this.name = first.name;
    const places = new TensorPlaces(parts);
    this.#places = places;
    this.operations = splitOperations({
      parts,
      places,
      placeOfWeight: (weight) => this.#placeOf(weight),
      on: (place, body) => this.#on(place, body),
    });
    this.devices = parts.map((part, place) => ({
      get storage() {
        return part.storage;
      },
      memory: () => part.memory(),
      holds: (weight) => this.#weights.get(weight) === place,
    }));
    const all = <T>(of: (part: PartEngine) => readonly T[]): T[] =>
      of(first).filter((value) => parts.every((part) => of(part).includes(value)));
    this.heldFormats = all((part) => part.heldFormats ?? []);
    this.precisions = all((part) => part.precisions ?? []);
    if (first.imagePatches) {
      this.imagePatches = (images: ImagePatches) => this.#make(FIRST, (part) => part.imagePatches!(images));
    }
    if (first.rowMaxima) {
      this.rowMaxima = (matrix: Tensor): Promise<RowMaxima> => this.#holder(matrix, 'rowMaxima').rowMaxima!(matrix);
    }
    if (first.areZero) this.areZero = (set, of) => this.#areZero(set, of);
    if (first.keepPace) {
      this.keepPace = async () => {
        for (const part of parts) await part.keepPace!();
      };
    }
    if (first.preparePrecision) this.preparePrecision = (weights, precision) => this.#prepare(weights, precision);
  }

  get description(): string {
    const parts = this.#parts.map(({ description }, i) => `${this.#labels[i]}: ${description}`);
    return `layers over ${this.#parts.length} devices, one after the other; ${parts.join('; ')}`;
  }

  get tokensPerPass(): number {
    return Math.max(...this.#parts.map((part) => part.tokensPerPass));
  }

  get storage(): StorageCosts {
    const all = this.#parts.map(({ storage }) => storage);
    const sum = (of: 'streamedBytes' | 'nextStreamedBytes'): number | undefined =>
      all.some((storage) => storage[of] !== undefined)
        ? all.reduce((total, storage) => total + (storage[of] ?? 0), 0)
        : undefined;
    return {
      ...all[FIRST]!,
      scratchBytes: Math.max(...all.map(({ scratchBytes }) => scratchBytes)),
      streamedBytes: sum('streamedBytes'),
      nextStreamedBytes: sum('nextStreamedBytes'),
    };
  }

  matrixTflops(): number | undefined {
    // One device computes at a time.
    return this.#parts[FIRST]!.matrixTflops?.();
  }

  fromArray(data: Float32Array, shape: readonly number[]): Tensor {
    return this.#make(FIRST, (part) => part.fromArray(data, shape));
  }

  zeros(shape: readonly number[], beside?: Weight): Tensor {
    return this.#make(beside ? this.#placeOf(beside) : FIRST, (part) => part.zeros(shape));
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    return this.#holder(tensor, 'read').read(tensor);
  }

  retain(tensor: Tensor): void {
    this.#places.retain(tensor);
  }

  release(tensor: Tensor): void {
    this.#places.release(tensor);
  }

  mark(): number {
    // Tensors of all engines are numbered together.
    return this.#parts[FIRST]!.mark();
  }

  releaseSince(mark: number): void {
    for (const part of this.#parts) part.releaseSince(mark);
    this.#places.sweep();
  }

  moveToHost(tensor: Tensor): void {
    this.#places.dropCopies(tensor);
    this.#holder(tensor, 'moveToHost').moveToHost?.(tensor);
  }

  prefetch(tensor: Tensor): void {
    this.#holder(tensor, 'prefetch').prefetch?.(tensor);
  }

  addInPlace(target: Tensor, source: Tensor): void {
    const place = this.#places.of(target, 'addInPlace');
    this.#places.detach(target);
    this.#on(place, (part) => part.addInPlace(target, this.#places.at(place, source, 'addInPlace')));
  }

  writeRows(target: Tensor, source: Tensor, rows: Int32Array): void {
    const place = this.#places.of(target, 'writeRows');
    this.#places.detach(target);
    this.#on(place, (part) => part.writeRows(target, this.#places.at(place, source, 'writeRows'), rows));
  }

  placeWeights(sources: readonly WeightSource[], trainingBytes: TrainingBytes): void {
    const stages = stagesOf(sources);
    const held = (from: number, to: number): Set<string> =>
      new Set(stages.slice(from, to).flatMap((stage) => stage.sources.map(({ name }) => name)));
    const rooms = this.#parts.map((part) => {
      const { limitBytes, bytesInUse } = part.memory();
      return limitBytes - bytesInUse;
    });
    const bytes = stages.map((stage) =>
      stage.sources.reduce((sum, source) => sum + this.#parts[FIRST]!.weightBytes(source), 0),
    );
    const ends = cutStages(stages.length, rooms, (from, to) => {
      const names = held(from, to);
      const weights = bytes.slice(from, to).reduce((sum, each) => sum + each, 0);
      return weights + trainingBytes(USUAL_TOKENS, false, (name) => names.has(name));
    });
    for (const [place, end] of ends.entries()) {
      const names = held(ends[place - 1] ?? 0, end);
      for (const name of names) this.#planned.set(name, place);
      const own = sources.filter(({ name }) => names.has(name));
      const bytesHere: TrainingBytes = (tokens, offloadInputs) =>
        trainingBytes(tokens, offloadInputs, (name) => names.has(name));
      if (own.length > 0) this.#on(place, (part) => part.placeWeights?.(own, bytesHere));
    }
  }

  async loadWeight(source: WeightSource): Promise<Weight> {
    const place = this.#planned.get(source.name) ?? FIRST;
    try {
      const weight = await this.#parts[place]!.loadWeight(source);
      this.#weights.set(weight, place);
      return weight;
    } catch (error) {
      throw this.#named(place, error);
    }
  }

  async readWeight(weight: Weight): Promise<Float32Array> {
    return this.#parts[this.#placeOf(weight)]!.readWeight(weight);
  }

  releaseWeight(weight: Weight): void {
    this.#parts[this.#placeOf(weight)]!.releaseWeight(weight);
  }

  *prepareTraining(set: ParameterSet): Iterable<void> {
    for (const { engine, set: own } of this.#set(set).parts) yield* engine.prepareTraining?.(own) ?? [];
  }

  createParameters(specs: readonly ParameterSpec[]): ParameterSet {
    const places = specs.map(({ beside }) => (beside ? this.#placeOf(beside) : FIRST));
    const set = new SplitParameterSet(this.#parts, specs, places, (place, body) => this.#on(place, body));
    for (const part of set.parts) {
      for (const { value, grad } of part.set.parameters) {
        this.#places.put(value, part.place);
        this.#places.put(grad, part.place);
      }
    }
    return set;
  }

  async readParameters(set: ParameterSet, inTurns?: boolean): Promise<Float32Array> {
    return this.#set(set).join((part) => part.engine.readParameters(part.set, inTurns));
  }

  writeParameters(set: ParameterSet, values: Float32Array): void {
    const known = this.#set(set);
    requireValues(known, values);
    noteChange(set);
    for (const part of known.parts) {
      for (const { value } of part.set.parameters) this.#places.dropCopies(value);
      part.engine.writeParameters(part.set, known.cut(part, values));
    }
  }

  async readGradients(set: ParameterSet): Promise<Float32Array> {
    return this.#set(set).join((part) => part.engine.readGradients(part.set));
  }

  zeroGradients(set: ParameterSet): void {
    noteChange(set);
    for (const part of this.#set(set).parts) part.engine.zeroGradients(part.set);
  }

  releaseParameters(set: ParameterSet): void {
    requireNotTraining(set, 'releaseParameters: the set');
    const known = this.#set(set);
    known.isReleased = true;
    for (const part of known.parts) part.engine.releaseParameters(part.set);
  }

  createOptimizerState(set: ParameterSet, kind: OptimizerStep['kind']): OptimizerState {
    return new SplitOptimizerState(this.#set(set), kind, (place, body) => this.#on(place, body));
  }

  optimizerStep(set: ParameterSet, state: OptimizerState, options: OptimizerStep): Deferred<number> {
    requireOwnCall(set, options, 'optimizerStep');
    const { parts } = this.#set(set);
    const own = this.#state(set, state);
    if (own.kind !== options.kind) {
      throw new EngineError(`optimizerStep: the state is of ${own.kind}, the step of ${options.kind}`);
    }
    // All sums before the first update: one norm over all devices clips.
    const squares = parts.map((part, p) => part.engine.squaredGradients(part.set, own.states[p]!));
    const norms = parts.map((part, p) => {
      const factors = options.learningRateFactors;
      const learningRateFactors = factors && part.indices.map((i) => factors[i]!);
      return part.engine.optimizerStep(part.set, own.states[p]!, { ...options, learningRateFactors }, squares);
    });
    // Each is asked for: an engine takes back the count of a step that was none when it learns so.
    return async () => (await Promise.all(norms.map((norm) => norm())))[0] ?? 0;
  }

  releaseOptimizerState(_set: ParameterSet, state: OptimizerState): void {
    if (state instanceof SplitOptimizerState) state.release();
  }

  async readOptimizerState(set: ParameterSet, state: OptimizerState): Promise<OptimizerArrays> {
    return this.#state(set, state).read();
  }

  writeOptimizerState(set: ParameterSet, state: OptimizerState, arrays: OptimizerArrays): void {
    this.#state(set, state).write(arrays);
  }

  /** Of the device with the least room. */
  memory(): EngineMemory {
    const all = this.#parts.map((part) => part.memory());
    const room = ({ limitBytes, bytesInUse }: EngineMemory): number => limitBytes - bytesInUse;
    return all.reduce((least, each) => (room(each) < room(least) ? each : least));
  }

  resetPeak(): void {
    for (const part of this.#parts) part.resetPeak();
  }

  async dispose(): Promise<void> {
    requireIdleEngine(this, 'engine.dispose');
    const ends = await Promise.allSettled(this.#parts.map((part) => part.dispose()));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #areZero(set: ParameterSet, of: 'values' | 'gradients'): Promise<readonly boolean[]> {
    const known = this.#set(set);
    const zero: boolean[] = [];
    const found = await Promise.all(known.parts.map((part) => part.engine.areZero!(part.set, of)));
    for (const [p, { indices }] of known.parts.entries()) {
      for (const [at, i] of indices.entries()) zero[i] = found[p]![at]!;
    }
    return zero;
  }

  #prepare(weights: readonly Weight[], precision: Precision): void {
    for (const [place] of this.#parts.entries()) {
      const own = weights.filter((weight) => this.#placeOf(weight) === place);
      this.#on(place, (part) => part.preparePrecision!(own, precision));
    }
  }

  #make(place: Place, make: (part: PartEngine) => Tensor): Tensor {
    return this.#places.put(this.#on(place, make), place);
  }

  #holder(tensor: Tensor, operation: string): PartEngine {
    return this.#parts[this.#places.of(tensor, operation)]!;
  }

  #placeOf(weight: Weight): Place {
    const place = this.#weights.get(weight);
    if (place !== undefined) return place;
    throw new EngineError(`the weight ${weight.name} belongs to another engine`);
  }

  #on<T>(place: Place, body: (part: PartEngine) => T): T {
    try {
      return body(this.#parts[place]!);
    } catch (error) {
      throw this.#named(place, error);
    }
  }

  /** An error that says which device is full. */
  #named(place: Place, error: unknown): unknown {
    if (!(error instanceof OutOfMemoryError)) return error;
    return error.with({ summary: `${this.#labels[place]}: ${error.summary}` });
  }

  #set(set: ParameterSet): SplitParameterSet {
    return requireOwnSet(set, SplitParameterSet);
  }

  #state(set: ParameterSet, state: OptimizerState): SplitOptimizerState {
    if (state instanceof SplitOptimizerState && state.set === this.#set(set) && !state.isReleased) return state;
    throw new EngineError('the optimizer state is released, or belongs to another parameter set or engine');
  }
}
