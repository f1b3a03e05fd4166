/** What the package called its parts while Ministral 3 was the only family. */

import { loadModel, type ModelProcessor } from './load.js';
import type { ModelConfig } from './model-config.js';
import type { ModelModules } from './network/modules.js';
import { VisionLanguageModel } from './network/vision-language-model.js';

/** @deprecated It is called `VisionLanguageModel` now. */
export const Ministral3 = VisionLanguageModel;
/** @deprecated It is called `VisionLanguageModel` now. */
export type Ministral3 = VisionLanguageModel;
/** @deprecated It is called `loadModel` now. */
export const loadMinistral3 = loadModel;
/** @deprecated It is called `ModelConfig` now. */
export type Ministral3Config = ModelConfig;
/** @deprecated It is called `ModelProcessor` now. */
export type Ministral3Processor = ModelProcessor;
/** @deprecated It is called `ModelModules` now. */
export type Ministral3Modules = ModelModules;
