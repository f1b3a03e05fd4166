/**
 * Streams the wanted tensors of a checkpoint into an engine: in the order in which they lie in the files, several at a
 * time, so that reading, copying and converting overlap across the borders of tensors.
 */

import type { Engine, TrainingBytes } from '../../engine/engine.js';
import type { Weight } from '../../engine/tensor.js';
import { CheckpointError } from '../../errors.js';
import type { StackPlace, WeightSource, WeightUsage } from '../../formats/weight-source.js';
import { firstLines } from '../../messages/short-list.js';
import type { BaseDigest } from './base-digest.js';

/** Where the tensors come from; names are those of transformers' memory. */
export interface WeightProvider {
  /** Whether there is such a tensor. */
  has(name: string): boolean;
  /** Called once for each wanted tensor that exists. @throws CheckpointError, listed with the other faults */
  source(name: string): WeightSource;
  /** Names in the order in which they are best read. Default: the model's order. */
  readonly order?: Iterable<string> | undefined;
  /** Names of which each must be read: one that the model does not want is a fault. Default: none. */
  readonly required?: Iterable<string> | undefined;
  /** Called after each weight, quantised ones included, when the engine has it. Default: none. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** For messages. */
  readonly description: string;
}

/** How far a model is loaded. */
export interface LoadProgress {
  /** Name of the weight that the engine has taken, as in transformers' memory. */
  readonly tensor: string;
  /** Bytes of the files that are loaded so far. */
  readonly bytesDone: number;
  /** Bytes of all weights in the files. */
  readonly bytesTotal: number;
}

export interface WantedWeight {
  readonly name: string;
  readonly shape: readonly number[];
  /** Shape that the engine sees, with the same number of elements. */
  readonly view: readonly number[];
  readonly stack: StackPlace | undefined;
  readonly usage?: WeightUsage | undefined;
  /** As that of its source. */
  readonly stage?: number | undefined;
}

/** Keeps disk and card busy. Engines read in pieces, so this bounds the memory on the way, too. */
const MOST_AT_ONCE = 32;

/**
 * The weights by name. When one fails, those that are loaded are released.
 * @param digest receives pieces of each weight as it is read
 * @param trainingBytes as `Engine.placeWeights` takes it
 * @throws CheckpointError naming every tensor that is missing or misshapen, before anything is read
 */
export async function loadWeights(
  engine: Pick<Engine, 'loadWeight' | 'releaseWeight' | 'placeWeights'>,
  provider: WeightProvider,
  wanted: readonly WantedWeight[],
  digest?: BaseDigest,
  trainingBytes: TrainingBytes = () => 0,
): Promise<Map<string, Weight>> {
  const sources = inFileOrder(provider, checkedSources(provider, wanted));
  engine.placeWeights?.(sources, trainingBytes);
  const weights = new Map<string, Weight>();
  const running = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const bytesTotal = sources.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let bytesDone = 0;
  for (const source of sources) {
    if (running.size >= MOST_AT_ONCE) await Promise.race(running);
    if (failure) break;
    const loading = load(engine, source, digest)
      .then((weight) => {
        weights.set(source.name, weight);
        bytesDone += source.byteLength;
        provider.onProgress?.({ tensor: source.name, bytesDone, bytesTotal });
      })
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => running.delete(loading));
    running.add(loading);
  }
  // What is being read into may not be freed before the last read is over.
  await Promise.all(running);
  if (failure) {
    for (const weight of weights.values()) engine.releaseWeight(weight);
    throw failure.error;
  }
  return weights;
}

async function load(
  engine: Pick<Engine, 'loadWeight'>,
  source: WeightSource,
  digest: BaseDigest | undefined,
): Promise<Weight> {
  const watched = digest?.watch(source);
  const weight = await engine.loadWeight(watched?.source ?? source);
  await watched?.done();
  return weight;
}

function checkedSources(provider: WeightProvider, wanted: readonly WantedWeight[]): WeightSource[] {
  const faults: string[] = [];
  const hints = new Set<string | undefined>();
  const fault = (text: string, hint?: string): void => {
    faults.push(text);
    hints.add(hint);
  };
  const sources: WeightSource[] = [];
  for (const { name, shape, view, stack, usage, stage } of wanted) {
    if (!provider.has(name)) {
      fault(`${name}: missing, expected [${shape.join(', ')}]`);
      continue;
    }
    try {
      const source = provider.source(name);
      if (source.shape.join() !== shape.join()) {
        fault(`${name}: shape [${source.shape.join(', ')}], expected [${shape.join(', ')}]`);
        continue;
      }
      const { dtype, byteLength, scale, quantState, hold } = source;
      const read = (target: Uint8Array, offset?: number): Promise<void> => source.read(target, offset);
      sources.push({ name, shape: view, dtype, byteLength, scale, quantState, hold, stack, usage, stage, read });
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      fault(`${name}: ${error.summary}`, error.hint);
    }
  }
  const known = new Set(wanted.map(({ name }) => name));
  const unread = [...(provider.required ?? [])].filter((name) => !known.has(name));
  if (unread.length > 0) throw badCheckpoint(provider.description, faults, unread);
  if (faults.length > 0)
    throw badCheckpoint(provider.description, faults, [], hints.size === 1 ? [...hints][0] : undefined);
  return withoutMixedStacks(sources);
}

/** A stack has one held format: if a quantisation leaves out some of its weights, all of them are held separately. */
function withoutMixedStacks(sources: readonly WeightSource[]): WeightSource[] {
  const formats = new Map<string, Set<string>>();
  for (const source of sources) {
    if (!source.stack) continue;
    const found = formats.get(source.stack.name) ?? new Set();
    formats.set(source.stack.name, found.add(heldFormatOf(source)));
  }
  return sources.map((source) =>
    source.stack && formats.get(source.stack.name)!.size > 1 ? { ...source, stack: undefined } : source,
  );
}

/** What the weights of a stack must have in common; formats of 16 and 32 bits are alike here. */
function heldFormatOf({ dtype, hold, quantState, scale, shape }: WeightSource): string {
  if (dtype === 'nf4') return `nf4 ${quantState?.blockSize}`;
  if (hold?.format === 'nf4') return `nf4 ${hold.blockSize} ${hold.doubleQuantization}`;
  if (!hold) return '';
  const isByBlock = scale !== undefined && scale.block.join() !== shape.join() && scale.block[1] !== shape[1];
  return isByBlock ? `f8_e4m3 ${scale.block}` : 'f8_e4m3';
}

function inFileOrder(provider: WeightProvider, sources: readonly WeightSource[]): WeightSource[] {
  const places = new Map([...(provider.order ?? [])].map((name, place) => [name, place] as const));
  const place = ({ name }: WeightSource): number => places.get(name) ?? places.size;
  return [...sources].sort((a, b) => place(a) - place(b));
}

/**
 * @param unread names of stored tensors that config.json has no place for
 * @param hint that all faults have in common
 */
function badCheckpoint(
  description: string,
  faults: readonly string[],
  unread: readonly string[] = [],
  hint?: string,
): CheckpointError {
  const groups: string[] = [];
  if (faults.length > 0) groups.push(`${faults.length} tensors are wrong:\n  - ${listed(faults)}`);
  if (unread.length > 0) {
    groups.push(
      `${unread.length} stored tensors belong to nothing that it describes${inLayers(unread)}:\n  - ${listed(unread)}`,
    );
  }
  const isTextOnly = unread.some((name) => name.startsWith('model.layers.'));
  return new CheckpointError(`${description} does not fit its config.json, ${groups.join('\n')}`, {
    details: { faults: [...faults], unread: unread.slice(0, MAX_DETAILS) },
    hint: isTextOnly
      ? 'names such as model.layers.0 are those of a text-only model: take the vision-language checkpoint'
      : unread.length > 0
        ? 'check that config.json and the safetensors files belong to the same checkpoint, above all num_hidden_layers'
        : (hint ?? 'check that config.json and the safetensors files belong to the same checkpoint'),
  });
}

const MAX_SHOWN = 12;
const MAX_DETAILS = 1000;

function listed(lines: readonly string[]): string {
  return firstLines(lines, MAX_SHOWN).join('\n  - ');
}

/** `, in layers 24 to 25 of model.language_model`, where they are of whole layers. */
function inLayers(names: readonly string[]): string {
  const layers = new Map<string, number[]>();
  for (const name of names) {
    const [, tower, layer] = /^(.*?)\.layers\.(\d+)\./.exec(name) ?? [];
    if (tower !== undefined) layers.set(tower, [...(layers.get(tower) ?? []), Number(layer)]);
  }
  if (layers.size === 0) return '';
  const ranges = [...layers].slice(0, MAX_SHOWN).map(([tower, numbers]) => {
    const [first, last] = numbers.reduce(([low, high], n) => [Math.min(low, n), Math.max(high, n)], [
      Number.POSITIVE_INFINITY,
      0,
    ] as [number, number]);
    return `${first === last ? `layer ${first}` : `layers ${first} to ${last}`} of ${tower}`;
  });
  return `, in ${ranges.join(' and ')}`;
}
