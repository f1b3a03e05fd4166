/** Every setting of PEFT 0.21's `LoraConfig` in an `adapter_config.json`, with what is made of it here. */

import { nearestName } from '../messages/nearest-name.js';
import { firstLines } from '../messages/short-list.js';
import { showValue } from '../messages/show-value.js';

/**
 * `read`: of `LoraConfig`, or checked by it. `ignored`: changes nothing that a trained adapter computes. A text: refused
 * unless it is empty; what the setting does.
 */
type PeftUse = 'read' | 'ignored' | { readonly refused: string };

interface PeftField {
  readonly default: unknown;
  readonly use: PeftUse;
}

const field = (value: unknown, use: PeftUse): PeftField => ({ default: value, use });
const refused = (value: unknown, what: string): PeftField => field(value, { refused: what });

export const PEFT_FIELDS: Readonly<Record<string, PeftField>> = {
  alora_invocation_tokens: refused(null, 'the adapter acts only after these tokens'),
  alpha_pattern: field({}, 'read'),
  arrow_config: refused(null, 'the adapter is chosen anew for each token'),
  auto_mapping: field(null, 'ignored'),
  base_model_name_or_path: field(null, 'read'),
  bias: field('none', 'read'),
  corda_config: field(null, 'ignored'),
  ensure_weight_tying: field(false, 'read'),
  eva_config: field(null, 'ignored'),
  exclude_modules: field(null, 'read'),
  fan_in_fan_out: refused(false, 'the weights are stored transposed'),
  inference_mode: field(true, 'ignored'),
  init_lora_weights: field(true, 'read'),
  kasa_config: refused(null, 'singular values are taken off the base weights'),
  layer_replication: refused(null, 'layers of the base model are repeated'),
  layers_pattern: field(null, 'read'),
  layers_to_transform: field(null, 'read'),
  loftq_config: field({}, 'ignored'),
  lora_alpha: field(8, 'read'),
  lora_bias: refused(false, 'B has a bias'),
  lora_dropout: field(0, 'read'),
  lora_ga_config: field(null, 'ignored'),
  megatron_config: refused(null, 'the layers are those of Megatron'),
  megatron_core: field('megatron.core', 'ignored'),
  modules_to_save: refused(null, 'whole modules are trained beside the adapter'),
  monteclora_config: refused(null, 'the matrices are drawn at random in training'),
  peft_type: field('LORA', 'read'),
  peft_version: field('0.21.0', 'ignored'),
  qalora_group_size: field(16, 'ignored'),
  r: field(8, 'read'),
  rank_pattern: field({}, 'read'),
  revision: field(null, 'ignored'),
  target_modules: field(null, 'read'),
  target_parameters: refused(null, 'parameters are adapted instead of layers'),
  task_type: field(null, 'read'),
  trainable_token_indices: refused(null, 'rows of the embedding are trained beside the adapter'),
  use_bdlora: refused(null, 'the matrices are block-diagonal'),
  use_dora: refused(false, 'the weights are split into direction and magnitude (DoRA)'),
  use_qalora: refused(false, "the layers' inputs are averaged in groups"),
  use_rslora: field(false, 'read'),
  velora_config: refused(null, 'gradients are computed from compressed inputs'),
};

/** An empty object or list turns these on in PEFT, with the method's own defaults. */
const ON_WHEN_EMPTY = new Set([
  'alora_invocation_tokens',
  'arrow_config',
  'kasa_config',
  'monteclora_config',
  'use_bdlora',
  'velora_config',
]);

/** Not written by PEFT 0.21, and without effect on what a trained adapter computes. */
const IGNORED_ELSEWHERE = new Set([
  'runtime_config',
  'merge_weights',
  'lora_dtype',
  'lorap_lr_ratio',
  'lorap_emb_lr',
  'torch_dtype',
]);
/** Notes: `transformers_version`, `_name_or_path`. */
const IS_NOTE = /^_|_version$|^(library_name|created_at|license|tags|comment|description|notes?)$/;

/** Ways to start that only set A and B, so that a trained adapter is complete without them. */
const HARMLESS_INITS: readonly unknown[] = [undefined, null, true, false, 'gaussian', 'orthogonal', 'eva', 'mica'];
/** Ways to start that take a part off the base weights; `pissa_niter_16` is one too. */
const CHANGES_BASE = /^(pissa(_niter_\d+)?|olora|corda|loftq|lora_ga)$/i;

/** PEFT's other kinds of adapters, by `peft_type`. */
const OTHER_TYPES = [
  ...['ADALORA', 'ADAMSS', 'ADAPTION_PROMPT', 'BEFT', 'BOFT', 'BONE', 'C3A', 'CARTRIDGE', 'CPT', 'DEFT', 'DELORA'],
  ...['FOURIERFT', 'FROD', 'GLORA', 'GRALORA', 'HIRA', 'HRA', 'IA3', 'LILY', 'LN_TUNING', 'LOHA', 'LOKR', 'MISS'],
  ...['MULTITASK_PROMPT_TUNING', 'OFT', 'OSF', 'PEANUT', 'POLY', 'PREFIX_TUNING', 'PROMPT_TUNING', 'PSOFT', 'PVERA'],
  ...['P_TUNING', 'RANDLORA', 'ROAD', 'SHADOW', 'SHIRA', 'SUPERTUNING', 'TINYLORA', 'TRAINABLE_TOKENS', 'UNILORA'],
  ...['VBLORA', 'VERA', 'WAVEFT', 'XLORA'],
];

/** Layers whose weights may be one and the same. */
const TIED_NAMES = ['embed_tokens', 'lm_head'];

const MAX_UNKNOWN = 20;

/** Every setting of a file that would change the result and is not supported, one line each. */
export function unsupportedSettings(peft: Readonly<Record<string, unknown>>): string[] {
  const faults: string[] = [];
  const show = (key: string): string => `${key}: ${showValue(peft[key])}`;
  if (peft.peft_type !== 'LORA') faults.push(peftTypeFault(peft.peft_type));
  if ((peft.bias ?? 'none') !== 'none') faults.push(`${show('bias')}, only "none" is supported`);
  for (const [key, { use }] of Object.entries(PEFT_FIELDS)) {
    const isOff = ON_WHEN_EMPTY.has(key) ? (peft[key] ?? false) === false : isEmpty(peft[key]);
    if (typeof use === 'object' && !isOff) faults.push(`${show(key)} is not supported: ${use.refused}`);
  }
  const init = peft.init_lora_weights;
  if (typeof init === 'string' && CHANGES_BASE.test(init)) {
    faults.push(
      `${show('init_lora_weights')} changes the base weights and is not supported: save it in PEFT with ` +
        'path_initial_model_for_weight_conversion, which makes a plain adapter of it',
    );
  } else if (!HARMLESS_INITS.includes(init)) {
    faults.push(`${show('init_lora_weights')} is not known, so what it does to the base weights is not either`);
  }
  if (isEmpty(peft.target_modules)) {
    faults.push(
      `target_modules is ${peft.target_modules === undefined ? 'missing' : 'empty'}: expected names of layers`,
    );
  }
  if (!isEmpty(peft.ensure_weight_tying) && [peft.target_modules].flat().some(isTied)) {
    faults.push(
      `${show('ensure_weight_tying')} is not supported: one adapter serves the embedding and the output head`,
    );
  }
  const unknown = Object.keys(peft).filter(
    (key) =>
      !Object.hasOwn(PEFT_FIELDS, key) && !IGNORED_ELSEWHERE.has(key) && !IS_NOTE.test(key) && !isEmpty(peft[key]),
  );
  const unknownFaults = unknown.map((key) => unknownFault(key, show(key)));
  return [...faults, ...firstLines(unknownFaults, MAX_UNKNOWN, 'unknown settings')];
}

function unknownFault(key: string, shown: string): string {
  const near = nearestName(key, Object.keys(PEFT_FIELDS));
  return (
    `${shown} is unknown, and may change what the adapter computes${near ? `; did you mean ${near}?` : ''} ` +
    '(take it out of the file if it only steered the training)'
  );
}

function peftTypeFault(type: unknown): string {
  const shown = `peft_type: ${showValue(type)}, expected "LORA"`;
  if (type === undefined) return `${shown}: this is no file of PEFT, or not of an adapter`;
  if (typeof type !== 'string') return shown;
  if (OTHER_TYPES.includes(type.toUpperCase()))
    return `${shown}: adapters of this kind compute something else than LoRA`;
  const near = nearestName(type, ['LORA', ...OTHER_TYPES]);
  return `${shown}${near ? `; did you mean "${near}"?` : ''}`;
}

const isTied = (target: unknown): boolean =>
  typeof target === 'string' && TIED_NAMES.some((name) => target.endsWith(name));

/** What Python takes for false: null, false, 0, and lists, objects and strings without content. */
export function isEmpty(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return !value;
  return Object.keys(value).length === 0;
}
