/** The program of a pool thread: joins tasks as they open, until it is terminated. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import {
  CONTROL_WORDS,
  EPOCH_STEP,
  FAILED,
  INSIDE,
  JOINED_MASK,
  KERNEL,
  LEFT,
  OPEN,
  OUTSIDE,
  runChunks,
  SLEEPERS,
  STATE,
  WAITING,
  WEIGHTS,
} from './control.js';
import { type Kernel, KernelInstance, kernelNames, type WeightBytes } from './kernel-instance.js';

export interface PoolWorkerData {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly scratch: number;
  readonly port: MessagePort;
  readonly spins: number;
  /** Words of all workers, and which one is this worker's. */
  readonly places: Int32Array;
  readonly index: number;
}

/** From the main thread to a worker. */
export type PoolMessage = { readonly add: WeightBytes } | { readonly drop: number };

const { module, memory, scratch, port, spins, places, index } = workerData as PoolWorkerData;
const control = new Int32Array(memory.buffer, 0, CONTROL_WORDS);
const instance = new KernelInstance(module, memory, scratch);
const kernels = kernelNames(module).map((name) => instance.kernel(name) as Kernel);
let announced = 0;

/** Takes in the weights that were announced since the last task. */
function receiveWeights(): void {
  const wanted = Atomics.load(control, WEIGHTS);
  while (announced !== wanted) {
    const received = receiveMessageOnPort(port) as { message: PoolMessage } | undefined;
    // The counter is raised after the message was sent, so it is on its way at worst.
    if (!received) continue;
    const { message } = received;
    if ('add' in message) instance.addWeight(message.add);
    else instance.dropWeight(message.drop);
    announced = (announced + 1) | 0;
  }
}

function work(): void {
  try {
    receiveWeights();
    runChunks(control, kernels[control[KERNEL]!]!);
  } catch (error) {
    report(error);
    Atomics.store(control, FAILED, 1);
  }
  Atomics.sub(control, STATE, 1);
  Atomics.add(control, LEFT, 1);
  Atomics.notify(control, LEFT);
}

/** Whatever was thrown, the task must be left: the main thread waits for that. */
function report(error: unknown): void {
  try {
    port.postMessage(error);
  } catch {
    port.postMessage(new Error(String(error)));
  }
}

function run(): never {
  let epoch = -1;
  for (;;) {
    let state = Atomics.load(control, STATE);
    for (let i = 0; i < spins && !isNew(state, epoch); i++) state = Atomics.load(control, STATE);
    if (!isNew(state, epoch)) {
      // Counted first: a task that is opened before the count rises has changed STATE, and nobody falls asleep.
      Atomics.add(control, SLEEPERS, 1);
      Atomics.wait(control, STATE, state);
      Atomics.sub(control, SLEEPERS, 1);
    } else {
      Atomics.store(places, index, INSIDE);
      if (Atomics.compareExchange(control, STATE, state, state + 1) === state) {
        epoch = epochOf(state);
        work();
      }
      Atomics.store(places, index, OUTSIDE);
    }
  }
}

function epochOf(state: number): number {
  return state & ~(EPOCH_STEP - 1);
}

function isNew(state: number, epoch: number): boolean {
  return (state & OPEN) !== 0 && epochOf(state) !== epoch && (state & JOINED_MASK) < JOINED_MASK;
}

// From the event loop: a thread that has one shows from outside whether it is alive.
setImmediate(() => {
  parentPort!.postMessage('ready');
  Atomics.wait(places, index, WAITING);
  run();
});
