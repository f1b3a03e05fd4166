import type { ModelFamily } from '../model-family.js';

/** Ministral 3 (2512): YaRN positions, and queries that grow with their position. */
export const ministral3: ModelFamily = {
  name: 'Ministral 3',
  modelType: 'mistral3',
  textModelType: 'ministral3',
  example: 'mistralai/Ministral-3-3B-Instruct-2512-BF16',
  // transformers' Ministral3Config.
  textDefaults: {
    vocabSize: 131_072,
    layers: 34,
    headDim: 128,
    normEps: 1e-5,
    maxPositions: 262_144,
    hasQueryScaling: true,
    rope: {
      rope_type: 'yarn',
      rope_theta: 1e6,
      factor: 16,
      original_max_position_embeddings: 16_384,
      mscale: 1,
      mscale_all_dim: 1,
      llama_4_scaling_beta: 0.1,
    },
  },
};
