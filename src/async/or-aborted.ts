/** Waiting for what may never answer: a caller's function, a model, a device. */
import { onAbort } from './on-abort.js';

/**
 * The promise's result, or a rejection with the signal's reason if that comes first. `Promise.race` against one
 * long-lived promise would keep every promise that was ever raced with it alive.
 */
export function orAborted<T>(promise: T | PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return Promise.resolve(promise);
  return afterAbort(promise, signal, 0, () => signal.reason);
}

/**
 * The promise's result, or a rejection when it has not settled so long after the abort: for what hears the signal itself
 * and should end before its memory is used for something else.
 * @param grace milliseconds from the abort on, or from now if that was before
 * @param onTimeout gives the error; default the signal's reason
 */
export function afterAbort<T>(
  promise: T | PromiseLike<T>,
  signal: AbortSignal,
  grace: number,
  onTimeout: () => unknown = () => signal.reason,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const abort = (): void => {
      if (grace === 0) reject(onTimeout());
      else timer = setTimeout(() => reject(onTimeout()), grace);
    };
    const forget = signal.aborted ? undefined : onAbort(signal, abort);
    if (!forget) abort();
    Promise.resolve(promise)
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
        forget?.();
      });
  });
}
