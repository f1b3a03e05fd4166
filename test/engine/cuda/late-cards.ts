/** Emulated cards that do their work late, in the order that streams and events give it, with an NCCL between them. */
import type { ProcessGroup } from '../../../src/distributed/process-group.js';
import type { CudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import { type EmulatedCardOptions, type EmulatedDriver, emulatedEngine } from './emulated-card.js';
import type { FakeWorld, SumCard } from './fake-nccl.js';

/** An engine on the card of each rank. */
export function lateEngines(world: FakeWorld): Promise<CudaEngine[]> {
  return Promise.all(world.cards.map((card) => emulatedEngine({ around: (own) => lateCard(world, card, own) })));
}

function lateCard(world: FakeWorld, card: SumCard, own: EmulatedDriver): ReturnType<Around> {
  card.values = {
    read: (address, count) => {
      const values = new Float32Array(count);
      own.downloadAsync(values, address as never);
      return values;
    },
    write: (address, values) => own.upload(address as never, values),
  };
  const { device: _, ...streams } = card.driver;
  const driver: EmulatedDriver = {
    ...own,
    ...streams,
    // Page-locked memory is read when the copy runs, as all that comes through the staging is.
    upload: (target, source, stream) => card.compute(() => own.upload(target, source), stream),
    downloadAsync: (target, source, stream) => card.compute(() => own.downloadAsync(target, source), stream),
    copy: (...given) => card.compute(() => own.copy(...given)),
    fillBytes: (...given) => card.compute(() => own.fillBytes(...given)),
    clearRows: (...given) => card.compute(() => own.clearRows(...given)),
    launch: (kernel, grid, block, sharedBytes) => {
      const parameters = own.parameters.bytes.slice();
      card.compute(() => {
        own.parameters.bytes.set(parameters);
        own.launch(kernel, grid, block, sharedBytes);
      });
    },
    synchronize: () => {
      while (world.step());
    },
    synchronizeEvent: (event) => {
      while (!streams.eventDone(event));
    },
  };
  return {
    driver,
    communication: { driver: { ...streams, device: own.device, upload: driver.upload }, load: () => card.library() },
  };
}

type Around = NonNullable<EmulatedCardOptions['around']>;

/** One of several ranks that train the same parameters. */
export class LateRank {
  readonly engine: CudaEngine;
  readonly set;
  readonly state;
  readonly #rank: number;
  #sum: Awaited<ReturnType<CudaEngine['joinGroup']>> | undefined;
  #step = 0;

  constructor(engine: CudaEngine, rank: number, kind: 'adamw' | 'adamw8bit', sizes: readonly number[]) {
    this.engine = engine;
    this.#rank = rank;
    this.set = engine.createParameters(
      sizes.map((size, i) => {
        const initial = Float32Array.from({ length: size }, (_, at) => Math.sin(at + i));
        return { name: `model.layers.${i}.lora_A`, shape: [size], initial };
      }),
    );
    this.state = engine.createOptimizerState(this.set, kind);
  }

  async join(group: ProcessGroup): Promise<void> {
    this.#sum = await this.engine.joinGroup(group, this.set);
  }

  get sum() {
    return this.#sum!;
  }

  /** Queues a step; nothing is waited for. @returns its norm */
  async step(): Promise<() => Promise<number>> {
    const { engine, set, state } = this;
    this.#step++;
    for (const [i, { size, grad }] of set.parameters.entries()) {
      const values = Float32Array.from({ length: size }, (_, at) => Math.cos(at * this.#step + i) * (1 + this.#rank));
      const gradient = engine.fromArray(values, [size]);
      engine.addInPlace(grad, gradient);
      engine.release(gradient);
    }
    await this.#sum?.finish(set.parameters.map(() => true));
    const rates = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };
    const norm = engine.optimizerStep(set, state, { kind: state.kind, ...rates });
    engine.zeroGradients(set);
    return norm;
  }

  /** Values, moments and counts of steps. */
  async content(): Promise<Record<string, number[]>> {
    const { engine, set, state } = this;
    const arrays = await engine.readOptimizerState(set, state);
    const values = await engine.readParameters(set);
    return Object.fromEntries(Object.entries({ ...arrays, values }).map(([name, array]) => [name, [...array]]));
  }
}
