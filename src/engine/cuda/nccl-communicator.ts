/**
 * The connection of this rank's card with those of the others. Nothing here blocks the thread, and whatever waits hears
 * of a lost rank: then the communicator is aborted, as its kernels would wait for that rank for ever.
 */
import { eventLoopTurn } from '../../async/event-loop.js';
import { onAbort } from '../../async/on-abort.js';
import type { ProcessGroup } from '../../distributed/process-group.js';
import { DistributedError, reasonOf } from '../../errors.js';
import type { CudaDriver } from './driver.js';
import type { DevicePointer } from './launch.js';
import type { NcclLibrary } from './nccl.js';

/** Milliseconds between two looks: the thread sleeps meanwhile, in turns with the event loop. */
const NAP = 0.1;
/** Seconds in which ranks that have all come this far find each other, and their first sum arrives. */
const JOIN_SECONDS = 180;
/**
 * Seconds without a sum though all ranks live. Another may still compute: a rank without samples in a window waits for all
 * passes of those that have some. As long as transformers waits (ddp_timeout).
 */
const SUM_SECONDS = 1800;
/** Seconds for an end in order, then for one that is not. */
const CLOSE_SECONDS = 10;
/** Seconds in which the group learns why a connection broke: NCCL often hears of a lost rank first. */
const CAUSE_SECONDS = 5;

const CONNECTION_HINT =
  'NCCL_DEBUG=INFO shows what NCCL tries. On several machines NCCL_SOCKET_IFNAME names the interface that reaches the ' +
  'others, and no firewall may stand between them; on one machine NCCL_P2P_DISABLE=1 goes round a broken direct ' +
  'path, and containers need --ipc=host or --shm-size=1g.';

interface UntilOptions {
  /** Default: `SUM_SECONDS`. */
  readonly seconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default: `nap`. */
  readonly pause?: () => Promise<void>;
}

const bed = new Int32Array(new SharedArrayBuffer(4));

/** A short sleep and a turn of the event loop: timers of Node are ten times as coarse. */
async function nap(): Promise<void> {
  Atomics.wait(bed, 0, 0, NAP);
  await eventLoopTurn();
}

export class NcclCommunicator {
  readonly #library: NcclLibrary;
  readonly #group: ProcessGroup;
  /** undefined once it is given up or has ended: NCCL frees it. */
  #handle: number | undefined;
  #aborting: Promise<void> | undefined;
  /** Why it was given up. */
  #cause: unknown;
  #failing: Promise<never> | undefined;
  /** Called before kernels are made to end with whatever they have computed. */
  beforeAbort: (() => void) | undefined;
  #forget: (() => void) | undefined;

  private constructor(library: NcclLibrary, group: ProcessGroup, handle: number) {
    this.#library = library;
    this.#group = group;
    this.#handle = handle;
    // Kernels that wait for a lost rank keep the card from all that is queued behind them, such as reading parameters.
    this.#forget = onAbort(group.failure, () => void this.abort());
  }

  /**
   * All ranks call it at the same time.
   * @param driver of the card that it must be on
   * @throws DistributedError if they do not find each other; the signal's or the failure's reason
   */
  static async join(
    library: NcclLibrary,
    group: ProcessGroup,
    driver: Pick<CudaDriver, 'device' | 'makeCurrent'>,
    signal?: AbortSignal,
  ): Promise<NcclCommunicator> {
    // On one machine nobody else need reach the sockets by which NCCL begins.
    if (group.localWorldSize === group.worldSize) process.env.NCCL_SOCKET_IFNAME ??= 'lo';
    const own = group.isMain ? Buffer.from(library.uniqueId()).toString('hex') : undefined;
    const id = Buffer.from(await group.broadcast('the id for NCCL', own, signal), 'hex');
    group.failure.throwIfAborted();
    driver.makeCurrent();
    const communicator = new NcclCommunicator(library, group, library.begin(group.worldSize, id, group.rank));
    await communicator.until(() => true, 'the ranks to find each other through NCCL', {
      seconds: JOIN_SECONDS,
      signal,
    });
    const device = library.device(communicator.#live());
    const { ordinal } = driver.device;
    if (device === ordinal) return communicator;
    await communicator.abort();
    throw new DistributedError(`NCCL took card ${device} instead of card ${ordinal}`, {
      rank: group.rank,
      hint: 'Let CUDA_VISIBLE_DEVICES show each rank its own card alone.',
    });
  }

  /** Queues the sum of float32 values over the ranks on the stream; resolves when it is queued, not computed. */
  async sum(values: DevicePointer, count: number, stream: number): Promise<void> {
    try {
      this.#library.allReduce(this.#live(), values, count, stream);
    } catch (error) {
      await this.#fail(error);
    }
    await this.until(() => true, 'NCCL to queue a sum');
  }

  /**
   * Resolves when the condition holds and NCCL is ready.
   * @param pause between two looks
   * @throws DistributedError if that fails or takes too long; the signal's or the failure's reason
   */
  async until(
    isDone: () => boolean,
    what: string,
    { seconds = SUM_SECONDS, signal, pause = nap }: UntilOptions = {},
  ): Promise<void> {
    const end = performance.now() + 1000 * seconds;
    try {
      while (!(this.#library.isReady(this.#live()) && isDone())) {
        signal?.throwIfAborted();
        if (performance.now() > end) {
          throw new DistributedError(`waited ${seconds} s for ${what}, though all ranks live`, {
            hint: CONNECTION_HINT,
          });
        }
        await pause();
      }
    } catch (error) {
      if (signal?.aborted && error === signal.reason) {
        await this.abort();
        throw error;
      }
      await this.#fail(error);
    }
  }

  /** Ends it at once: kernels that wait for other ranks end, whatever they have computed. */
  abort(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    this.#forget?.();
    this.#forget = undefined;
    if (handle !== undefined) {
      this.beforeAbort?.();
      // What goes wrong here has a cause that is told already.
      this.#aborting = this.#library.abort(handle).catch(() => {});
    }
    return within(this.#aborting ?? Promise.resolve(), CLOSE_SECONDS);
  }

  /** Ends it in order where all is well. */
  async close(): Promise<void> {
    if (this.#handle === undefined) return this.abort();
    try {
      this.#library.finalize(this.#handle);
      const end = performance.now() + 1000 * CLOSE_SECONDS;
      while (!this.#library.isReady(this.#live())) {
        if (performance.now() > end) return await this.abort();
        await nap();
      }
      const handle = this.#live();
      this.#handle = undefined;
      this.#forget?.();
      this.#forget = undefined;
      this.#library.destroy(handle);
    } catch {
      // The sums have arrived: how the connection ends changes nothing any more.
      await this.abort();
    }
  }

  /** @throws the failure's reason, or that it is closed */
  #live(): number {
    this.#group.failure.throwIfAborted();
    if (this.#handle !== undefined) return this.#handle;
    if (this.#cause !== undefined) throw this.#cause;
    throw new DistributedError('the sum of gradients is used after it was closed');
  }

  /** @throws always: the group's failure if it is or becomes known, else the error, of those that wait the first one's */
  #fail(error: unknown): Promise<never> {
    this.#failing ??= this.#tellCause(error);
    return this.#failing;
  }

  async #tellCause(error: unknown): Promise<never> {
    const { failure, rank } = this.#group;
    await this.abort();
    const end = performance.now() + 1000 * CAUSE_SECONDS;
    while (!failure.aborted && performance.now() < end && !(error instanceof DistributedError)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    failure.throwIfAborted();
    if (error instanceof DistributedError) this.#cause = error;
    this.#cause ??= new DistributedError(`the sum of gradients over the ranks failed: ${reasonOf(error)}`, {
      rank,
      cause: error,
      hint: CONNECTION_HINT,
    });
    throw this.#cause;
  }
}

async function within(promise: Promise<void>, seconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 1000 * seconds);
  });
  await Promise.race([promise, limit]);
  clearTimeout(timer);
}
