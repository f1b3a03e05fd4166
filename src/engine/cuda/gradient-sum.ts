/**
 * The sum of the flat gradient over the ranks. It is cut into a few pieces of whole layers, which go out from the last to
 * the first, on a stream of their own: over slow links as soon as backward has passed their layers, else behind it. The
 * order is the same on all ranks, as NCCL asks; how many pieces leave early may differ. The program does not wait for the
 * sums: the compute stream does, and the set's guard voids updates behind sums that were given up.
 */
import type { GradientSum, ProcessGroup } from '../../distributed/process-group.js';
import { DistributedError, EngineError } from '../../errors.js';
import type { CudaParameterSet } from './adapters.js';
import type { CudaDriver } from './driver.js';
import { offset } from './launch.js';
import type { DeviceAllocator, DeviceBlock, PhysicalMemory } from './memory.js';
import type { NcclLibrary } from './nccl.js';
import { NcclCommunicator } from './nccl-communicator.js';
import { requireSamePeers } from './nccl-peers.js';
import type { Staging } from './staging.js';
import { UpdateGuard } from './update-guard.js';

export type SumDriver = Pick<
  CudaDriver,
  | 'stream'
  | 'device'
  | 'cardId'
  | 'makeCurrent'
  | 'createStream'
  | 'destroyStream'
  | 'createEvent'
  | 'destroyEvent'
  | 'recordEvent'
  | 'waitEvent'
  | 'eventDone'
  | 'upload'
>;

/** What connects the card with those of other ranks. */
export interface Communication {
  readonly driver: SumDriver;
  /** Finds and loads NCCL. */
  load(): NcclLibrary;
}

/** What the sum needs of the engine; a test gives stand-ins. */
interface SumContext {
  readonly memory: Pick<PhysicalMemory, 'memoryInfo'>;
  readonly staging: Pick<Staging, 'upload' | 'download' | 'take' | 'giveBack'>;
  readonly allocator: Pick<DeviceAllocator, 'allocate' | 'free' | 'noteTaken'>;
  /** A test makes them small. */
  readonly sizes?: typeof SIZES;
}

export type SumParts = Communication & SumContext;

/** Pieces at most: each costs some 50 µs, and what cannot be hidden behind backward is the last one. */
const PIECES = 8;
const SIZES = {
  /** Elements of a piece at least: smaller ones do not fill the links. */
  piece: 1 << 20,
  /** Values of the first sum, which says whether the links carry what they should. */
  probe: 1 << 18,
  /**
   * Milliseconds that the sum of all gradients takes from which it goes out during backward. Products fill the card exactly:
   * beside NCCL's kernels, which wait for the slowest rank as well, each takes two turns.
   */
  overlap: 10,
};
/** Timed sums: the fastest counts. */
const TIMED_SUMS = 3;
/** Bytes that are read back at once. */
const DOWNLOAD_BYTES = 16 << 20;
const SUMS = 'the sum of the gradients';

/** Between two looks at sums that nobody waits for yet: the thread has other work. */
const glance = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));

/** A range of the flat gradient. */
interface Piece {
  readonly first: number;
  readonly count: number;
  readonly names: readonly string[];
}

/** Pieces in the order in which they are summed: that of backward, when sets are in the order of forward. */
function piecesOf({ parameters, size }: CudaParameterSet, most: number, least: number): Piece[] {
  const wanted = Math.max(least, Math.ceil(size / most));
  const pieces: Piece[] = [];
  let names: string[] = [];
  let end = size;
  for (let i = parameters.length - 1; i >= 0; i--) {
    const { name, offset: first } = parameters[i]!;
    names.push(name);
    const before = parameters[i - 1];
    const isCut = before === undefined || layerOf(before.name) !== layerOf(name);
    if (!isCut || (before !== undefined && end - first < wanted)) continue;
    pieces.push({ first, count: end - first, names });
    [names, end] = [[], first];
  }
  return pieces;
}

/** `model.layers.3` of `model.layers.3.mlp.up_proj.lora_A.weight`; other names are layers of their own. */
function layerOf(name: string): string {
  return /^.*?\blayers\.\d+(?=\.)/.exec(name)?.[0] ?? name;
}

/**
 * Connects the ranks and tries the connection.
 * @throws EngineError without NCCL; DistributedError where ranks differ or the sum is wrong
 */
export async function joinGradientSum(
  parts: SumParts,
  group: ProcessGroup,
  set: CudaParameterSet,
  signal?: AbortSignal,
): Promise<CudaGradientSum> {
  const { driver } = parts;
  const { name, ordinal } = driver.device;
  const pieces = piecesOf(set, group.worldSize === 1 ? 1 : PIECES, (parts.sizes ?? SIZES).piece);
  const cuts = [set.size, ...pieces.map(({ first }) => first)];
  const library = await requireSamePeers(group, parts.load, { id: driver.cardId(), name, ordinal }, cuts, signal);
  const { free } = parts.memory.memoryInfo();
  const communicator = await NcclCommunicator.join(library, group, driver, signal);
  const sum = new CudaGradientSum(parts, group, set, communicator, pieces);
  try {
    await sum.probe(signal);
  } catch (error) {
    await sum.close();
    throw error;
  }
  sum.noteTaken(Math.max(0, free - parts.memory.memoryInfo().free));
  return sum;
}

/** The sums of an engine, of one training after the other. */
export class GradientSums {
  readonly #communication: Communication | undefined;
  readonly #context: SumContext;
  readonly #joined = new Set<CudaGradientSum>();

  /** @param communication undefined: the engine trains alone */
  constructor(communication: Communication | undefined, context: SumContext) {
    this.#communication = communication;
    this.#context = context;
  }

  async join(group: ProcessGroup, set: CudaParameterSet, signal?: AbortSignal): Promise<CudaGradientSum> {
    if (!this.#communication) throw new EngineError('joinGroup: this engine has no connection to other cards');
    const sum = await joinGradientSum({ ...this.#communication, ...this.#context }, group, set, signal);
    this.#joined.add(sum);
    return sum;
  }

  /** Whether the compute stream waits for sums of several ranks. */
  get areUnderWay(): boolean {
    for (const sum of this.#joined) if (sum.isUnderWay) return true;
    return false;
  }

  /** Resolves when it waits for none any more, whatever has become of them. */
  async passed(): Promise<void> {
    while (this.areUnderWay) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Ends them all: whoever waits for the card would wait for kernels that wait for a lost rank. */
  async close(): Promise<void> {
    for (const sum of this.#joined) await sum.close();
    this.#joined.clear();
  }
}

export class CudaGradientSum implements GradientSum {
  readonly #parts: SumParts;
  readonly #group: ProcessGroup;
  readonly #set: CudaParameterSet;
  readonly #communicator: NcclCommunicator;
  readonly #pieces: readonly Piece[];
  readonly #pieceOf = new Map<string, number>();
  readonly #stream: number;
  /** By piece: its gradients are complete on the compute stream. */
  readonly #complete: readonly number[];
  /** The sums that are queued so far have arrived. */
  readonly #summed: number;
  /** Pieces of this window whose gradients are final, and those of them whose sums are queued: the first ones. */
  #final = 0;
  #queued = 0;
  #queueing: Promise<void> | undefined;
  /** Sums of pieces whose window was begun again, from its first on. */
  readonly #kept: Float32Array[] = [];
  /** Of several ranks: alone nothing can break a sum. */
  readonly #guard: UpdateGuard | undefined;
  /** The links are slow: the same on all ranks, as one that begins its window again waits for the others' parts. */
  #isEarly = false;
  /** Finished windows. */
  #windows = 0;
  #isHolding = false;
  #watching: Promise<void> | undefined;
  /** Bytes of the card that NCCL has. */
  #taken = 0;
  #isClosed = false;

  constructor(
    parts: SumParts,
    group: ProcessGroup,
    set: CudaParameterSet,
    communicator: NcclCommunicator,
    pieces: readonly Piece[],
  ) {
    this.#parts = parts;
    this.#group = group;
    this.#set = set;
    this.#communicator = communicator;
    this.#pieces = pieces;
    for (const [i, { names }] of pieces.entries()) for (const name of names) this.#pieceOf.set(name, i);
    const { driver } = parts;
    this.#stream = driver.createStream();
    this.#complete = pieces.map(() => driver.createEvent());
    this.#summed = driver.createEvent();
    if (group.worldSize === 1) return;
    const guard = new UpdateGuard(driver, parts.staging);
    communicator.beforeAbort = () => guard.trip();
    this.#guard = guard;
    set.guard = guard;
  }

  /** Sums known values, so few that a wrong one is found; then takes the time of all pieces. */
  async probe(signal?: AbortSignal): Promise<void> {
    const { allocator, staging, sizes = SIZES } = this.#parts;
    const { rank, worldSize } = this.#group;
    const count = Math.max(sizes.probe, ...this.#pieces.map((piece) => piece.count));
    const block = allocator.allocate(4 * count, 'sums of gradients');
    try {
      const value = (i: number): number => i % 251;
      staging.upload(
        block.address,
        Float32Array.from({ length: sizes.probe }, (_, i) => value(i) + rank),
      );
      await this.#trySums(block, [sizes.probe], signal);
      const sums = new Float32Array(await staging.download(block.address, 4 * sizes.probe).arrive());
      const wrong = sums.findIndex((sum, i) => sum !== worldSize * value(i) + (worldSize * (worldSize - 1)) / 2);
      if (wrong >= 0) {
        throw new DistributedError(`NCCL sums wrongly: value ${wrong} of a known sum is ${sums[wrong]}`, {
          rank,
          hint: 'The direct path between the cards is at fault as a rule (PCIe ACS, IOMMU): NCCL_P2P_DISABLE=1 goes round it.',
        });
      }
      if (worldSize > 1) await this.#time(block, signal);
    } finally {
      allocator.free(block);
    }
  }

  /** Decides whether the sums are to begin during backward, by the time of as many as a window has. */
  async #time(block: DeviceBlock, signal: AbortSignal | undefined): Promise<void> {
    const { sizes = SIZES } = this.#parts;
    const counts = this.#pieces.map(({ count }) => count);
    let fastest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < TIMED_SUMS; i++) {
      const start = performance.now();
      await this.#trySums(block, counts, signal);
      fastest = Math.min(fastest, performance.now() - start);
    }
    // The rank that came last has not waited for another.
    const times = await this.#group.allGather('the time of the sums', fastest, signal);
    this.#isEarly = Math.min(...times) >= sizes.overlap;
  }

  async #trySums(block: DeviceBlock, counts: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    this.#follow(this.#complete[0] ?? this.#summed, this.#parts.driver.stream, this.#stream);
    for (const count of counts) await this.#communicator.sum(block.address, count, this.#stream);
    await this.#arrival('the first sums of the ranks', signal);
  }

  /** @param bytes of the card that NCCL has until this is closed */
  noteTaken(bytes: number): void {
    this.#taken = bytes;
    this.#parts.allocator.noteTaken(bytes);
  }

  overlap(): { final(parameterNames: readonly string[]): void } | undefined {
    if (!this.#isEarly) return undefined;
    const missing = this.#pieces.map(({ names }) => new Set(names));
    return {
      final: (names) => {
        for (const name of names) missing[this.#pieceOf.get(name) ?? -1]?.delete(name);
        let final = this.#final;
        while (missing[final]?.size === 0) final++;
        this.#release(final);
      },
    };
  }

  async restart(): Promise<void> {
    if (this.#final === this.#kept.length) return;
    const { staging } = this.#parts;
    await this.#queueFinal();
    await this.#arrival('the sums of layers whose gradients were complete');
    // A part at a time: it passes through page-locked memory.
    for (const { first, count } of this.#pieces.slice(this.#kept.length, this.#final)) {
      const values = new Float32Array(count);
      for (let at = 0; at < count; at += DOWNLOAD_BYTES / 4) {
        const part = Math.min(DOWNLOAD_BYTES / 4, count - at);
        const bytes = staging.download(offset(this.#set.gradients.address, 4 * (first + at)), 4 * part);
        values.set(new Float32Array(await bytes.arrive()), at);
      }
      this.#kept.push(values);
    }
  }

  async finish(touched: readonly boolean[]): Promise<void> {
    const { driver, staging } = this.#parts;
    const { parameters, gradients } = this.#set;
    for (const [i, { grad }] of parameters.entries()) grad.isTouched = touched[i] ?? false;
    this.#release(this.#pieces.length);
    await this.#queueFinal();
    this.#follow(this.#summed, this.#stream, driver.stream);
    if (this.#group.worldSize > 1) this.#watch();
    for (const [i, values] of this.#kept.entries()) {
      staging.upload(offset(gradients.address, 4 * this.#pieces[i]!.first), values);
    }
    this.#kept.length = 0;
    this.#final = 0;
    this.#queued = 0;
  }

  async arrived(): Promise<void> {
    if (this.#group.worldSize > 1) await this.#communicator.until(() => this.#haveArrived(), `${SUMS} to arrive`);
  }

  /** Whether the compute stream waits for sums that others have a part in. */
  get isUnderWay(): boolean {
    if (this.#isHolding && this.#haveArrived()) this.#isHolding = false;
    return this.#isHolding;
  }

  touched(): boolean[] {
    return this.#set.parameters.map(({ grad }) => grad.isTouched);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#queueing?.catch(() => {});
    // NCCL's own end is waited for a few seconds, and other ranks may still compute.
    await this.arrived().catch(() => {});
    await this.#communicator.close();
    await this.#watching;
    const { driver, allocator } = this.#parts;
    this.#isHolding = false;
    if (this.#set.guard === this.#guard) this.#set.guard = undefined;
    this.#guard?.dispose();
    allocator.noteTaken(-this.#taken);
    for (const event of [...this.#complete, this.#summed]) driver.destroyEvent(event);
    driver.destroyStream(this.#stream);
  }

  /** The gradients of the pieces before `end` are complete with what is on the compute stream now. */
  #release(end: number): void {
    const { driver } = this.#parts;
    if (end <= this.#final) return;
    for (; this.#final < end; this.#final++) driver.recordEvent(this.#complete[this.#final]!);
    // A failure is heard by whoever waits for the window.
    this.#queue().catch(() => {});
  }

  /** Resolves when the sums of all final pieces are queued. */
  async #queueFinal(): Promise<void> {
    while (this.#queued < this.#final) await this.#queue();
  }

  /** Sums go out one after the other; one that became final at the very end may be left to the next call. */
  #queue(): Promise<void> {
    this.#queueing ??= this.#queueAll().finally(() => {
      this.#queueing = undefined;
    });
    return this.#queueing;
  }

  async #queueAll(): Promise<void> {
    for (; this.#queued < this.#final; this.#queued++) {
      const { first, count } = this.#pieces[this.#queued]!;
      this.#parts.driver.waitEvent(this.#complete[this.#queued]!, this.#stream);
      await this.#communicator.sum(offset(this.#set.gradients.address, 4 * first), count, this.#stream);
    }
  }

  /** Waits for the sums that are queued. */
  async #arrival(what: string, signal?: AbortSignal): Promise<void> {
    this.#parts.driver.recordEvent(this.#summed, this.#stream);
    await this.#communicator.until(() => this.#haveArrived(), `${what} to arrive`, { signal });
  }

  #haveArrived(): boolean {
    return this.#parts.driver.eventDone(this.#summed);
  }

  /**
   * Looks after the sums of the window that was finished last: where NCCL fails, or they do not come, the communication is
   * given up, so that work behind them goes on. `arrived` says why.
   */
  #watch(): void {
    const window = ++this.#windows;
    this.#isHolding = true;
    const isOver = (): boolean => this.#windows !== window || this.#haveArrived();
    this.#watching = this.#communicator.until(isOver, `${SUMS} to arrive`, { pause: glance }).catch(() => {});
  }

  /** What is queued on `to` from now on runs after what is queued on `from`. */
  #follow(event: number, from: number, to: number): void {
    const { driver } = this.#parts;
    driver.recordEvent(event, from);
    driver.waitEvent(event, to);
  }
}
