/**
 * Names of checkpoint tensors. Published files use the older spelling of transformers (`language_model.model.…`), its
 * memory since 4.52 another (`model.language_model.…`), as does this package; readers accept both.
 */

import { CheckpointError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';

/** [prefix on disk, prefix in memory], anchored at the start; from `conversion_mapping.py`, entry `llava`. */
const PREFIXES: readonly (readonly [string, string])[] = [
  ['language_model.model.', 'model.language_model.'],
  ['language_model.lm_head.', 'lm_head.'],
  ['vision_tower.', 'model.vision_tower.'],
  ['multi_modal_projector.', 'model.multi_modal_projector.'],
];

const ADAPTER_PREFIX = 'base_model.model.';

/** The parts of the model that adapters distinguish. */
export type ModelPart = 'language' | 'vision' | 'projector' | 'other';

/** A tensor's or module's name in transformers' memory, from either spelling. */
export function toMemoryName(name: string): string {
  const found = PREFIXES.find(([disk]) => name.startsWith(disk));
  return found ? found[1] + name.slice(found[0].length) : name;
}

/** The name in published files, from either spelling. */
export function toDiskName(name: string): string {
  const found = PREFIXES.find(([, memory]) => name.startsWith(memory));
  return found ? found[0] + name.slice(found[1].length) : name;
}

/**
 * Stored names by their names in memory.
 * @throws CheckpointError if a tensor is stored under both spellings
 */
export function indexByMemoryName(storedNames: Iterable<string>): Map<string, string> {
  const index = new Map<string, string>();
  const repeated: string[] = [];
  for (const stored of storedNames) {
    const name = toMemoryName(stored);
    if (index.has(name)) repeated.push(oneLine(`${index.get(name)} and ${stored}`));
    index.set(name, stored);
  }
  if (repeated.length > 0) {
    throw new CheckpointError(`tensors stored under both spellings of their name: ${repeated.join('; ')}`);
  }
  return index;
}

/** Which part of the model a module (name in memory) belongs to. */
export function modelPart(name: string): ModelPart {
  if (name.startsWith('model.language_model.')) return 'language';
  if (name.startsWith('model.vision_tower.')) return 'vision';
  if (name.startsWith('model.multi_modal_projector.')) return 'projector';
  return 'other';
}

/** The name in memory of the linear layer whose weight this tensor is (either spelling), or undefined. */
export function linearModuleName(tensorName: string, shape: readonly number[]): string | undefined {
  const name = toMemoryName(tensorName);
  if (!name.endsWith('.weight') || shape.length !== 2 || name.endsWith('.embed_tokens.weight')) return undefined;
  return name.slice(0, -'.weight'.length);
}

/** The key of an adapter tensor in a PEFT file, current spelling. */
export function adapterTensorName(moduleName: string, factor: 'A' | 'B'): string {
  return `${ADAPTER_PREFIX}${moduleName}.lora_${factor}.weight`;
}

interface AdapterTensorName {
  /** Name in memory of the module that is adapted. */
  readonly module: string;
  readonly factor: 'A' | 'B';
  /** True if the key is in the older spelling. */
  readonly old: boolean;
  /** Name of the adapter inside the key, as PEFT's modules carry it in memory; its files have none. */
  readonly adapterName: string | undefined;
}

/**
 * Takes a PEFT key apart: current and older spelling, with or without the adapter name that PEFT's modules carry in
 * memory, with or without the prefix of its wrapper. Undefined for any other name.
 */
export function parseAdapterTensorName(key: string): AdapterTensorName | undefined {
  const match = /^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.([^.]+))?\.weight$/.exec(key);
  if (!match) return undefined;
  const module = toMemoryName(match[1]!);
  return { module, factor: match[2] as 'A' | 'B', old: module !== match[1], adapterName: match[3] };
}
