/**
 * `ministral-tune/types`: types that signatures of models, LoRA, training, evaluation and publishing mention, for those
 * who write them down. There is nothing to call here.
 */

// Models.
export type { DropoutStream } from './batch/dropout-keys.js';
export type { PackedBatch } from './batch/packed-batch.js';
export type { PackedImages, PackedPicture } from './batch/packed-images.js';
export type { GeneratedToken } from './model/generate.js';
export type { LinearModule, LoraWeights } from './model/linear-module.js';
export type { LoadOptions } from './model/load.js';
export type { Ministral3Config, RopeConfig, TextConfig, VisionConfig } from './model/ministral3/config.js';
export type { KvCache } from './model/ministral3/kv-cache.js';
export type { AdapterView, KeyValueStore, PassOptions, RecomputedLayers } from './model/ministral3/layers.js';
export type { WeightProvider } from './model/ministral3/load-weights.js';
export type { ModelOrigin } from './model/ministral3/model.js';
export type { AttentionModules, LayerModules, Ministral3Modules } from './model/ministral3/modules.js';
export type { FromPretrainedOptions, Pretrained } from './pretrained/from-pretrained.js';

// LoRA.
export type { LoadAdapterOptions } from './lora/adapter-file.js';
export type { ApplyLoraOptions } from './lora/apply-lora.js';
export type { ChatTemplateSource, TemplateHolder } from './lora/chat-template-option.js';
export type { AdapterOrigin, LoraModule } from './lora/lora-adapter.js';
export type { LoraConfig } from './lora/lora-config.js';
export type { LoraEngine, LoraHost, WriteAdapter } from './lora/lora-host.js';
export type { MergeAdapterOptions, MergeProgress, MergeResult } from './lora/merge-adapter.js';
export type { Towers } from './lora/target-modules.js';
export type { AdapterCheck, ProbedModel } from './lora/verify-adapter.js';
export type { SaveAdapterOptions } from './lora/write-adapter.js';

// Training.
export type { AbortOnSignalsOptions, SignalWatch, StopSignal } from './train/abort-on-signals.js';
export type { BestModel } from './train/best-model.js';
export type { EvalResult } from './train/evaluate-loss.js';
export type { EvalEntry, LogEntry } from './train/events.js';
export type {
  CosineKwargs,
  CosineWarmupWithMinLrKwargs,
  CosineWithMinLrKwargs,
  CosineWithRestartsKwargs,
  InverseSqrtKwargs,
  LrSchedule,
  LrSchedulerKwargs,
  LrSchedulerType,
  NoKwargs,
  PolynomialKwargs,
  RampType,
  WarmupStableDecayKwargs,
} from './train/schedule.js';
export type { SftConfig } from './train/sft-config.js';
export type { ComputeMetrics, SftTrainerOptions, TrainOptions } from './train/sft-trainer.js';
export type { AccumulateOptions, EvaluateLossOptions, PassSummary, TrainableModel } from './train/trainable-model.js';

// Evaluation and publishing.
export type {
  EvaluatedSample,
  EvaluateOptions,
  EvaluationProgress,
  EvaluatorOptions,
  GenerateAnswers,
} from './eval/evaluator.js';
export type { ClassMetrics, ConfusionMatrix, Interval } from './eval/metrics.js';
export type { AnswerMode } from './eval/parse-answer.js';
export type { PushToHubOptions } from './publish/push-to-hub.js';

// Errors.
export type { TuneErrorOptions } from './errors.js';
