/**
 * `ministral-tune/types`: types that signatures of models, LoRA, training, evaluation and publishing mention, for those
 * who write them down. There is nothing to call here.
 */

// Models.
export type { DropoutStream } from './batch/dropout-keys.js';
export type { PackedSize } from './batch/packed-window.js';
export type { PackedBatch, SharedKeys } from './batch/packed-batch.js';
export type { PackedImage, PackedImages } from './batch/packed-images.js';
export type { GeneratedToken, GenerateOptions, StreamedToken } from './model/generate.js';
export type { LinearModule, LoraWeights, WriteAdapter } from './model/linear-module.js';
export type { GenerationOptions } from './model/sampling.js';
export type { ScoreLabelsOptions } from './model/score-labels.js';
export type { LoadOptions } from './model/load.js';
export type { ModelConfig, RopeConfig, TextConfig, VisionConfig } from './model/model-config.js';
export type { KvCache } from './model/network/kv-cache.js';
export type { AdapterView, KeyValueStore, PassOptions, RecomputedLayers } from './model/network/layers.js';
export type { PassCosts, PassWork, PeakParts } from './model/network/pass-costs.js';
export type { LoadProgress, WeightProvider } from './model/network/load-weights.js';
export type { QuantizationMethod, QuantizationOptions } from './model/quantization.js';
export type { ModelOrigin, RowOptions } from './model/network/vision-language-model.js';
export type { AttentionModules, LayerModules, ModelModules } from './model/network/modules.js';
export type { FromPretrainedOptions, ModelId, Pretrained } from './pretrained/from-pretrained.js';

// LoRA.
export type { LoadAdapterOptions } from './lora/adapter-file.js';
export type { ApplyLoraOptions } from './lora/apply-lora.js';
export type { ChatTemplateSource, TemplateHolder } from './lora/chat-template-option.js';
export type { AdapterOrigin, LoraModule } from './lora/lora-adapter.js';
export type { LinearLayerName, TaskType } from './lora/lora-config.js';
export type { LoraEngine, LoraHost } from './lora/lora-host.js';
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
export type {
  DefaultLrSchedule,
  LrScheduleOptions,
  MetricName,
  OptimizerName,
  SftConfig,
  SftConfigOptions,
} from './train/sft-config.js';
export type { ComputeMetrics, SftTrainerOptions, TrainOptions } from './train/sft-trainer.js';
export type { Costs } from './train/pass-plan.js';
export type { AccumulateOptions, EvaluateLossOptions, PassSummary, TrainableModel } from './train/trainable-model.js';

// Evaluation and publishing.
export type { BootstrapOptions } from './eval/bootstrap.js';
export type { CalibrationBin } from './eval/calibration.js';
export type {
  BootstrapIntervals,
  BootstrapMethod,
  EvaluatedSample,
  EvaluationMode,
  ProbabilityMetrics,
} from './eval/evaluation-report.js';
export type {
  EvaluateOptions,
  EvaluationProgress,
  EvaluatorMetrics,
  EvaluatorMetricsOptions,
  EvaluatorOptions,
  GenerateAnswers,
  LabelledItem,
  ScoreClasses,
} from './eval/evaluator-options.js';
export type { ClassMetrics, ConfusionMatrix, Interval } from './eval/metrics.js';
export type { AnswerMode } from './eval/parse-answer.js';
export type { ModelCardDataset, ModelCardImage, ModelCardMetric } from './publish/model-card.js';
export type { PushToHubOptions } from './publish/push-to-hub.js';

// Options.
export type { WithDefaults } from './config.js';

// Errors.
export type { ArchiveErrorOptions, ZipFault } from './archive/archive-error.js';
export type {
  EngineErrorOptions,
  HubErrorOptions,
  ImageErrorOptions,
  OutOfMemoryErrorOptions,
  TransferErrorOptions,
  TuneErrorOptions,
} from './errors.js';
