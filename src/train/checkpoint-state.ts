/** What a checkpoint holds of a run beside its adapter: `trainer-state.json`, and the values of the training. */
import { z } from 'zod';
import type { MANIFEST_FILE } from '../files/file-digests.js';
import type { BestModelState } from './best-model.js';
import type { DatasetFingerprint } from './dataset-fingerprint.js';
import type { EvalEntry, LogEntry } from './events.js';
import type { SftConfig } from './sft-config.js';
import type { MetricsState } from './step-metrics.js';

/** 3 has digests, in the file that `digests` names. */
export const FORMAT = 3;
/** Without digests. */
export const OLDER_FORMAT = 2;

/** What a resume relies on; the rest is compared or handed on. */
const fingerprintSchema = z.looseObject({ length: z.int().min(0), digests: z.array(z.string()) });
export const stateSchema = z
  .looseObject({
    globalStep: z.int().min(0),
    totalSteps: z.int().min(0),
    epoch: z.number().min(0),
    config: z.record(z.string(), z.unknown()),
    worldSize: z.int().min(1).optional(),
    settings: z.record(z.string(), z.unknown()).optional(),
    dataset: fingerprintSchema,
    evalDataset: fingerprintSchema.optional(),
    parameters: z.array(z.object({ name: z.string(), shape: z.array(z.int().min(0)).max(8) })),
    metrics: z.looseObject({
      totalLoss: z.number(),
      totalSteps: z.int().min(0),
      lossSinceLog: z.number(),
      stepsSinceLog: z.int().min(0),
      skippedSteps: z.int().min(0),
    }),
    best: z
      .looseObject({
        metric: z.string(),
        greaterIsBetter: z.boolean(),
        withoutGain: z.int().min(0),
        bestValue: z.number().optional(),
        best: z.looseObject({ step: z.int().min(0), value: z.number(), checkpoint: z.string().optional() }).optional(),
        saved: z.looseObject({ step: z.int().min(0), value: z.number(), checkpoint: z.string() }).optional(),
      })
      .optional(),
    evaluationDue: z.literal(true).optional(),
    logHistory: z.array(z.looseObject({ step: z.int().min(0), epoch: z.number().min(0) })),
  })
  .refine(({ globalStep, totalSteps }) => globalStep <= totalSteps, {
    path: ['globalStep'],
    message: 'beyond totalSteps',
  });

/** What must be the same for a run to go on as if it had not stopped. */
export interface RunIdentity {
  readonly config: SftConfig;
  /** Processes that train together; missing for one. */
  readonly worldSize?: number | undefined;
  /** Of the model and the collator, by name: what else decides the result, as JSON. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  readonly dataset: DatasetFingerprint;
  readonly evalDataset?: DatasetFingerprint | undefined;
  /** Trainable tensors in order. */
  readonly parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

/** Where a run is, as `trainer-state.json` holds it. */
export interface TrainerState extends RunIdentity {
  readonly formatVersion: typeof FORMAT | typeof OLDER_FORMAT;
  /** The file with the digests of all files; missing in format 2. */
  readonly digests?: typeof MANIFEST_FILE | undefined;
  /** Optimizer steps done. */
  readonly globalStep: number;
  readonly totalSteps: number;
  readonly epoch: number;
  readonly metrics: MetricsState;
  /** Missing until there was an evaluation. */
  readonly best?: BestModelState | undefined;
  /** The run was stopped before or in the evaluation that was due after this step. */
  readonly evaluationDue?: true | undefined;
  readonly logHistory: readonly (LogEntry | EvalEntry)[];
}

export interface TrainingTensors {
  readonly parameters: Float32Array;
  readonly optimizer: Record<string, Float32Array | Uint8Array>;
}

/** A run's own part of its state: what the writer adds is left out. */
export type RunState = Omit<TrainerState, 'formatVersion' | 'digests'>;
