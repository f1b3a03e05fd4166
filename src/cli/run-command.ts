/** Finds the command, runs it, and makes of what it throws a text and an exit code. */

import { reasonOf, TuneError } from '../errors.js';
import { VERSION } from '../generated/version.js';
import { nearestName } from '../messages/nearest-name.js';
import { oneLine, printable } from '../messages/one-line.js';
import { inCommandWords } from './command-words.js';
import { type Command, type Output, UsageError } from './usage.js';

/** Loaded when they are asked for: `doctor` must run where a native package that another needs has no binary. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import('./demo-command.js')).demoCommand,
  train: async () => (await import('./train-command.js')).trainCommand,
  evaluate: async () => (await import('./evaluate-command.js')).evaluateCommand,
  merge: async () => (await import('./merge-command.js')).mergeCommand,
  push: async () => (await import('./push-command.js')).pushCommand,
  plan: async () => (await import('./plan-command.js')).planCommand,
  launch: async () => (await import('./launch-command.js')).launchCommand,
  doctor: async () => (await import('./doctor-command.js')).doctorCommand,
};

const HELP = `ministral-tune COMMAND [options]

demo       draws X-rays, trains a tiny model on them, shows before and after
train      trains a LoRA adapter on a folder of images or on conversations
evaluate   how many test images an adapter, or a model, answers right
merge      writes a full model with an adapter in it
push       uploads an adapter or a merged model to the Hugging Face Hub
plan       what a run takes before a card is rented: tokens, memory, time, cards
launch     starts a program once for each GPU, to train on all of them
doctor     what this machine has and lacks: driver, libraries, card, disk, tokens

  npx ministral-tune demo
  npx ministral-tune train --data DIR --model 3B

ministral-tune COMMAND --help tells the options of a command, --version the
version of this package.`;

/** @returns the exit code: 0 done, 1 failed, 2 not understood */
export async function runCommand([name = '--help', ...args]: readonly string[], output: Output): Promise<number> {
  if (name === '--help' || name === '-h' || name === 'help') {
    output.print(HELP);
    return 0;
  }
  if (name === '--version' || name === '-v') {
    output.print(VERSION);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    const near = nearestName(name, Object.keys(COMMANDS));
    output.printError(
      `unknown command ${JSON.stringify(oneLine(name))}${near ? `; did you mean ${near}?` : ''}\n\n${HELP}`,
    );
    return 2;
  }
  let loaded: Command;
  try {
    loaded = await command();
  } catch (error) {
    output.printError(`ministral-tune ${name} cannot be loaded: ${printable(reasonOf(error))}
  hint: Reinstall with \`npm install\`, for this system and without --omit=optional.`);
    return 1;
  }
  try {
    return await loaded.run(args, output);
  } catch (error) {
    if (!(error instanceof TuneError)) throw error;
    output.printError(inCommandWords(error).message);
    if (!(error instanceof UsageError)) return 1;
    output.printError(`\`ministral-tune ${name} --help\` tells the options.`);
    return 2;
  }
}
