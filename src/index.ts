/**
 * ministral-tune: LoRA fine-tuning of the vision-language models Ministral 3 and Mistral Small 3 in one Node process, or one
 * for each GPU. This door has what one calls, and the types that one writes down; it follows the data. Parts that can be used
 * alone, and the types that only signatures mention, have doors of their own: `ministral-tune/data`, `/engine`,
 * `/safetensors`, `/hub`, `/charts`, `/types`, `/plan`, `/distributed`.
 */

// Data: from files to batches.
export { ConversationDataset } from './data/conversations/conversation-dataset.js';
export { HubImageFolder } from './data/hub-image-folder.js';
export { ImageFolder } from './data/image-folder.js';
export type { ImageSample } from './data/image-folder-options.js';
export { KaggleImageFolder } from './data/kaggle-image-folder.js';
export type { KaggleProgress } from './kaggle/download-dataset.js';
export { IndexedDataset, LabelledDataset } from './data/dataset.js';
export { ImagePool } from './data/image-pool.js';
export { ChatTemplate, TUTORIAL_TEMPLATE } from './data/chat-template.js';
export { classificationExample } from './data/class-example.js';
export { VlmCollator } from './data/vlm-collator.js';
export { countLabels } from './train/trainable-model.js';
export { randomPermutation } from './random.js';
export type { Dataset, Message, SftExample, TrainingExample, VlmBatch } from './data/types.js';

// Engines: what computes.
export { createEngine, type EngineChoice } from './engine/create-engine.js';
export type { Engine } from './engine/engine.js';
export { loadTfjs, type TfjsPackage } from './engine/tfjs/load-tfjs.js';
export { loadWebgpu } from './engine/webgpu/load-webgpu.js';

// Model: loading, generating.
export { fromPretrained } from './pretrained/from-pretrained.js';
export { loadModel, loadProcessor, type ModelProcessor } from './model/load.js';
export { VisionLanguageModel } from './model/network/vision-language-model.js';
export { generate, generateText, generateTokens, streamText } from './model/generate.js';
export { scoreLabels } from './model/score-labels.js';

// LoRA: what is trained, and its files.
export { LAYER_PROJECTIONS, LoraConfig, type LoraConfigOptions } from './lora/lora-config.js';
export { applyLora, type LoraAdapter } from './lora/apply-lora.js';
export { activeAdapter, adaptersOf, deleteAdapter, setAdapter } from './lora/adapter-slots.js';
export { loadAdapter } from './lora/adapter-file.js';
export { saveAdapter } from './lora/write-adapter.js';
export { verifyAdapter } from './lora/verify-adapter.js';
export { mergeAdapter } from './lora/merge-adapter.js';

// Training.
export type { SftConfigInput } from './train/sft-config.js';
export { SftTrainer } from './train/sft-trainer.js';
export type { TrainingRun } from './train/training-run.js';
export type { TrainingEvent, TrainOutput } from './train/events.js';
export { abortOnSignals } from './train/abort-on-signals.js';
export { readHistory } from './train/history.js';

// Evaluation.
export type { EvaluationReport } from './eval/evaluation-report.js';
export { Evaluator } from './eval/evaluator.js';
export { compareReports, formatReport, writeReport } from './eval/report.js';

// Publishing.
export { checkPushAccess } from './hub/push-files.js';
export { pushToHub } from './publish/push-to-hub.js';
export type { ModelCard } from './publish/model-card.js';
export { formatHubProgress } from './hub/hub-options.js';

// Errors.
export { ArchiveError } from './archive/archive-error.js';
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
