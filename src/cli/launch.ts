/** Sets the places of the ranks, as torchrun does, and starts them. */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import type { FoundMachine } from '../engine/cuda/inspect-machine.js';
import { ConfigError, reasonOf } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { nodeArguments } from './launch-program.js';
import { type LAUNCH_TIMES, launchRanks } from './launch-ranks.js';
import { type Output, UsageError } from './usage.js';

export interface LaunchRequest {
  /** Default: as many as there are cards. */
  readonly gpus?: number | undefined;
  /** Default: a free one. */
  readonly masterPort?: number | undefined;
  readonly allOutput?: boolean | undefined;
  readonly program: string;
  readonly programArguments: readonly string[];
  readonly times?: typeof LAUNCH_TIMES | undefined;
}

/** More processes than cards that one machine has are a slip. */
const MAX_RANKS = 128;

/** @returns the exit code @throws UsageError for what cannot be started; ConfigError inside of a rank */
export async function launch(request: LaunchRequest, { print, printError }: Output): Promise<number> {
  const { gpus, masterPort, allOutput = false, program, programArguments, times } = request;
  const env = process.env;
  requireNoLauncher(env);
  if (gpus !== undefined && gpus > MAX_RANKS) {
    throw new UsageError(`launch: --gpus: expected at most ${MAX_RANKS}, got ${gpus}`);
  }
  if (masterPort !== undefined && masterPort > 65_535) {
    throw new UsageError(`launch: --master-port: expected at most 65535, got ${masterPort}`);
  }
  const command = nodeArguments(program, programArguments, process.argv[1]);
  const count = gpus ?? (await visibleCards());
  const shared = {
    WORLD_SIZE: String(count),
    LOCAL_WORLD_SIZE: String(count),
    MASTER_ADDR: '127.0.0.1',
    MASTER_PORT: String(masterPort ?? (await freePort())),
    // In the environment alone, which other users cannot read.
    MINISTRAL_TUNE_SECRET: env['MINISTRAL_TUNE_SECRET'] || randomBytes(32).toString('hex'),
    // By which ranks notice that this process was killed.
    MINISTRAL_TUNE_LAUNCHER: String(process.pid),
    // Of a launcher around this one.
    TORCHELASTIC_USE_AGENT_STORE: undefined,
  };
  const environments = Array.from({ length: count }, (_, rank) => {
    return { ...env, ...shared, RANK: String(rank), LOCAL_RANK: String(rank) };
  });
  return launchRanks({ command, count, environments, allOutput, print, printError, times });
}

/** Variables by which a process is one of several of a launcher, and that of their number where one is none. */
const RANK_VARIABLES = [
  ['RANK'],
  ['OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'],
  ['SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'],
] as const;

/** @throws ConfigError in a rank: each would start ranks of its own */
function requireNoLauncher(env: NodeJS.ProcessEnv): void {
  for (const [name, size] of RANK_VARIABLES) {
    const rank = env[name];
    if (!rank || (size !== undefined && Number(env[size] ?? 1) <= 1)) continue;
    throw new ConfigError(`launch: this process is a rank of a launcher already: ${name}=${oneLine(rank)}`, {
      hint: 'Start `launch` by itself, or the program by the other launcher.',
    });
  }
}

async function visibleCards(): Promise<number> {
  const hint =
    '`ministral-tune doctor` tells what is missing. --gpus 2 starts 2 processes all the same, but training on several takes ' +
    'a card for each; without launch the program runs in one process.';
  let found: FoundMachine;
  try {
    const { inspectMachine } = await import('../engine/cuda/inspect-machine.js');
    found = inspectMachine();
  } catch (cause) {
    throw new UsageError(`launch: the cards of this machine cannot be counted: ${oneLine(reasonOf(cause))}`, {
      hint,
      cause,
    });
  }
  const { cards, fault } = found;
  if (cards.length > 0) return cards.length;
  throw new UsageError(`launch: no card was found on this machine${fault ? `: ${oneLine(fault)}` : ''}`, { hint });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { readonly port: number };
      server.close(() => resolve(port));
    });
  });
}
