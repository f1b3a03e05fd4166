import { describe, expect, it } from 'vitest';
import { type LaunchEnvironment, rankPlace } from '../../src/distributed/rank-place.js';
import { rendezvousPorts } from '../../src/distributed/rendezvous.js';
import { firstHost, tasksOfNodes } from '../../src/distributed/slurm-lists.js';
import { ConfigError } from '../../src/errors.js';

/** `RANK=0 WORLD_SIZE=2`; ~ is a space inside a value. */
function environment(text: string): LaunchEnvironment {
  const pairs = text.split(' ').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1).replaceAll('~', ' ')]),
  );
}

const HERE = 'MASTER_ADDR=127.0.0.1 MASTER_PORT=29500';
const THERE = 'MASTER_ADDR=gpu-1.example MASTER_PORT=29500';
const STEP = 'SLURM_JOB_ID=123456 SLURM_STEP_ID=0';
const SLURM = `${STEP} SLURM_STEP_NUM_TASKS=6 SLURM_PROCID=4 SLURM_NODEID=2 SLURM_LOCALID=0`;
const NODES = 'SLURM_STEP_TASKS_PER_NODE=2(x3) SLURM_STEP_NODELIST=node[007-009]';
const MPI = 'OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2';

describe('the place of a rank', () => {
  it.each([
    ['nothing', ''],
    ['the address alone', HERE],
    ['empty variables', 'RANK= WORLD_SIZE='],
    ['a batch script, which is no step', 'SLURM_JOB_ID=1 SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_LOCALID=0'],
    ['a step of one task', `${STEP} SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0`],
    ['mpirun of one process', 'OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1'],
  ])('is none with %s', (_, text) => {
    expect(rankPlace(environment(text))).toBeUndefined();
  });

  const [torch, slurm, mpi] = ['torchrun', 'Slurm', 'Open MPI'] as const;
  it.each([
    // launcher, rank, world size, local rank, local world size, address, port
    [
      'torchrun',
      `RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 ${THERE}`,
      torch,
      5,
      8,
      1,
      4,
      'gpu-1.example',
      29500,
    ],
    ['one process of torchrun', 'RANK=0 WORLD_SIZE=1', torch, 0, 1, 0, 1, '127.0.0.1', 29500],
    ['a pod each, as Kubeflow starts them', `RANK=2 WORLD_SIZE=3 ${THERE}`, torch, 2, 3, 0, 1, 'gpu-1.example', 29500],
    ['a shell on one machine', `RANK=2 WORLD_SIZE=3 ${HERE}`, torch, 2, 3, 2, 3, '127.0.0.1', 29500],
    [
      'all on one machine with a name',
      `RANK=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 ${THERE}`,
      torch,
      1,
      2,
      1,
      2,
      'gpu-1.example',
      29500,
    ],
    ['white space', `RANK=~1 WORLD_SIZE=2~ ${HERE}`, torch, 1, 2, 1, 2, '127.0.0.1', 29500],
    [
      'IPv6 in brackets',
      'RANK=1 WORLD_SIZE=2 MASTER_ADDR=[fe80::1%eth0] MASTER_PORT=1',
      torch,
      1,
      2,
      0,
      1,
      'fe80::1%eth0',
      1,
    ],
    ['torchrun inside srun', `${SLURM} RANK=0 WORLD_SIZE=2 ${HERE}`, torch, 0, 2, 0, 2, '127.0.0.1', 29500],
    ['srun', `${SLURM} ${NODES}`, slurm, 4, 6, 0, 2, 'node007', 18456],
    ['srun with an address of its own', `${SLURM} ${NODES} ${THERE}`, slurm, 4, 6, 0, 2, 'gpu-1.example', 29500],
    [
      'srun on nodes with unlike numbers of tasks',
      `${SLURM} SLURM_STEP_TASKS_PER_NODE=3,1,2 SLURM_STEP_NODELIST=b,a[1-2]`,
      slurm,
      4,
      6,
      0,
      2,
      'b',
      18456,
    ],
    [
      'srun on one node',
      `${STEP} SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1 SLURM_LOCALID=1 SLURM_TASKS_PER_NODE=2`,
      slurm,
      1,
      2,
      1,
      2,
      '127.0.0.1',
      18456,
    ],
    [
      'srun on all nodes of the job',
      `${SLURM} SLURM_TASKS_PER_NODE=2(x3) SLURM_JOB_NUM_NODES=3 SLURM_NODELIST=n[1-3]`,
      slurm,
      4,
      6,
      0,
      2,
      'n1',
      18456,
    ],
    ['mpirun', `${MPI} ${THERE}`, mpi, 3, 4, 1, 2, 'gpu-1.example', 29500],
    ['mpirun over srun', `${SLURM} ${MPI} MASTER_ADDR=h`, mpi, 3, 4, 1, 2, 'h', 29500],
  ] as const)(
    'is read from %s',
    (_, text, launcher, rank, worldSize, localRank, localWorldSize, masterAddr, masterPort) => {
      expect(rankPlace(environment(text))).toMatchObject({
        ...{ launcher, rank, worldSize, localRank, localWorldSize, masterAddr, masterPort, isPortTaken: false },
      });
    },
  );

  it.each([
    ['RANK=1', 'WORLD_SIZE'],
    ['WORLD_SIZE=2', 'WORLD_SIZE'],
    ['LOCAL_RANK=0', 'LOCAL_RANK'],
    ['RANK=2 WORLD_SIZE=2', 'RANK'],
    ['RANK=-1 WORLD_SIZE=2', 'RANK'],
    ['RANK=1.0 WORLD_SIZE=2', 'RANK'],
    ['RANK=one WORLD_SIZE=2', 'RANK'],
    ['RANK=0 WORLD_SIZE=0', 'WORLD_SIZE'],
    ['RANK=0 WORLD_SIZE=99999999', 'WORLD_SIZE'],
    ['RANK=0 WORLD_SIZE=2', 'MASTER_ADDR'],
    ['RANK=0 WORLD_SIZE=2 MASTER_ADDR=h', 'MASTER_PORT'],
    ['RANK=0 WORLD_SIZE=2 MASTER_ADDR=http://h MASTER_PORT=1', 'MASTER_ADDR'],
    ['RANK=0 WORLD_SIZE=2 MASTER_ADDR=h:29500 MASTER_PORT=1', 'MASTER_ADDR'],
    ['RANK=0 WORLD_SIZE=2 MASTER_ADDR=h MASTER_PORT=70000', 'MASTER_PORT'],
    [`RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 ${THERE}`, 'LOCAL_WORLD_SIZE'],
    [`RANK=0 WORLD_SIZE=4 LOCAL_WORLD_SIZE=2 ${THERE}`, 'LOCAL_RANK'],
    [`RANK=0 WORLD_SIZE=2 LOCAL_RANK=2 LOCAL_WORLD_SIZE=2 ${HERE}`, 'LOCAL_RANK'],
    [`RANK=0 WORLD_SIZE=2 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 ${HERE}`, 'LOCAL_RANK'],
    [`RANK=0 WORLD_SIZE=2 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 ${HERE}`, 'LOCAL_WORLD_SIZE'],
    [`${SLURM} ${NODES} WORLD_SIZE=8`, 'WORLD_SIZE'],
    [SLURM, 'SLURM_STEP_TASKS_PER_NODE'],
    [`${SLURM} SLURM_STEP_TASKS_PER_NODE=2(x4) SLURM_STEP_NODELIST=n[1-4]`, 'SLURM_STEP_TASKS_PER_NODE'],
    [`${SLURM} SLURM_STEP_TASKS_PER_NODE=2x3 SLURM_STEP_NODELIST=n[1-3]`, 'SLURM_STEP_TASKS_PER_NODE'],
    [`${SLURM} SLURM_STEP_TASKS_PER_NODE=2(x3)`, 'SLURM_STEP_NODELIST'],
    [`${SLURM} SLURM_STEP_TASKS_PER_NODE=2(x3) SLURM_JOB_NUM_NODES=4 SLURM_NODELIST=n[1-4]`, 'SLURM_STEP_NODELIST'],
    [`${SLURM} SLURM_STEP_TASKS_PER_NODE=2(x3) SLURM_STEP_NODELIST=n[1-3`, 'SLURM_STEP_NODELIST'],
    [`${SLURM.replace('LOCALID=0', 'LOCALID=2')} ${NODES}`, 'SLURM_LOCALID'],
    [`${SLURM.replace('SLURM_JOB_ID=123456', 'SLURM_JOB_ID=x')} ${NODES}`, 'SLURM_JOB_ID'],
    [MPI, 'MASTER_ADDR'],
    [`${MPI} WORLD_SIZE=8`, 'WORLD_SIZE'],
    ['OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2', 'OMPI_COMM_WORLD_LOCAL_SIZE'],
  ])('is refused with %s, naming %s', (text, variable) => {
    const env = environment(text);
    let error: unknown;
    try {
      rankPlace(env);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConfigError);
    const { summary, hint, details } = error as ConfigError;
    expect(details).toMatchObject({ variable });
    expect(summary).toContain(variable);
    if (env[variable] !== undefined) expect(summary).toContain(`${variable}=${env[variable]}`);
    expect(hint).toBeDefined();
  });

  it('keeps the port of torchrun’s agent for it', () => {
    const place = rankPlace(environment(`RANK=0 WORLD_SIZE=2 ${HERE} TORCHELASTIC_USE_AGENT_STORE=True`))!;
    expect(place.isPortTaken).toBe(true);
    expect(rendezvousPorts(29500, true)).toEqual(Array.from({ length: 16 }, (_, i) => 29501 + i));
    expect(rendezvousPorts(29500, false)[0]).toBe(29500);
    expect(rendezvousPorts(65535, true).slice(0, 2)).toEqual([1024, 1025]);
  });
});

describe('lists of Slurm', () => {
  it.each([
    ['4', [4]],
    ['2(x3),1', [2, 2, 2, 1]],
    ['', undefined],
    ['0', undefined],
    ['2(x0)', undefined],
    ['2(x999999)', undefined],
    ['2,', undefined],
  ])('of tasks: %s', (text, tasks) => {
    expect(tasksOfNodes(text)).toEqual(tasks);
  });

  it.each([
    ['node1', 'node1'],
    ['node[001-004,7],gpu1', 'node001'],
    ['gpu1,node[001-004]', 'gpu1'],
    ['rack[2-3]n[05,07].local', 'rack2n05.local'],
    ['node[001', undefined],
    ['node[a-b]', undefined],
    ['node 1', undefined],
    ['', undefined],
  ])('of hosts: %s', (text, host) => {
    expect(firstHost(text)).toBe(host);
  });
});
