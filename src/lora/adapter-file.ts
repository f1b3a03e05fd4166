/** Adapters on disk, as PEFT writes and reads them: float32, with transformers' current names. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import type { ImageProcessor } from '../data/image-processor.js';
import { type HubDownloadOptions, hubDownloadSchema } from '../hub/hub-options.js';
import { adapterFolder } from './adapter-folder.js';
import { adapterNameSchema, putOn } from './apply-lora.js';
import { otherBaseWarning } from './base-model.js';
import { imageProcessorOf, isSame } from './image-config.js';
import type { LoraAdapter } from './lora-adapter.js';
import { type LoraHost, requireLoraHost, warnWith } from './lora-host.js';
import { type ReadAdapterOptions, readAdapter, readChatTemplate } from './read-adapter.js';

export { type SaveAdapterOptions, saveAdapter } from './write-adapter.js';

/** Options of {@link loadAdapter}; those of the download do nothing for a folder. */
export interface LoadAdapterOptions extends ReadAdapterOptions, HubDownloadOptions {
  /** Name among the adapters of the model. Needed to keep several on one model. Default: `default`. */
  readonly adapterName?: string | undefined;
}

const loadAdapterSchema = hubDownloadSchema().extend({
  towers: z.enum(['both', 'language', 'vision']).optional(),
  adapterName: adapterNameSchema().optional(),
});
type _Input = NoMismatch<Mismatch<Given<z.input<typeof loadAdapterSchema>>, Given<LoadAdapterOptions>>>;

/**
 * Reads an adapter from a folder, or from the Hub by its name, and puts it onto the model, ready to be trained on or
 * used. The first adapter of a model is active at once; another one, with an `adapterName` of its own, when
 * `setAdapter` says so, as in PEFT.
 * @param idOrFolder an existing folder wins over a repository of the same name
 * @throws CheckpointError listing every tensor that is missing, unexpected or of another shape
 * @throws ConfigError if the adapter's configuration is not supported, or matches nothing in the model
 * @throws HubError, explained, if its files are not in the cache and cannot be fetched
 * @example
 * ```ts
 * applyLora(model, { r: 8, targetModules: ['q_proj'] });
 * await saveAdapter(activeAdapter(model)!, 'adapter');
 * deleteAdapter(model, 'default');
 * const adapter = await loadAdapter('adapter', model); // or 'user/adapter', a name on the Hub
 * ```
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
  const images = adapter.origin.imageProcessor;
  if (images !== undefined && !(await resizesAs(images, model))) {
    warnWith(download.onWarning, [
      `${idOrFolder} was trained with images of at most ${images.longestEdge} pixels a side, by its own image processor: ` +
        'collate with imageProcessor: adapter.origin.imageProcessor, or load base and adapter with fromPretrained, which does',
    ]);
  }
  return adapter;
}

/** Whether the model's own image processor does the same; true if that is not known. */
async function resizesAs(images: ImageProcessor, { folder }: LoraHost): Promise<boolean> {
  const own = folder === undefined ? undefined : await imageProcessorOf(folder);
  return own === undefined || isSame(own, images);
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
