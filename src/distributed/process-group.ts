/** The ranks of a training on several GPUs, one process each, as each of them sees the others. */

/** Which of the processes this is, as torchrun names it. */
export interface RankPlace {
  /** From 0 over all processes. */
  readonly rank: number;
  /** Number of processes. */
  readonly worldSize: number;
  /** From 0 among the processes of this machine: the index of its GPU. */
  readonly localRank: number;
  /** Processes of this machine. */
  readonly localWorldSize: number;
}

/**
 * Small messages among the ranks, and who of them still lives; gradients go another way. Every rank makes the same calls
 * in the same order: `what` says which, is compared, and stands in messages.
 *
 * A rank is lost when its connection closes or it gives no sign of life, while work is under way (`begin`). Then, or when
 * one calls `fail`, `failure` is aborted on all of them, with a DistributedError that names the rank and the cause, and
 * pending and later calls throw it.
 */
export interface ProcessGroup extends RankPlace {
  /** Rank 0: the one that writes files and logs. */
  readonly isMain: boolean;
  /**
   * The values of all ranks, by rank; JSON that keeps NaN, infinities and -0 too, at most a few megabytes. Waits as long
   * as they live.
   * @throws DistributedError if a rank is lost or makes another call; the signal's reason
   */
  allGather<T>(what: string, value: T, signal?: AbortSignal): Promise<T[]>;
  /** As `allGather`, for bytes of any length. */
  allGatherBytes(what: string, value: Uint8Array, signal?: AbortSignal): Promise<Uint8Array[]>;
  /**
   * Bytes of any length from rank to rank: each goes to its receiver alone. All ranks call it, also those that give nothing.
   * Optional, for groups from elsewhere: without it micro-batches stay on the rank that has read them.
   * @param parts by the rank that is to have them
   * @returns what the others have given this rank, by rank
   * @throws DistributedError as `allGather`, or for a part for a rank that does not exist; the signal's reason
   */
  exchangeBytes?(
    what: string,
    parts: ReadonlyMap<number, Uint8Array>,
    signal?: AbortSignal,
  ): Promise<Map<number, Uint8Array>>;
  /** The value of rank 0, which alone gives one. */
  broadcast<T>(what: string, value: T | undefined, signal?: AbortSignal): Promise<T>;
  /**
   * From here until `end` the others count on this rank: that it ends is a failure. Calls may nest.
   * @param what e.g. "training"; stands in messages
   */
  begin(what: string): { end(): void };
  /** Aborted when a rank is lost or has failed; its reason is a DistributedError. */
  readonly failure: AbortSignal;
  /**
   * Tells the others that this rank ends, and why. The first failure of all counts. A stop that was asked for (an abort, a
   * left loop) is one too.
   */
  fail(error: unknown): void;
  /**
   * After a failure: whether this rank is the one that saves. The lowest that is left; where rank 0 is lost, the lowest of
   * each machine.
   */
  readonly isRescuer: boolean;
  /** Leaves the group; the last values have gone out when it resolves. */
  close(): Promise<void>;
}

/** Sums the gradients of a parameter set over the ranks. An engine makes it: `Engine.joinGroup`. */
export interface GradientSum {
  /**
   * Called before the last pass of a window: pieces of the flat gradient may be summed as soon as backward has passed the
   * layers that they belong to, from the last to the first. Gives what the pass calls when the gradients of parameters are
   * final; undefined, on all ranks alike, where the sums had better wait for `finish`. A rank without a pass calls both at
   * once, for all: others may have to wait for its part in `restart`.
   */
  overlap?(): { final(parameterNames: readonly string[]): void } | undefined;
  /**
   * A window is begun again on this rank: what was summed already is kept and not summed again.
   */
  restart?(): Promise<void>;
  /**
   * Queues the sums of what is not summed yet. All ranks call it once for each window, also those without a sample in it.
   * What is queued on the engine after it finds the sums, bit for bit the same on all ranks. Where the group fails before
   * they have arrived, an optimizer step that is queued then changes nothing, and its norm is NaN.
   * @param touched of each parameter, in order: whether any rank gave it a gradient; others are left out of the update
   * @throws DistributedError; the reason of the group's failure
   */
  finish(touched: readonly boolean[]): Promise<void>;
  /**
   * Resolves when the sums of all finished windows have arrived. Missing where they have when `finish` resolves.
   * @throws DistributedError also if they do not come though all ranks live; the reason of the group's failure
   */
  arrived?(): Promise<void>;
  /** Whether this rank's window gave each parameter a gradient so far. */
  touched(): boolean[];
  /** Ends the communication: in order, or at once after a failure. */
  close(): Promise<void>;
}
