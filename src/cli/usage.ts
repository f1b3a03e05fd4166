/** What a command of the command line is. Loads nothing: `--version` should not wait. */
import { ConfigError } from '../errors.js';

/** What a command writes with. */
export interface Output {
  /** A line, or several, on standard output. */
  print(text: string): void;
  /** The same on standard error: what needs care, and how far the work is. */
  printError(text: string): void;
}

/** A command. */
export interface Command {
  /** Shown by --help. */
  readonly help: string;
  /** @returns the exit code @throws UsageError for a command line that is not understood; TuneError */
  run(args: readonly string[], output: Output): Promise<number>;
  /** Reads the command line and does nothing. @throws UsageError as `run` does */
  check(args: readonly string[]): void;
}

/** The command line is not understood, or something is missing in it: exit code 2. */
export class UsageError extends ConfigError {}
