/** `npx ministral-tune merge`: a full model with an adapter in it. */
import { defineCommand } from './command.js';
import type { MergeFlags } from './command-flags.js';

export const mergeCommand = defineCommand<MergeFlags>({
  name: 'merge',
  description:
    'Writes a full model with an adapter merged into it, in the files of its base model: transformers, vLLM and ' +
    'llama.cpp read it without knowing of adapters. No card is needed.',
  define: (program) =>
    program
      .option('--adapter <name>', 'a folder, or a name on the Hub')
      .option('--output <dir>', 'folder of the merged model; must not exist, or be empty')
      .option('--model <name>', 'the base model, in place of the one that the adapter names')
      .option('--json', 'what was written as JSON in the last line'),
  epilogue: `  npx ministral-tune merge --adapter outputs/adapter --output merged

Weights keep the number format that the base model has; FP8 and 4-bit ones
become bfloat16.

Exit code: 0 merged, 1 failed, 2 the command line was not understood.`,
  async run(flags, output) {
    const { mergeFromFlags } = await import('./merge.js');
    return mergeFromFlags(flags, output);
  },
});
