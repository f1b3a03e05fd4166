/** Puts an adapter onto a model: chooses modules, makes A and B, and hangs them into the linear layers. */
import { z } from 'zod';
import { callback, type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { roundToDtype } from '../formats/half-precision.js';
import type { LinearModule, LoraWeights } from '../model/linear-module.js';
import { adapterTensorName } from '../model/tensor-names.js';
import { counterHash, MersenneTwister } from '../random.js';
import { AdapterSlots, DEFAULT_ADAPTER } from './adapter-slots.js';
import { type AdapterOrigin, LoraAdapter, type LoraModule } from './lora-adapter.js';
import { LoraConfig, type LoraConfigOptions } from './lora-config.js';
import { type LoraHost, requireLoraHost, warnWith } from './lora-host.js';
import { matchingPattern } from './peft-rules.js';
import { selectTargetModules } from './target-modules.js';

export { LoraAdapter, type LoraModule } from './lora-adapter.js';
export { type LoraEngine, type LoraHost, requireLoraHost } from './lora-host.js';

/** How A and B start, and what the adapter is called. */
export interface ApplyLoraOptions {
  /** Seed of A's random start. The draw is this package's own, not torch's. Default: 42. */
  readonly seed?: number | undefined;
  /** Values instead of a random start, by parameter name; all of them or none. Default: none. */
  readonly values?: ReadonlyMap<string, Float32Array> | undefined;
  /** Name among the adapters of the model. Needed to keep several on one model. Default: `default`. */
  readonly adapterName?: string | undefined;
  /** Receives what needs care, a line each. Default: a warning of the process, once for each line. */
  readonly onWarning?: ((line: string) => void) | undefined;
}

/** Names of adapters are names of folders in PEFT. */
export const adapterNameSchema = lazySchema(() =>
  z.string().regex(/^[^/\\\p{Cc}]{1,100}$/u, 'expected a name of at most 100 characters, without slashes'),
);

const applyLoraSchema = lazySchema(() =>
  z.strictObject({
    seed: z.number().default(42),
    values: z.custom<ReadonlyMap<string, Float32Array>>((value) => value instanceof Map, 'expected a Map').optional(),
    adapterName: adapterNameSchema().optional(),
    onWarning: callback<string>().optional(),
  }),
);
type _Input = NoMismatch<Mismatch<Given<z.input<ReturnType<typeof applyLoraSchema>>>, Given<ApplyLoraOptions>>>;

/**
 * Adds LoRA to the linear layers that the configuration names. A starts uniform in ±1/√in (kaiming_uniform with
 * a = √5, as PEFT) or normal, rounded to the dtype of the layer's weight as PEFT's is; B starts at zero, so the model
 * computes what it did before. Each module draws from its own stream, made of seed and name: a change of targets does
 * not change the start of the others. The first adapter of a model is active at once; another one, with a name of its
 * own, waits for `setAdapter`, as in PEFT.
 * @param config options, or a `LoraConfig`
 * @throws ConfigError if no layer matches, if the model has an adapter of this name already, or if `values` do not fit
 * @example
 * ```ts
 * const adapter = applyLora(model, {
 *   r: 16, alpha: 32, dropout: 0.05,
 *   targetModules: [...LAYER_PROJECTIONS],
 * });
 * console.log(adapter.description);
 * ```
 */
export function applyLora(model: LoraHost, config: LoraConfigOptions, options: ApplyLoraOptions = {}): LoraAdapter {
  const parsed = parseOptions(applyLoraSchema, options, 'applyLora');
  const adapter = putOn(model, config, parsed, 'applyLora');
  if (!adapter.isActive) {
    const active = AdapterSlots.of(model).active;
    warnWith(parsed.onWarning, [
      `the adapter "${adapter.name}" is on the model but not active: ` +
        `${active ? `"${active.name}" is` : 'none is'}; setAdapter(model, "${adapter.name}") switches to it`,
    ]);
  }
  return adapter;
}

/** As {@link applyLora}, for one that came from files too. */
export function putOn(
  model: LoraHost,
  config: LoraConfigOptions,
  options: z.output<ReturnType<typeof applyLoraSchema>>,
  what: string,
  origin: AdapterOrigin = {},
): LoraAdapter {
  requireLoraHost(model, what);
  const { seed, values } = options;
  const lora = config instanceof LoraConfig ? config : new LoraConfig(config);
  const byName = new Map(model.linearModules.map((module) => [module.name, module]));
  const selection = selectTargetModules([...byName.keys()], lora);
  const chosen = selection.matched.map((name) => byName.get(name)!);
  const slots = AdapterSlots.of(model);
  const name = freeName(model, slots, options.adapterName);

  // One array for every B: those of a large model are hundreds of megabytes.
  const outputs = chosen.map((module) => lora.forModule(module.name).r * module.weight.shape[0]!);
  const zeros = new Float32Array(values ? 0 : Math.max(0, ...outputs));
  const specs = chosen.flatMap((module) => {
    const { r } = lora.forModule(module.name);
    const [out, inner] = module.weight.shape as readonly [number, number];
    const a = { name: adapterTensorName(module.name, 'A'), shape: [r, inner] };
    const b = { name: adapterTensorName(module.name, 'B'), shape: [out, r] };
    const beside = module.weight;
    if (values) return [a, b].map((spec) => ({ ...spec, initial: givenValue(values, spec), beside }));
    return [
      { ...a, initial: initialA(module, r, lora.initLoraWeights, seed), beside },
      { ...b, initial: zeros.subarray(0, out * r), beside },
    ];
  });
  if (values && values.size !== specs.length) {
    const known = new Set(specs.map((spec) => spec.name));
    const extra = [...values.keys()].filter((key) => !known.has(key));
    throw new ConfigError(`values for parameters that the configuration does not make: ${extra.join(', ')}`);
  }

  const parameters = model.engine.createParameters(specs);
  const weights: LoraWeights[] = [];
  const modules = chosen.map((module, i): LoraModule => {
    const { r, alpha, scale } = lora.forModule(module.name);
    const [a, b] = [parameters.parameters[2 * i]!, parameters.parameters[2 * i + 1]!];
    weights.push({ a, b, scale, dropout: lora.dropout });
    return { module, a, b, r, alpha };
  });
  const ineffective = [...selection.warnings, ...unusedPatterns(lora, selection.matched)];
  // Adapting both towers is the default: what it means for serving is reported where an adapter is published.
  const warnings = [...ineffective, ...selection.advice];
  const parts = { name, config: lora, model, slots, parameters, modules, weights, warnings, origin };
  const adapter = new LoraAdapter(parts);
  slots.add(adapter);
  warnWith(options.onWarning, ineffective);
  return adapter;
}

/** @throws ConfigError if the model has an adapter of this name, or one and the new one has no name of its own */
function freeName(model: LoraHost, { adapters }: AdapterSlots, wanted: string | undefined): string {
  const name = wanted ?? DEFAULT_ADAPTER;
  const adapted = model.linearModules.filter((module) => module.lora).length;
  const isTaken = adapters.has(name);
  if (!isTaken && (adapters.size === 0 ? adapted === 0 : wanted !== undefined)) return name;
  const names = [...adapters].map(([known, { modules }]) => `"${known}" on ${modules.length} layers`);
  throw new ConfigError(
    isTaken && wanted !== undefined
      ? `the model has an adapter "${name}" already: ${names.join(', ')}`
      : `the model has an adapter already, ${names.length > 1 ? names.join(', ') : `on ${adapted || [...adapters.values()][0]!.modules.length} layers`}`,
    {
      hint:
        'Call dispose() on that adapter first, load the model anew, or keep several on it by a name each: ' +
        "the option adapterName: 'NAME', then setAdapter(model, 'NAME').",
      details: { adapters: [...adapters.keys()] },
    },
  );
}

function givenValue(
  values: ReadonlyMap<string, Float32Array>,
  { name, shape }: { name: string; shape: readonly number[] },
): Float32Array {
  const value = values.get(name);
  const size = shape[0]! * shape[1]!;
  if (value?.length === size) return value;
  throw new ConfigError(`values: "${name}" [${shape}] needs ${size} values, got ${value ? value.length : 'none'}`);
}

function initialA(module: LinearModule, r: number, init: LoraConfig['initLoraWeights'], seed: number): Float32Array {
  const inner = module.weight.shape[1]!;
  const generator = new MersenneTwister(counterHash(seed, hashName(module.name)));
  const values = new Float32Array(r * inner);
  const bound = 1 / Math.sqrt(inner);
  if (init === 'gaussian') {
    for (let i = 0; i < values.length; i++) values[i] = generator.nextNormal() / r;
  } else {
    generator.fillFloats(values);
    for (let i = 0; i < values.length; i++) values[i] = (2 * values[i]! - 1) * bound;
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
