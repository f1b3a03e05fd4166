export type { ModelConfig as Ministral3Config, RopeConfig, TextConfig, VisionConfig } from '../model-config.js';
export { parseModelConfig as parseMinistral3Config } from '../parse-config.js';
