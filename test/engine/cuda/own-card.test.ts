import { expect, it } from 'vitest';
import { ownCard } from '../../../src/engine/cuda/own-card.js';
import { ConfigError } from '../../../src/errors.js';

const rank = (local: number, more: Record<string, string> = {}) => ({
  ...{ RANK: `${local}`, LOCAL_RANK: `${local}`, WORLD_SIZE: '4', LOCAL_WORLD_SIZE: '4' },
  ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: '29500', ...more },
});

it.each([
  ['card 0 without a launcher', 8, {}, 0],
  ['the card of its number where all are visible', 4, rank(3), 3],
  ['the only card that it is shown', 1, rank(3, { CUDA_VISIBLE_DEVICES: '3' }), 0],
  [
    'the card of its number among the tasks of a Slurm node',
    4,
    {
      ...{ SLURM_PROCID: '5', SLURM_LOCALID: '1', SLURM_STEP_NUM_TASKS: '8', SLURM_NODEID: '1' },
      ...{ SLURM_STEP_TASKS_PER_NODE: '4(x2)', SLURM_STEP_NODELIST: 'n[1-2]' },
    },
    1,
  ],
  ['card 0 where the variables are incomplete, which a training refuses', 2, { LOCAL_RANK: '1' }, 0],
])('a rank takes %s', (_, visible, env, expected) => {
  expect(ownCard(visible, env)).toBe(expected);
});

it('says what a rank sees that has no card', () => {
  const start = () => ownCard(2, rank(3, { CUDA_VISIBLE_DEVICES: '0,1' }));
  expect(start).toThrow(ConfigError);
  expect(start).toThrow(
    'rank 3 is number 3 of 4 on this machine (LOCAL_RANK), but sees only 2 cards (CUDA_VISIBLE_DEVICES=0,1)',
  );
});
