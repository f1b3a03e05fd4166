/** Options of `train`, as --help shows them. Only words and parsers of texts: what they do is loaded when it runs. */
import type { Command as Program } from 'commander';
import { notNegative, oneOf, positive, share, whole } from './option-values.js';

export const MODES = ['free', 'constrained', 'scored'] as const;
export const METHODS = ['nf4', 'fp8', 'none'] as const;
export const ENGINES = ['auto', 'cuda', 'webgpu', 'cpu', 'tfjs', 'tfjs-node', 'tfjs-node-gpu'] as const;

/** What the command line of `train` may give. */
export interface TrainFlags {
  readonly data?: string;
  readonly labels?: string;
  readonly holdout?: number;
  readonly limit?: number;
  readonly prompt?: string;
  readonly system?: string;
  readonly model?: string;
  readonly adapter?: string;
  readonly template?: 'own' | 'tutorial';
  readonly quantization?: (typeof METHODS)[number];
  readonly epochs?: number;
  readonly maxSteps?: number;
  readonly learningRate?: number;
  readonly batchSize?: number;
  readonly gradientAccumulation?: number;
  readonly rank?: number;
  readonly alpha?: number;
  readonly dropout?: number;
  readonly maxLength?: number;
  readonly seed?: number;
  readonly config?: string;
  readonly set?: readonly string[];
  readonly engine?: (typeof ENGINES)[number];
  readonly precision?: 'bf16' | 'fp8-backward' | 'fp8';
  readonly memoryBudget?: number;
  readonly outputDir?: string;
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly mode?: (typeof MODES)[number];
  /** false: not measured. */
  readonly evaluate: boolean;
  readonly live?: boolean;
  /** A file, or false. */
  readonly report?: string | boolean;
  readonly pushToHub?: string;
  readonly baseModel?: string;
  readonly json?: boolean;
}

const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];

export function defineTrainFlags(program: Program): Program {
  const name = (option: string): string => `train: ${option}`;
  return program
    .optionsGroup('Data:')
    .option(
      '--data <dir>',
      'folder of images by class, or with a table of labels; a table; a file of conversations (.jsonl, .json); ' +
        'kaggle:OWNER/NAME or hub:OWNER/NAME',
    )
    .option('--labels <file>', 'table with the classes of the images below --data')
    .option('--holdout <share>', 'keep this share of the data for the test, e.g. 0.2', share(name('--holdout')))
    .option('--limit <n>', 'use n training and n test samples', whole(name('--limit')))
    .option('--prompt <text>', 'the question before each image (default: a plain one that lists the classes)')
    .option('--system <text>', 'system message before the question')
    .option('--max-length <n>', 'leave out samples of more tokens', whole(name('--max-length')))
    .optionsGroup('Model:')
    .option('--model <name>', '3B, 8B or 14B; a name on the Hub; a folder')
    .option('--adapter <name>', 'go on from this adapter instead of a new one')
    .option('--rank <r>', 'of LoRA (default: 16)', whole(name('--rank')))
    .option('--alpha <a>', 'of LoRA (default: 32)', positive(name('--alpha')))
    .option('--dropout <p>', 'of LoRA (default: 0.05)', notNegative(name('--dropout')))
    .option(
      '--template <which>',
      "chat template: the model's own, or the tutorial's short one (default: own)",
      oneOf(name('--template'), ['own', 'tutorial']),
    )
    .option(
      '--quantization <m>',
      'decoder weights in 4, 8 or 16 bits: nf4, fp8, none (default: as stored)',
      oneOf(name('--quantization'), METHODS),
    )
    .optionsGroup('Training:')
    .option('--epochs <n>', 'passes over the data (default: by its size)', positive(name('--epochs')))
    .option('--max-steps <n>', 'optimizer steps in all, instead of epochs', whole(name('--max-steps')))
    .option('--learning-rate <x>', 'peak (default: 2e-4)', positive(name('--learning-rate')))
    .option('--batch-size <n>', 'samples of a micro-batch (default: 2)', whole(name('--batch-size')))
    .option(
      '--gradient-accumulation <n>',
      'micro-batches of a step (default: 4)',
      whole(name('--gradient-accumulation')),
    )
    .option('--seed <n>', 'of order, dropout and holdout (default: 42)', notNegative(name('--seed')))
    .option('--config <file>', 'JSON of options by their names in camelCase, as SftConfig and LoraConfig have them')
    .option('--set <name=value>', 'one such option; may be given many times', collect)
    .optionsGroup('Machine:')
    .option('--engine <name>', 'auto, cuda, webgpu, cpu or tfjs (default: auto)', oneOf(name('--engine'), ENGINES))
    .option(
      '--precision <p>',
      'bf16, fp8-backward or fp8 (default: bf16)',
      oneOf(name('--precision'), ['bf16', 'fp8-backward', 'fp8']),
    )
    .option('--memory-budget <gib>', 'most memory to take, weights included', positive(name('--memory-budget')))
    .optionsGroup('Results:')
    .option('--output-dir <dir>', 'adapter, checkpoints and report (default: outputs)')
    .option('--resume', 'go on where a stopped training of --output-dir was')
    .option('--overwrite', 'replace the run that --output-dir holds')
    .option(
      '--mode <m>',
      'answers as they come, one of the classes, or the likeliest class: free, constrained, scored (default: free)',
      oneOf(name('--mode'), MODES),
    )
    .option('--no-evaluate', 'do not measure accuracy before and after')
    .option('--live', 'a page in the browser shows the run, pauses and stops it')
    .option('--report <file>', 'report as HTML (default: report.html in --output-dir)')
    .option('--no-report', 'write none')
    .option('--push-to-hub <repo>', 'upload the adapter: OWNER/NAME')
    .option('--base-model <name>', "for that: the model's name on the Hub, where --model is a folder")
    .option('--json', 'the summary as JSON in the last line');
}
