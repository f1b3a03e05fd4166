import { expect, it } from 'vitest';
import { EngineError, OutOfMemoryError } from '../../src/errors.js';
import { withLessMemory } from '../../src/train/pass-planner.js';

it('says which options of a run take less, before what the engine says', () => {
  const full = new OutOfMemoryError('full', { neededBytes: 9, hint: 'See nvidia-smi.' });
  const step = withLessMemory(full, 'step') as OutOfMemoryError;
  expect(step).toBeInstanceOf(OutOfMemoryError);
  expect(step).toMatchObject({ summary: 'full', neededBytes: 9, cause: full });
  expect(step.hint).toMatch(
    /gradientCheckpointing.*autoMicroBatch.*perDeviceTrainBatchSize.*maxLength.*See nvidia-smi\.$/,
  );
  const evaluation = withLessMemory(new OutOfMemoryError('full'), 'evaluation') as OutOfMemoryError;
  expect(evaluation.hint).toMatch(/^Lower perDeviceEvalBatchSize, .*longestEdge\.$/);
});

it('leaves other errors as they are', () => {
  for (const error of [new EngineError('lost'), new TypeError('bug'), undefined]) {
    expect(withLessMemory(error, 'step')).toBe(error);
  }
});
