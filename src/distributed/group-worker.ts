/**
 * The program of the thread that holds a rank's connections: the main thread may compute for minutes without a pause,
 * and still lives.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { RendezvousError } from './hub-server.js';
import { answersTo, type FromRank, type ToRank } from './messages.js';
import { notice } from './notice.js';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-protocol.js';
import { HubSide, RankSide, type Side } from './worker-sides.js';

const settings = workerData as WorkerSettings;
const { own, seconds, times, left } = settings;
const say = (message: FromWorker, transfer: ArrayBuffer[] = []): void => parentPort?.postMessage(message, transfer);
/** What the others count on this rank for, and the calls that it waits for: then a failure must be heard. */
let isCountedOn = false;
const waiting = new Map<number, number>();
let reaction: NodeJS.Timeout | undefined;

const side: Side = own.rank === 0 ? new HubSide(settings, receive) : new RankSide(settings, receive);

function receive(message: ToRank): void {
  if (message.type === 'part' || message.type === 'pieces') {
    const missing = (waiting.get(message.sequence) ?? 0) - 1;
    if (missing > 0) waiting.set(message.sequence, missing);
    else waiting.delete(message.sequence);
  }
  if (message.type === 'failure' && !reaction && (isCountedOn || waiting.size > 0)) {
    reaction = setTimeout(() => {
      notice(
        `rank ${own.rank} has not answered for ${times.reactMs / 1000} s to the failure of its group ` +
          `(${message.failure.message}): its process is ended by SIGKILL`,
      );
      process.kill(process.pid, 'SIGKILL');
    }, times.reactMs);
  }
  if (message.type !== 'pieces') {
    say({ type: 'message', message });
    return;
  }
  // Nobody else's, so they are moved to the main thread; of a larger buffer all of it would be copied.
  const { body } = message;
  const whole = body.length === body.buffer.byteLength ? body : body.slice();
  say({ type: 'message', message: { ...message, body: whole } }, [whole.buffer as ArrayBuffer]);
}

function send(message: FromRank): void {
  if (message.type === 'begin') isCountedOn = true;
  else if (message.type === 'end') isCountedOn = false;
  else if (message.type === 'call') waiting.set(message.sequence, answersTo(message, own.worldSize));
  side.send(message);
}

let isLeaving = false;
parentPort?.on('message', async (message: ToWorker) => {
  if (message.type === 'send') send(message.message);
  else if (message.type === 'seen') clearTimeout(reaction);
  else if (!isLeaving) {
    isLeaving = true;
    clearTimeout(reaction);
    await side.leave(message.message);
    Atomics.store(left, 0, 1);
    Atomics.notify(left, 0);
    say({ type: 'left' });
  }
});

async function join(): Promise<void> {
  let pause = times.noticeMs;
  const tell = (): void => {
    const text = side.waitingFor;
    if (text) notice(text);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    noticing = setTimeout(tell, pause);
  };
  let noticing = setTimeout(tell, pause);
  const limit = new Promise<never>((_, reject) => {
    limiting = setTimeout(() => {
      const error = side.timeoutError();
      if (error) reject(error);
    }, seconds * 1000);
  });
  try {
    const identities = await Promise.race([side.join(), limit]);
    say({ type: 'joined', identities });
  } catch (error) {
    if (!(error instanceof RendezvousError)) throw error;
    say({ type: 'refused', failure: error.failure });
  } finally {
    clearTimeout(noticing);
    clearTimeout(limiting);
  }
}

if (settings.launcher !== undefined) {
  const watch = setInterval(() => {
    if (process.ppid === settings.launcher) return;
    clearInterval(watch);
    say({ type: 'orphaned' });
  }, times.beatMs);
}

let limiting: NodeJS.Timeout | undefined;
const LONGEST_PAUSE_MS = 60_000;
void join();
