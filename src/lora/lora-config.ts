/**
 * Settings of a LoRA adapter, in PEFT's terms, and their form in a file, `adapter_config.json`.
 * Paper: https://arxiv.org/abs/2106.09685; rank-stabilised scale: https://arxiv.org/abs/2312.03732.
 */
import { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { requireOneObject } from '../require-given.js';
import { isEmpty, PEFT_FIELDS, unsupportedSettings } from './peft-fields.js';
import { checkPattern, isAllLinear, matchingPattern } from './peft-rules.js';
import type { Towers } from './target-modules.js';

/** The seven projections of a layer; both towers use these names. */
export const LAYER_PROJECTIONS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

/** Endings of linear layers: the projections of both towers, those of the projector between them, or any other name. */
export type LinearLayerName =
  | (typeof LAYER_PROJECTIONS)[number]
  | ('merging_layer' | 'linear_1' | 'linear_2')
  | (string & {});

/** Bounds of what a file may ask for: a model has some hundred linear layers, with names below 100 characters. */
const MAX_RANK = 65_536;
const MAX_RULES = 4096;
const MAX_PATTERN = 4096;
/** Room for one that excludes every layer by its full name, as `toPeft` writes a list beside `towers`. */
const MAX_NAMES_PATTERN = 262_144;
const pattern = lazySchema(() => z.string().max(MAX_PATTERN));
const fewRules = (rules: object): boolean => Object.keys(rules).length <= MAX_RULES;
const tooManyRules = `expected at most ${MAX_RULES} entries`;

const namesUpTo = (longest: number) =>
  z.union([z.string().min(1).max(longest), z.array(pattern().min(1)).min(1).max(MAX_RULES).readonly()], {
    error: 'expected a list of module names, or a string with a regular expression for whole names',
  });
const layerIndex = lazySchema(() => z.int().min(0));

const TASK_TYPES = ['CAUSAL_LM', 'FEATURE_EXTRACTION', 'QUESTION_ANS', 'SEQ_2_SEQ_LM', 'SEQ_CLS', 'TOKEN_CLS'] as const;
/** What PEFT wraps a model for. */
export type TaskType = 'CAUSAL_LM' | 'FEATURE_EXTRACTION' | 'QUESTION_ANS' | 'SEQ_2_SEQ_LM' | 'SEQ_CLS' | 'TOKEN_CLS';

/** Options of {@link LoraConfig}, which can stand for them: names are PEFT's in camelCase. */
export interface LoraConfigOptions {
  /** Rank of the added matrices. Default: 8. */
  r?: number | undefined;
  /** Numerator of the scale: the addition is multiplied by alpha / r, or alpha / √r with `useRslora`. Default: 8. */
  alpha?: number | undefined;
  /** Probability that an input element of A is zeroed in training, rounded to 1/65536. Default: 0. */
  dropout?: number | undefined;
  /** Rank-stabilised scale, alpha / √r (Kalajdzievski 2023). Default: false. */
  useRslora?: boolean | undefined;
  /** Biases are never trained: `none` alone is allowed. Default: `none`. */
  bias?: 'none' | undefined;
  /**
   * Which linear layers are adapted: a list of module names or their endings; or `all-linear`, every linear layer but the
   * output head; or another text, a regular expression (Python's) that must match a whole name. Default: the seven
   * projections of a layer, {@link LAYER_PROJECTIONS}, whose names match both towers.
   */
  targetModules?: 'all-linear' | (string & {}) | readonly LinearLayerName[] | undefined;
  /** Modules to leave out: a list of names or endings, or a regular expression for whole names. Default: none. */
  excludeModules?: string | readonly LinearLayerName[] | undefined;
  /** Keeps only one side of the model: `language`, or `vision` (vision tower and projector). Default: `both`. */
  towers?: Towers | undefined;
  /**
   * Only the layers of this number or these, counted from 0 in each tower. With a list of `targetModules` only.
   * Default: all.
   */
  layersToTransform?: number | readonly number[] | undefined;
  /**
   * The name before the layer's number, as a regular expression, where it is not the first number in the name that
   * comes after two words. The first of a list that matches counts. Default: any, as with an empty text.
   */
  layersPattern?: string | readonly string[] | undefined;
  /**
   * Other ranks (`r`) for some modules, by a regular expression for the end of a name. The first match counts.
   * Default: none.
   */
  rankPattern?: Readonly<Record<string, number>> | undefined;
  /** Other values of `alpha` for some modules, by the same rules. Default: none. */
  alphaPattern?: Readonly<Record<string, number>> | undefined;
  /**
   * How A starts. true: uniform in ±1/√in; `gaussian`: normal with standard deviation 1/r. B is zero in both. Default: true.
   */
  initLoraWeights?: true | 'gaussian' | undefined;
  /** What PEFT should wrap the model for; null leaves it open. Default: `CAUSAL_LM`. */
  taskType?: TaskType | null | undefined;
}

/** Checks {@link LoraConfigOptions}. */
const loraConfigSchema = lazySchema(() =>
  z
    .strictObject({
      r: z.int().min(1).max(MAX_RANK).default(8),
      alpha: z.number().positive().default(8),
      dropout: z.number().min(0).lt(1).default(0),
      useRslora: z.boolean().default(false),
      bias: z.literal('none').default('none'),
      targetModules: namesUpTo(MAX_PATTERN).default([...LAYER_PROJECTIONS]),
      excludeModules: namesUpTo(MAX_NAMES_PATTERN).optional(),
      towers: z.enum(['both', 'language', 'vision']).default('both'),
      layersToTransform: z.union([layerIndex(), z.array(layerIndex()).max(MAX_RULES).readonly()]).optional(),
      layersPattern: z.union([pattern(), z.array(pattern()).max(MAX_RULES).readonly()]).optional(),
      rankPattern: z.record(pattern().min(1), z.int().min(1).max(MAX_RANK)).refine(fewRules, tooManyRules).default({}),
      alphaPattern: z.record(pattern().min(1), z.number().positive()).refine(fewRules, tooManyRules).default({}),
      initLoraWeights: z.union([z.literal(true), z.literal('gaussian')]).default(true),
      taskType: z.enum(TASK_TYPES).nullable().default('CAUSAL_LM'),
    })
    .superRefine((options, context) => {
      const fault = (path: string, message: string): void => {
        context.addIssue({ code: 'custom', path: [path], message });
      };
      const check = (path: Parameters<typeof checkPattern>[0], patterns: readonly string[]): void => {
        const characters = patterns.reduce((sum, pattern) => sum + pattern.length, 0);
        if (characters > MAX_NAMES_PATTERN)
          fault(path, `expected patterns of at most ${MAX_NAMES_PATTERN} characters in all`);
        for (const pattern of characters > MAX_NAMES_PATTERN ? [] : patterns) {
          try {
            checkPattern(path, pattern);
          } catch (error) {
            fault(path, `${showValue(pattern)} is not a regular expression of Python: ${(error as Error).message}`);
          }
        }
      };
      for (const path of ['targetModules', 'excludeModules'] as const) {
        const rule = options[path];
        if (typeof rule === 'string') check(path, [rule]);
      }
      for (const path of ['rankPattern', 'alphaPattern'] as const) check(path, Object.keys(options[path]));
      // Without a choice of layers nothing reads the pattern.
      const choosesLayers = options.layersToTransform !== undefined && [options.layersToTransform].flat().length > 0;
      if (choosesLayers) check('layersPattern', [options.layersPattern ?? []].flat());
      for (const message of scaleFaults(options)) fault(...message);
      if (typeof options.targetModules === 'string') {
        for (const path of ['layersToTransform', 'layersPattern'] as const) {
          if (options[path] !== undefined) fault(path, 'needs targetModules to be a list, not a string');
        }
      } else if (options.layersPattern?.length && options.layersToTransform === undefined) {
        fault('layersPattern', 'needs layersToTransform');
      }
    }),
);

/** Beyond these, B·A times the scale overflows or vanishes in bfloat16 and float32 for any A and B of use. */
const MAX_SCALE = 1e6;
const MIN_SCALE = 1e-9;

function scaleFaults(
  options: Pick<LoraConfig, 'r' | 'alpha' | 'useRslora' | 'rankPattern' | 'alphaPattern'>,
): [path: 'alpha' | 'alphaPattern', message: string][] {
  const ranks = [options.r, ...Object.values(options.rankPattern)];
  const fault = (alpha: number, name: string): string | undefined => {
    const rank = ranks.find((r) => {
      const scale = scaleOf(alpha, r, options.useRslora);
      // Others have a fault of their own.
      return alpha > 0 && r > 0 && !(scale >= MIN_SCALE && scale <= MAX_SCALE);
    });
    if (rank === undefined) return undefined;
    const formula = options.useRslora ? 'alpha / √r' : 'alpha / r';
    const scale = scaleOf(alpha, rank, options.useRslora);
    return (
      `${name}${alpha} with r ${rank} makes the scale ${formula} = ${scale}, expected ${MIN_SCALE} to ${MAX_SCALE}: ` +
      'the adapter would overflow or do nothing'
    );
  };
  const own = fault(options.alpha, '');
  const found: [path: 'alpha' | 'alphaPattern', message: string][] = own === undefined ? [] : [['alpha', own]];
  for (const [pattern, alpha] of Object.entries(options.alphaPattern)) {
    const message = fault(alpha, `${showValue(pattern)}: `);
    if (message !== undefined) found.push(['alphaPattern', message]);
  }
  return found;
}

const scaleOf = (alpha: number, r: number, useRslora: boolean): number => alpha / (useRslora ? Math.sqrt(r) : r);

/** What peft's files and other trainers call these options. */
const NAMES_ELSEWHERE = {
  rank: 'r',
  lorar: 'r',
  lorarank: 'r',
  loraalpha: 'alpha',
  loradropout: 'dropout',
};

/** A fault of a file is reported by the file's own names. */
const NAMES_IN_PEFT = {
  alpha: 'lora_alpha',
  dropout: 'lora_dropout',
  useRslora: 'use_rslora',
  targetModules: 'target_modules',
  excludeModules: 'exclude_modules',
  layersToTransform: 'layers_to_transform',
  layersPattern: 'layers_pattern',
  rankPattern: 'rank_pattern',
  alphaPattern: 'alpha_pattern',
  initLoraWeights: 'init_lora_weights',
  taskType: 'task_type',
};

type ResolvedOptions = z.output<ReturnType<typeof loraConfigSchema>>;
type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof loraConfigSchema>>, LoraConfigOptions>>;

/**
 * Checked settings of an adapter, every default filled in: {@link LoraConfigOptions} documents each. Immutable.
 * @example
 * ```ts
 * const config = new LoraConfig({ r: 16, alpha: 32, targetModules: ['q_proj', 'v_proj'] });
 * const adapter = applyLora(model, config);
 * ```
 */
export class LoraConfig {
  /** Rank where no `rankPattern` says another. */
  readonly r!: number;
  /** Where no `alphaPattern` says another; {@link forModule} gives the scale that it makes. */
  readonly alpha!: number;
  /** Probability, 0 <= dropout < 1; in training only. */
  readonly dropout!: number;
  /** Whether the scale is alpha / √r instead of alpha / r. */
  readonly useRslora!: boolean;
  /** Biases are never trained. */
  readonly bias!: 'none';
  /** A list of names or their endings; a string is a regular expression for whole names, or "all-linear". */
  readonly targetModules!: string | readonly string[];
  /** By the same rules, except "all-linear"; undefined for none. */
  readonly excludeModules!: string | readonly string[] | undefined;
  /** Side of the model that the other rules choose from. Not of PEFT: its files say it by `exclude_modules`. */
  readonly towers!: Towers;
  /** Numbers of layers, from 0 in each tower; undefined or an empty list for all. */
  readonly layersToTransform!: number | readonly number[] | undefined;
  /** Words, as regular expressions, before the layer's number; undefined: it is the first number in the name. */
  readonly layersPattern!: string | readonly string[] | undefined;
  /** Regular expression for the end of a name → r, in order: the first match counts. */
  readonly rankPattern!: Readonly<Record<string, number>>;
  /** The same for alpha. */
  readonly alphaPattern!: Readonly<Record<string, number>>;
  /** How A starts, if it is not loaded. A file's false, "orthogonal", "eva" and "mica" are read as true. */
  readonly initLoraWeights!: true | 'gaussian';
  /** PEFT's `task_type`; null if it is left open, as by a file that has none. */
  readonly taskType!: TaskType | null;

  /**
   * @param what how messages call the options, as the path of a file
   * @param shown how they call one that came under another name
   * @throws ConfigError listing every fault
   */
  constructor(options: LoraConfigOptions = {}, what = 'LoraConfig', shown: Readonly<Record<string, string>> = {}) {
    // Options in its place would be ignored.
    if (typeof what !== 'string') requireOneObject(2, 'LoraConfig', 'new LoraConfig({ r: 16, alpha: 32 })');
    const resolved: ResolvedOptions = parseOptions(loraConfigSchema, options, what, NAMES_ELSEWHERE, shown);
    Object.assign(this, resolved);
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
    return { r, alpha, scale: scaleOf(alpha, r, this.useRslora) };
  }

  /** A copy with some options changed. @throws ConfigError as the constructor does */
  with(changes: LoraConfigOptions): LoraConfig {
    // An explicit undefined clears an optional setting; the spread keeps the class's fields, which are the options.
    return new LoraConfig({ ...(this as unknown as LoraConfigOptions), ...changes });
  }

  /**
   * Reads the content of an `adapter_config.json`. An unknown key is read over if it is empty or a note.
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
      r: peft.r,
      alpha: peft.lora_alpha,
      dropout: peft.lora_dropout,
      useRslora: peft.use_rslora ?? undefined,
      targetModules: peft.target_modules,
      excludeModules: tower || isEmpty(peft.exclude_modules) ? undefined : peft.exclude_modules,
      towers: tower,
      layersToTransform: peft.layers_to_transform ?? undefined,
      layersPattern: peft.layers_pattern ?? undefined,
      rankPattern: peft.rank_pattern ?? undefined,
      alphaPattern: peft.alpha_pattern ?? undefined,
      initLoraWeights: peft.init_lora_weights === 'gaussian' ? 'gaussian' : true,
      taskType: peft.task_type ?? null,
    };
    return new LoraConfig(options as LoraConfigOptions, what, NAMES_IN_PEFT);
  }

  /** The content of `adapter_config.json`, with every key that PEFT 0.21 writes. */
  toPeft(baseModelNameOrPath: string | null = null): Record<string, unknown> {
    return {
      ...Object.fromEntries(Object.entries(PEFT_FIELDS).map(([key, field]) => [key, field.default])),
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
    const pattern = typeof own === 'string' ? ownGroup(own) : `(?:.*\\.)?(?:${own.map(escapeRegExp).join('|')})`;
    return `(?:${pattern})|(?:${otherSide})`;
  }
}

/** Whole names of everything that is not on this side, in either spelling of the names. */
const OTHER_SIDE = {
  language: '(?:.*\\.)?(?:vision_tower|multi_modal_projector|lm_head)(?:\\..*)?',
  vision: '(?:.*\\.)?(?:language_model|lm_head)(?:\\..*)?',
} as const;

/** A whole pattern as a part of another: Python takes `(?i)` at the very start alone, and then for all that follows. */
function ownGroup(pattern: string): string {
  const [start, flags] = /^\(\?([aimsux]+)\)/.exec(pattern) ?? ['', ''];
  if (start === '') return pattern;
  // With the flag x a comment reaches to the end of its line.
  return `(?${flags}:${ownGroup(pattern.slice(start.length))}${flags!.includes('x') ? '\n' : ''})`;
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
