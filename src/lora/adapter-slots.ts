/** The adapters of a model by their names, and the one of them that its layers compute with. */

import { requireNotTraining } from '../engine/parameter-lease.js';
import { ConfigError } from '../errors.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';
import type { WriteAdapter } from '../model/linear-module.js';
import type { LoraAdapter } from './lora-adapter.js';
import { describeValue, type LoraHost, requireLoraHost } from './lora-host.js';

/** PEFT's name for an adapter that was given none. */
export const DEFAULT_ADAPTER = 'default';

const all = new WeakMap<LoraHost, AdapterSlots>();

/** At most one adapter is in the layers at a time. */
export class AdapterSlots {
  readonly adapters = new Map<string, LoraAdapter>();
  readonly #model: LoraHost;
  #active: LoraAdapter | undefined;
  #attached: LoraAdapter | undefined;

  constructor(model: LoraHost) {
    this.#model = model;
  }

  static of(model: LoraHost): AdapterSlots {
    const slots = all.get(model) ?? new AdapterSlots(model);
    all.set(model, slots);
    return slots;
  }

  get active(): LoraAdapter | undefined {
    return this.#active;
  }

  /** The first adapter becomes active; later ones wait for `setAdapter`, as in PEFT. */
  add(adapter: LoraAdapter): void {
    const isFirst = this.adapters.size === 0;
    this.adapters.set(adapter.name, adapter);
    if (isFirst) this.activate(adapter);
  }

  activate(adapter: LoraAdapter | undefined): void {
    this.#active = adapter;
    this.update();
  }

  remove(adapter: LoraAdapter): void {
    this.adapters.delete(adapter.name);
    if (this.#active === adapter) this.#active = undefined;
    this.update();
  }

  /** Brings the layers and what is trained up to date. */
  update(): void {
    const wanted = this.#active?.isEnabled ? this.#active : undefined;
    if (wanted === this.#attached) return;
    this.#attached?.attach(false);
    wanted?.attach(true);
    this.#attached = wanted;
    const write: WriteAdapter | undefined =
      wanted &&
      (async (directory, parameters, ...how) => {
        const { writeIntoFolder } = await import('./write-adapter.js');
        await writeIntoFolder(wanted, directory, parameters, ...how);
      });
    this.#model.setTrainable?.(wanted?.parameters, write);
  }

  /** @throws ConfigError listing the names that exist */
  get(name: unknown, what: string): LoraAdapter {
    const found = this.adapters.get(name as string);
    if (found) return found;
    const names = [...this.adapters.keys()];
    const near = typeof name === 'string' ? nearestName(name, names) : undefined;
    throw new ConfigError(
      `${what}: the model has no adapter ${typeof name === 'string' ? showValue(name) : describeValue(name)}; ` +
        (names.length > 0 ? `it has ${names.map((known) => `"${known}"`).join(', ')}` : 'it has none'),
      { hint: near ? `Did you mean "${near}"?` : "loadAdapter(folder, model, { adapterName: 'NAME' }) adds one." },
    );
  }
}

/**
 * Makes an adapter the active one: the layers compute with it, and it is what `SftTrainer` trains. It is switched on
 * if it was off. The others keep their values and their memory. PEFT: `set_adapter`.
 * @param name as it was given to `applyLora` or `loadAdapter`; `default` without one
 * @throws ConfigError if the model has no such adapter, with the names that it has
 * @throws TrainingError while a run trains another one
 * @example
 * ```ts
 * applyLora(model, { r: 8, targetModules: ['q_proj'] }, { adapterName: 'second' });
 * setAdapter(model, 'second'); // what answers and is trained from now on
 * console.log([...adaptersOf(model).keys()]);
 * ```
 */
export function setAdapter(model: LoraHost, name: string): LoraAdapter {
  requireLoraHost(model, 'setAdapter');
  const slots = AdapterSlots.of(model);
  const adapter = slots.get(name, 'setAdapter');
  const { active } = slots;
  if (active && active !== adapter) requireNotTraining(active.parameters, `setAdapter: the adapter "${active.name}"`);
  slots.activate(adapter);
  adapter.enable();
  return adapter;
}

/** The adapter that is active, switched off or not; undefined if there is none. PEFT: `active_adapter`. */
export function activeAdapter(model: LoraHost): LoraAdapter | undefined {
  requireLoraHost(model, 'activeAdapter');
  return AdapterSlots.of(model).active;
}

/** All adapters of a model by their names, in the order in which they came. */
export function adaptersOf(model: LoraHost): ReadonlyMap<string, LoraAdapter> {
  requireLoraHost(model, 'adaptersOf');
  return new Map(AdapterSlots.of(model).adapters);
}

/**
 * Takes an adapter off the model and frees its memory, as its `dispose` does. If it was active, none is afterwards
 * (PEFT takes another one then). PEFT: `delete_adapter`.
 * @throws ConfigError if the model has no such adapter
 * @throws TrainingError while a run trains it
 */
export function deleteAdapter(model: LoraHost, name: string): void {
  requireLoraHost(model, 'deleteAdapter');
  AdapterSlots.of(model).get(name, 'deleteAdapter').dispose();
}
