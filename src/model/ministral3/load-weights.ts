/**
 * Streams the wanted tensors of a checkpoint into an engine: in the order in which they lie in the files, several at a
 * time, so that reading, copying and converting overlap across the borders of tensors.
 */
import type { Engine } from '../../engine/engine.js';
import type { StackPlace, Weight, WeightSource } from '../../engine/tensor.js';
import { CheckpointError } from '../../errors.js';

/** Where the tensors come from; names are those of transformers' memory. */
export interface WeightProvider {
  /** Whether there is such a tensor. */
  has(name: string): boolean;
  /** Called once for each wanted tensor that is there. @throws CheckpointError, listed with the other faults */
  source(name: string): WeightSource;
  /** Names in the order in which they are best read. Default: the model's order. */
  readonly order?: Iterable<string> | undefined;
  /** For messages. */
  readonly description: string;
}

export interface WantedWeight {
  readonly name: string;
  readonly shape: readonly number[];
  /** Shape that the engine sees, with the same number of elements. */
  readonly view: readonly number[];
  readonly stack: StackPlace | undefined;
}

/**
 * Enough to keep a disk and a card busy while large and small tensors alternate. Engines read in pieces, so this bounds
 * the memory on the way, too.
 */
const MOST_AT_ONCE = 32;

/**
 * The weights by name. When one fails, those that are loaded are released.
 * @throws CheckpointError naming every tensor that is missing or misshapen, before anything is read
 */
export async function loadWeights(
  engine: Pick<Engine, 'loadWeight' | 'releaseWeight'>,
  provider: WeightProvider,
  wanted: readonly WantedWeight[],
): Promise<Map<string, Weight>> {
  const sources = inFileOrder(provider, checkedSources(provider, wanted));
  const weights = new Map<string, Weight>();
  const running = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  for (const source of sources) {
    if (running.size >= MOST_AT_ONCE) await Promise.race(running);
    if (failure) break;
    const loading = load(engine, source)
      .then(
        (weight) => void weights.set(source.name, weight),
        (error) => {
          failure ??= { error };
        },
      )
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

/** An engine may throw at once. */
async function load(engine: Pick<Engine, 'loadWeight'>, source: WeightSource): Promise<Weight> {
  return engine.loadWeight(source);
}

/** The tensors as engines see them. */
function checkedSources(provider: WeightProvider, wanted: readonly WantedWeight[]): WeightSource[] {
  const faults: string[] = [];
  const sources: WeightSource[] = [];
  for (const { name, shape, view, stack } of wanted) {
    if (!provider.has(name)) {
      faults.push(`${name}: missing, expected [${shape.join(', ')}]`);
      continue;
    }
    try {
      const source = provider.source(name);
      if (source.shape.join() !== shape.join()) {
        faults.push(`${name}: shape [${source.shape.join(', ')}], expected [${shape.join(', ')}]`);
        continue;
      }
      const { dtype, byteLength, scale } = source;
      const read = (target: Uint8Array, offset?: number): Promise<void> => source.read(target, offset);
      sources.push({ name, shape: view, dtype, byteLength, scale, stack, read });
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      faults.push(`${name}: ${error.message}`);
    }
  }
  if (faults.length > 0) throw badCheckpoint(provider.description, faults);
  return sources;
}

function inFileOrder(provider: WeightProvider, sources: readonly WeightSource[]): WeightSource[] {
  const places = new Map([...(provider.order ?? [])].map((name, place) => [name, place] as const));
  const place = ({ name }: WeightSource): number => places.get(name) ?? places.size;
  return [...sources].sort((a, b) => place(a) - place(b));
}

function badCheckpoint(description: string, faults: readonly string[]): CheckpointError {
  const shown = faults.slice(0, 12);
  const rest = faults.length - shown.length;
  return new CheckpointError(
    `${description} does not fit its config.json, ${faults.length} tensors are wrong:\n  - ${shown.join('\n  - ')}${rest > 0 ? `\n  - and ${rest} more` : ''}`,
    { details: { faults }, hint: 'check that config.json and the safetensors files belong to the same checkpoint' },
  );
}
