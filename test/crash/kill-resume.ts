/**
 * Kills training runs at random moments, half of them while they save, resumes them to their end and compares.
 *
 *   npx tsx test/crash/kill-resume.ts [--kills 50] [--steps 24] [--engine cpu|cuda] [--seed 1] [--judge loss|score]
 *
 * With `--judge score` the best step is chosen by `computeMetrics`, the run stops early, and two checkpoints are kept.
 *
 * Prints a line for each kill and a RESULT line; fails at the first thing that is not as it must be.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeTinyModel } from '../e2e/tiny-model.js';
import { killCourse } from './kill-course.js';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    steps: { type: 'string', default: '24' },
    engine: { type: 'string', default: 'cpu' },
    seed: { type: 'string', default: '1' },
    judge: { type: 'string', default: 'loss' },
  },
});
const dir = await mkdtemp(join(tmpdir(), 'kill-resume-'));
try {
  const checkpoint = join(dir, 'model');
  await writeTinyModel(checkpoint);
  const { engine } = values;
  const [kills, steps, seed] = [values.kills, values.steps, values.seed].map(Number) as [number, number, number];
  const judge = values.judge === 'score' ? 'score' : 'loss';
  const result = await killCourse({ dir, checkpoint, kills, steps, seed, engine, judge, onLine: console.log });
  console.log(`RESULT ${JSON.stringify({ test: 'kill and resume', engine, judge, ...result })}`);
} finally {
  await rm(dir, { recursive: true, force: true });
}
