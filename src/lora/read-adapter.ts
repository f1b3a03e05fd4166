/**
 * Reads adapters as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`, with transformers'
 * current names or the older ones, which PEFT itself only half understands.
 */

import { join } from 'node:path';
import { findNotFinite } from '../async/event-loop.js';
import { CheckpointError } from '../errors.js';
import { requireUnchanged } from '../files/file-digests.js';
import { readJson } from '../files/read-json.js';
import { readRegularFile } from '../files/regular-file.js';
import { SafetensorsFile } from '../formats/safetensors.js';
import { oneLine } from '../messages/one-line.js';
import { firstLines } from '../messages/short-list.js';
import { adapterTensorName, parseAdapterTensorName, toDiskName } from '../model/tensor-names.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, CHAT_TEMPLATE_FILE, PROCESSOR_FILES } from './adapter-folder.js';
import { readTogether } from './adapter-lock.js';
import { type Explanation, explainEmpty, explainKeys, explainNames, NOT_FINITE } from './explain-keys.js';
import { refuseForeignConfig, requireAdapterFolder, requireAdapterWeights } from './foreign-adapter.js';
import { imageProcessorOf } from './image-config.js';
import type { AdapterOrigin, LoraAdapter } from './lora-adapter.js';
import { LoraConfig } from './lora-config.js';
import { selectTargetModules, type Towers } from './target-modules.js';

const MAX_LISTED_FAULTS = 40;
const MAX_TEMPLATE_BYTES = 1_048_576;
/** The output head: PEFT may have adapted it, and a merge can follow; nothing else here does. */
export const OUTPUT_HEAD = 'lm_head';

/** What an adapter's files are expected to hold. */
export interface ReadAdapterOptions {
  /** Expect tensors of one side only, whatever the adapter's configuration matches. Default: as configured. */
  readonly towers?: Towers | undefined;
}

/** Name and weight shape [out, in] of a linear layer that an adapter may sit on. */
interface LinearShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** An adapter's values, apart from any model. */
export interface AdapterData {
  readonly config: LoraConfig;
  readonly modules: readonly AdapterModuleData[];
  /** By parameter name: the keys that a PEFT file of the current spelling has. */
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly origin: AdapterOrigin;
  /** What is odd about the files, though they can be read. */
  readonly warnings: readonly string[];
}

export interface AdapterModuleData {
  readonly name: string;
  readonly r: number;
  readonly scale: number;
  /** [r, in] */
  readonly a: Float32Array;
  /** [out, r] */
  readonly b: Float32Array;
}

/**
 * Reads an adapter's values and checks them against the linear layers of a model. An `lm_head` among the layers is
 * left out where the file has no matrices for it: a rule that names it may have been written for a model without one.
 * @throws as `loadAdapter`
 */
export function readAdapter(
  directory: string,
  linears: readonly LinearShape[],
  options: ReadAdapterOptions = {},
): Promise<AdapterData> {
  return readTogether(directory, () => readFiles(directory, linears, options));
}

async function readFiles(
  directory: string,
  linears: readonly LinearShape[],
  options: ReadAdapterOptions,
): Promise<AdapterData> {
  const { config: stored, origin } = await readAdapterConfig(directory);
  const wanted = options.towers ? stored.with({ towers: options.towers }) : stored;
  const path = join(directory, ADAPTER_WEIGHTS_FILE);
  await requireSoundWeights(directory);
  const file = await SafetensorsFile.open(path);
  try {
    const faults: string[] = [];
    const unfit: string[] = [];
    const misfit = (key: string, why: string): void => {
      unfit.push(key);
      faults.push(`${key}: ${why}`);
    };
    /** Current name of a parameter → its key in the file. */
    const keys = new Map<string, string>();
    const adapterNames = new Set<string | undefined>();
    let old = false;
    let hasHead = false;
    let isRepeated = false;
    for (const key of file.tensors.keys()) {
      const parsed = parseAdapterTensorName(key);
      const name = parsed && adapterTensorName(parsed.module, parsed.factor);
      if (!name) misfit(key, 'unexpected, not a LoRA matrix of a linear layer');
      else {
        adapterNames.add(parsed.adapterName);
        const before = keys.get(name);
        if (before === undefined) keys.set(name, key);
        else {
          isRepeated = true;
          faults.push(`${key}: the same as ${before}`);
        }
      }
      old ||= parsed?.old === true;
      hasHead ||= parsed?.module === OUTPUT_HEAD;
    }

    const spelling = old ? toDiskName : (name: string): string => name;
    const adaptable = hasHead ? linears : linears.filter(({ name }) => name !== OUTPUT_HEAD);
    let matched: readonly string[];
    try {
      ({ matched } = selectTargetModules(
        adaptable.map(({ name }) => name),
        wanted,
        spelling,
      ));
    } catch (cause) {
      // Rules for another model match nothing; the keys show which model it is.
      const known = new Set(adaptable.map(({ name }) => name));
      const others = [...file.tensors.keys()].filter((key) => !known.has(parseAdapterTensorName(key)?.module ?? ''));
      const explained = explainKeys(others, file.tensors.size, known, origin.baseModelNameOrPath);
      if (!explained) throw cause;
      throw new CheckpointError(`${path} does not fit the model; ${explained.reason}`, {
        hint: explained.hint,
        details: { path, reason: explained.reason },
        cause,
      });
    }
    const shapes = new Map(adaptable.map(({ name, shape }) => [name, shape]));
    const expected = new Map<string, readonly number[]>();
    for (const name of matched) {
      const { r } = wanted.forModule(spelling(name));
      const [out, inner] = shapes.get(name) as readonly [number, number];
      expected.set(adapterTensorName(name, 'A'), [r, inner]);
      expected.set(adapterTensorName(name, 'B'), [out, r]);
    }
    let missing = 0;
    for (const [name, shape] of expected) {
      const key = keys.get(name);
      if (key === undefined) {
        missing++;
        faults.push(`${name}: missing, expected [${shape.join(', ')}]`);
      } else {
        const info = file.info(key);
        if (info.shape.join() !== shape.join()) {
          faults.push(`${key}: shape [${info.shape.join(', ')}], expected [${shape.join(', ')}]`);
        }
      }
    }
    for (const [name, key] of keys) {
      if (expected.has(name)) continue;
      const isInModel = shapes.has(parseAdapterTensorName(key)!.module);
      misfit(
        key,
        isInModel
          ? `unexpected, ${ADAPTER_CONFIG_FILE} does not choose this layer`
          : 'unexpected, the model has no such layer',
      );
    }
    const count = { expected: expected.size, found: file.tensors.size, missing };
    if (faults.length > 0) {
      const explained =
        explainEmpty([...file.tensors.values()]) ??
        (isRepeated ? explainNames(adapterNames) : undefined) ??
        explainKeys(unfit, file.tensors.size, new Set(shapes.keys()), origin.baseModelNameOrPath);
      throw badTensors(path, faults, count, explained);
    }

    const values = new Map<string, Float32Array>();
    for (const name of expected.keys()) {
      const key = keys.get(name)!;
      const array = await file.readFloat32(key);
      const bad = await findNotFinite(array);
      if (bad >= 0) faults.push(`${key}: element ${bad} is ${array[bad]}, which is not finite`);
      values.set(name, array);
    }
    if (faults.length > 0) throw badTensors(path, faults, count, NOT_FINITE);
    const modules = matched.map((name): AdapterModuleData => {
      const { r, scale } = wanted.forModule(spelling(name));
      const [a, b] = [values.get(adapterTensorName(name, 'A'))!, values.get(adapterTensorName(name, 'B'))!];
      return { name, r, scale, a, b };
    });
    const config = old ? inCurrentNames(wanted, matched) : wanted;
    return { config, modules, values, origin, warnings: oddNames(path, adapterNames) };
  } finally {
    await file.close();
  }
}

/** The values of an adapter that sits on a model. */
export async function adapterData(adapter: LoraAdapter): Promise<AdapterData> {
  const values = await adapter.readValues();
  const modules = adapter.modules.map(({ module, r, a, b }): AdapterModuleData => {
    const { scale } = adapter.config.forModule(module.name);
    return { name: module.name, r, scale, a: values.get(a.name)!, b: values.get(b.name)! };
  });
  return { config: adapter.config, modules, values, origin: adapter.origin, warnings: [] };
}

/** @throws CheckpointError if weights are missing, or not as they were written into a checkpoint's folder */
export async function requireSoundWeights(directory: string): Promise<void> {
  await requireAdapterWeights(directory);
  await requireUnchanged(directory, [ADAPTER_WEIGHTS_FILE]);
}

/**
 * The checked configuration of an adapter's folder, and what else its files say; in a checkpoint's folder unchanged ones.
 * @throws CheckpointError or ConfigError
 */
export async function readAdapterConfig(directory: string): Promise<{ config: LoraConfig; origin: AdapterOrigin }> {
  const path = join(directory, ADAPTER_CONFIG_FILE);
  await requireAdapterFolder(directory);
  await requireUnchanged(directory, [ADAPTER_CONFIG_FILE, ...PROCESSOR_FILES]);
  let json: unknown;
  try {
    json = await readJson(path);
  } catch (cause) {
    throw new CheckpointError(`cannot read ${path}: ${(cause as Error).message}`, {
      hint: `Give the folder of an adapter: ${ADAPTER_CONFIG_FILE} and ${ADAPTER_WEIGHTS_FILE}.`,
      cause,
      details: { path },
    });
  }
  refuseForeignConfig(json, path);
  const config = LoraConfig.fromPeft(json, path);
  const text = (key: string): string | undefined => {
    const value = (json as Record<string, unknown>)[key];
    return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
  };
  const chatTemplate = await readChatTemplate(directory);
  const imageProcessor = await imageProcessorOf(directory);
  const [baseModelNameOrPath, revision] = [text('base_model_name_or_path'), text('revision')];
  return { config, origin: { baseModelNameOrPath, revision, chatTemplate, imageProcessor } };
}

/** Its source, where the folder has one. @throws CheckpointError if it cannot be read */
export async function readChatTemplate(directory: string): Promise<string | undefined> {
  const path = join(directory, CHAT_TEMPLATE_FILE);
  try {
    return (await readRegularFile(path, MAX_TEMPLATE_BYTES)).toString('utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CheckpointError(`cannot read ${path}: ${(cause as Error).message}`, { cause, details: { path } });
  }
}

/** Rules written for older names, rewritten so that they choose the same modules under their current names. */
function inCurrentNames(config: LoraConfig, matched: readonly string[]): LoraConfig {
  const rankPattern: Record<string, number> = {};
  const alphaPattern: Record<string, number> = {};
  for (const name of matched) {
    const { r, alpha } = config.forModule(toDiskName(name));
    const pattern = name.replaceAll('.', '\\.');
    if (r !== config.r) rankPattern[pattern] = r;
    if (alpha !== config.alpha) alphaPattern[pattern] = alpha;
  }
  return config.with({
    targetModules: [...matched],
    excludeModules: undefined,
    layersToTransform: undefined,
    layersPattern: undefined,
    rankPattern,
    alphaPattern,
  });
}

/** PEFT takes the adapter's name out of its keys when it saves; state dictionaries saved by hand keep it. */
function oddNames(path: string, names: ReadonlySet<string | undefined>): string[] {
  const inside = [...names].filter((name) => name !== undefined);
  if (inside.length === 0) return [];
  return [
    `${path}: the keys hold the adapter's name (lora_A.${oneLine(inside[0]!)}.weight), which PEFT's own files never do; it is ` +
      'read as if they did not, and saved again without it',
  ];
}

function badTensors(
  path: string,
  faults: readonly string[],
  { expected, found, missing }: { expected: number; found: number; missing: number },
  explained?: Explanation,
): CheckpointError {
  const listed = firstLines(faults, MAX_LISTED_FAULTS);
  const reason = explained ? `; ${explained.reason}` : '';
  return new CheckpointError(
    `${path}: ${faults.length} bad tensors (${expected} expected, ${found} in the file)${reason}:\n  - ${listed.join('\n  - ')}`,
    {
      hint:
        explained?.hint ??
        (faults.length === missing
          ? 'If the adapter was trained on one tower only, say so with the option `towers`.'
          : 'The adapter belongs to another model or to another adapter_config.json.'),
      details: { path, faults: listed, reason: explained?.reason },
    },
  );
}
