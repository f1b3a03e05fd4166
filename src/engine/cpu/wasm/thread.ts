// What a kernel may know of the thread it runs on: a scratch area of its own.

/** Bytes of the scratch area (SCRATCH_BYTES in pool.ts). */
export const SCRATCH_BYTES: usize = 1 << 20;

let scratchBase: usize = 0;

/** Called once an instance, before any kernel. */
export function setScratch(base: usize): void {
  scratchBase = base;
}

/** Start of this thread's scratch area, 64-byte aligned. Its contents last for one call of a kernel. */
// @ts-ignore: decorator
@inline
export function scratch(): usize {
  return scratchBase;
}
