/** The frozen weights that an engine holds, and the checks of those that operations bring. */
import { EngineError } from '../errors.js';
import { requireMatrix, type Weight } from './tensor.js';

export class HeldWeights<W extends Weight> {
  protected readonly held = new Set<W>();

  add(weight: W): W {
    this.held.add(weight);
    return weight;
  }

  /** All that it held. */
  takeAll(): W[] {
    const all = [...this.held];
    this.held.clear();
    return all;
  }

  /** `use`, and it is no longer held: the caller frees it. */
  take(weight: Weight, operation: string): W {
    const known = this.use(weight, operation);
    this.held.delete(known);
    return known;
  }

  /** @throws EngineError if the weight is released or belongs to another engine */
  use(weight: Weight, operation: string): W {
    // What is in the set is of its type.
    if (this.held.has(weight as W)) return weight as W;
    throw new EngineError(`${operation}: the weight ${weight.name} is released, or belongs to another engine`);
  }

  /** A matrix of so many columns and any number of rows. */
  useMatrix(weight: Weight, columns: number, operation: string): W {
    const known = this.use(weight, operation);
    requireMatrix(known, operation, known.name, { columns });
    return known;
  }

  useVector(weight: Weight, length: number, operation: string): W {
    const known = this.use(weight, operation);
    const { name, shape } = known;
    if (shape.length === 1 && shape[0] === length) return known;
    throw new EngineError(`${operation}: ${name} has shape [${shape.join(', ')}], expected [${length}]`);
  }
}
