/** Which settings a learning-rate schedule takes: names, ranges, and what to say of others. */
import { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch } from '../config.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';
import { LR_SCHEDULER_TYPES, type LrSchedule, type LrSchedulerKwargs, type LrSchedulerType } from './schedule.js';

const schemas = lazySchema(() => {
  const number = z.number('a number');
  const share = number.min(0, 'a share of `learningRate`, 0 to 1').max(1, 'a share of `learningRate`, 0 to 1');
  const steps = z.int('a whole number of steps');
  const cycles = number.positive('above 0');
  const ramp = z.enum(['linear', 'cosine', '1-sqrt'], 'one of "linear", "cosine", "1-sqrt"');

  const minLr = {
    numCycles: cycles.optional(),
    minLr: number.nonnegative('a learning rate, not below 0').optional(),
    minLrRate: share.optional(),
  };

  return {
    linear: z.strictObject({}),
    cosine: z.strictObject({ numCycles: cycles.optional() }),
    cosine_with_restarts: z.strictObject({
      numCycles: z.int('a whole number of cycles').positive('a whole number of cycles, at least 1').optional(),
    }),
    polynomial: z.strictObject({
      lrEnd: number.nonnegative('a learning rate, not below 0').optional(),
      power: number.positive('above 0').optional(),
    }),
    constant: z.strictObject({}),
    constant_with_warmup: z.strictObject({}),
    inverse_sqrt: z.strictObject({ timescale: number.positive('a number of steps, above 0').optional() }),
    cosine_with_min_lr: z.strictObject(minLr),
    cosine_warmup_with_min_lr: z.strictObject({ ...minLr, warmupLrRate: share.optional() }),
    warmup_stable_decay: z.strictObject({
      numDecaySteps: steps.positive('a whole number of steps, at least 1'),
      numStableSteps: steps.nonnegative('a whole number of steps').optional(),
      minLrRatio: share.optional(),
      warmupType: ramp.optional(),
      decayType: ramp.optional(),
      numCycles: cycles.optional(),
    }),
  } satisfies { readonly [T in LrSchedulerType]: z.ZodType<LrSchedulerKwargs[T]> & { shape: object } };
});
type WithSettings = Exclude<LrSchedulerType, 'linear' | 'constant' | 'constant_with_warmup'>;
type _Kwargs = NoMismatch<
  { [T in WithSettings]: Mismatch<z.input<ReturnType<typeof schemas>[T]>, LrSchedulerKwargs[T]> }[WithSettings]
>;

/** What is wrong with the name of a schedule; undefined where the general message will do. */
export function scheduleNameFault(name: unknown): string | undefined {
  if (typeof name !== 'string') return undefined;
  if (name === 'reduce_lr_on_plateau' || name === 'greedy') {
    return `"${name}", which steers by results, is not offered; known: ${LR_SCHEDULER_TYPES.join(', ')}`;
  }
  const near = name === 'wsd' ? 'warmup_stable_decay' : nearestName(name, LR_SCHEDULER_TYPES);
  const known = near ? `did you mean "${near}"?` : `known: ${LR_SCHEDULER_TYPES.join(', ')}`;
  return `there is no schedule ${showValue(name)}; ${known}`;
}

/** The options of a configuration that a schedule depends on. */
interface ScheduleOptions {
  readonly lrSchedulerType: LrSchedulerType;
  readonly lrSchedulerKwargs?: object | undefined;
  readonly learningRate: number;
}

interface ScheduleFault {
  readonly path: readonly string[];
  readonly message: string;
}

export function scheduleFaults({ lrSchedulerType, lrSchedulerKwargs, learningRate }: ScheduleOptions): ScheduleFault[] {
  const given = { ...lrSchedulerKwargs } as Readonly<Record<string, unknown>>;
  const known = Object.keys(schemas()[lrSchedulerType].shape);
  const at = (name: string, message: string): ScheduleFault => ({ path: ['lrSchedulerKwargs', name], message });
  const unknown = Object.keys(given).filter((name) => !known.includes(name));
  const faults = unknown.map((name) => at(name, unknownSetting(name, lrSchedulerType, known)));
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => known.includes(name)));
  const { error } = schemas()[lrSchedulerType].safeParse(own);
  for (const issue of error?.issues ?? []) {
    const name = String(issue.path[0]);
    const came = own[name];
    if (came !== undefined) faults.push(at(name, `${issue.message}, got ${showValue(came)}`));
    else faults.push(missing(`"${lrSchedulerType}" needs \`${name}\`: ${issue.message}`));
  }
  if (faults.length > 0) return faults;

  const { minLr, minLrRate, lrEnd = 1e-7 } = own as Partial<Record<string, number>>;
  if (known.includes('minLr')) {
    const both = 'one of `minLr` (a learning rate) and `minLrRate` (a share of `learningRate`)';
    if (minLr === undefined && minLrRate === undefined) faults.push(missing(`"${lrSchedulerType}" needs ${both}`));
    if (minLr !== undefined && minLrRate !== undefined) faults.push(at('minLrRate', `given beside \`minLr\`: ${both}`));
    // Half a wave that rises instead of falling is nobody's wish.
    if (minLr !== undefined && learningRate === 0) {
      faults.push(at('minLr', 'has no meaning with a `learningRate` of 0; write `minLrRate`'));
    } else if (minLr !== undefined && minLr > learningRate) {
      faults.push(at('minLr', `${minLr} is above \`learningRate\`, which is ${learningRate}`));
    }
  }
  if (lrSchedulerType === 'polynomial' && !(lrEnd < learningRate)) {
    const from = own.lrEnd === undefined ? ', its default,' : '';
    faults.push(at('lrEnd', `${lrEnd}${from} must be below \`learningRate\`, which is ${learningRate}`));
  }
  return faults;
}

function missing(message: string): ScheduleFault {
  return { path: ['lrSchedulerKwargs'], message };
}

function unknownSetting(name: string, type: LrSchedulerType, known: readonly string[]): string {
  const near = nearestName(name, known);
  if (near) return `unknown setting of "${type}"; did you mean \`${near}\`?`;
  const camel = name.replace(/_+(\w)/g, (_, letter: string) => letter.toUpperCase());
  const others = LR_SCHEDULER_TYPES.filter((other) => camel in schemas()[other].shape);
  const has = known.length === 0 ? 'which has no settings' : `which has ${known.join(', ')}`;
  const of = others.length > 0 ? `; it is one of ${others.map((other) => `"${other}"`).join(', ')}` : '';
  return `unknown setting of "${type}", ${has}${of}`;
}

/** The schedule of a configuration without faults. */
export function scheduleOf({ lrSchedulerType, lrSchedulerKwargs }: ScheduleOptions): LrSchedule {
  return { lrSchedulerType, lrSchedulerKwargs } as LrSchedule;
}
