/** What the main thread and the thread that holds the connections say to each other. */
import type { Failure, FromRank, RankIdentity, ToRank } from './messages.js';
import type { RendezvousSettings } from './rendezvous.js';

/** `workerData` of the thread. */
export interface WorkerSettings extends RendezvousSettings {
  readonly own: RankIdentity;
  /** Process of `ministral-tune launch`, the parent of this one; undefined for other launchers. */
  readonly launcher: number | undefined;
  /** [0] becomes 1 when all has gone out, at the end of the process. Shared between threads. */
  readonly left: Int32Array;
}

/** From the main thread. */
export type ToWorker =
  | { readonly type: 'send'; readonly message: FromRank }
  /** It has heard of the failure. */
  | { readonly type: 'seen' }
  /** Leaves with this message, and says `left`. */
  | { readonly type: 'leave'; readonly message: FromRank };

/** To the main thread. */
export type FromWorker =
  | { readonly type: 'joined'; readonly identities: readonly RankIdentity[] }
  /** There will be no group. */
  | { readonly type: 'refused'; readonly failure: Failure }
  | { readonly type: 'message'; readonly message: ToRank }
  | { readonly type: 'left' }
  /** The launcher has ended: nobody would end this process when another rank fails. */
  | { readonly type: 'orphaned' };
