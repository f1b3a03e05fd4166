/**
 * Adapters on disk, as PEFT writes and reads them: `adapter_config.json` and `adapter_model.safetensors`, float32,
 * with transformers' current names. Reading accepts the older names too, which PEFT itself only half understands.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../atomic-file.js';
import { parseOptions, requirePath } from '../config.js';
import { SafetensorsFile, writeSafetensors } from '../engine/safetensors.js';
import { CheckpointError } from '../errors.js';
import { type HubDownloadOptions, hubDownloadSchema } from '../hub/hub-options.js';
import { adapterTensorName, parseAdapterTensorName, toDiskName } from '../model/tensor-names.js';
import { readJson } from '../read-json.js';
import { exists } from '../regular-file.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, adapterFolder } from './adapter-folder.js';
import { applyLora, type LoraAdapter, type LoraHost, requireLoraHost } from './apply-lora.js';
import { LoraConfig } from './lora-config.js';
import { isAllLinear, selectTargetModules, type Towers } from './target-modules.js';

const MAX_LISTED_FAULTS = 40;

/** Options of {@link saveAdapter}. */
export interface SaveAdapterOptions {
  /** Repository or folder of the base model, for those who load the adapter. */
  readonly baseModelNameOrPath?: string | undefined;
}

/** Options of {@link loadAdapter}; those of the download do nothing for a folder. */
export interface LoadAdapterOptions extends ReadAdapterOptions, HubDownloadOptions {}

/** What an adapter's files are expected to hold. */
export interface ReadAdapterOptions {
  /** Expect tensors of one side only, whatever the adapter's configuration matches. Default: as configured. */
  readonly towers?: Towers | undefined;
}

const loadAdapterSchema = hubDownloadSchema.extend({ towers: z.enum(['both', 'language', 'vision']).optional() });

/** Name and weight shape [out, in] of a linear layer that an adapter may sit on. */
export interface LinearShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** An adapter's numbers, apart from any model. */
export interface AdapterData {
  readonly config: LoraConfig;
  readonly modules: readonly AdapterModuleData[];
  /** By parameter name: the keys that a PEFT file of the current spelling has. */
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly baseModelNameOrPath: string | undefined;
}

export interface AdapterModuleData {
  /** Name in memory. */
  readonly name: string;
  readonly r: number;
  readonly scale: number;
  /** [r, in] */
  readonly a: Float32Array;
  /** [out, r] */
  readonly b: Float32Array;
}

/**
 * Writes an adapter into a folder, made if need be, and reads it back. Each file appears whole or not at all; the
 * configuration comes last.
 * @throws CheckpointError if a number is not finite, or what is on the disk is not what was to be written
 */
export async function saveAdapter(
  adapter: LoraAdapter,
  directory: string,
  options: SaveAdapterOptions = {},
): Promise<void> {
  requirePath(directory, 'saveAdapter');
  const values = await adapter.readValues();
  for (const [name, array] of values) {
    const bad = array.find((value) => !Number.isFinite(value));
    if (bad === undefined) continue;
    throw new CheckpointError(`${name} holds ${bad}: the adapter is not saved, nobody could use it`, {
      hint: 'Its training has diverged; go on from an earlier checkpoint, with a lower learning rate.',
      details: { name },
    });
  }
  await mkdir(directory, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'EEXIST' || cause.code === 'ENOTDIR' ? 'a file is in its place' : cause.message;
    throw new CheckpointError(`cannot make the folder ${directory}: ${why}`, {
      hint: 'An adapter is saved into a folder of its own.',
      details: { path: directory },
      cause,
    });
  });
  const parameters = adapter.parameters.parameters;
  const tensors = parameters.map(({ name, shape }) => ({
    name,
    shape,
    dtype: 'F32' as const,
    data: values.get(name)!,
  }));
  const path = join(directory, ADAPTER_WEIGHTS_FILE);
  await writeSafetensors(path, tensors, { format: 'pt' });

  const file = await SafetensorsFile.open(path);
  try {
    const faults: string[] = [];
    for (const { name, shape, data } of tensors) {
      const info = file.tensors.get(name);
      if (!info) faults.push(`"${name}" is missing`);
      else if (info.dtype !== 'F32' || info.shape.join() !== shape.join()) {
        faults.push(`"${name}" is ${info.dtype} [${info.shape}], expected F32 [${shape}]`);
      } else if (!sameBits(await file.readFloat32(name), data)) faults.push(`"${name}" holds other numbers`);
    }
    if (file.tensors.size !== tensors.length) {
      faults.push(`it holds ${file.tensors.size} tensors, expected ${tensors.length}`);
    }
    if (faults.length > 0) {
      throw new CheckpointError(`${path} was not written faithfully:\n  - ${faults.join('\n  - ')}`, {
        hint: 'The disk may be full or failing; save again elsewhere.',
        details: { path, faults },
      });
    }
  } finally {
    await file.close();
  }
  const json = JSON.stringify(peftConfig(adapter, options.baseModelNameOrPath ?? null), null, 2);
  await writeFileAtomically(join(directory, ADAPTER_CONFIG_FILE), `${json}\n`);
}

/**
 * Reads an adapter from a folder, or from the Hub by its name, and puts it onto the model, ready to be trained on or
 * used.
 * @param idOrFolder an existing folder wins over a repository of the same name
 * @throws CheckpointError listing every tensor that is missing, unexpected or of another shape
 * @throws ConfigError if the adapter's configuration is not supported, or matches nothing in the model
 * @throws HubError, explained, if its files are not in the cache and cannot be fetched
 */
export async function loadAdapter(
  idOrFolder: string,
  model: LoraHost,
  options: LoadAdapterOptions = {},
): Promise<LoraAdapter> {
  const { towers, ...download } = parseOptions(loadAdapterSchema, options, 'loadAdapter');
  requireLoraHost(model, 'loadAdapter');
  const directory = await adapterFolder(idOrFolder, download);
  const linears = model.linearModules.map(({ name, weight }) => ({ name, shape: weight.shape }));
  const { config, values } = await readAdapter(directory, linears, { towers });
  return applyLora(model, config, { values });
}

/**
 * Reads an adapter's numbers and checks them against the linear layers of a model.
 * @throws as {@link loadAdapter}
 */
export async function readAdapter(
  directory: string,
  linears: readonly LinearShape[],
  options: ReadAdapterOptions = {},
): Promise<AdapterData> {
  const { config: stored, baseModelNameOrPath } = await readAdapterConfig(directory);
  const wanted = options.towers ? stored.with({ towers: options.towers }) : stored;
  const path = join(directory, ADAPTER_WEIGHTS_FILE);
  if (!(await exists(path)) && (await exists(join(directory, 'adapter_model.bin')))) {
    throw new CheckpointError(`${directory} holds adapter_model.bin, a Python pickle, which is never read`, {
      hint: 'Load it in PEFT once and save it again: that writes adapter_model.safetensors.',
    });
  }
  const file = await SafetensorsFile.open(path);
  try {
    const faults: string[] = [];
    /** Current name of a parameter → its key in the file. */
    const keys = new Map<string, string>();
    let old = false;
    for (const key of file.tensors.keys()) {
      const parsed = parseAdapterTensorName(key);
      const name = parsed && adapterTensorName(parsed.module, parsed.factor);
      if (!name) faults.push(`${key}: unexpected, not a LoRA matrix of a linear layer`);
      else if (keys.has(name)) faults.push(`${key}: the same as ${keys.get(name)}`);
      else keys.set(name, key);
      old ||= parsed?.old === true;
    }

    const spelling = old ? toDiskName : (name: string): string => name;
    const { matched } = selectTargetModules(
      linears.map(({ name }) => name),
      wanted,
      spelling,
    );
    const shapes = new Map(linears.map(({ name, shape }) => [name, shape]));
    const expected = new Map<string, readonly number[]>();
    for (const name of matched) {
      const { r } = wanted.forModule(spelling(name));
      const [out, inner] = shapes.get(name) as readonly [number, number];
      expected.set(adapterTensorName(name, 'A'), [r, inner]);
      expected.set(adapterTensorName(name, 'B'), [out, r]);
    }
    for (const [name, shape] of expected) {
      const key = keys.get(name);
      if (key === undefined) faults.push(`${name}: missing, expected [${shape.join(', ')}]`);
      else {
        const info = file.info(key);
        if (info.shape.join() !== shape.join()) {
          faults.push(`${key}: shape [${info.shape.join(', ')}], expected [${shape.join(', ')}]`);
        }
      }
    }
    for (const [name, key] of keys) {
      if (!expected.has(name))
        faults.push(`${key}: unexpected, no such layer is in the model and in the configuration`);
    }
    if (faults.length > 0) throw badTensors(path, faults, expected.size, file.tensors.size);

    const values = new Map<string, Float32Array>();
    for (const name of expected.keys()) {
      const key = keys.get(name)!;
      const array = await file.readFloat32(key);
      const bad = array.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) faults.push(`${key}: element ${bad} is ${array[bad]}, no finite number`);
      values.set(name, array);
    }
    if (faults.length > 0) throw badTensors(path, faults, expected.size, file.tensors.size);
    const modules = matched.map((name): AdapterModuleData => {
      const { r, scale } = wanted.forModule(spelling(name));
      const [a, b] = [values.get(adapterTensorName(name, 'A'))!, values.get(adapterTensorName(name, 'B'))!];
      return { name, r, scale, a, b };
    });
    return { config: old ? inCurrentNames(wanted, matched) : wanted, modules, values, baseModelNameOrPath };
  } finally {
    await file.close();
  }
}

/** The numbers of an adapter that sits on a model. */
export async function adapterData(adapter: LoraAdapter): Promise<AdapterData> {
  const values = await adapter.readValues();
  const modules = adapter.modules.map(({ module, r, a, b }): AdapterModuleData => {
    const { scale } = adapter.config.forModule(module.name);
    return { name: module.name, r, scale, a: values.get(a.name)!, b: values.get(b.name)! };
  });
  return { config: adapter.config, modules, values, baseModelNameOrPath: undefined };
}

/** Servers want names, not "all-linear": PEFT writes the endings too. */
function peftConfig(adapter: LoraAdapter, baseModelNameOrPath: string | null): Record<string, unknown> {
  const peft = adapter.config.toPeft(baseModelNameOrPath);
  if (!isAllLinear(adapter.config.targetModules)) return peft;
  const endings = new Set(adapter.modules.map(({ module }) => module.name.split('.').at(-1)!));
  return { ...peft, target_modules: [...endings].sort() };
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

/** The checked configuration of an adapter's folder. @throws CheckpointError or ConfigError */
export async function readAdapterConfig(
  directory: string,
): Promise<{ config: LoraConfig; baseModelNameOrPath: string | undefined }> {
  const path = join(directory, ADAPTER_CONFIG_FILE);
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
  const base = (json as Record<string, unknown> | null)?.base_model_name_or_path;
  return { config: LoraConfig.fromPeft(json, path), baseModelNameOrPath: typeof base === 'string' ? base : undefined };
}

function badTensors(path: string, faults: readonly string[], expected: number, found: number): CheckpointError {
  const listed = faults.slice(0, MAX_LISTED_FAULTS);
  if (faults.length > listed.length) listed.push(`and ${faults.length - listed.length} more`);
  const onlyMissing = faults.every((fault) => fault.includes(': missing'));
  return new CheckpointError(
    `${path}: ${faults.length} bad tensors (${expected} expected, ${found} in the file):\n  - ${listed.join('\n  - ')}`,
    {
      hint: onlyMissing
        ? 'If the adapter was trained on one tower only, say so with the option `towers`.'
        : 'The adapter belongs to another model or to another adapter_config.json.',
      details: { path, faults: listed },
    },
  );
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [left, right] = [a, b].map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength));
  return left!.equals(right!);
}
