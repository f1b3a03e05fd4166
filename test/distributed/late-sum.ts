/**
 * Ranks on devices that lag behind their hosts: sums, updates and what clears gradients are queued and done in order later;
 * readers wait. Where the group fails, a sum under way leaves anything, and updates behind it are void.
 */
import { orAborted } from '../../src/async/or-aborted.js';
import type { GradientSum, ProcessGroup } from '../../src/distributed/process-group.js';
import type { Engine } from '../../src/engine/engine.js';
import type { LinearModel } from '../train/linear-model.js';
import type { LoopbackTrace } from './loopback-sum.js';
import { LoopbackSum } from './loopback-sum.js';

export interface LateDevice {
  /** In the order in which they happened: `update 1 queued`, `sum 1 arrived`, `update 1 done`, `update 2 void`. */
  readonly log: string[];
  /** Called when the host has queued the update of a step. */
  onQueued?: (step: number) => void;
  /** Holds the sum of a step back while it is pending. */
  holdSum?: (step: number) => Promise<unknown> | undefined;
}

/** @param wires by which the devices reach each other, whatever their hosts do */
export function withLateSum(model: LinearModel, trace: LoopbackTrace, wires: ProcessGroup): LateDevice {
  const { engine } = model;
  const device: LateDevice = { log: [] };
  let queue: Promise<unknown> = Promise.resolve();
  let pending = 0;
  /** The group has failed: no update is done any more. */
  let isBroken = false;
  let [sums, updates] = [0, 0];
  const enqueue = <T>(work: () => T | Promise<T>): Promise<T> => {
    pending++;
    const done = queue.then(work).finally(() => {
      pending--;
    });
    queue = done.catch(() => undefined);
    return done;
  };
  const { optimizerStep, zeroGradients, readGradients, readParameters, readOptimizerState, keepPace, writeParameters } =
    engine as Engine & Required<Pick<Engine, 'keepPace'>>;
  const late: Partial<Engine> = {
    optimizerStep: (...given) => {
      const step = ++updates;
      const done = enqueue(() => {
        // One more partial sum of the norm.
        if (isBroken) model.gradients.write(model.trainable, new Float32Array(3).fill(Number.NaN), [true, true]);
        device.log.push(`update ${step} ${isBroken ? 'void' : 'done'}`);
        return optimizerStep.apply(engine, given)();
      });
      done.catch(() => undefined);
      device.log.push(`update ${step} queued`);
      device.onQueued?.(step);
      return () => done;
    },
    zeroGradients: (set) => {
      if (pending === 0) zeroGradients.call(engine, set);
      else void enqueue(() => zeroGradients.call(engine, set));
    },
    writeParameters: (...given) => {
      if (pending > 0) throw new Error('the test writes parameters while the device works');
      writeParameters.apply(engine, given);
    },
    readGradients: (set) => enqueue(() => readGradients.call(engine, set)),
    readParameters: (set) => enqueue(() => readParameters.call(engine, set)),
    readOptimizerState: (...given) => enqueue(() => readOptimizerState.apply(engine, given)),
    // What is computed next comes behind all that is queued.
    keepPace: async () => {
      await queue;
      await keepPace.call(engine);
    },
    joinGroup: async (group) => {
      const breaks = (): void => {
        isBroken = true;
      };
      group.failure.addEventListener('abort', breaks, { once: true });
      const inner = new LoopbackSum(wires, model.trainable, model.gradients, trace);
      const summed: Enqueue = (sum) => {
        const step = ++sums;
        return enqueue(async () => {
          await orAborted(device.holdSum?.(step), group.failure).then(sum);
          device.log.push(`sum ${step} arrived`);
        });
      };
      return new LateSum(model, group, inner, summed, enqueue);
    },
  };
  Object.assign(engine, late);
  return device;
}

type Enqueue = (work: () => Promise<void>) => Promise<void>;

class LateSum implements GradientSum {
  readonly #model: LinearModel;
  readonly #group: ProcessGroup;
  readonly #sum: LoopbackSum;
  readonly #enqueue: Enqueue;
  readonly #behind: Enqueue;
  #arrival: Promise<void> = Promise.resolve();

  constructor(model: LinearModel, group: ProcessGroup, sum: LoopbackSum, enqueue: Enqueue, behind: Enqueue) {
    this.#model = model;
    this.#group = group;
    this.#sum = sum;
    this.#enqueue = enqueue;
    this.#behind = behind;
  }

  overlap() {
    const inner = this.#sum.overlap();
    // A rank without a pass comes here while the device still works on the window before.
    return { final: (names: readonly string[]) => void this.#behind(async () => inner.final(names)) };
  }

  restart(): Promise<void> {
    return this.#behind(() => this.#sum.restart());
  }

  touched(): boolean[] {
    return this.#sum.touched();
  }

  async finish(touched: readonly boolean[]): Promise<void> {
    this.#group.failure.throwIfAborted();
    const { gradients, trainable } = this.#model;
    this.#arrival = this.#enqueue(async () => {
      try {
        await orAborted(this.#sum.finish(touched), this.#group.failure);
      } catch (error) {
        gradients.write(trainable, Float32Array.of(123, -45, 67), [true, true]);
        throw error;
      }
    });
    this.#arrival.catch(() => undefined);
  }

  arrived(): Promise<void> {
    return orAborted(this.#arrival, this.#group.failure);
  }

  async close(): Promise<void> {
    if (!this.#group.failure.aborted) await this.#arrival;
    await this.#sum.close();
  }
}
