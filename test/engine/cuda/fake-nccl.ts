/**
 * Cards of several ranks in one process, with an NCCL between them. Each stream runs its work in order, some of it
 * whenever a host looks, in any order among streams that events allow; a sum runs only when the same sum of every rank
 * has come to the head of its stream, and waits for ever for a rank that is lost.
 */
import type { CudaParameterSet } from '../../../src/engine/cuda/adapters.js';
import type { SumDriver, SumParts } from '../../../src/engine/cuda/gradient-sum.js';
import type { DevicePointer } from '../../../src/engine/cuda/launch.js';
import type { NcclLibrary } from '../../../src/engine/cuda/nccl.js';
import { EngineError } from '../../../src/errors.js';
import { MersenneTwister } from '../../../src/random.js';

const [COMPUTE, COPY] = [1, 2];
/** Bytes of a card. */
const MEMORY = 64 << 10;
/** What an aborted sum leaves. */
export const BROKEN = 12345;
/** Where the gradients lie, and what is allocated. */
const [GRADIENTS, SCRATCH] = [4096, 40 << 10];

interface Sum {
  readonly card: SumCard;
  readonly address: number;
  readonly count: number;
}

/** Float32 values of a card. */
export interface CardMemory {
  read(address: number, count: number): Float32Array;
  write(address: number, values: Float32Array): void;
}

type Work =
  | { readonly run: () => void }
  | { readonly record: number; readonly count: number }
  | { readonly wait: number; readonly count: number }
  | { readonly sum: Sum; isOver: boolean };

/** NCCL among the cards. */
export class FakeWorld {
  readonly cards: SumCard[];
  readonly random: MersenneTwister;
  /** Elements of each sum that was computed, in order. */
  readonly sums: number[] = [];
  /** What the library of each rank says its version is. */
  version: (rank: number) => number = () => 22803;
  /** Looks at a communicator until something that was begun is through. */
  looks = 2;
  /** Its links are so slow, or fast, that sums begin during backward, or behind it; read when ranks join. */
  isSlow = true;
  /** By rank: what its next look finds. */
  readonly errors = new Map<number, Error>();
  /** Ranks that sum no more. */
  readonly lost = new Set<number>();
  readonly ids: string[] = [];

  constructor(worldSize: number, seed = 1) {
    this.random = new MersenneTwister(seed);
    this.cards = Array.from({ length: worldSize }, (_, rank) => new SumCard(this, rank));
  }

  /** Runs a piece of work of any stream of any card, if there is one that may run. */
  step(): boolean {
    const able = this.cards.flatMap((card) => (this.lost.has(card.rank) ? [] : card.able()));
    if (able.length === 0) return false;
    able[this.random.nextUint32() % able.length]!();
    return true;
  }

  /** The sums that wait at the heads of all ranks' streams, where they do. */
  meet(): readonly Sum[] | undefined {
    const heads = this.cards.map((card) => (this.lost.has(card.rank) ? undefined : card.waitingSum()));
    if (heads.some((head) => head === undefined)) return undefined;
    const sums = heads.map((head) => head!);
    const offsets = sums.map(({ card, address }) => address - card.origin);
    if (sums.some(({ count }, i) => offsets[i] !== offsets[0] || count !== sums[0]!.count)) {
      throw new Error(
        `the ranks sum other pieces: ${sums.map(({ count }, i) => `${offsets[i]} +${count}`).join(', ')}`,
      );
    }
    return sums;
  }
}

export class SumCard {
  readonly rank: number;
  readonly memory = new Float32Array(MEMORY / 4);
  readonly log: string[] = [];
  readonly #world: FakeWorld;
  readonly #queues = new Map<number, Work[]>([
    [COMPUTE, []],
    [COPY, []],
  ]);
  readonly #recorded = new Map<number, number>();
  readonly #passed = new Map<number, number>();
  #next = 10;
  isAborted = false;
  id: string;
  /** Of an engine on this card. Default: `memory`. */
  values: CardMemory = {
    read: (address, count) => this.memory.slice(address / 4, address / 4 + count),
    write: (address, values) => this.memory.set(values, address / 4),
  };
  /** What addresses of all ranks have in common. */
  origin = 0;

  constructor(world: FakeWorld, rank: number) {
    this.#world = world;
    this.rank = rank;
    this.id = `card ${rank}`;
  }

  get gradients(): Float32Array {
    return this.memory.subarray(GRADIENTS / 4);
  }

  /** Queues work. */
  compute(run: () => void, stream = COMPUTE): void {
    this.#queues.get(stream)!.push({ run });
  }

  waitingSum(): Sum | undefined {
    for (const [head] of this.#queues.values()) if (head && 'sum' in head && !head.isOver) return head.sum;
    return undefined;
  }

  able(): (() => void)[] {
    return [...this.#queues.values()].flatMap((queue) => {
      const work = queue[0];
      if (!work) return [];
      if ('wait' in work && (this.#passed.get(work.wait) ?? 0) < work.count) return [];
      if ('sum' in work && !work.isOver && !this.isAborted && !this.#world.meet()) return [];
      return [() => this.#run(queue, work)];
    });
  }

  #run(queue: Work[], work: Work): void {
    if ('sum' in work && !work.isOver && !this.isAborted) {
      const sums = this.#world.meet()!;
      const { count } = work.sum;
      this.#world.sums.push(count);
      const byRank = sums.map(({ card, address }) => card.values.read(address, count));
      const total = Float32Array.from({ length: count }, (_, i) => byRank.reduce((sum, values) => sum + values[i]!, 0));
      for (const { card, address } of sums) card.values.write(address, total);
      for (const { card } of sums) card.#endSum();
    }
    queue.shift();
    // What an aborted kernel has computed so far is anything, and finite.
    if ('sum' in work && !work.isOver) {
      this.values.write(work.sum.address, new Float32Array(work.sum.count).fill(BROKEN));
    }
    if ('run' in work) work.run();
    else if ('record' in work) this.#passed.set(work.record, work.count);
  }

  #endSum(): void {
    for (const [head] of this.#queues.values()) if (head && 'sum' in head) head.isOver = true;
  }

  queueSum(stream: number, address: number, count: number): void {
    this.#queues.get(stream)!.push({ sum: { card: this, address, count }, isOver: false });
  }

  get driver(): SumDriver {
    const device = { ordinal: 0, name: 'fake', capability: 90, multiprocessors: 1 };
    return {
      stream: COMPUTE,
      device: { ...device, totalBytes: MEMORY, driverVersion: 13000, hasVirtualMemory: true },
      cardId: () => this.id,
      makeCurrent: () => void this.log.push('current'),
      createStream: () => {
        this.#queues.set(++this.#next, []);
        return this.#next;
      },
      destroyStream: (stream) => void this.#queues.delete(stream),
      createEvent: () => ++this.#next,
      destroyEvent: () => {},
      recordEvent: (event, stream = COMPUTE) => {
        const count = (this.#recorded.get(event) ?? 0) + 1;
        this.#recorded.set(event, count);
        this.#queues.get(stream)!.push({ record: event, count });
      },
      waitEvent: (event, stream = COMPUTE) => {
        this.#queues.get(stream)!.push({ wait: event, count: this.#recorded.get(event) ?? 0 });
      },
      upload: (target, source) => {
        // Page-locked: read when the copy runs.
        const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
        this.compute(() => new Uint8Array(this.memory.buffer).set(bytes, target));
      },
      eventDone: (event) => {
        for (let i = 0; i < 3; i++) this.#world.step();
        return (this.#passed.get(event) ?? 0) >= (this.#recorded.get(event) ?? 0);
      },
    };
  }

  get parts(): SumParts {
    return {
      driver: this.driver,
      staging: {
        upload: (target, source) => {
          const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice();
          this.compute(() => new Uint8Array(this.memory.buffer).set(bytes, target));
        },
        download: (source, bytes) => {
          let result: ArrayBuffer | undefined;
          this.compute(() => {
            result = this.memory.buffer.slice(source, source + bytes) as ArrayBuffer;
          });
          return {
            arrive: async () => {
              while (!result) {
                this.#world.step();
                await new Promise((resolve) => setImmediate(resolve));
              }
              return result;
            },
            discard: () => {},
          };
        },
        take: (bytes) => ({ pinned: { bytes: new Uint8Array(bytes).fill(0x55), free: () => {} }, event: 0 }),
        giveBack: () => void this.log.push('guard given back'),
      },
      allocator: {
        allocate: (bytes, holder = '') => {
          const inner = { address: SCRATCH, bytes } as never;
          return { address: SCRATCH as DevicePointer, bytes, pool: 'tensors', holder, inner };
        },
        free: () => {},
        noteTaken: (bytes) => void this.log.push(`taken ${bytes}`),
      },
      memory: {
        memoryInfo: () => ({ free: this.log.includes('sum 300') ? MEMORY - 5000 : MEMORY, total: MEMORY }),
      },
      sizes: { piece: 1000, probe: 300, overlap: this.#world.isSlow ? 0 : Number.POSITIVE_INFINITY },
      load: () => this.library(),
    };
  }

  library(): NcclLibrary {
    const world = this.#world;
    let looks = 0;
    const begun = (): void => {
      looks = world.looks;
    };
    const live = (): void => {
      if (this.isAborted) throw new Error('NCCL is called with a communicator that it has freed');
    };
    return {
      version: world.version(this.rank),
      path: '/lib/libnccl.so.2',
      uniqueId: () => Uint8Array.from({ length: 128 }, (_, i) => i),
      begin: (worldSize, id, rank) => {
        world.ids[rank] = Buffer.from(id).toString('hex');
        this.log.push(`begin ${rank} of ${worldSize}`);
        begun();
        return 7;
      },
      isReady: () => {
        live();
        const error = world.errors.get(this.rank);
        if (error) throw error;
        return looks-- <= 0;
      },
      device: () => 0,
      allReduce: (_, values, count, stream) => {
        live();
        if (looks > 0) throw new EngineError('NCCL: the call before has not ended');
        this.log.push(`sum ${count}`);
        this.queueSum(stream, values, count);
        begun();
      },
      finalize: () => {
        live();
        this.log.push('finalize');
        begun();
      },
      destroy: () => void this.log.push('destroy'),
      abort: async () => {
        live();
        this.isAborted = true;
        this.log.push('abort');
      },
    };
  }
}

/** So many values of so many layers, in a card's gradients. */
export function fakeSet(layers: number, values: number): CudaParameterSet {
  const parameters = Array.from({ length: 2 * layers }, (_, i) => ({
    name: `model.layers.${i >> 1}.${i % 2 ? 'down' : 'up'}.lora_A`,
    offset: i * values,
    size: values,
    grad: { isTouched: false },
  }));
  return { parameters, size: 2 * layers * values, gradients: { address: GRADIENTS } } as unknown as CudaParameterSet;
}
