/**
 * A computation on an engine. It pauses for the event loop, so that aborts, signals and timers are heard; the engine is
 * its own until it ends, so that other computations wait and give the same results as alone.
 */
import { eventLoopTurn } from '../async/event-loop.js';
import { orAborted } from '../async/or-aborted.js';
import type { Engine } from './engine.js';
import { type OnFinal, type Steps, Tape } from './tape.js';
import type { ParameterSet, Tensor } from './tensor.js';

interface ComputationOptions {
  /** Looked at in each pause; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the tapes record. Default false. */
  readonly record?: boolean | undefined;
  /** Called at the beginning and after each pause: throws if what is computed with is gone. */
  readonly requireParts?: (() => void) | undefined;
}

/** Who hears during backward which gradients of a set are final. */
interface GradientListener {
  readonly set: ParameterSet;
  final(parameterNames: readonly string[]): void;
}

/** By engine: settles when the last computation that runs or waits there has ended. */
const ends = new WeakMap<Engine, Promise<void>>();

/**
 * Runs `body` alone on the engine, after those that came before it. It must not wait for another computation there.
 * @throws the signal's reason, also while it waits
 */
export async function exclusively<T>(
  engine: Engine,
  signal: AbortSignal | undefined,
  body: () => T | Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const before = ends.get(engine);
  let end!: () => void;
  const own = new Promise<void>((resolve) => {
    end = resolve;
  });
  const last = before ? before.then(() => own) : own;
  ends.set(engine, last);
  try {
    if (before) await orAborted(before, signal);
    return await body();
  } finally {
    end();
    if (ends.get(engine) === last) ends.delete(engine);
  }
}

/** A pass, with a tape of its own that is empty at its end. Inside of `exclusively`. */
export async function runPass(
  engine: Engine,
  options: ComputationOptions,
  body: (pass: Pass) => Promise<void>,
): Promise<void> {
  const pass = new Pass(engine, options);
  try {
    pass.requireParts();
    await body(pass);
    pass.tape.dispose();
  } catch (error) {
    pass.abandon();
    throw error;
  }
}

/**
 * Runs a pass without gradients, alone on the engine.
 * @param read reads from the result. Default: all values
 */
export async function infer<T = Float32Array>(
  engine: Engine,
  options: ComputationOptions,
  body: (tape: Tape) => Steps<Tensor>,
  read: (result: Tensor) => Promise<T> = (result) => engine.read(result) as Promise<T>,
): Promise<T> {
  const result = await exclusively(engine, options.signal, async () => {
    await engine.whenFree?.();
    const pass = new Pass(engine, options);
    const steps = body(pass.tape);
    try {
      pass.requireParts();
      let next = steps.next();
      for (; !next.done; next = steps.next()) await pass.pause();
      engine.retain(next.value);
      pass.tape.dispose();
      return next.value;
    } catch (error) {
      pass.abandon(steps);
      throw error;
    }
  });
  // Whoever waits for the engine may queue work while this comes from the device.
  try {
    return await read(result);
  } finally {
    engine.release(result);
  }
}

class Pass {
  readonly tape: Tape;
  readonly #engine: Engine;
  readonly #options: ComputationOptions;

  constructor(engine: Engine, options: ComputationOptions) {
    this.#engine = engine;
    this.#options = options;
    this.tape = new Tape(engine, { record: options.record ?? false });
  }

  /** @throws the signal's reason, or what says that a part is gone */
  requireParts(): void {
    this.#options.signal?.throwIfAborted();
    this.#options.requireParts?.();
  }

  /** Runs the steps to their end, with a pause at each yield. */
  async run<T>(steps: Steps<T>): Promise<T> {
    try {
      let next = steps.next();
      for (; !next.done; next = steps.next()) await this.pause();
      return next.value;
    } catch (error) {
      this.abandon(steps);
      throw error;
    }
  }

  /**
   * Adds d loss / d parameter to every parameter's gradient.
   * @param finals hears, each name of the set once, as soon as nothing more is added to a gradient: first of the
   *   parameters that the pass does not use
   */
  async backward(loss: Tensor, finals?: GradientListener): Promise<void> {
    const pause = () => this.pause();
    if (!finals) return this.tape.backwardInStretches(loss, pause);
    const { set } = finals;
    const own = new Set(set.parameters);
    const tell: OnFinal = (parameters) => {
      const names = parameters.filter((parameter) => own.has(parameter)).map(({ name }) => name);
      if (names.length > 0) finals.final(names);
    };
    tell(set.parameters.filter((parameter) => !this.tape.uses(parameter)));
    await this.tape.backwardInStretches(loss, pause, tell);
  }

  /** Lets the loader's threads deliver and signals arrive: engines block while they compute, or while they queue. */
  async pause(): Promise<void> {
    await this.#engine.keepPace?.();
    await eventLoopTurn();
    this.requireParts();
  }

  /** Frees what the steps hold, and what the tape does. */
  abandon(steps?: Steps<unknown>): void {
    try {
      steps?.return(undefined);
      this.tape.dispose();
    } catch {
      // The engine may be disposed already; the first error counts.
    }
  }
}
