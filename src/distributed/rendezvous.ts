/** Where and how long the ranks of a job look for each other. */
import type { PeerTimes } from './peer.js';

export interface RendezvousTimes extends PeerTimes {
  /** A connection must have introduced itself, and a hub have greeted, by then. */
  readonly helloMs: number;
  /** Between two looks of a rank for the hub; the first are closer. */
  readonly retryMs: number;
  /** Before it is said who is missing; later it is said at twice the time. */
  readonly noticeMs: number;
  /** A rank that finds only hubs with another secret ends after that. */
  readonly otherSecretMs: number;
  /** After a failure the main thread must have heard of it by then. */
  readonly reactMs: number;
}

export interface RendezvousSettings {
  readonly masterAddr: string;
  readonly masterPort: number;
  /** In the order in which rank 0 tries them. */
  readonly ports: readonly number[];
  readonly jobId: string;
  /** All ranks are on this machine: they meet on the loopback device. */
  readonly isLocal: boolean;
  /** Undefined: it lies in a file. */
  readonly secret: string | undefined;
  readonly seconds: number;
  readonly times: RendezvousTimes;
}

/** Rank 0 tries so many ports. */
const PORTS = 16;

/** @param isTaken whether the first is another program's */
export function rendezvousPorts(masterPort: number, isTaken: boolean): number[] {
  const first = isTaken ? masterPort + 1 : masterPort;
  // Beyond the last port it goes on where the free ones begin.
  return Array.from({ length: PORTS }, (_, i) => (first + i <= 65_535 ? first + i : first + i - 65_536 + 1024));
}
