/** Adapters of other tools, and what is no adapter: the real reason why they cannot be read, and what to do. */
import { join } from 'node:path';
import { describeFolder, type FolderDescription } from '../describe-folder.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { parseAdapterTensorName } from '../model/tensor-names.js';
import { exists } from '../regular-file.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from './adapter-folder.js';

const EXPECTED = `Give the folder of an adapter: ${ADAPTER_CONFIG_FILE} and ${ADAPTER_WEIGHTS_FILE}.`;

const MLX_HINT =
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
  if (kind === 'images') return `That is a data set: ImageFolder.fromFolder reads it. ${EXPECTED}`;
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
  if (await has(`${ADAPTER_WEIGHTS_FILE}.index.json`)) {
    refuse(
      `the weights of an adapter in several files (${ADAPTER_WEIGHTS_FILE}.index.json)`,
      'Save it in PEFT with a larger max_shard_size, so that it is one file.',
    );
  }
  refuse(
    `${ADAPTER_CONFIG_FILE} but no ${ADAPTER_WEIGHTS_FILE}`,
    'The download or the save was not finished, or the weights lie in a checkpoint folder beside it.',
  );
}

interface KeyKind {
  readonly matches: RegExp;
  /** Completes "n of m keys are …". */
  readonly what: string;
  readonly hint: string;
}

/** The most distinctive first. */
const KEY_KINDS: readonly KeyKind[] = [
  { matches: /\.lora_[ab]$/, what: 'those of an mlx adapter (lora_a, lora_b)', hint: MLX_HINT },
  {
    matches: /^(base_model\.model\.)?(model\.){0,2}layers\.\d+\..*\.lora_[AB]\./,
    what: 'those of a text-only model (model.layers…)',
    hint:
      'It was trained on the language model alone (a causal-LM class, a text-only Unsloth or mlx run, or a server’s ' +
      'renaming); here the decoder is called model.language_model. If its base is the decoder of this model, write ' +
      '"base_model.model.model.language_model.layers" for "base_model.model.model.layers" in all keys and load it ' +
      'with the option towers: "language"; else train it on the vision-language model.',
  },
  {
    matches: /\.modules_to_save\.|\.original_module\.|^base_model\.model\.(?!.*\.lora_).*\.(weight|bias)$/,
    what: 'whole layers that were trained beside LoRA (modules_to_save)',
    hint: 'Merge it into its base model with PEFT (merge_and_unload), or train without modules_to_save.',
  },
  {
    matches: /\.lora_embedding_[AB]/,
    what: 'LoRA matrices of the embeddings',
    hint: 'Embeddings cannot be adapted here. Merge it into its base model with PEFT, or train without embed_tokens.',
  },
  {
    matches: /\.(lora_magnitude_vector|lora_bias|ia3_l|hada_w\d|lokr_|oft_|vera_lambda)/,
    what: 'parameters of another method than LoRA',
    hint: 'Merge it into its base model with PEFT.',
  },
  {
    matches: /lora_(down|up)\.|^lora_(unet|te)/,
    what: 'those of a diffusion model (lora_down, lora_up)',
    hint: 'That adapter is for another kind of model.',
  },
  {
    matches: /^(?!.*lora).*\.(weight|bias|weight_scale_inv)$/,
    what: 'whole weights, without LoRA matrices: a checkpoint, not an adapter',
    hint: 'A full checkpoint is loaded with fromPretrained or loadMinistral3.',
  },
  {
    matches: /^(module|_orig_mod|base_model\.model\.(base_model|module|_orig_mod))\./,
    what: 'those of a wrapped model (DDP, torch.compile or PEFT twice)',
    hint: 'Unwrap the model before saving it: the keys must begin with base_model.model.model.',
  },
];

/**
 * What keys that do not fit have in common, with counts, as a sentence and a hint; undefined if nothing is known.
 * @param unfit keys of the file that are not of this model
 * @param all how many keys the file has
 * @param known names of the layers that the model has
 */
export function explainKeys(
  unfit: readonly string[],
  all: number,
  known: Iterable<string> = [],
): { reason: string; hint: string } | undefined {
  const isHead = (key: string): boolean => /^(lm_head|model\.lm_head)$/.test(parseAdapterTensorName(key)?.module ?? '');
  const heads = unfit.filter(isHead);
  if (heads.length > 0) {
    return {
      reason: `${heads.length} of ${all} keys are LoRA matrices of the output head (lm_head)`,
      hint:
        'The output head cannot be adapted on a loaded model. mergeAdapter folds such an adapter into its base ' +
        'checkpoint: load the merged folder then. Or train it without lm_head.',
    };
  }
  for (const { matches, what, hint } of KEY_KINDS) {
    const found = unfit.filter((key) => matches.test(key));
    if (found.length > 0) return { reason: `${found.length} of ${all} keys are ${what}, e.g. ${found[0]}`, hint };
  }
  return explainPrefix(unfit, all, known);
}

/** Keys of layers that the model has under another prefix. */
function explainPrefix(
  unfit: readonly string[],
  all: number,
  known: Iterable<string>,
): { reason: string; hint: string } | undefined {
  const prefixes = new Map<string, string>();
  for (const name of known) {
    const [, prefix, tail] = SPLIT.exec(name) ?? [];
    if (tail !== undefined) prefixes.set(tail, prefix!);
  }
  const found = unfit.filter((key) => prefixes.has(SPLIT.exec(parseAdapterTensorName(key)?.module ?? '')?.[2] ?? ''));
  if (found.length === 0) return undefined;
  const [, prefix, tail] = SPLIT.exec(parseAdapterTensorName(found[0]!)!.module)!;
  return {
    reason: `${found.length} of ${all} keys spell the layers otherwise: "${prefix}" where this model has "${prefixes.get(tail!)}"`,
    hint: `Rename the keys in ${ADAPTER_WEIGHTS_FILE}: PEFT writes base_model.model.${prefixes.get(tail!)}… for this model.`,
  };
}

/** The prefix before `layers.N.…`, and that itself. */
const SPLIT = /^(.*?)(layers\.\d+\..+)$/;
