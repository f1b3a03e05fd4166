/** What a run is made of: options of this command line and of the package, each by its one name in camelCase. */
import { z } from 'zod';
import { checkNames, parseOptions, pathOption } from '../config.js';
import { vlmCollatorOptionsSchema } from '../data/collator-options.js';
import { ConfigError } from '../errors.js';
import { LoraConfig, type LoraConfigOptions } from '../lora/lora-config.js';
import { parseSftConfig, type SftConfigInput, sftConfigSchema } from '../train/sft-config.js';
import { defined, GIB } from './option-values.js';
import { ENGINES, METHODS, MODES, type TrainFlags } from './train-flags.js';
import { UsageError } from './usage.js';

const share = z.number().gt(0, 'expected a share above 0 and below 1').lt(1, 'expected a share above 0 and below 1');
const text = z.string().min(1);

/** Options that only the command line has. */
const ownShape = {
  data: text.optional(),
  labels: text.optional(),
  holdout: share.optional(),
  limit: z.int().positive().optional(),
  prompt: text.optional(),
  system: text.optional(),
  model: text.optional(),
  baseModel: text.optional(),
  adapter: text.optional(),
  processor: text.optional(),
  template: z.enum(['own', 'tutorial']).default('own'),
  quantization: z.enum(METHODS).optional(),
  engine: z.enum(ENGINES).default('auto'),
  outputDir: pathOption().default('outputs'),
  mode: z.enum(MODES).default('free'),
  evaluate: z.boolean().default(true),
};
const ownSchema = z.strictObject(ownShape);

/** A run, checked. */
export interface RunSettings extends z.output<typeof ownSchema> {
  /** What was given of these; `outputDir` is not among them. */
  readonly config: SftConfigInput;
  /** What was given. */
  readonly lora: LoraConfigOptions;
  /** What was given. */
  readonly collator: z.input<ReturnType<typeof vlmCollatorOptionsSchema>>;
  /** All of that in one object, as a settings file has it. */
  readonly flat: Readonly<Record<string, unknown>>;
}

/** What other tools and the flags call them, in lower case. */
const ALIASES: Readonly<Record<string, string>> = {
  rank: 'r',
  lorar: 'r',
  loraalpha: 'alpha',
  loradropout: 'dropout',
  epochs: 'numTrainEpochs',
  batchsize: 'perDeviceTrainBatchSize',
  gradientaccumulation: 'gradientAccumulationSteps',
  lr: 'learningRate',
  modelname: 'model',
  dataset: 'data',
};

/** Names of the options of each part. */
function namesOf() {
  return {
    own: Object.keys(ownShape),
    config: Object.keys(sftConfigSchema().shape).filter((name) => name !== 'outputDir'),
    lora: Object.keys(new LoraConfig()),
    collator: Object.keys(vlmCollatorOptionsSchema().shape),
  };
}

/**
 * Checks options of all parts that stand in one object, each by the schema of its part.
 * @param what how messages call the object, e.g. the path of a file
 * @throws ConfigError naming an unknown option with the nearest known one, and every wrong value
 */
export function settingsOf(flat: Readonly<Record<string, unknown>>, what: string): RunSettings {
  const names = namesOf();
  const all = Object.values(names).flat();
  checkNames(flat, Object.fromEntries(all.map((name) => [name, false])), what, ALIASES);
  const part = (known: readonly string[]): Record<string, unknown> =>
    defined(Object.fromEntries(known.filter((name) => name in flat).map((name) => [name, flat[name]])));
  const config = part(names.config) as SftConfigInput;
  const lora = part(names.lora) as LoraConfigOptions;
  const collator = part(names.collator) as z.input<ReturnType<typeof vlmCollatorOptionsSchema>>;
  // Their errors name every fault; the defaults are filled in where they are used.
  parseSftConfig(config);
  new LoraConfig(lora);
  parseOptions(vlmCollatorOptionsSchema, collator, 'VlmCollator');
  return { ...parseOptions(ownSchema, part(names.own), what, ALIASES), config, lora, collator, flat };
}

/** What draws samples and the holdout, in training and when the same parts are asked for again. */
export function seedOf({ config }: Pick<RunSettings, 'config'>): number {
  return config.seed ?? sftConfigSchema().shape.seed.parse(undefined);
}

/**
 * `--set name=value`; a value is JSON where it can be read as such, else a text.
 * @throws UsageError
 */
export function setOptions(pairs: readonly string[]): Record<string, unknown> {
  const found = new Map<string, unknown>();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) {
      throw new UsageError(`--set: expected name=value, got ${JSON.stringify(pair)}`, {
        hint: 'For example --set weightDecay=0.01, or --set targetModules=\'["q_proj","v_proj"]\'.',
      });
    }
    const name = pair.slice(0, at).trim();
    if (found.has(name)) throw new UsageError(`--set: ${name} is given twice`);
    found.set(name, parsedValue(pair.slice(at + 1)));
  }
  // Whatever the name, an option of its own: one that nobody knows is refused later.
  return Object.fromEntries(found);
}

function parsedValue(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}

/** Flags by the names of the options that they set. */
export function flagOptions(flags: TrainFlags): Record<string, unknown> {
  const { data, labels, holdout, limit, prompt, system, model, baseModel, adapter, template } = flags;
  return defined({
    ...{ data, labels, holdout, limit, prompt, system, model, baseModel, adapter, template },
    quantization: flags.quantization,
    engine: flags.engine,
    outputDir: flags.outputDir,
    mode: flags.mode,
    evaluate: flags.evaluate ? undefined : false,
    numTrainEpochs: flags.epochs,
    maxSteps: flags.maxSteps,
    learningRate: flags.learningRate,
    perDeviceTrainBatchSize: flags.batchSize,
    gradientAccumulationSteps: flags.gradientAccumulation,
    seed: flags.seed,
    precision: flags.precision,
    memoryBudget: flags.memoryBudget === undefined ? undefined : Math.floor(flags.memoryBudget * GIB),
    r: flags.rank,
    alpha: flags.alpha,
    dropout: flags.dropout,
    maxLength: flags.maxLength,
    overlong: flags.maxLength === undefined ? undefined : 'drop',
  });
}

/**
 * Settings from everything that may give some: later ones win, but an option that --set and a flag give is refused.
 * @param files objects of options, with the names of their files
 */
export function resolveSettings(
  files: readonly { readonly name: string; readonly options: Readonly<Record<string, unknown>> }[],
  flags: TrainFlags,
): RunSettings {
  for (const { name, options } of files) settingsOf(options, name);
  const set = setOptions(flags.set ?? []);
  const given = flagOptions(flags);
  const twice = Object.keys(set).find((name) => Object.hasOwn(given, name) && name !== 'overlong');
  if (twice !== undefined) throw new UsageError(`train: ${twice} is given by --set and by an option of its own`);
  const own = { ...given, ...set };
  try {
    const entries = [...files.map(({ options }) => options), own].flatMap(Object.entries);
    return settingsOf(Object.fromEntries(entries), 'train');
  } catch (error) {
    // Each file by itself was right.
    if (error instanceof ConfigError) throw new UsageError(error.summary, { hint: error.hint, cause: error });
    throw error;
  }
}
