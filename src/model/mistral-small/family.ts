import type { ModelFamily } from '../model-family.js';

/** Mistral Small 3.1 (2503) and 3.2 (2506): plain rotary positions. */
export const mistralSmall: ModelFamily = {
  name: 'Mistral Small 3.1 and 3.2',
  modelType: 'mistral3',
  textModelType: 'mistral',
  example: 'mistralai/Mistral-Small-3.1-24B-Instruct-2503',
  // transformers' MistralConfig, which is older: its defaults are those of Mistral 7B.
  textDefaults: {
    vocabSize: 32_000,
    layers: 32,
    normEps: 1e-6,
    maxPositions: 131_072,
    hasQueryScaling: false,
    rope: {},
    slidingWindow: 4096,
  },
};
