/** `ministral-tune/data`: images, tokens and batches, each part by itself, and the types of what the data pass through. */

// Images.
export { decodeImage, imageSize } from './data/decode-image.js';
export { ImageProcessor } from './data/image-processor.js';
export type { DecodeOptions as ImageDecodeOptions } from './data/image-header.js';
export type { ImagePoolOptions } from './data/image-pool.js';
export type { FromConfigOptions, ImageGrid, ImageProcessorOptions } from './data/image-processor.js';
export type { PixelSettings, ProcessedImage } from './data/process-pixels.js';

// Data sets and samples.
export { ClassLabel } from './data/dataset.js';
export type { ClassificationExampleOptions, ClassifiedImage } from './data/class-example.js';
export type { ConversationOptions } from './data/conversations/conversation-dataset.js';
export type { ConversationForm } from './data/conversations/form-names.js';
export type { TableRow } from './data/csv.js';
export type { SplitName } from './data/folder-evidence.js';
export type { HubImageFolderOptions } from './data/hub-image-folder.js';
export type {
  FolderLayout,
  ImageFolderContent,
  ImageFolderOptions,
  ImageTableOptions,
  SkippedImage,
} from './data/image-folder-options.js';
export type { DatasetParts, SplitOptions } from './data/split-dataset.js';
export type {
  AnswerFrame,
  ContentPart,
  ImageInput,
  ImagePart,
  LazyImage,
  PromptCompletionExample,
  RgbImage,
  SkippedSample,
  TextExample,
  TextPart,
  ThinkingPart,
  Tool,
  ToolCall,
} from './data/types.js';
export type { KaggleDownloadOptions, KaggleLogin } from './kaggle/download-dataset.js';

// Tokens.
export { BYTE_TO_CHAR } from './data/byte-alphabet.js';
export { MinistralTokenizer } from './data/tokenizer.js';
export type {
  ChatTemplateName,
  ChatTemplateOptions,
  RenderOptions as TemplateRenderOptions,
  TemplateSegment,
} from './data/chat-template.js';
export type {
  DecodeOptions as TokenDecodeOptions,
  EncodedText,
  EncodeOptions,
  StreamingDecoder,
  TextOrControl,
} from './data/tokenizer.js';

// Batches.
export { DataLoader } from './data/data-loader.js';
export { IGNORE_INDEX } from './data/types.js';
export type {
  CollateOptions,
  CollatorSettings,
  DroppedSample,
  ImagePreprocessor,
  VlmCollatorOptions,
} from './data/collator-options.js';
export type { Collator, DataLoaderOptions, DataLoaderSettings } from './data/data-loader.js';
export type { EncodedSample, ImageExtents, MeasuredSample, PaddingSide } from './data/pad-batch.js';
export type { SampleInspection } from './data/sample-inspection.js';
export type { SampleTrace } from './data/sample-trace.js';
export type { NdArray } from './data/types.js';

// What is learned, token by token.
export { maskView } from './data/mask-view.js';
export { formatMask } from './data/format-mask.js';
export { renderMaskPage } from './page/mask-section.js';
export type { FormatMaskOptions } from './data/format-mask.js';
export type { MaskedSample, MaskImage, MaskToken, MaskView, MaskViewOptions } from './data/mask-view.js';

// Random numbers that are the same everywhere.
export { counterHash, MersenneTwister } from './random.js';
