/** Adapters written to disk, as PEFT writes them: float32, with transformers' current names. */
import { join } from 'node:path';
import { z } from 'zod';
import { eventLoopTurn, findNotFinite, isTurnDue } from '../async/event-loop.js';
import { callback, type Given, type Mismatch, type NoMismatch, parseOptions, requirePath } from '../config.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { replaceTogether, sweepTemporariesOf, writeFileAtomically } from '../files/atomic-file.js';
import { forgetDigests } from '../files/file-digests.js';
import { makeFolder } from '../files/make-folder.js';
import { exists } from '../files/regular-file.js';
import { SafetensorsFile, writeSafetensors } from '../formats/safetensors.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_SELECTION, ADAPTER_WEIGHTS_FILE, CHAT_TEMPLATE_FILE } from './adapter-folder.js';
import { whileWriting } from './adapter-lock.js';
import { baseOf, isLocalName } from './base-model.js';
import {
  type ChatTemplateSource,
  chatTemplateFields,
  chatTemplateText,
  type TemplateHolder,
} from './chat-template-option.js';
import { heldImageProcessor, IMAGE_CONFIG_FILES, imageConfigTexts } from './image-config.js';
import { type LoraAdapter, requireAdapter } from './lora-adapter.js';
import { describeValue, warnWith } from './lora-host.js';
import { peftTargets } from './peft-targets.js';

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
  /**
   * What `fromPretrained` or `loadProcessor` gave, or a collator: its chat template is taken, and its image processor if
   * that resizes otherwise than the base model's, as processor_config.json. Default: none; the image processor of the
   * files that the adapter was loaded from.
   */
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
type _Input = NoMismatch<Mismatch<Given<z.input<typeof saveAdapterSchema>>, Given<SaveAdapterOptions>>>;

/**
 * Writes an adapter into a folder, made if need be, and reads it back. Its files take their places together: a process
 * that is killed leaves the adapter that was there, the new one, or a folder without a configuration. Another process
 * that saves into the same folder is waited for. The configuration names the base model, and chooses in PEFT exactly
 * the layers that were adapted. An adapter that is switched off or not active is saved as well.
 * @throws CheckpointError if a value is not finite, or what is on the disk is not what was to be written
 * @throws ConfigError for anything but an adapter, one that is disposed of, or without a folder
 * @example
 * ```ts
 * await saveAdapter(adapter, 'adapter', { chatTemplate }); // adapter_config.json, adapter_model.safetensors, the template
 * ```
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
  requirePath(directory, 'saveAdapter');
  const parsed = parseOptions(saveAdapterSchema, options, 'saveAdapter', { basemodel: 'baseModelNameOrPath' });
  await writeAdapter(adapter, await adapter.readValues(), directory, parsed);
}

/**
 * As `WriteAdapter`, with these values [parameters.size].
 * @throws as {@link saveAdapter}
 */
export async function writeIntoFolder(
  adapter: LoraAdapter,
  directory: string,
  parameters: Float32Array,
  maker: unknown,
  replaces = false,
): Promise<void> {
  if (!replaces && (await ADAPTER_SELECTION.missingFrom(directory)).length === 0) return;
  const values = new Map(
    adapter.parameters.parameters.map(({ name, offset, size }) => [name, parameters.subarray(offset, offset + size)]),
  );
  const { data } = chatTemplateFields.processor.safeParse(maker);
  // What is to be known of the base model's name is said when the adapter itself is saved, not for each checkpoint.
  const onWarning = replaces ? undefined : () => undefined;
  await writeAdapter(adapter, values, directory, { processor: data, onWarning });
}

async function writeAdapter(
  adapter: LoraAdapter,
  values: ReadonlyMap<string, Float32Array>,
  directory: string,
  options: SaveAdapterOptions,
): Promise<void> {
  for (const [name, array] of values) {
    // Most arrays are short, and there are hundreds.
    if (isTurnDue()) await eventLoopTurn();
    const bad = await findNotFinite(array);
    if (bad < 0) continue;
    throw new CheckpointError(`${name} holds ${array[bad]}: the adapter is not saved, nobody could use it`, {
      hint: 'Its training has diverged; go on from an earlier checkpoint, with a lower learning rate.',
      details: { name },
    });
  }
  await makeFolder(directory).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'EEXIST' || cause.code === 'ENOTDIR' ? 'a file is in its place' : cause.message;
    throw new CheckpointError(`cannot make the folder ${directory}: ${why}`, {
      hint: 'An adapter is saved into a folder of its own.',
      details: { path: directory },
      cause,
    });
  });
  const template = chatTemplateText(options) ?? adapter.origin.chatTemplate;
  const images = await imagesToWrite(adapter, options, directory);
  const base = await baseToWrite(adapter, options);
  const json = JSON.stringify(peftConfig(adapter, base), null, 2);
  const files = new Map([[ADAPTER_WEIGHTS_FILE, (path: string) => writeValues(adapter, values, path, directory)]]);
  if (template !== undefined) files.set(CHAT_TEMPLATE_FILE, (path) => writeFileAtomically(path, template));
  for (const [name, text] of images) files.set(name, (path) => writeFileAtomically(path, text));
  files.set(ADAPTER_CONFIG_FILE, (path) => writeFileAtomically(path, `${json}\n`));
  await whileWriting(directory, options.onWarning, async (requireOwned) => {
    await sweepTemporariesOf(directory, [...files.keys()]);
    await forgetDigests(directory, [...new Set([...files.keys(), CHAT_TEMPLATE_FILE])]);
    await replaceTogether(directory, files, requireOwned);
  });
}

/** Files that say how its images are resized, where its base model's would say otherwise. */
async function imagesToWrite(
  { model, origin }: LoraAdapter,
  { processor }: SaveAdapterOptions,
  directory: string,
): Promise<ReadonlyMap<string, string>> {
  const wanted = heldImageProcessor(processor) ?? origin.imageProcessor;
  if (!wanted) return new Map();
  // Those of an earlier adapter would be taken for its own.
  const others = await Promise.all(IMAGE_CONFIG_FILES.map((name) => exists(join(directory, name))));
  return imageConfigTexts(wanted, model.folder, others.includes(true));
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

/** What was said, else where the model came from, else what the adapter's own files said. */
async function baseToWrite(
  { model, origin }: LoraAdapter,
  options: SaveAdapterOptions,
): Promise<{ readonly name: string | null; readonly revision: string | null }> {
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

function peftConfig(
  adapter: LoraAdapter,
  { name, revision }: Awaited<ReturnType<typeof baseToWrite>>,
): Record<string, unknown> {
  const matched = adapter.modules.map(({ module }) => module.name);
  const all = adapter.model.linearModules.map((module) => module.name);
  return { ...adapter.config.toPeft(name), ...peftTargets(adapter.config, matched, all), revision };
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [left, right] = [a, b].map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength));
  return left!.equals(right!);
}
