/** The memory of the host. */
import { freemem, totalmem } from 'node:os';

/** Bytes that the host's memory has, in a container those that it may take. */
export function hostMemory(): number {
  return Math.min(totalmem(), containerLimit());
}

/** Bytes that can be taken now without anything being swapped out. */
export function freeHostMemory(): number {
  return Math.min(freemem(), containerLimit() - process.memoryUsage.rss());
}

/** Without a limit Node says 0, or a number beyond all memory. */
function containerLimit(): number {
  return process.constrainedMemory() || Number.POSITIVE_INFINITY;
}
