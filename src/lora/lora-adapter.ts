/** An adapter on a model: its parameters, and whether the layers compute with them. */

import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import type { ImageProcessor } from '../data/image-processor.js';
import { requireNotTraining } from '../engine/parameter-lease.js';
import type { Parameter, ParameterSet } from '../engine/tensor.js';
import { ConfigError } from '../errors.js';
import type { LinearModule, LoraWeights } from '../model/linear-module.js';
import { modelPart } from '../model/tensor-names.js';
import type { LoraConfig } from './lora-config.js';
import { describeValue, type LoraEngine, type LoraHost } from './lora-host.js';

/** An adapted layer. */
export interface LoraModule {
  /** The layer; its `lora` holds the same A and B while the adapter is active and on. */
  readonly module: LinearModule;
  /** [r, in] */
  readonly a: Parameter;
  /** [out, r] */
  readonly b: Parameter;
  /** Rank of this layer. */
  readonly r: number;
  /** That of this layer; `module.lora.scale` is what it makes. */
  readonly alpha: number;
}

/** What an adapter's files say beside its values. */
export interface AdapterOrigin {
  /** `base_model_name_or_path`: the model that it was trained on. */
  readonly baseModelNameOrPath?: string | undefined;
  /** `revision` of that model. */
  readonly revision?: string | undefined;
  /** Source of the chat template beside the files (Jinja). */
  readonly chatTemplate?: string | undefined;
  /** How images were resized in its training, where that is written beside the files. */
  readonly imageProcessor?: ImageProcessor | undefined;
}

/** The adapters of a model, of which its layers compute with one. */
interface AdapterHolder {
  readonly active: LoraAdapter | undefined;
  /** Brings the layers and what is trained up to date. */
  update(): void;
  remove(adapter: LoraAdapter): void;
}

type LoraAdapterParts = Pick<
  LoraAdapter,
  'name' | 'config' | 'model' | 'parameters' | 'modules' | 'warnings' | 'origin'
> & {
  readonly slots: AdapterHolder;
  readonly weights: readonly LoraWeights[];
};

/** An adapter that sits on a model. */
export class LoraAdapter {
  /** Its name among the adapters of the model. */
  readonly name: string;
  /** As it was applied, every default filled in. */
  readonly config: LoraConfig;
  /** That of the model: keeps the parameters. */
  readonly engine: LoraEngine;
  /** All A and B; each parameter's name is its key in a PEFT file. */
  readonly parameters: ParameterSet;
  /** Adapted layers in the model's order; the parameters are A and B of each in turn. */
  readonly modules: readonly LoraModule[];
  /** Rules that had no effect, each given to `onWarning`; and what to know before it is served, which pushToHub reports. */
  readonly warnings: readonly string[];
  /** What its files said beside the values: base model, chat template. Empty for one that was made here. */
  readonly origin: AdapterOrigin;
  /** The model that it sits on. */
  readonly model: LoraHost;
  readonly #slots: AdapterHolder;
  readonly #weights: readonly LoraWeights[];
  #isOff = false;
  /** Calls of `withDisabled` that have not ended. */
  #holds = 0;
  #isDisposed = false;

  constructor(parts: LoraAdapterParts) {
    this.name = parts.name;
    this.config = parts.config;
    this.model = parts.model;
    this.engine = parts.model.engine;
    this.parameters = parts.parameters;
    this.modules = parts.modules;
    this.warnings = parts.warnings;
    this.origin = parts.origin;
    this.#slots = parts.slots;
    this.#weights = parts.weights;
  }

  /** One line for the log: how many layers of which part are adapted, and how many parameters are trained. */
  get description(): string {
    const counts = new Map<string, number>();
    for (const { module } of this.modules) {
      const part = modelPart(module.name);
      counts.set(part, (counts.get(part) ?? 0) + 1);
    }
    const parts = [...counts].map(([part, count]) => `${count} ${part}`).join(', ');
    const endings = [...new Set(this.modules.map(({ module }) => module.name.split('.').at(-1)))].join(', ');
    const count = this.parameters.size.toLocaleString('en-US');
    return `LoRA on ${this.modules.length} linear layers (${parts}: ${endings}), ${count} trainable parameters`;
  }

  /** Whether it is the model's active adapter: the one that layers compute with, unless it is switched off. */
  get isActive(): boolean {
    return this.#slots.active === this;
  }

  /** Whether it is not switched off; of an adapter that is not active, whether it will be on when it becomes so. */
  get isEnabled(): boolean {
    return !this.#isDisposed && !this.#isOff && this.#holds === 0;
  }

  /** Whether `dispose` was called. */
  get isDisposed(): boolean {
    return this.#isDisposed;
  }

  /** A copy of all values, by parameter name. */
  async readValues(): Promise<Map<string, Float32Array>> {
    this.requireLive('readValues');
    const flat = await this.engine.readParameters(this.parameters);
    const values = new Map<string, Float32Array>();
    for (const { name, offset, size } of this.parameters.parameters) {
      if (isTurnDue()) await eventLoopTurn();
      values.set(name, flat.slice(offset, offset + size));
    }
    return values;
  }

  /**
   * Switches it off: the model computes as its base alone, and has nothing to train. Values and memory stay. PEFT:
   * `disable_adapter_layers`. @throws ConfigError if it is disposed of
   */
  disable(): void {
    this.requireLive('disable');
    this.#isOff = true;
    this.#slots.update();
  }

  /** Switches it on again; does nothing if it is on. PEFT: `enable_adapter_layers`. @throws as `disable` */
  enable(): void {
    this.requireLive('enable');
    this.#isOff = false;
    this.#slots.update();
  }

  /**
   * Switches it off as long as `work` takes, also where that fails; PEFT: `with model.disable_adapter()`. Calls may
   * overlap: it is on again after the last.
   * @returns what `work` returns
   * @throws ConfigError if it is disposed of, or `work` is no function
   */
  async withDisabled<T>(work: () => T | Promise<T>): Promise<T> {
    this.requireLive('withDisabled');
    if (typeof work !== 'function') {
      throw new ConfigError(`withDisabled: expected a function to run meanwhile, got ${describeValue(work)}`, {
        hint: 'e.g. await adapter.withDisabled(() => model.lastLogits(batch)).',
      });
    }
    this.#holds++;
    this.#slots.update();
    try {
      return await work();
    } finally {
      this.#holds--;
      this.#slots.update();
    }
  }

  /**
   * Takes the adapter off the model and frees its memory; no other becomes active. May be called twice.
   * @throws TrainingError while a run trains it
   */
  dispose(): void {
    if (this.#isDisposed) return;
    requireNotTraining(this.parameters, `dispose: the adapter "${this.name}"`);
    this.#isDisposed = true;
    this.#slots.remove(this);
    // Whoever computes with them still, in pauses for the event loop, learns so.
    for (const weights of this.#weights) weights.isReleased = true;
    // The model's own engine has freed everything.
    if (this.model.isDisposed && this.model.ownsEngine) return;
    this.engine.releaseParameters(this.parameters);
  }

  /** Puts A and B into the layers, or takes them out. For the model's slots. */
  attach(isOn: boolean): void {
    for (const [i, { module }] of this.modules.entries()) module.lora = isOn ? this.#weights[i] : undefined;
  }

  /** @throws ConfigError if it is disposed of */
  requireLive(what: string): void {
    if (!this.#isDisposed) return;
    throw new ConfigError(`${what}: the adapter "${this.name}" is disposed of: its values are gone`, {
      hint: 'Save it before dispose(), and load it with loadAdapter.',
    });
  }
}

/** @throws ConfigError for what is no adapter, and for one that is disposed of */
export function requireAdapter(adapter: unknown, what: string, call: string): asserts adapter is LoraAdapter {
  if (adapter instanceof LoraAdapter) {
    adapter.requireLive(what);
    return;
  }
  const expected = `${what}: expected the adapter that applyLora or loadAdapter returned`;
  if (Array.isArray((adapter as LoraHost | undefined)?.linearModules)) {
    throw new ConfigError(`${expected}, got the model`, {
      hint: `const adapter = applyLora(model, config); … ${call}; the weights of the model itself are not trained.`,
    });
  }
  throw new ConfigError(`${expected}, got ${describeValue(adapter)}`, { hint: `e.g. ${call}.` });
}
