/**
 * The control block: how the main thread hands a task to the workers. It lies in page 0 of the shared memory.
 *
 * A task is opened by storing a new epoch in STATE with the OPEN bit. A worker joins by adding 1 to STATE while it is
 * open, takes chunks by adding to NEXT, and leaves by subtracting 1. The main thread works on chunks too; when none is
 * left it clears OPEN and waits only for the workers that joined, so a worker that is slow to wake delays nobody.
 */

/** Word indices into an Int32Array over page 0. */
export const STATE = 0;
export const KERNEL = 1;
export const COUNT = 2;
export const CHUNK = 3;
export const NEXT = 4;
/** Raised when a worker leaves the task; the main thread waits on it. */
export const LEFT = 5;
export const FAILED = 6;
/** How many frozen weights have been announced to the workers. */
export const WEIGHTS = 7;
/** Workers that sleep, or are about to: a task is announced only if there are any, for a call to the system is dear. */
export const SLEEPERS = 8;

/** STATE: joined workers in the low bits, then OPEN, then the epoch. */
export const JOINED_MASK = 0x3ff;
export const OPEN = 0x400;
export const EPOCH_STEP = 0x800;

/**
 * What each worker says of itself, in an array of their own: by it the main thread knows whom it still waits for when
 * one of them has died. A worker starts in WAITING and works once the main thread has let it in.
 */
export const WAITING = 0;
export const OUTSIDE = 1;
/** Set before it joins a task, and taken back after it left. */
export const INSIDE = 2;

/** Byte address of the arguments of the running task. */
export const ARGS = 256;
/** Most argument slots, 32 bits each. */
export const MAX_ARGS = 192;
export const CONTROL_WORDS = 16;

/** Bytes of scratch area that each thread has (the same in wasm/thread.ts). */
export const SCRATCH_BYTES = 1 << 20;

/** Runs chunks of the open task until none is left. */
export function runChunks(control: Int32Array, kernel: (args: number, start: number, end: number) => void): void {
  const count = control[COUNT]!;
  const chunk = control[CHUNK]!;
  for (;;) {
    const start = Atomics.add(control, NEXT, chunk);
    if (start >= count) return;
    kernel(ARGS, start, Math.min(count, start + chunk));
  }
}
