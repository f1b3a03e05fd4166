/**
 * Tests that not every system can run. Each says why it is left out: vitest's own `skip`, `skipIf` and `runIf` would not,
 * and test/skips.test.ts refuses them.
 */
import { chownSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { describe, it } from 'vitest';

type Named = (name: string, body: () => void | Promise<void>, timeout?: number) => void;

/** Tests and groups of them, run where the condition holds. */
export interface Where {
  readonly it: Named;
  readonly describe: (name: string, body: () => void) => void;
}

/** Before the reason, at the end of the name of a test that is left out. */
export const SKIPPED = ' — left out: ';

/** @param reason what is missing where the condition does not hold: `needs Linux` */
export function where(condition: boolean, reason: string): Where {
  if (condition) return { it, describe };
  const named = (name: string): string => name + SKIPPED + reason;
  return {
    it: (name, body, timeout) => it.skip(named(name), body, timeout),
    describe: (name, body) => describe.skip(named(name), body),
  };
}

export const onLinux = where(process.platform === 'linux', 'needs Linux');
export const onPosix = where(process.platform !== 'win32', 'needs a system with POSIX names, links and permissions');
/** For {@link withoutRights}: only the main thread of a process may change its user. */
export const onPosixWithoutRights =
  process.getuid?.() !== 0 || isMainThread ? onPosix : where(false, 'root keeps its rights in worker threads');

/** A group of one test that is left out. */
export function leftOut(name: string, reason: string): void {
  where(false, reason).describe(name, () => {
    it('all of it', () => {});
  });
}

const NOBODY = 65534;

/**
 * Runs it as a user without rights, which root is not held up by: `chmod` alone says nothing to root. Nothing else may run
 * meanwhile. Windows has no such users.
 * @param own folders that belong to that user
 */
export async function withoutRights<T>(work: () => Promise<T>, own: readonly string[] = []): Promise<T> {
  if (process.getuid?.() !== 0) return work();
  for (const folder of own) chownSync(folder, NOBODY, NOBODY);
  process.seteuid!(NOBODY);
  try {
    return await work();
  } finally {
    process.seteuid!(0);
  }
}
