/** Adapters of other tools, and what is no adapter: the real reason why they cannot be read, and what to do. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError, ConfigError } from '../errors.js';
import { describeFolder, type FolderDescription } from '../files/describe-folder.js';
import { exists } from '../files/regular-file.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from './adapter-folder.js';

const EXPECTED = `Give the folder of an adapter: ${ADAPTER_CONFIG_FILE} and ${ADAPTER_WEIGHTS_FILE}.`;

export const MLX_HINT =
  'mlx keeps lora_a and lora_b transposed and under other names. Fuse it into its model with mlx (fuse --de-quantize), ' +
  'or convert it: lora_A = lora_aᵀ, lora_B = lora_bᵀ, keys base_model.model.NAME.lora_A.weight, lora_alpha = scale · rank.';

/** @throws CheckpointError if a folder has no adapter_config.json */
export async function requireAdapterFolder(directory: string): Promise<void> {
  if (await exists(join(directory, ADAPTER_CONFIG_FILE))) return;
  const { kind, text, children } = await describeFolder(directory);
  throw new CheckpointError(`cannot read ${join(directory, ADAPTER_CONFIG_FILE)}: the folder ${text}`, {
    hint: folderHint(kind, children),
    details: { path: directory, kind },
  });
}

function folderHint(kind: FolderDescription['kind'], children: readonly string[]): string {
  if (kind === 'model') return `That is a model: fromPretrained loads it. ${EXPECTED}`;
  if (kind === 'images') return `That is a data set: ImageFolder.load reads it. ${EXPECTED}`;
  if (kind === 'foreign' || kind === 'mlx') return `Export it in PEFT's format with the tool that made it. ${EXPECTED}`;
  if (kind === 'parent') return `Give the subfolder, e.g. ${children[0]}.`;
  if (kind === 'adapter')
    return `Copy ${ADAPTER_CONFIG_FILE} beside the weights: it says their rank, alpha and targets.`;
  if (kind === 'none') {
    return `Check the path; for a repository on the Hub, snapshotDownload gives the folder. ${EXPECTED}`;
  }
  return EXPECTED;
}

/** @throws ConfigError for the configuration of an adapter that is not PEFT's */
export function refuseForeignConfig(json: unknown, path: string): void {
  if (typeof json !== 'object' || json === null || Array.isArray(json) || 'peft_type' in json) return;
  const has = (...keys: string[]): boolean => keys.some((key) => key in json);
  const refuse = (what: string, hint: string): never => {
    throw new ConfigError(`${path} is ${what}`, { hint, details: { path } });
  };
  if (has('lora_parameters', 'lora_layers', 'num_layers', 'fine_tune_type')) {
    refuse('the configuration of an mlx adapter, not of PEFT', MLX_HINT);
  }
  if (has('rank') && has('alpha', 'scale') && !has('r', 'lora_alpha')) {
    refuse('the configuration of an mlx-vlm adapter, not of PEFT', MLX_HINT);
  }
  if (has('model_type', 'architectures', 'text_config')) {
    refuse("a model's config.json, not an adapter's configuration", `Put ${ADAPTER_CONFIG_FILE} of the adapter there.`);
  }
  if (has('base_model', 'adapter', 'datasets', 'sequence_len')) {
    refuse(
      'the configuration of a training tool, not of PEFT',
      `Its output folder holds the ${ADAPTER_CONFIG_FILE} that PEFT wrote.`,
    );
  }
}

/** @throws CheckpointError if there are no adapter_model.safetensors */
export async function requireAdapterWeights(directory: string): Promise<void> {
  if (await exists(join(directory, ADAPTER_WEIGHTS_FILE))) return;
  const has = (name: string): Promise<boolean> => exists(join(directory, name));
  const refuse = (what: string, hint: string): never => {
    throw new CheckpointError(`${directory} holds ${what}`, { hint, details: { path: directory } });
  };
  if (await has('adapter_model.bin')) {
    refuse(
      'adapter_model.bin, a Python pickle, which is never read',
      'Load it in PEFT once and save it again: that writes adapter_model.safetensors.',
    );
  }
  if (await has('adapters.safetensors')) refuse('adapters.safetensors, the weights of an mlx adapter', MLX_HINT);
  const names = await readdir(directory).catch((): string[] => []);
  const shard = names.find((name) => /^adapter_model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)$/.test(name));
  if (shard !== undefined) {
    refuse(
      `the weights of an adapter in several files (${shard})`,
      'Save it in PEFT with a larger max_shard_size, so that it is one file.',
    );
  }
  const foreign = names.find((name) => /^(adapter_\d+\.pt|lora\.safetensors|pytorch_lora_weights\..*)$/.test(name));
  if (foreign !== undefined) {
    refuse(
      `${foreign}, the weights of an adapter in the layout of another tool (torchtune, mistral-finetune, diffusers)`,
      `Export it in PEFT's format there: ${ADAPTER_WEIGHTS_FILE}.`,
    );
  }
  refuse(
    `${ADAPTER_CONFIG_FILE} but no ${ADAPTER_WEIGHTS_FILE}`,
    'The download or the save was not finished, or the weights lie in a checkpoint folder beside it.',
  );
}
