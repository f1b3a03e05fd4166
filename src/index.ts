/**
 * ministral-tune: LoRA fine-tuning of the vision-language models Ministral 3 and Mistral Small 3 in one Node process.
 * Exports stand in the order in which the data flows.
 */

// Data: from files to batches.
export { ClassLabel, IndexedDataset, LabelledDataset } from './data/dataset.js';
export { ImageFolder } from './data/image-folder.js';
export type {
  ImageFolderOptions,
  ImageReadOptions,
  ImageSample,
  ImageTableOptions,
  SkippedImage,
} from './data/image-folder-options.js';
export type { DatasetParts, SplitOptions } from './data/split-dataset.js';
export { HubImageFolder, type HubImageFolderOptions } from './data/hub-image-folder.js';
export { KaggleImageFolder } from './data/kaggle-image-folder.js';
export type { KaggleDownloadOptions, KaggleProgress } from './kaggle/download-dataset.js';
export { ConversationDataset, type ConversationOptions } from './data/conversations/conversation-dataset.js';
export type { ConversationForm } from './data/conversations/row-forms.js';
export { decodeImage, imageSize } from './data/decode-image.js';
export { ImageProcessor, type ImageProcessorOptions } from './data/image-processor.js';
export { ImagePool, type ImagePoolOptions } from './data/image-pool.js';
export { BYTE_TO_CHAR } from './data/byte-alphabet.js';
export { type DecodeOptions as TokenDecodeOptions, type EncodeOptions, MinistralTokenizer } from './data/tokenizer.js';
export {
  ChatTemplate,
  type ChatTemplateOptions,
  type TemplateSegment,
  TUTORIAL_TEMPLATE,
} from './data/chat-template.js';
export { type DroppedSample, VlmCollator, type VlmCollatorOptions } from './data/vlm-collator.js';
export { DataLoader, type DataLoaderOptions } from './data/data-loader.js';
export {
  type ContentPart,
  type Dataset,
  IGNORE_INDEX,
  type ImageInput,
  type LazyImage,
  type Message,
  type NdArray,
  type PromptCompletionExample,
  type RgbImage,
  type SftExample,
  type SkippedSample,
  type TextExample,
  type TrainingExample,
  type VlmBatch,
} from './data/types.js';

// Engines: what computes.
export { createEngine, type CreateEngineOptions, type EngineChoice } from './engine/create-engine.js';
export type { Engine, EngineMemory, EngineName } from './engine/engine.js';
export { loadTfjs, type TfjsPackage } from './engine/tfjs/load-tfjs.js';
export { counterHash, MersenneTwister, randomPermutation } from './random.js';
export { SafetensorsFile, ShardedCheckpoint, type TensorToWrite, writeSafetensors } from './formats/safetensors.js';

// The Hub.
export { type SnapshotDownloadOptions, snapshotDownload } from './hub/snapshot-download.js';
export { checkPushAccess } from './hub/push-files.js';
export {
  formatHubProgress,
  type HubConnectionOptions,
  type HubDownloadOptions,
  type HubProgress,
} from './hub/hub-options.js';

// Model: loading, generating.
export {
  type FromPretrainedOptions,
  fromPretrained,
  MODEL_FILES,
  type Pretrained,
} from './pretrained/from-pretrained.js';
export { loadModel, loadProcessor, type LoadOptions, type ModelProcessor } from './model/load.js';
export type { ModelConfig } from './model/model-config.js';
export { parseModelConfig } from './model/parse-config.js';
export {
  loadMinistral3,
  Ministral3,
  type Ministral3Config,
  type Ministral3Modules,
  type Ministral3Processor,
  parseMinistral3Config,
} from './model/old-names.js';
export { VisionLanguageModel } from './model/network/vision-language-model.js';
export {
  type GeneratedToken,
  type GenerateOptions,
  generate,
  generateText,
  generateTokens,
  streamText,
} from './model/generate.js';
export type { GenerationConfig, GenerationOptions } from './model/sampling.js';

// LoRA: what is trained, and its files.
export { LAYER_PROJECTIONS, LoraConfig, type LoraConfigOptions } from './lora/lora-config.js';
export { applyLora, type ApplyLoraOptions, type LoraAdapter } from './lora/apply-lora.js';
export { activeAdapter, adaptersOf, deleteAdapter, setAdapter } from './lora/adapter-slots.js';
export { loadAdapter, type LoadAdapterOptions, saveAdapter, type SaveAdapterOptions } from './lora/adapter-file.js';
export { type AdapterCheck, verifyAdapter } from './lora/verify-adapter.js';
export { mergeAdapter, type MergeAdapterOptions, type MergeResult } from './lora/merge-adapter.js';
export { type PushToHubOptions, pushToHub } from './publish/push-to-hub.js';
export type { ModelCard } from './publish/model-card.js';

// Training.
export { type SftConfig, type SftConfigInput, sftConfigSchema } from './train/sft-config.js';
export { type ComputeMetrics, SftTrainer, type SftTrainerOptions, type TrainOptions } from './train/sft-trainer.js';
export {
  type AbortOnSignalsOptions,
  abortOnSignals,
  type SignalWatch,
  type StopSignal,
} from './train/abort-on-signals.js';
export type { TrainingRun } from './train/training-run.js';
export type { EvalEntry, LogEntry, TrainingEvent, TrainOutput } from './train/events.js';
export type { TrainableModel } from './train/trainable-model.js';
export { readHistory } from './train/history.js';

// Evaluation and pictures.
export { Evaluator, type EvaluationReport, type EvaluatorOptions } from './eval/evaluator.js';
export {
  compareReports,
  comparisonMarkdown,
  confusionChart,
  formatReport,
  reportMarkdown,
  writeReport,
} from './eval/report.js';
export { escapeMarkdown } from './messages/markdown.js';
export { barChart } from './chart/bar-chart.js';
export { type ContactSheetItem, contactSheet, writeContactSheet } from './chart/contact-sheet.js';
export { lineChart } from './chart/line-chart.js';
export { renderPng } from './chart/render.js';

// Errors.
export { ArchiveError, type ArchiveErrorOptions, type ZipFault } from './archive/zip-directory.js';
export {
  CheckpointError,
  ConfigError,
  DataError,
  DiskError,
  EngineError,
  HubError,
  ImageError,
  KaggleError,
  OutOfMemoryError,
  TextError,
  TrainingError,
  TransferError,
  TuneError,
  type TuneErrorCode,
} from './errors.js';

// Types that the above mention.
export type { BarChartOptions } from './chart/bar-chart.js';
export type { ContactSheetOptions } from './chart/contact-sheet.js';
export type { LineChartOptions, Point } from './chart/line-chart.js';
export type { RenderOptions as PictureRenderOptions } from './chart/render.js';
export type { RenderOptions as TemplateRenderOptions } from './data/chat-template.js';
export type { Collator } from './data/data-loader.js';
export type { DecodeOptions as ImageDecodeOptions } from './data/image-header.js';
export type { SplitName } from './data/folder-evidence.js';
export type { TableRow } from './data/csv.js';
export type { ImageFolderContent } from './data/image-folder-options.js';
export type { FromConfigOptions, ImageGrid } from './data/image-processor.js';
export type { EncodedSample, PaddingSide } from './data/pad-batch.js';
export type { PixelSettings, ProcessedImage } from './data/process-pixels.js';
export type { SampleInspection } from './data/sample-inspection.js';
export type { EncodedText, StreamingDecoder, TextOrControl } from './data/tokenizer.js';
export type { ImagePart, TextPart, ThinkingPart, Tool, ToolCall } from './data/types.js';
export type { CollateOptions, ImagePreprocessor } from './data/vlm-collator.js';
export type { CudaEngineOptions } from './engine/cuda/cuda-engine.js';
export type { Deferred, ModelShapes, OptimizerState, OptimizerStep, StorageCosts } from './engine/engine.js';
export type {
  Activation,
  BlockAttributes,
  BlockName,
  Composition,
  EntryAttributes,
  ForwardResult,
  KeyValueRows,
  LinearPart,
  LoraPart,
  Operation,
  OperationAttributes,
  OperationName,
  OperationRunner,
  Operations,
  Segments,
} from './engine/operations.js';
export type { RowNoise } from './random.js';
export type { Fp8Quantization } from './formats/fp8-checkpoint.js';
export type { SafetensorsDType, TensorInfo } from './formats/safetensors-header.js';
export type { StoredArray } from './formats/safetensors.js';
export type { Steps, Tape } from './engine/tape.js';
export type { Parameter, ParameterSet, Tensor, Weight } from './engine/tensor.js';
export type { DType, StackPlace, StoredDType, WeightScale, WeightSource } from './formats/weight-source.js';
export type { TfNamespace, TfTensor } from './engine/tfjs/tf-namespace.js';
export type { TfjsEngineOptions } from './engine/tfjs/tfjs-engine.js';
export type {
  EngineErrorOptions,
  HubErrorOptions,
  ImageErrorOptions,
  OutOfMemoryErrorOptions,
  TransferErrorOptions,
  TuneErrorOptions,
} from './errors.js';
export type { EvaluateOptions, EvaluatedSample, EvaluationProgress, GenerateAnswers } from './eval/evaluator.js';
export type { ClassMetrics, ConfusionMatrix, Interval } from './eval/metrics.js';
export type { AnswerMode } from './eval/parse-answer.js';
export { hubConnectionSchema, hubDownloadSchema } from './hub/hub-options.js';
export { type PushProgress, type PushResult, pushFilesSchema } from './hub/push-files.js';
export { snapshotDownloadSchema } from './hub/snapshot-download.js';
export { modelCardSchema } from './publish/model-card.js';
export { pushToHubSchema } from './publish/push-to-hub.js';
export type { ReadAdapterOptions } from './lora/read-adapter.js';
export type { LoraEngine, LoraHost, LoraModule } from './lora/apply-lora.js';
export type { ChatTemplateSource, TemplateHolder } from './lora/chat-template-option.js';
export type { AdapterOrigin } from './lora/lora-adapter.js';
export { loraConfigSchema } from './lora/lora-config.js';
export type { MergeProgress } from './lora/merge-adapter.js';
export type { Towers } from './lora/target-modules.js';
export type { ProbedModel } from './lora/verify-adapter.js';
export type { LinearModule, LoraWeights, WriteAdapter } from './model/linear-module.js';
export type { RopeConfig, TextConfig, VisionConfig } from './model/model-config.js';
export type { ModelOrigin } from './model/network/vision-language-model.js';
export type { KvCache } from './model/network/kv-cache.js';
export type { DropoutStream } from './batch/dropout-keys.js';
export type { AdapterView, KeyValueStore, PassOptions, RecomputedLayers } from './model/network/layers.js';
export type { WeightProvider } from './model/network/load-weights.js';
export type { AttentionModules, LayerModules, ModelModules } from './model/network/modules.js';
export type { PackedBatch } from './batch/packed-batch.js';
export type { PackedImages, PackedImage } from './batch/packed-images.js';
export type { PackedSize } from './batch/packed-window.js';
export { generationConfigSchema } from './model/sampling.js';
export type { BestModel } from './train/best-model.js';
export { type EvalResult, evaluateLoss } from './train/evaluate-loss.js';
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
export type { AccumulateOptions, EvaluateLossOptions, PassSummary } from './train/trainable-model.js';
export { accumulateGradients } from './train/window-step.js';
