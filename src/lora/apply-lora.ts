/** Puts an adapter onto a model: chooses modules, makes A and B, and hangs them into the linear layers. */
import type { Engine } from '../engine/engine.js';
import { roundToDtype } from '../engine/half-precision.js';
import { counterHash, MersenneTwister } from '../engine/random.js';
import type { Parameter, ParameterSet } from '../engine/tensor.js';
import { ConfigError } from '../errors.js';
import type { LinearModule } from '../model/linear-module.js';
import { adapterTensorName, modelPart } from '../model/tensor-names.js';
import { showValue } from '../show-value.js';
import { LoraConfig, type LoraConfigOptions } from './lora-config.js';
import { matchingPattern, selectTargetModules } from './target-modules.js';

/** What an adapter needs of an engine. */
export type LoraEngine = Pick<Engine, 'createParameters' | 'readParameters' | 'writeParameters' | 'releaseParameters'>;

/** What an adapter needs of a model. */
export interface LoraHost {
  /** Keeps A and B: the engine that the weights are on. */
  readonly engine: LoraEngine;
  /** Every linear layer of both towers and the projector. */
  readonly linearModules: readonly LinearModule[];
  /** Told what there is to train when an adapter comes or goes. */
  setTrainable?(set: ParameterSet | undefined): void;
}

/** @throws ConfigError */
export function requireLoraHost(model: unknown, what: string): void {
  if (Array.isArray((model as LoraHost | undefined)?.linearModules)) return;
  const given = model instanceof Promise ? 'a promise: await it' : showValue(model);
  throw new ConfigError(`${what}: expected a model, as loadMinistral3 and fromPretrained give it, got ${given}`);
}

/** An adapted layer. */
export interface LoraModule {
  /** The layer; its `lora` holds the same A and B. */
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

/** How A and B start. */
export interface ApplyLoraOptions {
  /** Seed of A's random start. Default 42. The draw is this package's own, not torch's. */
  readonly seed?: number;
  /** Values instead of a random start, by parameter name; all of them or none. */
  readonly values?: ReadonlyMap<string, Float32Array>;
}

/** An adapter that sits on a model. */
export class LoraAdapter {
  /** As it was applied, every default filled in. */
  readonly config: LoraConfig;
  /** That of the model: keeps the parameters. */
  readonly engine: LoraEngine;
  /** All A and B; each parameter's name is its key in a PEFT file. */
  readonly parameters: ParameterSet;
  /** Adapted layers in the model's order; the parameters are A and B of each in turn. */
  readonly modules: readonly LoraModule[];
  /** Rules that had no effect, and choices that need care later; to be shown once. */
  readonly warnings: readonly string[];
  readonly #model: LoraHost;
  #disposed = false;

  constructor(
    config: LoraConfig,
    model: LoraHost,
    parameters: ParameterSet,
    modules: readonly LoraModule[],
    warnings: readonly string[],
  ) {
    this.config = config;
    this.#model = model;
    this.engine = model.engine;
    this.parameters = parameters;
    this.modules = modules;
    this.warnings = warnings;
  }

  /** One line for the log: how many layers of which part are adapted, and how many numbers are trained. */
  get description(): string {
    const counts = new Map<string, number>();
    for (const { module } of this.modules) {
      const part = modelPart(module.name);
      counts.set(part, (counts.get(part) ?? 0) + 1);
    }
    const parts = [...counts].map(([part, count]) => `${count} ${part}`).join(', ');
    const endings = [...new Set(this.modules.map(({ module }) => module.name.split('.').at(-1)))].join(', ');
    const numbers = this.parameters.size.toLocaleString('en-US');
    return `LoRA on ${this.modules.length} linear layers (${parts}: ${endings}), ${numbers} trainable numbers`;
  }

  /** A copy of all values, by parameter name. */
  async readValues(): Promise<Map<string, Float32Array>> {
    const flat = await this.engine.readParameters(this.parameters);
    return new Map(
      this.parameters.parameters.map(({ name, offset, size }) => [name, flat.slice(offset, offset + size)]),
    );
  }

  /** Takes the adapter off the model and frees its memory. May be called twice. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { module } of this.modules) module.lora = undefined;
    this.#model.setTrainable?.(undefined);
    this.engine.releaseParameters(this.parameters);
  }
}

/**
 * Adds LoRA to the linear layers that the configuration names. A starts uniform in ±1/√in (kaiming_uniform with
 * a = √5, as PEFT) or normal, rounded to the dtype of the layer's weight as PEFT's is; B starts at zero, so the model
 * computes what it did before. Each module draws from its own stream, made of seed and name: a change of targets does
 * not change the start of the others.
 * @throws ConfigError if no layer matches, if the model has an adapter already, or if `values` do not fit
 */
export function applyLora(
  model: LoraHost,
  config: LoraConfig | LoraConfigOptions,
  options: ApplyLoraOptions = {},
): LoraAdapter {
  requireLoraHost(model, 'applyLora');
  const { seed = 42, values } = options;
  const lora = config instanceof LoraConfig ? config : new LoraConfig(config);
  const byName = new Map(model.linearModules.map((module) => [module.name, module]));
  const selection = selectTargetModules([...byName.keys()], lora);
  const chosen = selection.matched.map((name) => byName.get(name)!);

  const adapted = model.linearModules.filter((module) => module.lora);
  if (adapted.length > 0) {
    throw new ConfigError(`the model has an adapter already, on ${adapted.length} layers`, {
      hint: 'Call dispose() on that adapter first, or load the model anew.',
    });
  }

  const specs = chosen.flatMap((module) => {
    const { r } = lora.forModule(module.name);
    const [out, inner] = module.weight.shape as readonly [number, number];
    const a = { name: adapterTensorName(module.name, 'A'), shape: [r, inner] };
    const b = { name: adapterTensorName(module.name, 'B'), shape: [out, r] };
    if (values) return [a, b].map((spec) => ({ ...spec, initial: givenValue(values, spec) }));
    return [
      { ...a, initial: initialA(module, r, lora.initLoraWeights, seed) },
      { ...b, initial: new Float32Array(out * r) },
    ];
  });
  if (values && values.size !== specs.length) {
    const known = new Set(specs.map(({ name }) => name));
    const extra = [...values.keys()].filter((name) => !known.has(name));
    throw new ConfigError(`values for parameters that the configuration does not make: ${extra.join(', ')}`);
  }

  const parameters = model.engine.createParameters(specs);
  const modules = chosen.map((module, i): LoraModule => {
    const { r, alpha, scale } = lora.forModule(module.name);
    const [a, b] = [parameters.parameters[2 * i]!, parameters.parameters[2 * i + 1]!];
    module.lora = { a, b, scale, dropout: lora.dropout };
    return { module, a, b, r, alpha };
  });
  model.setTrainable?.(parameters);
  return new LoraAdapter(lora, model, parameters, modules, [
    ...selection.warnings,
    ...unusedPatterns(lora, selection.matched),
  ]);
}

function givenValue(
  values: ReadonlyMap<string, Float32Array>,
  { name, shape }: { name: string; shape: readonly number[] },
): Float32Array {
  const value = values.get(name);
  const size = shape[0]! * shape[1]!;
  if (value?.length === size) return value;
  throw new ConfigError(`values: "${name}" [${shape}] needs ${size} numbers, got ${value ? value.length : 'none'}`);
}

function initialA(module: LinearModule, r: number, init: LoraConfig['initLoraWeights'], seed: number): Float32Array {
  const inner = module.weight.shape[1]!;
  const generator = new MersenneTwister(counterHash(seed, hashName(module.name)));
  const values = new Float32Array(r * inner);
  const bound = 1 / Math.sqrt(inner);
  for (let i = 0; i < values.length; i++) {
    values[i] = init === 'gaussian' ? generator.nextNormal() / r : (2 * generator.nextFloat() - 1) * bound;
  }
  return roundToDtype(values, module.weight.dtype);
}

/** FNV-1a, 32 bits. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

function unusedPatterns(config: LoraConfig, names: readonly string[]): string[] {
  return (['rankPattern', 'alphaPattern'] as const).flatMap((option) => {
    const keys = Object.keys(config[option]);
    const used = new Set(names.map((name) => matchingPattern(keys, name)));
    const unused = keys.filter((key) => !used.has(key));
    return unused.length > 0 ? [`${option}: no adapted layer takes its value from ${unused.join(', ')}`] : [];
  });
}
