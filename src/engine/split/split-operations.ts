/** The table of operations of several engines: each runs where its weight lies, or else where its first tensor does. */
import { EngineError } from '../../errors.js';
import type {
  BlockName,
  EntryAttributes,
  ForwardResult,
  KeyValueRows,
  Operation,
  OperationName,
  Operations,
} from '../operations.js';
import type { Tensor, Weight } from '../tensor.js';
import type { PartEngine } from './part-engine.js';
import { partAt, partsAt } from './split-parameters.js';
import type { Place, TensorPlaces } from './tensor-places.js';

/** What the table needs of the engine. */
interface SplitContext {
  readonly parts: readonly PartEngine[];
  readonly places: TensorPlaces;
  placeOfWeight(weight: Weight): Place;
  /** Runs `body` on the engine at `place`; what fails there is named. */
  on<T>(place: Place, body: (engine: PartEngine) => T): T;
}

type Name = OperationName | BlockName;
type WeightOf = { readonly [K in Name]?: (attributes: EntryAttributes[K]) => Weight };

const WEIGHTS: WeightOf = {
  embedding: ({ table }) => table,
  linear: ({ parts }) => parts[0]!.weight,
  rmsNorm: ({ weight }) => weight,
  crossEntropy: ({ head }) => head,
  attentionBlock: ({ norm }) => norm.weight,
  gatedBlock: ({ norm }) => norm.weight,
};

type Move = (tensor: Tensor) => Tensor;
type Localise = {
  readonly [K in Name]?: (attributes: EntryAttributes[K], place: Place, move: Move) => EntryAttributes[K];
};

/** Attributes with the tensors and parameters of the engine that runs the operation. */
const LOCAL: Localise = {
  linear: (attributes, place) => {
    const parts = partsAt(place, attributes.parts);
    return parts === attributes.parts ? attributes : { ...attributes, parts };
  },
  rotary: (attributes, _place, move) => localRotary(attributes, move),
  attentionBlock: (attributes, place, move) => ({
    ...attributes,
    projections: partsAt(place, attributes.projections),
    rotary: localRotary(attributes.rotary, move),
    cache: attributes.cache && localCache(attributes.cache, move),
  }),
  gatedBlock: (attributes, place) => ({
    ...attributes,
    gateUp: partsAt(place, attributes.gateUp),
    down: partAt(place, attributes.down),
  }),
};

function localRotary(attributes: EntryAttributes['rotary'], move: Move): EntryAttributes['rotary'] {
  const { cos, sin, queryScale } = attributes;
  return { ...attributes, cos: move(cos), sin: move(sin), queryScale: queryScale && move(queryScale) };
}

/** A cache is written to, so a copy of it is of no use. @throws EngineError if it lies elsewhere */
function localCache(cache: KeyValueRows, move: Move): KeyValueRows {
  const { keys, values } = cache;
  if (move(keys) === keys && move(values) === values) return cache;
  throw new EngineError('attentionBlock: the key/value cache lies on another device than the layer', {
    hint: 'Name a weight of the layer when it is made: engine.zeros(shape, weight).',
  });
}

export function splitOperations(context: SplitContext): Operations {
  const [first] = context.parts;
  const entries = Object.entries(first!.operations).map(([name, entry]) => {
    // A composition runs operations of this table.
    return [name, 'compose' in entry ? entry : splitOperation(name as Name, context)];
  });
  return Object.fromEntries(entries) as Operations;
}

function splitOperation<K extends Name>(name: K, context: SplitContext): Operation<EntryAttributes[K]> {
  const { places } = context;
  const weightOf = WEIGHTS[name] as ((attributes: EntryAttributes[K]) => Weight) | undefined;
  const localise = LOCAL[name] as Localise[K] & ((a: EntryAttributes[K], p: Place, m: Move) => EntryAttributes[K]);
  const placeOf = (attributes: EntryAttributes[K], tensors: readonly (Tensor | undefined)[]): Place =>
    weightOf
      ? context.placeOfWeight(weightOf(attributes))
      : places.of(
          tensors.find((tensor) => tensor),
          name,
        );
  const moveTo =
    (place: Place): Move =>
    (tensor) =>
      places.at(place, tensor, name);
  const of = (engine: PartEngine) => engine.operations[name] as Operation<EntryAttributes[K]>;
  /**
   * For backward, by place: those of forward, whose tensors were saved. The ones that they are copies of may be freed by
   * then.
   */
  const known = new WeakMap<EntryAttributes[K], EntryAttributes[K][]>();
  const remember = (attributes: EntryAttributes[K], place: Place, local: EntryAttributes[K]): void => {
    const byPlace = known.get(attributes) ?? [];
    byPlace[place] = local;
    known.set(attributes, byPlace);
  };
  return {
    forward(inputs, attributes, record): ForwardResult {
      const place = placeOf(attributes, inputs);
      return context.on(place, (engine) => {
        const move = moveTo(place);
        const local = localise ? localise(attributes, place, move) : attributes;
        const result = of(engine).forward(inputs.map(move), local, record);
        if (record && local !== attributes) remember(attributes, place, local);
        for (const tensor of result.outputs) places.put(tensor, place);
        for (const tensor of result.saved) places.put(tensor, place);
        return result;
      });
    },
    backward(saved, outputGradients, attributes, needs) {
      // What was saved lies where forward ran.
      const place = placeOf(attributes, [...saved, ...outputGradients]);
      return context.on(place, (engine) => {
        const move = moveTo(place);
        const given = outputGradients.map((gradient) => gradient && move(gradient));
        const local = known.get(attributes)?.[place] ?? attributes;
        const results = of(engine).backward(saved, given, local, needs);
        for (const gradient of results) if (gradient) places.put(gradient, place);
        return results;
      });
    },
  };
}
