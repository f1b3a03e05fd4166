/** Many that wait for one signal, with one listener on it: Node warns of a leak where there are more than ten. */

interface Shared {
  readonly waiting: Set<() => void>;
  readonly listener: () => void;
}

const shared = new WeakMap<AbortSignal, Shared>();

/**
 * Calls `abort` when the signal is aborted.
 * @returns what ends that; may be called twice
 */
export function onAbort(signal: AbortSignal | undefined, abort: () => void): () => void {
  if (!signal) return () => undefined;
  const found = shared.get(signal) ?? listen(signal);
  // One of its own, as the same function may wait twice.
  const call = (): void => abort();
  found.waiting.add(call);
  return () => {
    if (!found.waiting.delete(call) || found.waiting.size > 0) return;
    signal.removeEventListener('abort', found.listener);
    shared.delete(signal);
  };
}

function listen(signal: AbortSignal): Shared {
  const waiting = new Set<() => void>();
  const listener = (): void => {
    shared.delete(signal);
    for (const abort of [...waiting]) if (waiting.delete(abort)) abort();
  };
  signal.addEventListener('abort', listener, { once: true });
  const made = { waiting, listener };
  shared.set(signal, made);
  return made;
}
