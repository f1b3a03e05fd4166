/** Engine, model and collator of a run. */
import { stat } from 'node:fs/promises';
import { type ChatTemplate, namedTemplate } from '../data/chat-template.js';
import { ImagePool } from '../data/image-pool.js';
import { VlmCollator } from '../data/vlm-collator.js';
import { createEngine, type EngineChoice } from '../engine/create-engine.js';
import type { Engine } from '../engine/engine.js';
import { loadTfjs, type TfjsPackage } from '../engine/tfjs/load-tfjs.js';
import { ConfigError } from '../errors.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';
import { MINISTRAL_SIZES, type MinistralSize, repositoryOf } from '../model/ministral3/sizes.js';
import { fromPretrained, type Pretrained } from '../pretrained/from-pretrained.js';
import { requireRanks } from '../train/trainer-parts.js';
import type { RunSettings } from './run-settings.js';
import { shownProgress } from './shown-progress.js';

/** What a run computes with. */
export interface OpenModel extends Pretrained {
  readonly name: string;
  readonly engine: Engine;
  readonly chatTemplate: ChatTemplate;
  readonly collator: VlmCollator;
  dispose(): Promise<void>;
}

/** A size by its repository on the Hub; other names stay. */
export function modelName(given: string): string {
  return (MINISTRAL_SIZES as readonly string[]).includes(given) ? repositoryOf(given as MinistralSize) : given;
}

/**
 * Before data are read and an engine is started.
 * @throws ConfigError for what is neither a size, a folder nor a name on the Hub
 */
export async function requireModelName(given: string, command: string): Promise<void> {
  if ((MINISTRAL_SIZES as readonly string[]).includes(given) || given.includes('/') || (await isFolder(given))) return;
  const near = nearestName(given, MINISTRAL_SIZES);
  throw new ConfigError(`${command}: --model: ${showValue(given)} is neither a size nor a folder`, {
    hint: `${near ? `Did you mean ${near}? ` : ''}Sizes are ${MINISTRAL_SIZES.join(', ')}; a name on the Hub is OWNER/NAME.`,
    details: { model: given },
  });
}

/**
 * The same for an adapter: what is neither here nor a name on the Hub is not asked for there.
 * @throws ConfigError
 */
export async function requireAdapterName(given: string, command: string): Promise<void> {
  if (given.includes('/') || (await isFolder(given))) return;
  throw new ConfigError(`${command}: --adapter: there is no folder ${showValue(given)}`, {
    hint: 'A run of `train` has it in adapter/ of its --output-dir; a name on the Hub is OWNER/NAME.',
    details: { adapter: given },
  });
}

type EngineSettings = Pick<RunSettings, 'engine' | 'config'>;

/** @throws EngineError if it cannot run here */
async function openEngine({ engine, config }: EngineSettings, print: (line: string) => void): Promise<Engine> {
  const { memoryBudget } = config;
  if (engine.startsWith('tfjs')) {
    const tf = await loadTfjs(engine as TfjsPackage);
    return createEngine('tfjs', { tf, ...(memoryBudget === undefined ? {} : { tfjs: { memoryBudget } }) });
  }
  return createEngine(engine as EngineChoice, {
    onChoice: print,
    ...(memoryBudget === undefined ? {} : { cuda: { memoryBudget }, webgpu: { memoryBudget } }),
  });
}

type ModelSettings = EngineSettings & Pick<RunSettings, 'template' | 'quantization' | 'processor' | 'collator'>;

/**
 * @param name a size, a name on the Hub or a folder, of a model or of an adapter
 * @param baseModel in place of the one that an adapter names
 * @throws as `createEngine` and `fromPretrained`; ConfigError without a chat template
 */
export async function openModel(
  name: string,
  settings: ModelSettings,
  options: {
    readonly baseModel?: string | undefined;
    readonly signal: AbortSignal;
    readonly print: (line: string) => void;
    /** Processes that train together. Default: it is not for training. */
    readonly worldSize?: number | undefined;
  },
): Promise<OpenModel> {
  const { baseModel, signal, print, worldSize = 1 } = options;
  const engine = await openEngine(settings, print);
  try {
    print(engine.description);
    // Before gigabytes are loaded; the trainer asks again.
    requireRanks(engine, worldSize, 'train');
    const { quantization, processor: from } = settings;
    const pretrained = await fromPretrained(modelName(name), {
      ...{ engine, quantization, baseModel: baseModel && modelName(baseModel), signal, onNotice: print },
      ...(from === undefined ? {} : { processor: modelName(from) }),
      onProgress: shownProgress(settings, 'download'),
      onLoadProgress: shownProgress(settings, 'weights'),
    });
    const { model, processor } = pretrained;
    const { tokenizer, imageProcessor } = processor;
    const chatTemplate = templateOf(name, settings.template, processor);
    const imagePool = new ImagePool(imageProcessor);
    const collator = new VlmCollator({ ...settings.collator, tokenizer, chatTemplate, imageProcessor, imagePool });
    const dispose = async (): Promise<void> => {
      await imagePool.close();
      model.dispose();
      await engine.dispose();
    };
    return { ...pretrained, name: modelName(name), engine, chatTemplate, collator, dispose };
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

function templateOf(
  name: string,
  which: RunSettings['template'],
  { tokenizer, chatTemplate }: Pretrained['processor'],
) {
  if (which === 'tutorial') return namedTemplate<ChatTemplate>(which, tokenizer);
  if (chatTemplate) return chatTemplate;
  throw new ConfigError(`${name} has no chat template`, { hint: 'Give --template tutorial.' });
}

/** Whether it is a folder of this machine, which nobody finds on the Hub. */
export async function isFolder(name: string): Promise<boolean> {
  return (await stat(name).catch(() => undefined))?.isDirectory() ?? false;
}
