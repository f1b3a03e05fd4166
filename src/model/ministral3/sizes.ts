/** config.json of the published sizes, as far as it says what is computed: plans need no download for them. */

const ROPE = {
  rope_type: 'yarn',
  factor: 16,
  original_max_position_embeddings: 16384,
  beta_fast: 32,
  beta_slow: 1,
  mscale: 1,
  mscale_all_dim: 1,
  llama_4_scaling_beta: 0.1,
} as const;

const SIZES = {
  '3B': { hidden_size: 3072, intermediate_size: 9216, num_hidden_layers: 26, rope_theta: 1e6, tied: true },
  '8B': { hidden_size: 4096, intermediate_size: 14336, num_hidden_layers: 34, rope_theta: 1e6, tied: false },
  '14B': { hidden_size: 5120, intermediate_size: 16384, num_hidden_layers: 40, rope_theta: 1e9, tied: false },
} as const;

/** A published size of Ministral 3. */
export type MinistralSize = keyof typeof SIZES;

export const MINISTRAL_SIZES = Object.keys(SIZES) as MinistralSize[];

/** The repository of that size on the Hub whose files are not quantised. */
export function repositoryOf(size: MinistralSize): string {
  return `mistralai/Ministral-3-${size}-Instruct-2512-BF16`;
}

/** config.json of that size. */
export function configJsonOf(size: MinistralSize): Record<string, unknown> {
  const { rope_theta, tied, ...text } = SIZES[size];
  return {
    model_type: 'mistral3',
    tie_word_embeddings: tied,
    text_config: { model_type: 'ministral3', ...text, rope_parameters: { ...ROPE, rope_theta } },
    vision_config: { model_type: 'pixtral', patch_size: 14, hidden_act: 'silu' },
  };
}
