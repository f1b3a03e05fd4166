import { describe, expect, it } from 'vitest';
import {
  changesOf,
  noteChange,
  ParameterLease,
  requireIdleEngine,
  requireNotTraining,
  requireOwnCall,
} from '../../src/engine/parameter-lease.js';
import type { ParameterSet } from '../../src/engine/tensor.js';
import { TrainingError } from '../../src/errors.js';

const makeSet = (): ParameterSet => ({ parameters: [], size: 0 });

describe('a set of parameters that a run trains', () => {
  it('belongs to that run until it ends', () => {
    const [engine, set] = [{}, makeSet()];
    const lease = ParameterLease.take(engine, set, () => 'a run of 5 steps');
    expect(() => ParameterLease.take(engine, set, () => 'another')).toThrow(
      'train: the model is training already: a run of 5 steps',
    );
    expect(() => requireNotTraining(set, 'dispose: the adapter "a"')).toThrow(
      'dispose: the adapter "a" is being trained: a run of 5 steps',
    );
    expect(() => requireIdleEngine(engine, 'dispose')).toThrow(
      'dispose: a run is training on this engine: a run of 5 steps',
    );
    expect(() => requireOwnCall(set, {}, 'optimizerStep')).toThrow(TrainingError);
    expect(() => requireOwnCall(set, {}, 'optimizerStep')).toThrow(
      'optimizerStep: a run is training these parameters: a run of 5 steps',
    );
    const hint = /(Its parameters belong to that run until it ends|Nothing was changed, and the run goes on)/;
    expect(() => ParameterLease.take(engine, set, () => 'another')).toThrow(hint);
    expect(() => requireIdleEngine(engine, 'dispose')).toThrow(hint);
    const own = { learningRate: 1 };
    expect(lease.own(own)).toBe(own);
    requireOwnCall(set, own, 'optimizerStep');

    lease.release();
    requireNotTraining(set, 'dispose');
    requireIdleEngine(engine, 'dispose');
    requireOwnCall(set, {}, 'optimizerStep');
    ParameterLease.take(engine, set, () => 'the next').release();
  });

  it('says nothing of other sets and other engines', () => {
    const [engine, set] = [{}, makeSet()];
    const lease = ParameterLease.take(engine, set, () => 'a run');
    requireNotTraining(makeSet(), 'dispose');
    requireNotTraining(undefined, 'dispose');
    requireIdleEngine({}, 'dispose');
    requireOwnCall(makeSet(), {}, 'optimizerStep');
    // Two runs share an engine: it is at work until both have ended.
    const other = ParameterLease.take(engine, makeSet(), () => 'the other');
    lease.release();
    expect(() => requireIdleEngine(engine, 'dispose')).toThrow('the other');
    other.release();
    requireIdleEngine(engine, 'dispose');
  });

  it('stays with the run that has it when an earlier one is released again', () => {
    const [engine, set] = [{}, makeSet()];
    const first = ParameterLease.take(engine, set, () => 'the first');
    first.release();
    ParameterLease.take(engine, set, () => 'the second');
    first.release();
    expect(() => requireNotTraining(set, 'dispose')).toThrow('the second');
    expect(() => requireIdleEngine(engine, 'dispose')).toThrow('the second');
  });

  it('counts how often it was set from outside', () => {
    const set = makeSet();
    expect(changesOf(set)).toBe(0);
    noteChange(set);
    noteChange(set);
    expect(changesOf(set)).toBe(2);
    expect(changesOf(makeSet())).toBe(0);
  });
});
