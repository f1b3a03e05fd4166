/** Values of a checkpoint that no run can have written, whatever its digests say: it may have been made by hand. */

import { findIndexInTurns } from '../async/event-loop.js';
import { CheckpointError } from '../errors.js';
import { firstLines } from '../messages/short-list.js';
import type { TrainerState, TrainingTensors } from './checkpoint-state.js';

const MAX_LISTED = 20;

/** What a value of an array must be, by the array's name; arrays of other names are the engine's own business. */
const RULES: Readonly<Record<string, { readonly holds: (value: number) => boolean; readonly what: string }>> = {
  m: { holds: Number.isFinite, what: 'a finite first moment' },
  v: { holds: isMagnitude, what: 'a second moment, which is never negative' },
  scalesM: { holds: isMagnitude, what: 'the scale of a block of first moments, which is never negative' },
  scalesV: { holds: isMagnitude, what: 'the scale of a block of second moments, which is never negative' },
};

/** Squares of enormous gradients may well be infinite; NaN is no magnitude. */
function isMagnitude(value: number): boolean {
  return value >= 0;
}

/** Facts of the run that a state must agree with. */
export interface RunCourse {
  readonly totalSteps: number;
  /** Epochs done after so many steps. */
  epochAfter(steps: number): number;
}

/**
 * @param path of the checkpoint, for the message
 * @throws CheckpointError listing every array and the first value of each that cannot be
 */
export async function checkOptimizer(
  path: string,
  state: TrainerState,
  { parameters, optimizer }: TrainingTensors,
): Promise<void> {
  const faults: string[] = [];
  const { steps, m, v, codesM, codesV } = optimizer;
  const same = (a: string, b: string) => {
    const [left, right] = [optimizer[a], optimizer[b]];
    // Which arrays there must be the engine knows.
    if (!left || !right || left.length === right.length) return;
    faults.push(`${a} has ${left.length} values, ${b} has ${right.length}: expected as many`);
  };
  same('m', 'v');
  same('codesM', 'codesV');
  same('scalesM', 'scalesV');
  const moments = (m?.length ?? 0) + (codesM?.length ?? 0);
  if ((m || v || codesM || codesV) && moments !== parameters.length) {
    faults.push(`there are moments of ${moments} values, expected those of ${parameters.length} parameters`);
  }
  for (const [name, rule] of Object.entries(RULES)) {
    const array = optimizer[name];
    if (!array) continue;
    if (!(array instanceof Float32Array)) {
      faults.push(`${name} holds bytes, expected float32`);
      continue;
    }
    const bad = await findIndexInTurns(array, (value) => !rule.holds(value));
    if (bad >= 0) faults.push(`${name}[${bad}] is ${show(array[bad]!)}, expected ${rule.what}`);
  }
  for (const [name, array] of Object.entries({ codesM, codesV })) {
    if (array && !(array instanceof Uint8Array)) faults.push(`${name} holds float32, expected bytes`);
  }
  if (steps) {
    // A parameter without a gradient sits a step out; none takes more than there were.
    const most = state.globalStep;
    const bad = steps.findIndex((value) => !(Number.isInteger(value) && value >= 0 && value <= most));
    if (bad >= 0) faults.push(`steps[${bad}] is ${show(steps[bad]!)}, expected a whole number from 0 to ${most}`);
  }
  refuse(path, "the optimizer's state holds what no run can write", faults);
}

/**
 * Counts and times of a state against each other and against the run that is to go on.
 * @throws CheckpointError listing all that cannot be
 */
export function checkCourse(path: string, state: TrainerState, run?: RunCourse): void {
  const { globalStep, totalSteps, epoch, metrics, best, logHistory } = state;
  const faults: string[] = [];
  const atMost = (name: string, value: number | undefined, limit: number, limitName: string) => {
    if (value !== undefined && value > limit) faults.push(`${name} is ${value}, beyond ${limitName}, ${limit}`);
  };
  const counted = metrics.totalSteps + metrics.skippedSteps;
  atMost('metrics.totalSteps + metrics.skippedSteps', counted, globalStep, 'globalStep');
  atMost('metrics.stepsSinceLog', metrics.stepsSinceLog, metrics.totalSteps, 'metrics.totalSteps');
  atMost('best.withoutGain', best?.withoutGain, globalStep, 'globalStep');
  atMost('best.best.step', best?.best?.step, globalStep, 'globalStep');
  atMost('best.saved.step', best?.saved?.step, globalStep, 'globalStep');
  let before = 0;
  for (const [i, { step, epoch: at }] of logHistory.entries()) {
    atMost(`logHistory[${i}].step`, step, globalStep, 'globalStep');
    atMost(`logHistory[${i}].epoch`, at, epoch, 'epoch');
    if (step < before) faults.push(`logHistory[${i}].step is ${step}, after one of step ${before}`);
    before = step;
  }
  if (run) {
    if (totalSteps !== run.totalSteps) faults.push(`totalSteps is ${totalSteps}, this run has ${run.totalSteps}`);
    const expected = run.epochAfter(globalStep);
    if (epoch !== expected) faults.push(`epoch is ${epoch}, after step ${globalStep} it is ${expected}`);
  }
  refuse(path, 'its state holds what no run can write', faults);
}

function refuse(path: string, what: string, faults: readonly string[]): void {
  if (faults.length === 0) return;
  const listed = firstLines(faults, MAX_LISTED);
  throw new CheckpointError(`${path}: ${what}:\n  - ${listed.join('\n  - ')}`, {
    hint: 'It was made or changed by something else than a run of this package; resume from another checkpoint.',
    details: { path, faults: listed },
  });
}

function show(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}
