/** What a pass leaves of the free memory, because that lies in pieces. */
import type { StorageCosts } from './engine.js';

/** Share of the memory for which the next smaller plan is described. */
export const LESS_MEMORY = 0.85;

type Reserves = Pick<StorageCosts, 'reserveBytes' | 'smallReserve'>;

/** Bytes to leave alone beside a pass of so many. */
export function reserveFor({ reserveBytes, smallReserve }: Reserves, passBytes: number): number {
  if (!smallReserve) return reserveBytes;
  return Math.min(reserveBytes, Math.ceil(smallReserve.bytes + smallReserve.share * passBytes));
}

/** Bytes of the largest pass that leaves its reserve of so many free bytes. */
export function largestPass({ reserveBytes, smallReserve }: Reserves, freeBytes: number): number {
  const whole = freeBytes - reserveBytes;
  const small = smallReserve ? (freeBytes - smallReserve.bytes) / (1 + smallReserve.share) : whole;
  return Math.max(0, whole, Math.floor(small));
}
