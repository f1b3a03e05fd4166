/** The course of a training from its events: those of a loop, or the lines of a file of `jsonLines`. */
import { DataError } from '../errors.js';
import { readRegularFile } from '../files/regular-file.js';
import { isObject } from '../messages/given-kind.js';
import type { EvalEntry, LogEntry, TrainingEvent } from '../train/events.js';
import type { StepEntry, TrainingCourse } from './report-parts.js';

/** A line takes some 200 bytes. */
const MAX_BYTES = 536_870_912;

/** @throws Error if the file cannot be read; DataError if it has no event */
export async function readEvents(path: string): Promise<TrainingEvent[]> {
  const bytes = await readRegularFile(path, MAX_BYTES);
  const events = bytes.toString().split('\n').flatMap(eventOf);
  if (events.length > 0 || bytes.length === 0) return events;
  throw new DataError(`${path} holds no events of a run`, {
    hint: 'Give the file that the callback `jsonLines` wrote.',
    details: { path },
  });
}

/** What a crash cut off is no event. */
function eventOf(line: string): TrainingEvent[] {
  try {
    const event: unknown = line.trim() === '' ? undefined : JSON.parse(line);
    const isEvent = isObject(event) && typeof event['type'] === 'string' && typeof event['step'] === 'number';
    return isEvent ? [event as unknown as TrainingEvent] : [];
  } catch {
    return [];
  }
}

/** Of the last run among them: what came after a resumed checkpoint is replaced by what the resumed run did. */
export function courseOfEvents(events: readonly TrainingEvent[]): TrainingCourse {
  let logs: LogEntry[] = [];
  let evaluations: EvalEntry[] = [];
  let steps: StepEntry[] = [];
  let warnings: { step: number; message: string }[] = [];
  let start: Extract<TrainingEvent, { type: 'start' }> | undefined;
  let stepsDone: number | undefined;
  for (const event of events) {
    if (event.type === 'end') stepsDone = event.step;
    if (event.type === 'log') logs.push(event);
    else if (event.type === 'evaluate') evaluations.push(event);
    else if (event.type === 'warning') warnings.push({ step: event.step, message: String(event.message) });
    else if (event.type === 'step') {
      const { step, loss, gradNorm, learningRate } = event;
      steps.push({ step, loss, gradNorm, learningRate });
    } else if (event.type === 'start') {
      const known = ({ step }: { readonly step: number }): boolean => step <= event.step;
      [logs, evaluations, steps] = [logs.filter(known), evaluations.filter(known), steps.filter(known)];
      // Of a run that began anew none; what a resumed run warned of stays.
      warnings = event.step === 0 ? [] : warnings;
      start = event;
    }
  }
  return {
    logs,
    evaluations,
    steps,
    warnings,
    ...(stepsDone !== undefined && { stepsDone }),
    ...(start && {
      ...(isObject(start.config) && { config: start.config }),
      totalSteps: start.totalSteps,
      samples: start.samples,
      trainableParameters: start.trainableParameters,
    }),
  };
}
