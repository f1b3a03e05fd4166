/** Why the keys of an adapter's file do not fit the model: the real reason, and what to do. */
import { parseAdapterTensorName } from '../model/tensor-names.js';
import { ADAPTER_WEIGHTS_FILE } from './adapter-folder.js';
import { MLX_HINT } from './foreign-adapter.js';

/** A sentence without its full stop, and a hint. */
export interface Explanation {
  readonly reason: string;
  readonly hint: string;
}

interface KeyKind {
  readonly matches: RegExp;
  /** Completes "n of m keys are …". */
  readonly what: string;
  readonly hint: string;
}

/** The most specific first. */
const KEY_KINDS: readonly KeyKind[] = [
  { matches: /\.lora_[ab]$/, what: 'those of an mlx adapter (lora_a, lora_b)', hint: MLX_HINT },
  { matches: /_proj\.[AB]$/, what: 'those of an mlx-vlm adapter (A, B)', hint: MLX_HINT },
  {
    matches: /\.lora_[ab]\.weight$/,
    what: 'those of a torchtune adapter (lora_a, lora_b)',
    hint: "torchtune's FullModelHFCheckpointer saves PEFT's format too: adapter_model.safetensors with lora_A and lora_B.",
  },
  {
    matches: /(^|\.)layers\.\d+\.(attention\.w[qkvo]|feed_forward\.w[123])\.lora_/,
    what: 'those of Mistral’s own layout (attention.wq), as mistral-finetune writes them',
    hint:
      'Its layers have other names and its rows of wq and wk another order. Merge it there (merge_lora), or train it ' +
      'again on the Hugging Face files.',
  },
  {
    matches: /\.(linear_(qkv|proj|fc1|fc2)|adapter)\./,
    what: 'those of a NeMo or Megatron model (linear_qkv)',
    hint: 'Export it to the Hugging Face layout with that tool: q, k and v are one layer there.',
  },
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
    matches: /\.lora_B(\.[^.]+)?\.bias$/,
    what: 'biases of B (lora_bias)',
    hint: 'Merge it into its base model with PEFT, or train without lora_bias.',
  },
  {
    matches: /\.(lora_magnitude_vector|lora_bias|ia3_l|hada_w\d|lokr_|oft_|vera_lambda)/,
    what: 'parameters of another method than LoRA',
    hint: 'Merge it into its base model with PEFT.',
  },
  {
    matches: /lora[_.](down|up)\.|^lora_(unet|te)|^(unet|text_encoder|transformer|diffusion_model)\./,
    what: 'those of a diffusion model (lora_down, unet, transformer)',
    hint: 'That adapter is for another kind of model.',
  },
  {
    matches: /^(?!.*lora).*\.(weight|bias|weight_scale_inv)$/,
    what: 'whole weights, without LoRA matrices: a checkpoint, not an adapter',
    hint: 'A full checkpoint is loaded with fromPretrained or loadModel.',
  },
  {
    matches:
      /^(module|_orig_mod|base_model\.model\.(base_model|module|_orig_mod))\.|\._(fsdp|checkpoint)_wrapped_module\.|\._orig_mod\./,
    what: 'those of a wrapped model (DDP, FSDP, torch.compile or PEFT twice)',
    hint: 'Unwrap the model before saving it: the keys must begin with base_model.model.model.',
  },
];

/** For values that are NaN or infinite. */
export const NOT_FINITE: Explanation = {
  reason: 'it holds values that are not finite',
  hint: 'Its training has diverged, or the file is damaged: use an earlier checkpoint, or download it again.',
};

/** Explains tensors without elements; undefined if some have any. */
export function explainEmpty(tensors: readonly { readonly shape: readonly number[] }[]): Explanation | undefined {
  const empty = tensors.filter(({ shape }) => shape.includes(0)).length;
  if (empty === 0 && tensors.length > 0) return undefined;
  return {
    reason: tensors.length === 0 ? 'the file holds no tensor' : `${empty} of ${tensors.length} tensors hold no element`,
    hint: 'Under DeepSpeed ZeRO-3 or FSDP the parameters have to be gathered before they are saved: save it again.',
  };
}

/** Explains a file of several adapters, by the names inside its keys; undefined if there is one. */
export function explainNames(names: ReadonlySet<string | undefined>): Explanation | undefined {
  if (names.size < 2) return undefined;
  const shown = [...names].map((name) => (name === undefined ? 'one without a name' : `"${name}"`)).join(', ');
  return {
    reason: `the file holds several adapters: ${shown}`,
    hint: 'PEFT writes each into a folder of its own: model.save_pretrained(folder, selected_adapters=[…]).',
  };
}

/**
 * What keys that do not fit have in common, with counts; undefined if nothing is known.
 * @param all count of the file's keys
 * @param known names of the model's layers
 * @param base the model that the adapter was trained on, if known
 */
export function explainKeys(
  unfit: readonly string[],
  all: number,
  known: ReadonlySet<string>,
  base?: string | undefined,
): Explanation | undefined {
  const moduleOf = (key: string): string => parseAdapterTensorName(key)?.module ?? '';
  const heads = unfit.filter((key) => /^(model\.)?lm_head$/.test(moduleOf(key)));
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
  const spelled = explainPrefix(unfit, all, known);
  if (spelled) return spelled;
  const chosen = unfit.filter((key) => known.has(moduleOf(key)));
  if (chosen.length > 0) {
    return {
      reason: `${chosen.length} of ${all} keys are of layers that adapter_config.json does not choose, e.g. ${chosen[0]}`,
      hint: 'Name them in its target_modules, as they were in training: the two files belong to different adapters.',
    };
  }
  if (unfit.length < all || all === 0) return undefined;
  return {
    reason: `none of its ${all} keys is of a layer of this model, e.g. ${unfit[0]}`,
    hint: `It was trained on another kind of model${base === undefined ? '' : `, "${base}"`}: load it onto that one.`,
  };
}

/** Keys of layers that the model has under another prefix. */
function explainPrefix(unfit: readonly string[], all: number, known: ReadonlySet<string>): Explanation | undefined {
  const prefixes = new Map<string, string>();
  for (const name of known) {
    const [, prefix, tail] = SPLIT.exec(name) ?? [];
    if (tail !== undefined) prefixes.set(tail, prefix!);
  }
  const found = unfit.filter((key) => {
    const [, prefix, tail] = SPLIT.exec(parseAdapterTensorName(key)?.module ?? '') ?? [];
    const here = prefixes.get(tail ?? '');
    return here !== undefined && here !== prefix;
  });
  if (found.length === 0) return undefined;
  const [, prefix, tail] = SPLIT.exec(parseAdapterTensorName(found[0]!)!.module)!;
  return {
    reason: `${found.length} of ${all} keys spell the layers otherwise: "${prefix}" where this model has "${prefixes.get(tail!)}"`,
    hint: `Rename the keys in ${ADAPTER_WEIGHTS_FILE}: PEFT writes base_model.model.${prefixes.get(tail!)}… for this model.`,
  };
}

/** [prefix, `layers.N.…`] */
const SPLIT = /^(.*?)(layers\.\d+\..+)$/;
