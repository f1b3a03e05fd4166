/** What a run is given. */
import type { Collator, DataLoader } from '../data/data-loader.js';
import type { Dataset, TrainingExample } from '../data/types.js';
import type { ParameterLease } from '../engine/parameter-lease.js';
import type { CallbackRunner } from './callback-runner.js';
import type { EvalResult } from './evaluate-loss.js';
import type { TrainingEvent } from './events.js';
import type { RankExchange } from './rank-exchange.js';
import type { Sampler } from './sampler.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';

export interface TrainingLoopOptions {
  readonly model: TrainableModel;
  readonly config: SftConfig;
  readonly sampler: Sampler;
  readonly dataset: Dataset<TrainingExample>;
  readonly evalDataset: Dataset<TrainingExample> | undefined;
  readonly loader: DataLoader;
  /** Throws if the data is not fit to be trained on. Gives warnings for when the run has begun. */
  readonly checkData: (signal: AbortSignal) => Promise<readonly string[]>;
  /** `onBatch` is called before each batch: throws if it must not be measured. */
  readonly evaluate: (signal: AbortSignal, warn: (message: string) => void, onBatch: () => void) => Promise<EvalResult>;
  readonly saveAdapter: ((directory: string) => Promise<void>) | undefined;
  readonly collator: Collator;
  /** Aborted for whatever reason the run is to end before its time; a reader's leave is one. */
  readonly signal: AbortSignal;
  /** Settles when every reader has handled the event. */
  readonly show: (event: TrainingEvent) => Promise<void>;
  /** Settles when no reader is, also after one has left. */
  readonly whenRead: (step: number) => Promise<void>;
  /** Undefined without callbacks. */
  readonly callbacks: CallbackRunner | undefined;
  readonly lease: ParameterLease;
  /** Undefined where one process trains alone. */
  readonly ranks: RankExchange | undefined;
}
