/**
 * Records operations so that they can be run backwards.
 *
 * Memory rule: a tensor lives while something counts on it. The innermost region owns what is made inside it and lets
 * go at its end of everything but the region's result; a recorded operation counts on what it saved until backward
 * has passed it. So the high-water mark is what the operations saved, and a region with `recompute` saves only its
 * inputs: it runs a second time, recorded, when backward reaches it.
 */
import { isTurnDue } from '../async/event-loop.js';
import { EngineError } from '../errors.js';
import type { Engine } from './engine.js';
import type { BlockName, Composition, EntryAttributes, LinearPart, Operation, OperationName } from './operations.js';
import type { Parameter, Tensor } from './tensor.js';

/**
 * A computation that can pause where it yields. Forward yields where a turn of the event loop is due (each yield passes
 * through all that called it), backward after each operation, with what it counts as. One that is given up is ended by
 * `return` and frees what it holds.
 */
export type Steps<T> = Generator<number, T, void>;

interface TapeEntry {
  /** As which it counts between pauses. */
  readonly operations: number;
  readonly inputs: readonly Tensor[];
  readonly needs: readonly boolean[];
  readonly outputs: readonly Tensor[];
  readonly saved: readonly Tensor[];
  /** Those of `saved` that were moved to host memory. */
  readonly offloaded?: readonly Tensor[] | undefined;
  /** Trainable parameters that no entry before it uses: backward adds nothing to their gradients once it has passed it. */
  readonly firstUses: readonly Parameter[];
  backward(
    outputGradients: readonly (Tensor | undefined)[],
  ): readonly (Tensor | undefined)[] | Steps<readonly (Tensor | undefined)[]>;
}

/** Options of a `Tape`. */
export interface TapeOptions {
  /** Save what backward needs; false at inference. Default: true. */
  record?: boolean;
}

/** Options of a region. */
export interface RegionOptions {
  /** Keep only the inputs for backward and run the body again there (gradient checkpointing). Default: false. */
  readonly recompute?: boolean;
  /** Of the inputs of a recomputed region, those to keep in host memory where the engine can. Default: none. */
  readonly offload?: readonly Tensor[];
}

/**
 * Recorded operations between two pauses of a backward pass: some 40 launches on a GPU. A recomputed region is many.
 */
const STRETCH = 16;

/** Hears during backward of parameters to whose gradients nothing more is added. */
export type OnFinal = (parameters: readonly Parameter[]) => void;

/** As how many operations a block counts: those of its composition. */
const OPERATIONS: Readonly<Record<BlockName, number>> = { attentionBlock: 4, gatedBlock: 4 };

/** Runs operations, records those that a gradient flows through, and owns what they make until a region's end. */
export class Tape {
  /** Runs the operations; never disposed by the tape. */
  readonly engine: Engine;
  readonly #record: boolean;
  #entries: TapeEntry[] = [];
  #needsGradient = new Set<number>();
  /** Trainable parameters that were used so far; undefined where nobody will ask. */
  #used: Set<Parameter> | undefined;
  /** Tensors made in each open region, innermost last. */
  readonly #regions: Tensor[][] = [[]];

  constructor(engine: Engine, options: TapeOptions = {}) {
    this.engine = engine;
    this.#record = options.record ?? true;
    this.#used = this.#record ? new Set() : undefined;
  }

  /** Runs one entry of the engine's table without pauses. The tensors belong to the innermost region. */
  apply<K extends OperationName | BlockName>(
    name: K,
    inputs: readonly Tensor[],
    attributes: EntryAttributes[K],
  ): readonly Tensor[] {
    const entry = this.engine.operations[name] as Operation<EntryAttributes[K]> | Composition<EntryAttributes[K]>;
    if ('compose' in entry) return runAtOnce(this.applySteps(name, inputs, attributes));
    return this.#run(entry, name, inputs, attributes);
  }

  /** `apply` that may pause inside a block. */
  *applySteps<K extends OperationName | BlockName>(
    name: K,
    inputs: readonly Tensor[],
    attributes: EntryAttributes[K],
  ): Steps<readonly Tensor[]> {
    const entry = this.engine.operations[name] as Operation<EntryAttributes[K]> | Composition<EntryAttributes[K]>;
    if (!('compose' in entry)) return this.#run(entry, name, inputs, attributes);
    if (this.#record) this.#isRecorded(name, inputs, attributes);
    return yield* entry.compose(this, inputs, attributes);
  }

  #run<K extends OperationName | BlockName>(
    entry: Operation<EntryAttributes[K]>,
    name: K,
    inputs: readonly Tensor[],
    attributes: EntryAttributes[K],
  ): readonly Tensor[] {
    const record = this.#record && this.#isRecorded(name, inputs, attributes);
    const firstUses = this.#used ? this.#noteUses(trainablesOf(name, attributes)) : [];
    const { outputs, saved } = entry.forward(inputs, attributes, record);
    for (const output of outputs) this.own(output);
    if (!record) return outputs;
    const needs = inputs.map((input) => this.#needsGradient.has(input.id));
    for (const tensor of saved) this.engine.retain(tensor);
    for (const output of outputs) this.#needsGradient.add(output.id);
    this.#entries.push({
      operations: OPERATIONS[name as BlockName] ?? 1,
      inputs,
      needs,
      outputs,
      saved,
      firstUses,
      backward: (gradients) => entry.backward(saved, gradients, attributes, needs),
    });
    return outputs;
  }

  /** Of a tape that notes them. @returns those that were not used before */
  #noteUses(parameters: Iterable<Parameter>): Parameter[] {
    const first: Parameter[] = [];
    const used = this.#used!;
    for (const parameter of parameters) {
      if (used.has(parameter)) continue;
      used.add(parameter);
      first.push(parameter);
    }
    return first;
  }

  /** Whether a gradient flows through the operation. @throws EngineError if it would flow through a cache */
  #isRecorded<K extends OperationName | BlockName>(
    name: K,
    inputs: readonly Tensor[],
    attributes: EntryAttributes[K],
  ): boolean {
    const isRecorded = inputs.some((input) => this.#needsGradient.has(input.id)) || hasTrainable(name, attributes);
    if (isRecorded && (attributes as Partial<EntryAttributes['attentionBlock']>).cache) {
      throw new EngineError(`${name}: no gradient flows through a key/value cache`, {
        hint: 'Give the cache to a pass on a tape that does not record.',
      });
    }
    return isRecorded;
  }

  /** Hands a tensor made outside the tape to the innermost region. */
  own(tensor: Tensor): Tensor {
    this.#regions[this.#regions.length - 1]!.push(tensor);
    return tensor;
  }

  /** The innermost region lets go of a tensor of its own before it ends: only what saved it reads it from here on. */
  forget(tensor: Tensor): void {
    const region = this.#regions[this.#regions.length - 1]!;
    const at = region.lastIndexOf(tensor);
    if (at < 0) return;
    region.splice(at, 1);
    this.engine.release(tensor);
  }

  /** Whether a recorded operation, or one that will be recomputed, has this parameter. */
  uses(parameter: Parameter): boolean {
    return this.#used?.has(parameter) ?? false;
  }

  /** Whether a gradient flows back through this tensor. */
  needsGradient(tensor: Tensor): boolean {
    return this.#needsGradient.has(tensor.id);
  }

  /**
   * Runs `body` and frees, at its end, what it made and nobody needs.
   * @param inputs tensors from outside that the body reads and gradients flow to
   */
  region(
    inputs: readonly Tensor[],
    body: (tape: Tape, inputs: readonly Tensor[]) => readonly Tensor[],
    options: RegionOptions = {},
  ): readonly Tensor[] {
    // biome-ignore lint/correctness/useYield: it runs at once
    const steps = function* (tape: Tape, given: readonly Tensor[]): Steps<readonly Tensor[]> {
      return body(tape, given);
    };
    return runAtOnce(this.regionSteps(inputs, steps, options));
  }

  /** `region` for a body that may pause; in backward it pauses as well. */
  *regionSteps(
    inputs: readonly Tensor[],
    body: (tape: Tape, inputs: readonly Tensor[]) => Steps<readonly Tensor[]>,
    options: RegionOptions = {},
  ): Steps<readonly Tensor[]> {
    if (!options.recompute || !this.#record) {
      this.#regions.push([]);
      let kept: readonly Tensor[] = [];
      try {
        kept = yield* body(this, inputs);
        return kept;
      } finally {
        this.#closeRegion(kept);
      }
    }
    const inner = new Tape(this.engine, { record: false });
    inner.#used = new Set();
    const outputs = yield* inner.regionSteps(inputs, body);
    // What was made inside; an output that was handed through has its owner already.
    for (const output of inner.#regions[0]!) this.own(output);
    for (const output of outputs) this.#needsGradient.add(output.id);
    for (const input of inputs) this.engine.retain(input);
    const needs = inputs.map((input) => this.#needsGradient.has(input.id));
    const { engine } = this;
    const backward = function* (gradients: readonly (Tensor | undefined)[]): Steps<readonly (Tensor | undefined)[]> {
      const again = new Tape(engine);
      try {
        for (const [i, input] of inputs.entries()) if (needs[i]) again.#needsGradient.add(input.id);
        const repeated = yield* again.regionSteps(inputs, body);
        const steps = again.#propagate(repeated, gradients, inputs, needs);
        // The region counts as a whole, when it is through.
        for (let next = steps.next(); ; next = steps.next()) {
          if (next.done) return next.value;
          if (isTurnDue()) yield 0;
        }
      } finally {
        again.dispose();
      }
    };
    const { offload: offloaded = [] } = options;
    const firstUses = this.#noteUses(inner.#used);
    this.#entries.push({ operations: STRETCH, inputs, needs, outputs, saved: inputs, offloaded, firstUses, backward });
    for (const tensor of offloaded) engine.moveToHost?.(tensor);
    return outputs;
  }

  /** Adds d loss / d parameter to every parameter's gradient. The tape is empty afterwards. */
  backward(loss: Tensor): void {
    runAtOnce(this.#backwardSteps(loss));
  }

  /**
   * `backward` in stretches of a few operations, with a wait for `pause` after each. Where that throws, the pass is
   * given up.
   * @param onFinal called for the parameters that the tape `uses`, each once
   */
  async backwardInStretches(loss: Tensor, pause: () => Promise<void>, onFinal?: OnFinal): Promise<void> {
    let done = 0;
    for (const operations of this.#backwardSteps(loss, onFinal)) {
      done += operations;
      if (done < STRETCH && !isTurnDue()) continue;
      done = 0;
      await pause();
    }
  }

  *#backwardSteps(loss: Tensor, onFinal?: OnFinal): Steps<void> {
    const one = this.engine.fromArray(Float32Array.of(1), loss.shape);
    try {
      yield* this.#propagate([loss], [one], [], [], onFinal);
    } finally {
      this.engine.release(one);
    }
  }

  /** Frees everything that the tape still holds. */
  dispose(): void {
    for (const entry of this.#entries) for (const tensor of entry.saved) this.engine.release(tensor);
    for (const region of this.#regions) for (const tensor of region) this.engine.release(tensor);
    this.#entries = [];
    this.#regions.splice(0, this.#regions.length, []);
    this.#needsGradient.clear();
    this.#used?.clear();
  }

  /** Ends the innermost region, which keeps these alone: they belong to the one around it. */
  #closeRegion(kept: readonly Tensor[]): void {
    const made = this.#regions.pop()!;
    const outer = this.#regions[this.#regions.length - 1]!;
    const keep = new Set(kept);
    for (const tensor of made) {
      if (keep.has(tensor)) outer.push(tensor);
      else this.engine.release(tensor);
    }
  }

  /**
   * Runs the entries backwards from the gradients of `outputs`, one at each step; gives the gradients of `inputs`, and
   * empties the tape, also where it is given up.
   */
  *#propagate(
    outputs: readonly Tensor[],
    outputGradients: readonly (Tensor | undefined)[],
    inputs: readonly Tensor[],
    needs: readonly boolean[],
    onFinal?: OnFinal,
  ): Steps<(Tensor | undefined)[]> {
    const engine = this.engine;
    const gradients = new Map<number, Tensor>();
    // The caller may hold the same tensor elsewhere: it is never added to in place.
    const borrowed = new Set<number>();
    const add = (target: Tensor, gradient: Tensor): void => {
      const present = gradients.get(target.id);
      if (!present) {
        gradients.set(target.id, gradient);
        return;
      }
      let holders = 0;
      for (const other of gradients.values()) if (other.id === present.id) holders++;
      if (holders > 1 || borrowed.has(present.id)) {
        gradients.set(target.id, engine.operations.add.forward([present, gradient], {}, false).outputs[0]!);
        engine.release(present);
      } else {
        engine.addInPlace(present, gradient);
      }
      engine.release(gradient);
    };
    try {
      for (const [i, gradient] of outputGradients.entries()) {
        if (!gradient) continue;
        engine.retain(gradient);
        borrowed.add(gradient.id);
        add(outputs[i]!, gradient);
      }
      while (this.#entries.length > 0) {
        const entry = this.#entries.pop()!;
        try {
          // Copied back while this entry is computed.
          for (const tensor of this.#entries.at(-1)?.offloaded ?? []) engine.prefetch?.(tensor);
          const incoming = entry.outputs.map((output) => gradients.get(output.id));
          if (incoming.some((gradient) => gradient !== undefined)) {
            const made = entry.backward(incoming);
            const results = isSteps(made) ? yield* made : made;
            for (const output of entry.outputs) {
              const used = gradients.get(output.id);
              if (used && !inputs.includes(output)) {
                gradients.delete(output.id);
                engine.release(used);
              }
            }
            for (const [i, gradient] of results.entries()) if (gradient) add(entry.inputs[i]!, gradient);
          }
        } finally {
          for (const tensor of entry.saved) engine.release(tensor);
        }
        if (onFinal && entry.firstUses.length > 0) onFinal(entry.firstUses);
        yield entry.operations;
      }
      return inputs.map((input, i) => {
        const gradient = needs[i] ? gradients.get(input.id) : undefined;
        if (gradient) gradients.delete(input.id);
        return gradient;
      });
    } finally {
      for (const gradient of gradients.values()) engine.release(gradient);
      this.dispose();
    }
  }
}

/** Runs a computation without pauses. */
export function runAtOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

function isSteps<T>(made: T | Steps<T>): made is Steps<T> {
  return typeof (made as Partial<Steps<T>>).next === 'function';
}

/** Whether an entry holds trainable parameters of its own. */
function hasTrainable<K extends OperationName | BlockName>(name: K, attributes: EntryAttributes[K]): boolean {
  return linearParts(name, attributes).some((part) => part.lora !== undefined);
}

/** The trainable parameters of an entry. */
function trainablesOf<K extends OperationName | BlockName>(name: K, attributes: EntryAttributes[K]): Parameter[] {
  return linearParts(name, attributes).flatMap(({ lora }) => (lora ? [lora.a, lora.b] : []));
}

function linearParts<K extends OperationName | BlockName>(
  name: K,
  attributes: EntryAttributes[K],
): readonly LinearPart[] {
  if (name === 'linear') return (attributes as EntryAttributes['linear']).parts;
  if (name === 'attentionBlock') return (attributes as EntryAttributes['attentionBlock']).projections;
  if (name !== 'gatedBlock') return [];
  const { gateUp, down } = attributes as EntryAttributes['gatedBlock'];
  return [...gateUp, down];
}
