import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { linearDataset } from '../train/linear-model.js';
import { ofType, trainRanks } from './linear-ranks.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ranks-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('training on several ranks', () => {
  for (const worldSize of [1, 2, 3]) {
    it(`takes the steps of one process on ${worldSize}`, async () => {
      const config = { outputDir: join(dir, 'one'), loggingSteps: 1, gradientAccumulationSteps: 6, seed: 11 };
      const options = { options: () => ({ trainDataset: linearDataset(23) }) };
      const [one] = await Promise.all(trainRanks(0, config, options));
      const many = await Promise.all(
        trainRanks(
          worldSize,
          { ...config, outputDir: join(dir, 'many'), gradientAccumulationSteps: 6 / worldSize },
          options,
        ),
      );
      const losses = ofType(one!.events, 'step').map(({ loss }) => loss);
      expect(losses).toHaveLength(6);
      for (const rank of many) {
        expect(rank.error).toBeUndefined();
        ofType(rank.events, 'step').forEach(({ loss }, i) => {
          expect(Math.abs(loss - losses[i]!)).toBeLessThan(1e-6);
        });
        expect([...rank.model.values]).toEqual([...many[0]!.model.values]);
        rank.model.values.forEach((value, i) => {
          expect(Math.abs(value - one!.model.values[i]!)).toBeLessThan(1e-6);
        });
      }
    });
  }
});
