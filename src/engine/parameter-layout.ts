/** Parameters of a set in flat arrays: how they lie there, and the checks of what comes from outside. */
import { EngineError } from '../errors.js';
import { sizeOf } from '../formats/weight-source.js';
import { type Parameter, type ParameterSet, type ParameterSpec, requireFilled } from './tensor.js';

/** Elements of all. @throws EngineError if initial values do not fill a shape */
export function sizeOfAll(specs: readonly ParameterSpec[]): number {
  for (const { name, shape, initial } of specs) requireFilled(initial, shape, `createParameters: ${name}`);
  return specs.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

/** One parameter after the other. @param make value and gradient of the one whose first element lies at `offset` */
export function layOut<T extends Pick<Parameter, 'value' | 'grad'>>(
  specs: readonly ParameterSpec[],
  make: (spec: ParameterSpec, offset: number) => T,
): (Parameter & T)[] {
  let offset = 0;
  return specs.map((spec) => {
    const [shape, size] = [[...spec.shape], sizeOf(spec.shape)];
    const parameter = { name: spec.name, shape, size, offset, ...make(spec, offset) };
    offset += size;
    return parameter;
  });
}

/** @throws EngineError if the set is released or of another engine */
export function requireOwnSet<S extends ParameterSet & { readonly isReleased: boolean }>(
  set: ParameterSet,
  kind: abstract new (...values: never[]) => S,
): S {
  if (!(set instanceof kind)) throw new EngineError('the parameter set belongs to another engine');
  if (set.isReleased) throw new EngineError('the parameter set is used after it was released');
  return set;
}

/** @throws EngineError for another number of values than the set has */
export function requireValues({ size }: ParameterSet, values: Float32Array): void {
  if (values.length === size) return;
  throw new EngineError(`writeParameters: ${values.length} values for ${size} parameters`);
}
