/** Adapters on disk, as PEFT writes and reads them: float32, with transformers' current names. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { replaceTogether, sweepTemporariesOf, writeFileAtomically } from '../atomic-file.js';
import { callback, parseOptions } from '../config.js';
import { SafetensorsFile, writeSafetensors } from '../engine/safetensors.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { type HubDownloadOptions, hubDownloadSchema } from '../hub/hub-options.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, adapterFolder, CHAT_TEMPLATE_FILE } from './adapter-folder.js';
import { whileWriting } from './adapter-lock.js';
import { adapterNameSchema, putOn } from './apply-lora.js';
import { baseOf, isLocalName, otherBaseWarning } from './base-model.js';
import {
  type ChatTemplateSource,
  chatTemplateFields,
  chatTemplateText,
  type TemplateHolder,
} from './chat-template-option.js';
import { type LoraAdapter, requireAdapter } from './lora-adapter.js';
import { describeValue, type LoraHost, requireLoraHost } from './lora-host.js';
import { warnWith } from './lora-warnings.js';
import { peftTargets } from './peft-targets.js';
import { type ReadAdapterOptions, readAdapter, readChatTemplate } from './read-adapter.js';

/** Options of {@link saveAdapter}. */
export interface SaveAdapterOptions {
  /**
   * Repository or folder of the base model, for those who load the adapter. Default: what the model was loaded from; a
   * snapshot of the Hub's cache is written as the repository and its commit.
   */
  readonly baseModelNameOrPath?: string | undefined;
  /** Branch, tag or commit of the base model on the Hub. Default: what was asked for with its name; none for `main`. */
  readonly revision?: string | undefined;
  /**
   * The chat template that the adapter was trained with, or its Jinja source: written as chat_template.jinja, so that
   * whoever loads the adapter formats as it was trained. Default: that of `processor`, else of the files that the
   * adapter was loaded from; none is written for a model's own template unless it is given.
   */
  readonly chatTemplate?: ChatTemplateSource | undefined;
  /** What `fromPretrained` or `loadProcessor` gave, or a collator: its chat template is taken. */
  readonly processor?: TemplateHolder | undefined;
  /** Receives what needs care, a line each. Default: a warning of the process, once for each line. */
  readonly onWarning?: ((line: string) => void) | undefined;
}

const saveAdapterSchema = z.strictObject({
  baseModelNameOrPath: z.string().min(1).optional(),
  revision: z.string().min(1).optional(),
  ...chatTemplateFields,
  onWarning: callback<string>().optional(),
});

/** Options of {@link loadAdapter}; those of the download do nothing for a folder. */
export interface LoadAdapterOptions extends ReadAdapterOptions, HubDownloadOptions {
  /** Name among the adapters of the model. Needed to keep several on one model. Default `default`. */
  readonly adapterName?: string | undefined;
}

const loadAdapterSchema = hubDownloadSchema.extend({
  towers: z.enum(['both', 'language', 'vision']).optional(),
  adapterName: adapterNameSchema.optional(),
});

/**
 * Writes an adapter into a folder, made if need be, and reads it back. Its files take their places together: a process
 * that is killed leaves the adapter that was there, the new one, or a folder without a configuration. Another process
 * that saves into the same folder is waited for. The configuration names the base model, and chooses in PEFT exactly the layers that were
 * adapted. An adapter that is switched off or not active is saved as well.
 * @throws CheckpointError if a number is not finite, or what is on the disk is not what was to be written
 * @throws ConfigError for anything but an adapter, one that is disposed of, or without a folder
 */
export async function saveAdapter(
  adapter: LoraAdapter,
  directory: string,
  options: SaveAdapterOptions = {},
): Promise<void> {
  requireAdapter(adapter, 'saveAdapter', "saveAdapter(adapter, 'folder')");
  if (typeof directory !== 'string' || directory === '') {
    const given = directory === '' ? 'an empty one' : describeValue(directory);
    throw new ConfigError(`saveAdapter: expected a path, got ${given}`, {
      hint: "Say where it is saved: saveAdapter(adapter, 'folder').",
    });
  }
  const parsed = parseOptions(saveAdapterSchema, options, 'saveAdapter', { basemodel: 'baseModelNameOrPath' });
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
  const template = chatTemplateText(parsed) ?? adapter.origin.chatTemplate;
  const base = await baseToWrite(adapter, parsed);
  const json = JSON.stringify(peftConfig(adapter, base), null, 2);
  const files = new Map([[ADAPTER_WEIGHTS_FILE, (path: string) => writeValues(adapter, values, path, directory)]]);
  if (template !== undefined) files.set(CHAT_TEMPLATE_FILE, (path) => writeFileAtomically(path, template));
  files.set(ADAPTER_CONFIG_FILE, (path) => writeFileAtomically(path, `${json}\n`));
  await whileWriting(directory, parsed.onWarning, async () => {
    await sweepTemporariesOf(directory, [...files.keys()]);
    await replaceTogether(directory, files);
  });
}

/**
 * Reads an adapter from a folder, or from the Hub by its name, and puts it onto the model, ready to be trained on or
 * used. The first adapter of a model is active at once; another one, with an `adapterName` of its own, when
 * `setAdapter` says so, as in PEFT.
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
  const { towers, adapterName, ...download } = parseOptions(loadAdapterSchema, options, 'loadAdapter');
  requireLoraHost(model, 'loadAdapter');
  const directory = await adapterFolder(idOrFolder, download);
  const adapter = await putFilesOn(directory, model, { towers, adapterName, onWarning: download.onWarning });
  const template = adapter.origin.chatTemplate;
  if (template !== undefined && template !== (await templateOf(model))) {
    warnWith(download.onWarning, [
      `${idOrFolder} has a chat template of its own, which it was trained with: format with ` +
        'new ChatTemplate(adapter.origin.chatTemplate), or load base and adapter with fromPretrained, which does',
    ]);
  }
  return adapter;
}

/** The adapter of a folder, on the model. Its chat template is the caller's business. */
export async function putFilesOn(
  directory: string,
  model: LoraHost,
  options: ReadAdapterOptions & Pick<LoadAdapterOptions, 'adapterName' | 'onWarning'>,
): Promise<LoraAdapter> {
  const { towers, adapterName, onWarning } = options;
  const linears = model.linearModules.map(({ name, weight }) => ({ name, shape: weight.shape }));
  const { config, values, origin, warnings } = await readAdapter(directory, linears, { towers });
  const applied = { seed: 0, values, adapterName, onWarning };
  const adapter = putOn(model, config, applied, 'loadAdapter', origin);
  const other = otherBaseWarning(origin.baseModelNameOrPath, model);
  warnWith(onWarning, other === undefined ? warnings : [...warnings, other]);
  return adapter;
}

/** The chat template beside the model's files; undefined if it is not known. */
async function templateOf({ folder }: LoraHost): Promise<string | undefined> {
  return folder === undefined ? undefined : readChatTemplate(folder).catch(() => undefined);
}

async function writeValues(
  adapter: LoraAdapter,
  values: ReadonlyMap<string, Float32Array>,
  path: string,
  directory: string,
): Promise<void> {
  const tensors = adapter.parameters.parameters.map(({ name, shape }) => ({
    name,
    shape,
    dtype: 'F32' as const,
    data: values.get(name)!,
  }));
  await writeSafetensors(path, tensors, { format: 'pt' });

  const file = await SafetensorsFile.open(path);
  try {
    const faults: string[] = [];
    for (const { name, shape, data } of tensors) {
      const info = file.tensors.get(name);
      if (!info) faults.push(`"${name}" is missing`);
      else if (info.dtype !== 'F32' || info.shape.join() !== shape.join()) {
        faults.push(`"${name}" is ${info.dtype} [${info.shape}], expected F32 [${shape}]`);
      } else if (!sameBits(await file.readFloat32(name), data)) faults.push(`"${name}" holds other values`);
    }
    if (file.tensors.size !== tensors.length) {
      faults.push(`it holds ${file.tensors.size} tensors, expected ${tensors.length}`);
    }
    if (faults.length > 0) {
      const target = join(directory, ADAPTER_WEIGHTS_FILE);
      throw new CheckpointError(`${target} was not written faithfully:\n  - ${faults.join('\n  - ')}`, {
        hint: 'The disk may be full or failing; save again elsewhere.',
        details: { path: target, faults },
      });
    }
  } finally {
    await file.close();
  }
}

interface WrittenBase {
  readonly name: string | null;
  readonly revision: string | null;
}

/** What was said, else where the model came from, else what the adapter's own files said. */
async function baseToWrite(
  { model, origin }: LoraAdapter,
  options: {
    baseModelNameOrPath?: string | undefined;
    revision?: string | undefined;
    onWarning?: SaveAdapterOptions['onWarning'];
  },
): Promise<WrittenBase> {
  if (options.baseModelNameOrPath !== undefined) {
    return { name: options.baseModelNameOrPath, revision: options.revision ?? null };
  }
  const own = baseOf(model);
  const { name, revision } =
    own.name === undefined ? { name: origin.baseModelNameOrPath, revision: origin.revision } : own;
  if (name !== undefined && (await isLocalName(name))) {
    warnWith(options.onWarning, [
      `the adapter names "${name}", a folder of this machine, as its base model: nobody else can load that; the option ` +
        'baseModelNameOrPath of saveAdapter gives its name on the Hub',
    ]);
  }
  return { name: name ?? null, revision: options.revision ?? revision ?? null };
}

function peftConfig(adapter: LoraAdapter, { name, revision }: WrittenBase): Record<string, unknown> {
  const matched = adapter.modules.map(({ module }) => module.name);
  const all = adapter.model.linearModules.map((module) => module.name);
  return { ...adapter.config.toPeft(name), ...peftTargets(adapter.config, matched, all), revision };
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [left, right] = [a, b].map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength));
  return left!.equals(right!);
}
