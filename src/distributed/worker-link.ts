/** The main thread's end of the thread that holds the connections. */
import { Worker } from 'node:worker_threads';
import { DistributedError } from '../errors.js';
import program from '../generated/group-worker.js';
import { errorOf, faultOf, GroupMember } from './group-member.js';
import type { FromRank, RankIdentity } from './messages.js';
import type { RankPlace } from './process-group.js';
import type { RendezvousSettings } from './rendezvous.js';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-protocol.js';

/** At the end of the process the last messages have so long to go out. */
const EXIT_MS = 1000;

/**
 * Meets the others.
 * @throws DistributedError if not all come, or they do not belong together; the signal's reason
 */
export async function joinOverNetwork(
  place: RankPlace,
  own: RankIdentity,
  settings: RendezvousSettings & Pick<WorkerSettings, 'launcher'>,
  signal?: AbortSignal,
): Promise<GroupMember> {
  signal?.throwIfAborted();
  const left = new Int32Array(new SharedArrayBuffer(4));
  const workerData: WorkerSettings = { ...settings, own, left };
  // No flags of this process: a loader of TypeScript, say, has nothing to do there.
  const worker = new Worker(program, { eval: true, workerData, execArgv: [], name: 'ministral-tune group' });
  const post = (message: ToWorker, transfer: ArrayBuffer[] = []): void => worker.postMessage(message, transfer);
  const stop = stopAtExit(post, left);
  let member: GroupMember | undefined;
  let hasLeft: (() => void) | undefined;

  const joined = new Promise<GroupMember>((resolve, reject) => {
    const lose = (error: unknown): void => {
      stop();
      hasLeft?.();
      if (hasLeft) return;
      const message = `the thread that holds the connections of rank ${own.rank} has ended`;
      const reason = new DistributedError(message, { rank: own.rank, cause: error });
      reject(reason);
      member?.receiveFailure(reason);
    };
    worker.on('error', lose);
    worker.on('exit', () => lose(undefined));
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'message') {
        if (message.message.type === 'failure') post({ type: 'seen' });
        member?.receive(message.message);
      } else if (message.type === 'joined') {
        member = new GroupMember(place, message.identities, {
          send: (text, transfer) => post({ type: 'send', message: text }, transfer),
          keepAlive: (isNeeded) => (isNeeded ? worker.ref() : worker.unref()),
          close: () => {
            stop();
            worker.ref();
            return new Promise<void>((resolve) => {
              hasLeft = resolve;
              post({ type: 'leave', message: { type: 'leave' } });
            }).finally(() => worker.terminate());
          },
        });
        worker.unref();
        resolve(member);
      } else if (message.type === 'orphaned') {
        const text = `the launcher, process ${settings.launcher}, has ended`;
        const hint =
          'It was killed, or failed itself; `ministral-tune launch` ends its ranks when it is asked to stop.';
        member?.fail(new DistributedError(text, { rank: own.rank, hint }));
      } else if (message.type === 'refused') reject(errorOf(message.failure));
      else if (hasLeft) hasLeft();
      else reject(signal?.reason);
    });
  });
  const abort = (): void => post({ type: 'leave', message: { type: 'leave', fault: faultOf(signal!.reason) } });
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await joined;
  } catch (error) {
    stop();
    // Else it tells ranks that still come why, as long as this process lives.
    if (own.rank !== 0 || signal?.aborted) await worker.terminate();
    else worker.unref();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/**
 * When the process ends, the others learn how, and what this rank had sent reaches them.
 * @returns ends that
 */
function stopAtExit(post: (message: ToWorker) => void, left: Int32Array): () => void {
  let uncaught: { readonly error: unknown } | undefined;
  const note = (error: unknown): void => {
    uncaught = { error };
  };
  const leave = (exitCode: number): void => {
    const fault = uncaught && exitCode !== 0 ? { fault: faultOf(uncaught.error) } : {};
    const message: FromRank = { type: 'leave', exitCode, ...fault };
    post({ type: 'leave', message });
    Atomics.wait(left, 0, 0, EXIT_MS);
  };
  process.on('uncaughtExceptionMonitor', note);
  process.on('exit', leave);
  return () => {
    process.off('uncaughtExceptionMonitor', note);
    process.off('exit', leave);
  };
}
