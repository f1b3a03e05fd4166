/** Runs of the model of three parameters on several ranks of one process. */
import type { TrainingEvent, TrainOutput } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainerOptions, TrainOptions } from '../../src/train/sft-trainer.js';
import { follow } from '../train/follow.js';
import { type LinearModel, linearModel, linearTrainer } from '../train/linear-model.js';
import { type LateDevice, withLateSum } from './late-sum.js';
import { type LoopbackTrace, newTrace } from './loopback-sum.js';
import { MemoryWorld } from './memory-group.js';

export interface RankRun {
  readonly model: LinearModel;
  readonly events: readonly TrainingEvent[];
  readonly output: TrainOutput | undefined;
  readonly error: unknown;
  readonly trace: LoopbackTrace;
  /** Undefined without a group. */
  readonly device: LateDevice | undefined;
}

export interface RanksOptions {
  /** Of each rank, beside those of all. */
  readonly config?: (rank: number) => SftConfigInput;
  readonly options?: (rank: number, model: LinearModel) => Partial<SftTrainerOptions>;
  readonly train?: (rank: number) => TrainOptions;
  readonly model?: (rank: number) => LinearModel;
  readonly device?: (rank: number, device: LateDevice) => void;
  readonly world?: MemoryWorld;
}

/** Trains on so many ranks; 0: one process without a group. */
export function trainRanks(
  worldSize: number,
  config: SftConfigInput,
  { world = new MemoryWorld(Math.max(1, worldSize)), ...more }: RanksOptions = {},
): Promise<RankRun>[] {
  const wires = new MemoryWorld(world.groups.length);
  return world.groups.map(async (group, rank) => {
    const model = more.model?.(rank) ?? linearModel();
    const trace = newTrace();
    const device = worldSize > 0 ? withLateSum(model, trace, wires.groups[rank]!) : undefined;
    if (device) more.device?.(rank, device);
    const trainer = linearTrainer(model, { ...config, ...more.config?.(rank) } as SftConfigInput, {
      ...(worldSize > 0 && { processGroup: group }),
      ...more.options?.(rank, model),
    });
    const run = trainer.train(more.train?.(rank));
    const { events, error } = await follow(run);
    const output = error === undefined ? await run : undefined;
    return { model, events, output, error, trace, device };
  });
}

/** Of events the ones of a type. */
export function ofType<T extends TrainingEvent['type']>(events: readonly TrainingEvent[], type: T) {
  return events.filter((event): event is Extract<TrainingEvent, { type: T }> => event.type === type);
}

/** Events without what depends on time and memory. */
export function timeless(events: readonly TrainingEvent[]): unknown[] {
  const own = new Set(['seconds', 'tokensPerSecond', 'dataWaitShare', 'evalRuntime', 'evalSamplesPerSecond', 'plan']);
  return events.map((event) => {
    const { output, ...others } = event as TrainingEvent & { output?: TrainOutput };
    return JSON.parse(JSON.stringify(others, (key, value) => (own.has(key) ? undefined : value)));
  });
}
