/** `npx ministral-tune launch`: one process a GPU, on this machine. */
import { defineCommand } from './command.js';
import { whole } from './option-values.js';

interface LaunchFlags {
  readonly gpus?: number;
  readonly masterPort?: number;
  readonly allOutput?: boolean;
  readonly program: string;
  readonly arguments: readonly string[];
}

export const launchCommand = defineCommand<LaunchFlags>({
  name: 'launch',
  description:
    'Starts a program once for each GPU of this machine, so that its training runs on all of them: with RANK, LOCAL_RANK, ' +
    'WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT and a secret in the environment, as torchrun does. Ends all ' +
    'when one fails.',
  define: (program) =>
    program
      .option('--gpus <n>', 'processes (default: as many as there are cards)', whole('launch: --gpus'))
      .option('--master-port <port>', 'where they meet (default: a free one)', whole('launch: --master-port'))
      .option('--all-output', 'standard output of all ranks, and not of rank 0 alone')
      .argument('<program>', 'file of a program (.js, .mjs, .cjs, .ts), or train or evaluate')
      .argument('[arguments...]', 'for the program')
      .passThroughOptions(),
  passesOn: true,
  epilogue: `  npx ministral-tune launch train.mjs
  npx ministral-tune launch --gpus 2 train --data xrays --model 14B

The output of rank 0 is shown as it is, errors of the others behind [rank 1].
Ctrl-C and other signals go to all ranks; the third Ctrl-C kills them. When one
fails, the others have 30 seconds to save. For several machines take torchrun or
srun.

Exit code: 0 done, else that of the first rank that failed (128 and the number
of the signal that ended it), 2 the command line was not understood.`,
  async run(flags, output) {
    const { launch } = await import('./launch.js');
    return launch({ ...flags, programArguments: flags.arguments }, output);
  },
});
