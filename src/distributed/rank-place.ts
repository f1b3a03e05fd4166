/**
 * Which rank this process is, from the variables that launchers set. Read, in this order:
 * - RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT: torchrun, accelerate, Ray Train, Kubeflow,
 *   DeepSpeed's launcher, and `ministral-tune launch`;
 * - OMPI_COMM_WORLD_*: mpirun of Open MPI, with MASTER_ADDR and MASTER_PORT;
 * - SLURM_*: the tasks of an srun step. What runs in a batch script itself is one process, and no rank.
 */
import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import type { RankPlace } from './process-group.js';
import { firstHost, tasksOfNodes } from './slurm-lists.js';

export type LaunchEnvironment = Readonly<Record<string, string | undefined>>;

/** A rank, and where it meets the others. */
export interface LaunchPlace extends RankPlace {
  /** Whose variables were read. */
  readonly launcher: 'torchrun' | 'Open MPI' | 'Slurm';
  /** Host name or address of rank 0's machine. */
  readonly masterAddr: string;
  /** Where rank 0 listens, or the first of the ports that it tries. */
  readonly masterPort: number;
  /**
   * What sets this job apart from others with the same port on one machine, as far as the launcher says: its id, its step,
   * its restart.
   */
  readonly jobId: string;
  /** Whether another program, torchrun's agent, listens on `masterPort`: it must be left alone. */
  readonly isPortTaken: boolean;
}

/**
 * @returns undefined without launcher variables, and for one task alone under Slurm or Open MPI
 * @throws ConfigError that names the variable, for incomplete, malformed or contradictory ones
 */
export function rankPlace(env: LaunchEnvironment = process.env): LaunchPlace | undefined {
  const variables = new Variables(env);
  if (variables.has('RANK')) return torchPlace(variables);
  if (variables.has('OMPI_COMM_WORLD_RANK') || variables.has('OMPI_COMM_WORLD_SIZE')) return mpiPlace(variables);
  if (variables.has('SLURM_STEP_NUM_TASKS') && variables.has('SLURM_PROCID')) return slurmPlace(variables);
  const stray = ['WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE'].find((name) => variables.has(name));
  if (stray === undefined) return undefined;
  throw new ConfigError(`the environment has ${stray}=${variables.shown(stray)}, but no RANK`, {
    hint:
      'Start the program by a launcher, which sets all of them (npx ministral-tune launch --gpus 2 program.mjs, ' +
      `torchrun, srun), or remove ${stray} to train in one process.`,
    details: { variable: stray },
  });
}

function torchPlace(variables: Variables): LaunchPlace {
  const worldSize = variables.count('WORLD_SIZE', TORCH_HINT);
  const rank = variables.index('RANK', worldSize, 'WORLD_SIZE', TORCH_HINT);
  const masterAddr =
    variables.address() ?? (worldSize === 1 ? LOOPBACK : variables.missing('MASTER_ADDR', MASTER_HINT));
  // Without them each process has its machine for itself (Kubeflow), or all are on this one.
  const isHere = worldSize === 1 || isLoopback(masterAddr);
  const hasLocal = variables.has('LOCAL_RANK');
  const hasLocalSize = variables.has('LOCAL_WORLD_SIZE');
  if (!hasLocalSize && hasLocal && !isHere) variables.missing('LOCAL_WORLD_SIZE', LOCAL_HINT);
  const localWorldSize = hasLocalSize ? variables.count('LOCAL_WORLD_SIZE', LOCAL_HINT) : isHere ? worldSize : 1;
  if (localWorldSize > worldSize) {
    variables.wrong('LOCAL_WORLD_SIZE', `at most WORLD_SIZE, which is ${worldSize}`, LOCAL_HINT);
  }
  if (!hasLocal && localWorldSize > 1 && localWorldSize < worldSize) variables.missing('LOCAL_RANK', LOCAL_HINT);
  const localRank = hasLocal
    ? variables.index('LOCAL_RANK', localWorldSize, 'LOCAL_WORLD_SIZE', LOCAL_HINT)
    : localWorldSize === 1
      ? 0
      : rank;
  if (localWorldSize === worldSize && localRank !== rank) {
    const expected = `${rank} as RANK, since all ${worldSize} ranks are on one machine`;
    variables.wrong('LOCAL_RANK', expected, LOCAL_HINT);
  }
  const isPortTaken = /^(1|true)$/i.test(variables.text('TORCHELASTIC_USE_AGENT_STORE') ?? '');
  const masterPort =
    variables.port() ?? (worldSize === 1 ? DEFAULT_PORT : variables.missing('MASTER_PORT', MASTER_HINT));
  const jobId = variables.joined('TORCHELASTIC_RUN_ID', 'TORCHELASTIC_RESTART_COUNT', 'SLURM_JOB_ID', 'SLURM_STEP_ID');
  return {
    ...{ launcher: 'torchrun', rank, worldSize, localRank, localWorldSize },
    ...{ masterAddr, masterPort, jobId, isPortTaken },
  };
}

function mpiPlace(variables: Variables): LaunchPlace | undefined {
  const hint = 'mpirun of Open MPI sets it; remove the OMPI_ variables to train in one process.';
  const worldSize = variables.count('OMPI_COMM_WORLD_SIZE', hint);
  const rank = variables.index('OMPI_COMM_WORLD_RANK', worldSize, 'OMPI_COMM_WORLD_SIZE', hint);
  variables.agree('WORLD_SIZE', worldSize, 'OMPI_COMM_WORLD_SIZE');
  if (worldSize === 1) return undefined;
  const localWorldSize = variables.count('OMPI_COMM_WORLD_LOCAL_SIZE', hint);
  if (localWorldSize > worldSize) {
    variables.wrong('OMPI_COMM_WORLD_LOCAL_SIZE', `at most ${worldSize}, the number of processes`, hint);
  }
  const local = 'OMPI_COMM_WORLD_LOCAL_SIZE';
  const localRank = variables.index('OMPI_COMM_WORLD_LOCAL_RANK', localWorldSize, local, hint);
  const masterAddr =
    variables.address() ??
    (localWorldSize === worldSize
      ? LOOPBACK
      : variables.missing(
          'MASTER_ADDR',
          'Hand the host of rank 0 on: mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500 node train.mjs',
        ));
  return {
    ...{ launcher: 'Open MPI', rank, worldSize, localRank, localWorldSize, masterAddr },
    ...{ masterPort: variables.port() ?? DEFAULT_PORT, isPortTaken: false },
    jobId: variables.joined('PMIX_NAMESPACE', 'OMPI_MCA_ess_base_jobid', 'SLURM_JOB_ID'),
  };
}

function slurmPlace(variables: Variables): LaunchPlace | undefined {
  const hint = 'srun sets it for the tasks of a step: srun --ntasks=2 node train.mjs';
  const worldSize = variables.count('SLURM_STEP_NUM_TASKS', hint);
  const rank = variables.index('SLURM_PROCID', worldSize, 'SLURM_STEP_NUM_TASKS', hint);
  variables.agree('WORLD_SIZE', worldSize, 'SLURM_STEP_NUM_TASKS');
  if (worldSize === 1) return undefined;
  const listName = ['SLURM_STEP_TASKS_PER_NODE', 'SLURM_TASKS_PER_NODE'].find((name) => variables.has(name));
  if (listName === undefined) return variables.missing('SLURM_STEP_TASKS_PER_NODE', hint);
  const tasks = tasksOfNodes(variables.text(listName)!);
  if (!tasks) return variables.wrong(listName, 'tasks of each node as 2(x3),1', hint);
  const total = tasks.reduce((sum, count) => sum + count, 0);
  if (total !== worldSize) {
    const list =
      'SLURM_STEP_TASKS_PER_NODE and SLURM_STEP_NUM_TASKS belong to one step: start the program by srun itself.';
    variables.wrong(listName, `${worldSize} tasks in all, as SLURM_STEP_NUM_TASKS says`, list);
  }
  const node = tasks.length === 1 ? 0 : variables.index('SLURM_NODEID', tasks.length, listName, hint);
  const localWorldSize = tasks[node]!;
  const localRank = variables.index('SLURM_LOCALID', localWorldSize, `${listName} for this node`, hint);
  const isHere = tasks.length === 1;
  return {
    ...{ launcher: 'Slurm', rank, worldSize, localRank, localWorldSize },
    masterAddr: variables.address() ?? (isHere ? LOOPBACK : slurmHost(variables, tasks.length)),
    masterPort: variables.port() ?? slurmPort(variables),
    jobId: variables.joined('SLURM_JOB_ID', 'SLURM_STEP_ID', 'SLURM_RESTART_COUNT'),
    isPortTaken: false,
  };
}

/** The first node of the step has task 0; that of the allocation has it where the step takes all of its nodes. */
function slurmHost(variables: Variables, nodes: number): string {
  const hint = 'Set MASTER_ADDR to the host of rank 0: export MASTER_ADDR=$(scontrol show hostnames | head -n 1)';
  const takesAll = variables.text('SLURM_JOB_NUM_NODES') === String(nodes);
  const names = ['SLURM_STEP_NODELIST', ...(takesAll ? ['SLURM_JOB_NODELIST', 'SLURM_NODELIST'] : [])];
  const name = names.find((one) => variables.has(one));
  if (name === undefined) return variables.missing('SLURM_STEP_NODELIST', hint);
  return firstHost(variables.text(name)!) ?? variables.wrong(name, 'a list of hosts as node[001-004,7],gpu1', hint);
}

/** Jobs of one node should not meet: the last digits of the job's id, as PyTorch Lightning takes them. */
function slurmPort(variables: Variables): number {
  const id = variables.has('SLURM_JOB_ID') ? variables.number('SLURM_JOB_ID', 'Set MASTER_PORT to a free port.') : 0;
  return 15_000 + (id % 10_000);
}

/** The variables, with messages that say which is wrong, and what to set. */
class Variables {
  readonly #env: LaunchEnvironment;

  constructor(env: LaunchEnvironment) {
    this.#env = env;
  }

  /** An empty variable is one that was taken away. */
  has(name: string): boolean {
    return this.text(name) !== undefined;
  }

  text(name: string): string | undefined {
    return this.#env[name]?.trim() || undefined;
  }

  shown(name: string): string {
    return showValue(this.text(name)).replace(/^"([\w.:()[\],/-]*)"$/, '$1');
  }

  missing(name: string, hint: string): never {
    throw new ConfigError(`the environment makes this process a rank of several, but ${name} is missing`, {
      hint: `${hint[0]!.toUpperCase()}${hint.slice(1)}`,
      details: { variable: name },
    });
  }

  wrong(name: string, expected: string, hint: string): never {
    throw new ConfigError(`${name}=${this.shown(name)} in the environment: expected ${expected}`, {
      hint,
      details: { variable: name, value: this.text(name) },
    });
  }

  number(name: string, hint: string): number {
    const text = this.text(name);
    if (text === undefined) return this.missing(name, hint);
    return /^\d{1,15}$/.test(text) ? Number(text) : this.wrong(name, 'a whole number', hint);
  }

  count(name: string, hint: string): number {
    const value = this.number(name, hint);
    return value >= 1 && value <= MAX_WORLD ? value : this.wrong(name, `1 to ${MAX_WORLD}`, hint);
  }

  index(name: string, count: number, countName: string, hint: string): number {
    const value = this.number(name, hint);
    if (value < count) return value;
    return this.wrong(name, `0 to ${count - 1}, as ${countName} is ${count}`, hint);
  }

  /** That a variable which the launcher does not need says the same, if it is there. */
  agree(name: string, value: number, source: string): void {
    if (!this.has(name) || this.text(name) === String(value)) return;
    this.wrong(name, `${value} as ${source}, or none`, `Remove ${name}: the launcher's own variables are enough.`);
  }

  address(): string | undefined {
    const text = this.text('MASTER_ADDR')?.replace(/^\[(.*)\]$/, '$1');
    if (text === undefined || /^[A-Za-z0-9._-]+$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?$/.test(text)) return text;
    return this.wrong('MASTER_ADDR', 'a host name or an IP address alone', MASTER_HINT);
  }

  port(): number | undefined {
    if (!this.has('MASTER_PORT')) return undefined;
    const value = this.number('MASTER_PORT', MASTER_HINT);
    return value >= 1 && value <= 65_535 ? value : this.wrong('MASTER_PORT', '1 to 65535', MASTER_HINT);
  }

  joined(...names: readonly string[]): string {
    return names.map((name) => this.text(name) ?? '').join(' ');
  }
}

export function isLoopback(address: string): boolean {
  return /^(localhost|127(\.\d+){3}|::1)$/i.test(address);
}

const MAX_WORLD = 65_536;
const LOOPBACK = '127.0.0.1';
/** Of torchrun and accelerate. */
const DEFAULT_PORT = 29_500;
const TORCH_HINT =
  'Start the program by a launcher, which sets RANK and WORLD_SIZE (npx ministral-tune launch --gpus 2 program.mjs, ' +
  'torchrun, srun), or remove both to train in one process.';
const MASTER_HINT =
  'Set MASTER_ADDR to the host of rank 0 (127.0.0.1 for one machine), and MASTER_PORT to a free port there, the same for all ranks.';
const LOCAL_HINT =
  'LOCAL_WORLD_SIZE is the number of processes on this machine, LOCAL_RANK counts them from 0: launchers set both.';
