/**
 * One run at a time trains a set of parameters. While it does, gradients of others and the end of what it works on are
 * refused before anything is changed, and changes of the values are counted.
 */
import { TrainingError } from '../errors.js';
import type { ParameterSet } from './tensor.js';

const leases = new WeakMap<ParameterSet, ParameterLease>();
/** By engine. */
const atWork = new WeakMap<object, Set<ParameterLease>>();
const changes = new WeakMap<ParameterSet, number>();

export class ParameterLease {
  readonly #engine: object;
  readonly #set: ParameterSet;
  readonly #calls = new WeakSet<object>();
  /** What trains the parameters, for messages. */
  readonly describe: () => string;

  private constructor(engine: object, set: ParameterSet, describe: () => string) {
    this.#engine = engine;
    this.#set = set;
    this.describe = describe;
  }

  /** @throws TrainingError naming what trains the parameters already */
  static take(engine: object, set: ParameterSet, describe: () => string): ParameterLease {
    const present = leases.get(set);
    if (present) {
      throw new TrainingError(`train: the model is training already: ${present.describe()}`, {
        hint: 'Its parameters belong to that run until it ends: await it first, or abort it by its signal.',
      });
    }
    const lease = new ParameterLease(engine, set, describe);
    leases.set(set, lease);
    const others = atWork.get(engine) ?? new Set();
    atWork.set(engine, others.add(lease));
    return lease;
  }

  /** Makes a call of `optimizerStep` known as the run's own, by its options. */
  own<T extends object>(options: T): T {
    this.#calls.add(options);
    return options;
  }

  isOwn(options: object): boolean {
    return this.#calls.has(options);
  }

  release(): void {
    if (leases.get(this.#set) === this) leases.delete(this.#set);
    atWork.get(this.#engine)?.delete(this);
  }
}

/**
 * @param what who refuses and whose parameters they are: `dispose: the adapter "a"`
 * @throws TrainingError if a run trains the parameters; nothing is changed then
 */
export function requireNotTraining(set: ParameterSet | undefined, what: string): void {
  const lease = set && leases.get(set);
  if (lease) throw refusal(`${what} is being trained`, lease);
}

/** @throws TrainingError if a run trains parameters of the engine; nothing is changed then */
export function requireIdleEngine(engine: object, what: string): void {
  const [lease] = atWork.get(engine) ?? [];
  if (lease) throw refusal(`${what}: a run is training on this engine`, lease);
}

/** @throws TrainingError if a run trains the parameters and the call is not the run's own */
export function requireOwnCall(set: ParameterSet, options: object, what: string): void {
  const lease = leases.get(set);
  if (lease && !lease.isOwn(options)) throw refusal(`${what}: a run is training these parameters`, lease);
}

/** For engines: values or gradients of a set were set from outside of a pass. */
export function noteChange(set: ParameterSet): void {
  changes.set(set, changesOf(set) + 1);
}

/** How often values or gradients of a set were set from outside of a pass. */
export function changesOf(set: ParameterSet): number {
  return changes.get(set) ?? 0;
}

function refusal(what: string, lease: ParameterLease): TrainingError {
  return new TrainingError(`${what}: ${lease.describe()}`, {
    hint: 'Nothing was changed, and the run goes on. Do this after it: await it first, or abort it by its signal.',
  });
}
