/** `npx ministral-tune push`: an adapter or a merged model onto the Hub. */
import { defineCommand } from './command.js';
import type { PushFlags } from './command-flags.js';

export const pushCommand = defineCommand<PushFlags>({
  name: 'push',
  description:
    'Uploads an adapter or a merged model to the Hugging Face Hub, as far as it has changed, with a page that says ' +
    'how it was trained. Whether the token may write there is asked first.',
  define: (program) =>
    program
      .argument('<dir>', 'folder of the adapter, or of the merged model')
      .argument('<repo>', 'OWNER/NAME; a name alone belongs to the owner of the token')
      .option('--private', 'only its owner sees it, if it is made now')
      .option('--message <text>', 'of the commit')
      .option('--base-model <name>', "the base model's name on the Hub, where the files name a folder"),
  epilogue: `  HF_TOKEN=… npx ministral-tune push outputs/adapter USER/NAME --private

Exit code: 0 pushed, 1 failed, 2 the command line was not understood.`,
  async run(flags, output) {
    const { pushFromFlags } = await import('./push.js');
    return pushFromFlags(flags, output);
  },
});
