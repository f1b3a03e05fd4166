/** `npx ministral-tune plan`: what a run takes. */
import { LINK_NAMES, type LinkName } from '../plan/links.js';
import type { TrainingPlanOptions } from '../plan/plan.js';
import type { PlannedEngine, WeightFormat } from '../plan/training-plan.js';
import type { SftConfigInput } from '../train/sft-config.js';
import { defineCommand } from './command.js';
import { defined, GIB, list, oneOf, positive, requireOption, whole } from './option-values.js';
import { readConfigFile, readTextOption } from './read-config-file.js';
import { UsageError } from './usage.js';

interface PlanValues {
  readonly data?: string;
  readonly model?: string;
  readonly processor?: string;
  readonly template?: string;
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly maxLength?: number;
  readonly engine?: PlannedEngine;
  readonly cards?: string[];
  readonly machines?: string[];
  readonly formats?: string[];
  readonly gpus?: number[];
  readonly link?: LinkName;
  readonly pricePerHour?: number;
  readonly memoryBudget?: number;
  readonly precision?: string;
  readonly rank?: number;
  readonly alpha?: number;
  readonly epochs?: number;
  readonly batch?: number;
  readonly accumulation?: number;
  readonly optim?: string;
  readonly config?: string;
  readonly sharePrefix: boolean;
  readonly json?: boolean;
}

export const planCommand = defineCommand<PlanValues>({
  name: 'plan',
  description:
    'Tells what a run takes before a card is rented: tokens, memory, time; with --engine webgpu what fits on a Mac, an AMD ' +
    'or an Intel GPU. No image is decoded, no weight is read or fetched, no card is needed.',
  define: (program) =>
    program
      .optionsGroup('What is learned:')
      .option(
        '--data <name>',
        'folder of images, file of conversations (.json, .jsonl), kaggle:OWNER/NAME or hub:OWNER/NAME',
      )
      .option('--prompt <text>', 'the question before each image of a folder')
      .option('--prompt-file <file>', 'the same from a file')
      .option('--max-length <n>', 'list samples of more tokens', positive('plan: --max-length'))
      .optionsGroup('Model:')
      .option('--model <name>', '3B, 8B, 14B; a folder with config.json; a name on the Hub')
      .option(
        '--processor <name>',
        "folder or name on the Hub with tokenizer.json and the image processor's configuration (default: the model's)",
      )
      .option('--template <which>', 'own or tutorial: the chat template (default: own)')
      .option('--rank <r>', 'of LoRA (default: 16)', positive('plan: --rank'))
      .option('--alpha <a>', 'of LoRA (default: 32)', positive('plan: --alpha'))
      .optionsGroup('Cards and machines:')
      .option(
        '--engine <name>',
        'cuda, or webgpu (default: webgpu with --machines, else cuda)',
        oneOf('plan: --engine', ['cuda', 'webgpu']),
      )
      .option('--cards <names>', 'e.g. h100,h200 (default: 12, 16, 24, 40, 48, 80, 141 GB)', list)
      .option(
        '--machines <names>',
        "for webgpu, by memory in GB: mac16, card24 (its own), integrated32 (the system's) (default: usual ones)",
        list,
      )
      .option('--formats <names>', 'bf16, fp8, nf4 (default: all)', list)
      .option('--memory-budget <gib>', 'most memory that the run may take on each', positive('plan: --memory-budget'))
      .option('--gpus <numbers>', 'compute runs on several cards, one process each, e.g. 1,2,4,8', counts)
      .option(
        '--link <name>',
        `between them: ${LINK_NAMES.join(', ')} (default: NVLink where the card has it, else PCI Express)`,
        oneOf('plan: --link', LINK_NAMES),
      )
      .option('--price-per-hour <amount>', 'of one card: adds the cost', positive('plan: --price-per-hour'))
      .optionsGroup('Training:')
      .option('--epochs <n>', 'passes over the data (default: 1)', positive('plan: --epochs'))
      .option('--batch <n>', 'samples of a micro-batch (default: 2)', positive('plan: --batch'))
      .option('--accumulation <n>', 'micro-batches of a step (default: 4)', positive('plan: --accumulation'))
      .option('--optim <name>', 'the optimizer (default: adamw_8bit)')
      .option('--precision <p>', 'bf16, fp8-backward or fp8 (default: bf16)')
      .option('--config <file>', 'JSON of SftConfig; what is given above wins')
      .option('--no-share-prefix', 'common prefixes are computed for each sample')
      .optionsGroup('Output:')
      .option('--json', 'the plan as JSON, with the tokens of each sample'),
  epilogue: `Exit code: 0 planned and at least one card or machine takes the run, 1 none does
or it failed, 2 the command line was not understood.`,
  async run(values, { print }) {
    const options = await planOptions(values);
    const { plan } = await import('../plan/plan.js');
    const told = await plan(options);
    const { formatTrainingPlan } = await import('../plan/format-training-plan.js');
    print(values.json ? JSON.stringify(told, null, 2) : formatTrainingPlan(told));
    return told.cards.some(({ run }) => run) ? 0 : 1;
  },
});

async function planOptions(values: PlanValues): Promise<TrainingPlanOptions> {
  const data = requireOption(values.data, 'plan', '--data');
  const model = requireOption(values.model, 'plan', '--model');
  const { processor, template, precision, optim, maxLength, memoryBudget } = values;
  const { engine = values.machines ? 'webgpu' : 'cuda', cards, machines, gpus, link, pricePerHour } = values;
  const prompt = await promptOf(values);
  const config: Record<string, unknown> = {
    numTrainEpochs: 1,
    perDeviceTrainBatchSize: 2,
    gradientAccumulationSteps: 4,
    optim: 'adamw_8bit',
    autoMicroBatch: true,
    ...(values.config === undefined ? {} : await readConfigFile(values.config, 'plan: --config')),
    ...defined({
      numTrainEpochs: values.epochs,
      perDeviceTrainBatchSize: values.batch,
      gradientAccumulationSteps: values.accumulation,
      precision,
      optim,
      sharePrefix: values.sharePrefix ? undefined : false,
    }),
  };
  return {
    trainDataset: data,
    model,
    config: config as SftConfigInput,
    lora: {
      r: values.rank ?? 16,
      alpha: values.alpha ?? 32,
      dropout: 0.05,
      targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    },
    ...defined({
      processor,
      prompt,
      chatTemplate: template as 'own' | undefined,
      maxLength,
      engine,
      cards,
      machines,
      gpus,
      link,
      pricePerHour,
      formats: values.formats as WeightFormat[] | undefined,
      [engine]: memoryBudget === undefined ? undefined : { memoryBudget: memoryBudget * GIB },
    }),
  };
}

const count = whole('plan: --gpus');
const counts = (text: string): number[] => list(text).map(count);

async function promptOf({ prompt, promptFile }: PlanValues): Promise<string | undefined> {
  if (promptFile === undefined) return prompt;
  if (prompt !== undefined)
    throw new UsageError('plan: --prompt and --prompt-file are both given; one of them is enough');
  return readTextOption(promptFile, 'plan: --prompt-file');
}
