/** `npx ministral-tune plan`: what a run takes. */
import { readFile } from 'node:fs/promises';
import { ConfigError, reasonOf } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { formatTrainingPlan } from '../plan/format-training-plan.js';
import { plan, type TrainingPlanOptions } from '../plan/plan.js';
import type { WeightFormat } from '../plan/training-plan.js';
import type { SftConfigInput } from '../train/sft-config.js';
import { type Command, type OptionValues, optionsOf, UsageError } from './command.js';

const GIB = 2 ** 30;

const HELP = `ministral-tune plan --data NAME --model NAME [options]
Tells what a run takes before a card is rented: tokens, memory, time. No image
is decoded, no weight is read or fetched, no card is needed.

--data NAME          folder of images, file of conversations (.json, .jsonl),
                     kaggle:OWNER/NAME or hub:OWNER/NAME
--model NAME         3B, 8B, 14B; a folder with config.json; a name on the Hub
--processor NAME     folder or name on the Hub with tokenizer.json and the image
                     processor's configuration (default: the model's)
--template WHICH     own or tutorial: the chat template (default: own)
--prompt TEXT        the question before each image of a folder
--prompt-file FILE   the same from a file
--max-length N       list samples of more tokens
--cards A,B          e.g. h100,h200 (default: 12, 16, 24, 40, 48, 80, 141 GB)
--formats A,B        bf16, fp8, nf4 (default: all)
--memory-budget GIB  most memory that the run may take on a card
--precision P        bf16, fp8-backward or fp8 (default: bf16)
--rank R --alpha A   of LoRA (default: 16 and 32)
--epochs N           (default: 1)     --batch N         (default: 2)
--accumulation N     (default: 4)     --optim NAME      (default: adamw_8bit)
--config FILE        JSON of SftConfig; what is given above wins
--no-share-prefix    common prefixes are computed for each sample
--json               the plan as JSON, with the tokens of each sample
--help               this text

Exit code: 0 planned and at least one card takes the run, 1 none does or it
failed, 2 the command line was not understood.`;

const OPTIONS = {
  data: { type: 'string' },
  model: { type: 'string' },
  processor: { type: 'string' },
  template: { type: 'string' },
  prompt: { type: 'string' },
  'prompt-file': { type: 'string' },
  'max-length': { type: 'string' },
  cards: { type: 'string' },
  formats: { type: 'string' },
  'memory-budget': { type: 'string' },
  precision: { type: 'string' },
  rank: { type: 'string' },
  alpha: { type: 'string' },
  epochs: { type: 'string' },
  batch: { type: 'string' },
  accumulation: { type: 'string' },
  optim: { type: 'string' },
  config: { type: 'string' },
  'no-share-prefix': { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

type Values = OptionValues<typeof OPTIONS>;

export const planCommand: Command = {
  help: HELP,
  async run(args, { print }) {
    const values = optionsOf(args, OPTIONS);
    if (values.help) {
      print(HELP);
      return 0;
    }
    const told = await plan(await planOptions(values));
    print(values.json ? JSON.stringify(told, null, 2) : formatTrainingPlan(told));
    return told.cards.some(({ run }) => run) ? 0 : 1;
  },
};

async function planOptions(values: Values): Promise<TrainingPlanOptions> {
  const { data, model, processor, template, precision, optim } = values;
  if (data === undefined || model === undefined) {
    throw new UsageError(`plan: --${data === undefined ? 'data' : 'model'} is missing`);
  }
  const prompt = await promptOf(values);
  const config: Record<string, unknown> = {
    numTrainEpochs: 1,
    perDeviceTrainBatchSize: 2,
    gradientAccumulationSteps: 4,
    optim: 'adamw_8bit',
    autoMicroBatch: true,
    ...(values.config === undefined ? {} : await readConfig(values.config)),
    ...defined({
      numTrainEpochs: numberOf(values.epochs, 'epochs'),
      perDeviceTrainBatchSize: numberOf(values.batch, 'batch'),
      gradientAccumulationSteps: numberOf(values.accumulation, 'accumulation'),
      precision,
      optim,
      sharePrefix: values['no-share-prefix'] ? false : undefined,
    }),
  };
  const [rank, alpha] = [numberOf(values.rank, 'rank') ?? 16, numberOf(values.alpha, 'alpha') ?? 32];
  const budget = numberOf(values['memory-budget'], 'memory-budget');
  return {
    trainDataset: data,
    model,
    config: config as SftConfigInput,
    lora: {
      r: rank,
      alpha,
      dropout: 0.05,
      targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    },
    ...defined({
      processor,
      prompt,
      chatTemplate: template as 'own' | undefined,
      maxLength: numberOf(values['max-length'], 'max-length'),
      cards: listOf(values.cards),
      formats: listOf(values.formats) as WeightFormat[] | undefined,
      cuda: budget === undefined ? undefined : { memoryBudget: budget * GIB },
    }),
  };
}

async function promptOf({ prompt, 'prompt-file': file }: Values): Promise<string | undefined> {
  if (file === undefined) return prompt;
  if (prompt !== undefined)
    throw new UsageError('plan: --prompt and --prompt-file are both given; one of them is enough');
  return readText(file, 'prompt-file');
}

async function readConfig(file: string): Promise<Record<string, unknown>> {
  const text = await readText(file, 'config');
  try {
    const config: unknown = JSON.parse(text);
    if (typeof config === 'object' && config !== null && !Array.isArray(config))
      return config as Record<string, unknown>;
    throw new ConfigError(`plan: --config: ${file} holds ${showValue(config)}, expected an object of options`);
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    throw new ConfigError(`plan: --config: ${file} is not JSON: ${reasonOf(cause)}`, { cause });
  }
}

async function readText(file: string, option: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ConfigError(`plan: --${option}: ${file} cannot be read: ${reasonOf(cause)}`, { cause });
  }
}

function numberOf(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
  throw new UsageError(`plan: --${option}: expected a number above 0, got ${showValue(text)}`);
}

function listOf(text: string | undefined): string[] | undefined {
  return text
    ?.split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function defined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
