/**
 * Settings of a LoRA adapter, in PEFT's terms, and their form in a file, `adapter_config.json`.
 * Paper: https://arxiv.org/abs/2106.09685; rank-stabilised scale: https://arxiv.org/abs/2312.03732.
 */
import { z } from 'zod';
import { parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { showValue } from '../show-value.js';
import { isAllLinear, matchingPattern, pythonRegExp, type Towers } from './target-modules.js';

/** The seven projections of a layer; both towers use these names. */
export const LAYER_PROJECTIONS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

/** Bounds of what a file may ask for: a model has some hundred linear layers, with names below 100 characters. */
const MAX_RANK = 65_536;
const MAX_RULES = 4096;
const MAX_PATTERN = 4096;
/** Room for one that excludes every layer by its full name, as `toPeft` writes a list beside `towers`. */
const MAX_NAMES_PATTERN = 262_144;
const pattern = z.string().max(MAX_PATTERN);
const fewRules = (rules: object): boolean => Object.keys(rules).length <= MAX_RULES;
const tooManyRules = `expected at most ${MAX_RULES} entries`;

const namesUpTo = (longest: number) =>
  z.union([z.string().min(1).max(longest), z.array(pattern.min(1)).min(1).max(MAX_RULES)], {
    error: 'expected a list of module names, or a string with a regular expression for whole names',
  });
const layerIndex = z.int().min(0);

/** Options of {@link LoraConfig}: names, defaults and ranges. */
export const loraConfigSchema = z
  .strictObject({
    /** Rank of the added matrices. Default 8. */
    r: z.int().min(1).max(MAX_RANK).default(8),
    /** The addition is multiplied by alpha / r, or alpha / √r with `useRslora`. Default 8. */
    alpha: z.number().positive().default(8),
    /** Probability that an input element of A is zeroed in training, rounded to 1/65536. Default 0. */
    dropout: z.number().min(0).lt(1).default(0),
    /** Rank-stabilised scale (Kalajdzievski 2023). Default false. */
    useRslora: z.boolean().default(false),
    /** Biases are never trained: `none` alone is allowed. */
    bias: z.literal('none').default('none'),
    /**
     * A list of module names or their endings; or a regular expression that must match a whole name; or "all-linear",
     * every linear layer but the output head. Default: the seven projections of a layer (q, k, v, o, gate, up, down),
     * whose names match both towers.
     */
    targetModules: namesUpTo(MAX_PATTERN).default([...LAYER_PROJECTIONS]),
    /** Modules to leave out, by the same rules. Default: none. */
    excludeModules: namesUpTo(MAX_NAMES_PATTERN).optional(),
    /** Keeps only one side of the model: "language", or "vision" (vision tower and projector). Default "both". */
    towers: z.enum(['both', 'language', 'vision']).default('both'),
    /** Only these layers, counted from 0 in each tower. With a list of `targetModules` only. Default: all. */
    layersToTransform: z.union([layerIndex, z.array(layerIndex).max(MAX_RULES)]).optional(),
    /** The word before the layer's number, where it is not the first number in the name. Default: any. */
    layersPattern: z.union([pattern, z.array(pattern).max(MAX_RULES)]).optional(),
    /** Other ranks for some modules: regular expression for the end of a name → r. The first match counts. Default: none. */
    rankPattern: z.record(pattern.min(1), z.int().min(1).max(MAX_RANK)).refine(fewRules, tooManyRules).default({}),
    /** The same for alpha. Default: none. */
    alphaPattern: z.record(pattern.min(1), z.number().positive()).refine(fewRules, tooManyRules).default({}),
    /** true: A uniform in ±1/√in; "gaussian": A normal with standard deviation 1/r. B is zero in both. Default true. */
    initLoraWeights: z.union([z.literal(true), z.literal('gaussian')]).default(true),
    /** What PEFT should wrap the model for. null leaves it open. Default "CAUSAL_LM". */
    taskType: z.string().min(1).nullable().default('CAUSAL_LM'),
  })
  .superRefine((options, context) => {
    const fault = (path: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [path], message });
    };
    const checkPattern = (path: string, pattern: string): void => {
      try {
        pythonRegExp(pattern, '^(?:', ')$');
      } catch (error) {
        fault(path, `"${pattern}" is not a regular expression: ${(error as Error).message}`);
      }
    };
    for (const path of ['targetModules', 'excludeModules'] as const) {
      const rule = options[path];
      if (typeof rule === 'string') checkPattern(path, rule);
    }
    for (const path of ['rankPattern', 'alphaPattern'] as const) {
      for (const pattern of Object.keys(options[path])) checkPattern(path, pattern);
    }
    for (const pattern of [options.layersPattern ?? []].flat()) checkPattern('layersPattern', pattern);
    if (typeof options.targetModules === 'string') {
      for (const path of ['layersToTransform', 'layersPattern'] as const) {
        if (options[path] !== undefined) fault(path, 'needs targetModules to be a list, not a string');
      }
    } else if (options.layersPattern?.length && options.layersToTransform === undefined) {
      fault('layersPattern', 'needs layersToTransform');
    }
  });

/** What peft's files and other trainers call these options. */
const NAMES_ELSEWHERE = {
  rank: 'r',
  lorar: 'r',
  lorarank: 'r',
  loraalpha: 'alpha',
  loradropout: 'dropout',
};

/** What a user may write. */
export type LoraConfigOptions = z.input<typeof loraConfigSchema>;
type ResolvedOptions = z.output<typeof loraConfigSchema>;

/** Checked settings of an adapter, every default filled in: {@link LoraConfigOptions} tells what each means. Immutable. */
export class LoraConfig {
  /** Rank where no `rankPattern` says another. */
  readonly r: number;
  /** Where no `alphaPattern` says another; {@link forModule} gives the scale that it makes. */
  readonly alpha: number;
  /** Probability, 0 <= dropout < 1; in training only. */
  readonly dropout: number;
  /** Whether the scale is alpha / √r instead of alpha / r. */
  readonly useRslora: boolean;
  /** Biases are never trained. */
  readonly bias: 'none';
  /** A list of names or their endings; a string is a regular expression for whole names, or "all-linear". */
  readonly targetModules: string | readonly string[];
  /** By the same rules, except "all-linear"; undefined for none. */
  readonly excludeModules: string | readonly string[] | undefined;
  /** Side of the model that the other rules choose from. Not of PEFT: its files say it by `exclude_modules`. */
  readonly towers: Towers;
  /** Numbers of layers, from 0 in each tower; undefined or an empty list for all. */
  readonly layersToTransform: number | readonly number[] | undefined;
  /** Words, as regular expressions, before the layer's number; undefined: it is the first number in the name. */
  readonly layersPattern: string | readonly string[] | undefined;
  /** Regular expression for the end of a name → r, in order: the first match counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** The same for alpha. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** How A starts, if it is not loaded. false, "orthogonal" and "eva" in a file are read as true. */
  readonly initLoraWeights: true | 'gaussian';
  /** PEFT's `task_type`; null if it is left open, as by a file that has none. */
  readonly taskType: string | null;

  /** @throws ConfigError listing every fault */
  constructor(options: LoraConfigOptions = {}, what = 'LoraConfig') {
    const resolved: ResolvedOptions = parseOptions(loraConfigSchema, options, what, NAMES_ELSEWHERE);
    this.r = resolved.r;
    this.alpha = resolved.alpha;
    this.dropout = resolved.dropout;
    this.useRslora = resolved.useRslora;
    this.bias = resolved.bias;
    this.targetModules = resolved.targetModules;
    this.excludeModules = resolved.excludeModules;
    this.towers = resolved.towers;
    this.layersToTransform = resolved.layersToTransform;
    this.layersPattern = resolved.layersPattern;
    this.rankPattern = resolved.rankPattern;
    this.alphaPattern = resolved.alphaPattern;
    this.initLoraWeights = resolved.initLoraWeights;
    this.taskType = resolved.taskType;
  }

  /** Rank, alpha and scale of one module, by its name. */
  forModule(name: string): {
    /** That of `rankPattern` if one matches. */
    readonly r: number;
    /** That of `alphaPattern` if one matches. */
    readonly alpha: number;
    /** Factor of B·A: alpha / r, or alpha / √r with `useRslora`. */
    readonly scale: number;
  } {
    const rankKey = matchingPattern(Object.keys(this.rankPattern), name);
    const alphaKey = matchingPattern(Object.keys(this.alphaPattern), name);
    const r = rankKey === undefined ? this.r : this.rankPattern[rankKey]!;
    const alpha = alphaKey === undefined ? this.alpha : this.alphaPattern[alphaKey]!;
    return { r, alpha, scale: this.useRslora ? alpha / Math.sqrt(r) : alpha / r };
  }

  /** A copy with some options changed. @throws ConfigError as the constructor does */
  with(changes: LoraConfigOptions): LoraConfig {
    // An explicit undefined clears an optional setting; the spread keeps the class's fields, which are the options.
    return new LoraConfig({ ...(this as unknown as LoraConfigOptions), ...changes });
  }

  /**
   * Reads the content of an `adapter_config.json`. Unknown keys are ignored, as PEFT adds new ones often.
   * @throws ConfigError naming every setting that would change the result and is not supported
   */
  static fromPeft(json: unknown, what = 'adapter_config.json'): LoraConfig {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      throw new ConfigError(`${what}: expected a JSON object, got ${showValue(json)}`);
    }
    const peft = json as Record<string, unknown>;
    const faults = unsupportedSettings(peft);
    if (faults.length > 0) {
      throw new ConfigError(`${what}: this adapter is not a plain LoRA adapter:\n  - ${faults.join('\n  - ')}`, {
        hint: 'Train it without these settings, or merge it into its base model with PEFT.',
        details: { faults },
      });
    }
    const tower = (['language', 'vision'] as const).find((side) => peft.exclude_modules === OTHER_SIDE[side]);
    const options = {
      r: peft.r ?? undefined,
      alpha: peft.lora_alpha ?? undefined,
      dropout: peft.lora_dropout ?? undefined,
      useRslora: peft.use_rslora ?? undefined,
      targetModules: peft.target_modules,
      excludeModules: tower || isEmpty(peft.exclude_modules) ? undefined : peft.exclude_modules,
      towers: tower,
      layersToTransform: peft.layers_to_transform ?? undefined,
      layersPattern: isEmpty(peft.layers_pattern) ? undefined : peft.layers_pattern,
      rankPattern: peft.rank_pattern ?? undefined,
      alphaPattern: peft.alpha_pattern ?? undefined,
      initLoraWeights: peft.init_lora_weights === 'gaussian' ? 'gaussian' : true,
      taskType: peft.task_type ?? null,
    };
    return new LoraConfig(options as LoraConfigOptions, what);
  }

  /** The content of `adapter_config.json`, with every key that PEFT 0.21 writes. */
  toPeft(baseModelNameOrPath: string | null = null): Record<string, unknown> {
    return {
      ...PEFT_DEFAULTS,
      alpha_pattern: this.alphaPattern,
      base_model_name_or_path: baseModelNameOrPath,
      bias: this.bias,
      exclude_modules: this.#peftExcludeModules(),
      init_lora_weights: this.initLoraWeights,
      layers_pattern: this.layersPattern ?? null,
      layers_to_transform: this.layersToTransform ?? null,
      lora_alpha: this.alpha,
      lora_dropout: this.dropout,
      r: this.r,
      rank_pattern: this.rankPattern,
      target_modules: isAllLinear(this.targetModules) ? 'all-linear' : this.targetModules,
      task_type: this.taskType,
      use_rslora: this.useRslora,
    };
  }

  /** PEFT does not know `towers`: the other side is excluded by a regular expression. */
  #peftExcludeModules(): string | readonly string[] | null {
    const own = this.excludeModules;
    if (this.towers === 'both') return own ?? null;
    const otherSide = OTHER_SIDE[this.towers];
    if (own === undefined) return otherSide;
    const pattern = typeof own === 'string' ? own : `(?:.*\\.)?(?:${own.map(escapeRegExp).join('|')})`;
    return `(?:${pattern})|(?:${otherSide})`;
  }
}

/** Whole names of everything that is not on this side, in either spelling of the names. */
const OTHER_SIDE = {
  language: '(?:.*\\.)?(?:vision_tower|multi_modal_projector|lm_head)(?:\\..*)?',
  vision: '(?:.*\\.)?(?:language_model|lm_head)(?:\\..*)?',
} as const;

/** Every key of PEFT 0.21 at its default, sorted as PEFT sorts them. */
const PEFT_DEFAULTS: Readonly<Record<string, unknown>> = {
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  auto_mapping: null,
  base_model_name_or_path: null,
  bias: 'none',
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  lora_alpha: 8,
  lora_bias: false,
  lora_dropout: 0,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  monteclora_config: null,
  peft_type: 'LORA',
  peft_version: '0.21.0',
  qalora_group_size: 16,
  r: 8,
  rank_pattern: {},
  revision: null,
  target_modules: null,
  target_parameters: null,
  task_type: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
  velora_config: null,
};

/** Settings of PEFT that change what the adapter computes, and that only their empty value is understood of. */
const UNSUPPORTED_SETTINGS = [
  'alora_invocation_tokens',
  'arrow_config',
  'fan_in_fan_out',
  'kasa_config',
  'layer_replication',
  'lora_bias',
  'megatron_config',
  'modules_to_save',
  'monteclora_config',
  'target_parameters',
  'trainable_token_indices',
  'use_bdlora',
  'use_dora',
  'use_qalora',
  'velora_config',
] as const;

/** Ways to start that only set A and B, so that a trained adapter is complete without them. The others change W. */
const HARMLESS_INITS: readonly unknown[] = [undefined, null, true, false, 'gaussian', 'orthogonal', 'eva'];

function unsupportedSettings(peft: Readonly<Record<string, unknown>>): string[] {
  const faults: string[] = [];
  const show = (key: string): string => `${key}: ${showValue(peft[key])}`;
  if (peft.peft_type !== 'LORA') faults.push(`${show('peft_type')}, expected "LORA"`);
  if ((peft.bias ?? 'none') !== 'none') faults.push(`${show('bias')}, only "none" is supported`);
  for (const key of UNSUPPORTED_SETTINGS) if (!isEmpty(peft[key])) faults.push(`${show(key)} is not supported`);
  if (!HARMLESS_INITS.includes(peft.init_lora_weights)) {
    faults.push(`${show('init_lora_weights')} changes the base weights and is not supported`);
  }
  if (isEmpty(peft.target_modules)) faults.push('target_modules is missing');
  return faults;
}

/** null, false, and lists, objects and strings without content. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
