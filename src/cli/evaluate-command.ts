/** `npx ministral-tune evaluate`: what a model or an adapter answers right. */
import { defineCommand } from './command.js';
import type { EvaluateFlags } from './command-flags.js';
import { notNegative, oneOf, positive, share, whole } from './option-values.js';
import { ENGINES, METHODS, MODES } from './train-flags.js';

const name = (option: string): string => `evaluate: ${option}`;

export const evaluateCommand = defineCommand<EvaluateFlags>({
  name: 'evaluate',
  description:
    'Asks for the class of each test image and tells accuracy, metrics by class and the confusion matrix; of ' +
    'conversations the loss. Beside an adapter of `train` lies what it was asked, which is asked again.',
  define: (program) =>
    program
      .optionsGroup('Model:')
      .option('--adapter <name>', 'a folder, or a name on the Hub')
      .option('--model <name>', 'the base model, in place of the one that the adapter names; alone: a model by itself')
      .option(
        '--template <which>',
        "chat template: own, or the tutorial's short one (default: own)",
        oneOf(name('--template'), ['own', 'tutorial']),
      )
      .option(
        '--quantization <m>',
        'decoder weights in 4, 8 or 16 bits: nf4, fp8, none (default: as stored)',
        oneOf(name('--quantization'), METHODS),
      )
      .optionsGroup('Data:')
      .option('--data <dir>', 'as train takes it (default: what the adapter was trained on)')
      .option('--labels <file>', 'table with the classes of the images below --data')
      .option(
        '--split <name>',
        'test, validation or train (default: test)',
        oneOf(name('--split'), ['test', 'validation', 'train']),
      )
      .option(
        '--holdout <share>',
        'the share that train kept for the test (default: as it did)',
        share(name('--holdout')),
      )
      .option('--seed <n>', 'of the holdout (default: as train had it)', notNegative(name('--seed')))
      .option('--limit <n>', 'use n samples', whole(name('--limit')))
      .option('--prompt <text>', 'the question before each image (default: as train asked)')
      .option('--system <text>', 'system message before the question (default: as train had it)')
      .optionsGroup('Answers:')
      .option(
        '--mode <m>',
        'as they come, one of the classes, or the likeliest class: free, constrained, scored (default: free)',
        oneOf(name('--mode'), MODES),
      )
      .optionsGroup('Machine:')
      .option('--engine <name>', 'auto, cuda, webgpu, cpu or tfjs (default: auto)', oneOf(name('--engine'), ENGINES))
      .option('--memory-budget <gib>', 'most memory to take, weights included', positive(name('--memory-budget')))
      .optionsGroup('Results:')
      .option('--output-dir <dir>', 'predictions.csv and report.json (default: evaluation)')
      .option('--json', 'the figures as JSON in the last line'),
  epilogue: `  npx ministral-tune evaluate --adapter outputs/adapter
  npx ministral-tune evaluate --adapter USER/NAME --data xrays --mode scored
  npx ministral-tune evaluate --model 3B --data xrays --limit 50

Exit code: 0 evaluated, 1 failed, 2 the command line was not understood.`,
  async run(flags, output) {
    const { evaluateFromFlags } = await import('./evaluate.js');
    return evaluateFromFlags(flags, output);
  },
});
