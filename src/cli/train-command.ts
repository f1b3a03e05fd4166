/** `npx ministral-tune train`: from data to an adapter. */
import { defineCommand } from './command.js';
import { defineTrainFlags, type TrainFlags } from './train-flags.js';

export const trainCommand = defineCommand<TrainFlags>({
  name: 'train',
  description:
    'Trains a LoRA adapter on images with classes, or on conversations, and measures accuracy before and after where ' +
    'there are test images. Ctrl-C saves; --resume goes on.',
  define: defineTrainFlags,
  epilogue: `  npx ministral-tune train --data xrays --model 3B
  npx ministral-tune train --data chat.jsonl --model 14B --quantization nf4
  npx ministral-tune train --resume --output-dir outputs

Exit code: 0 trained, 1 failed or stopped, 2 the command line was not understood.`,
  async run(flags, output) {
    const { trainFromFlags } = await import('./train-from-flags.js');
    return trainFromFlags(flags, output);
  },
});
