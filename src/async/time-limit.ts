/** Synchronous work that a file can make endless, such as a regular expression that it brings along. */
import { createContext, Script } from 'node:vm';

/** Made when it is first needed: an import of the package need not wait for it. */
let made: { readonly context: { work: (() => unknown) | undefined }; readonly script: Script } | undefined;

/**
 * Runs `work` on this thread and stops it, wherever it is, when the time is over: a watchdog thread does what no timer
 * can while JavaScript is busy. Costs some 30 µs. What `work` was about to change may be half changed then, so what it
 * used is not to be used again.
 * @param onTimeout gives the error to throw
 */
export function withinTime<T>(milliseconds: number, work: () => T, onTimeout: () => Error): T {
  made ??= { context: createContext({ work: undefined }) as { work: undefined }, script: new Script('work()') };
  const { context, script } = made;
  const outer = context.work;
  context.work = work;
  try {
    return script.runInContext(context as object, { timeout: milliseconds }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw onTimeout();
    throw error;
  } finally {
    context.work = outer;
  }
}
