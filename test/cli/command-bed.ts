/** Commands run in this process, and small data and a tiny model for them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
// Loaded before the tests, as it takes a while.
import '../../src/cli/evaluate.js';
import '../../src/cli/train-from-flags.js';
import { runCommand } from '../../src/cli/run-command.js';
import { type Demonstration, prepareDemonstration } from '../../src/demo/demonstration.js';

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function run(...args: string[]): Promise<CommandResult> {
  const texts = { out: '', err: '' };
  const code = await runCommand(args, {
    print: (text) => {
      texts.out += `${text}\n`;
    },
    printError: (text) => {
      texts.err += `${text}\n`;
    },
  });
  return { code, ...texts };
}

export interface CommandBed extends Demonstration {
  readonly dir: string;
  /** A path in the folder of the test. */
  at(...parts: string[]): string;
  remove(): Promise<void>;
}

/** Two training images and one test image of each of ten classes. */
export async function commandBed(): Promise<CommandBed> {
  const dir = await mkdtemp(join(tmpdir(), 'commands-'));
  const made = await prepareDemonstration({ outputDir: dir, trainPerClass: 2, testPerClass: 1 });
  return {
    ...made,
    dir,
    at: (...parts) => join(dir, ...parts),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

/** Nothing is drawn on the terminal of the tests. */
export const QUIET = ['--engine', 'cpu', '--set', 'progress=none'] as const;
