/** What a command of the command line is, and how its options are read. */
import { parseArgs } from 'node:util';
import { nearestName } from '../config.js';
import { ConfigError, reasonOf } from '../errors.js';

/** What a command writes with. */
export interface Output {
  /** A line, or several, on standard output. */
  print(text: string): void;
}

/** A command. */
export interface Command {
  /** Shown by --help, and what a wrong command line is answered with. */
  readonly help: string;
  /** @returns the exit code @throws UsageError for a command line that is not understood; TuneError */
  run(args: readonly string[], output: Output): Promise<number>;
}

/** The command line is not understood, or something is missing in it: exit code 2. */
export class UsageError extends ConfigError {}

interface OptionForm {
  readonly type: 'string' | 'boolean';
  /** One letter. */
  readonly short?: string;
}

/** What was given, by the names of the options. */
export type OptionValues<T extends Readonly<Record<string, OptionForm>>> = {
  readonly [Name in keyof T]?: T[Name]['type'] extends 'string' ? string : boolean;
};

/** @throws UsageError for an unknown option, one without its value, or a text that belongs to none */
export function optionsOf<const T extends Readonly<Record<string, OptionForm>>>(
  args: readonly string[],
  options: T,
): OptionValues<T> {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values as OptionValues<T>;
  } catch (cause) {
    const [, unknown] =
      /^--([\w-]+)/.exec(args.find((arg) => /^--[\w-]+/.test(arg) && !(nameOf(arg) in options)) ?? '') ?? [];
    const near = unknown === undefined ? undefined : nearestName(unknown, Object.keys(options));
    throw new UsageError(unknown === undefined ? reasonOf(cause) : `unknown option --${unknown}`, {
      ...(near === undefined ? {} : { hint: `Did you mean --${near}?` }),
    });
  }
}

function nameOf(arg: string): string {
  return arg.slice(2).split('=')[0]!;
}
