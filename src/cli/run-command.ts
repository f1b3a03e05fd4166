/** Finds the command, runs it, and makes of what it throws a text and an exit code. */
import { nearestName } from '../config.js';
import { TuneError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { type Command, type Output, UsageError } from './command.js';
import { doctorCommand } from './doctor-command.js';
import { planCommand } from './plan-command.js';

const COMMANDS: Readonly<Record<string, Command>> = { plan: planCommand, doctor: doctorCommand };

const HELP = `ministral-tune COMMAND [options]

plan     what a run takes before a card is rented: tokens, memory, time, cards
doctor   what this machine has and lacks: driver, libraries, card, disk, tokens

ministral-tune COMMAND --help tells the options of a command.`;

/** @returns the exit code: 0 done, 1 failed, 2 not understood */
export async function runCommand(
  [name = '--help', ...args]: readonly string[],
  output: Output & { printError(text: string): void },
): Promise<number> {
  if (name === '--help' || name === '-h' || name === 'help') {
    output.print(HELP);
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
  try {
    return await command.run(args, output);
  } catch (error) {
    if (!(error instanceof TuneError)) throw error;
    output.printError(error.message);
    if (!(error instanceof UsageError)) return 1;
    output.printError(`\`ministral-tune ${name} --help\` tells the options.`);
    return 2;
  }
}
