/** What an adapter's folder has of a processor: each part is there with all its files, or is the base model's. */
import { readdir } from 'node:fs/promises';
import { ChatTemplate } from '../data/chat-template.js';
import { MinistralTokenizer } from '../data/tokenizer.js';
import { loadImageProcessor, type ModelProcessor } from '../model/load.js';

/** @throws as `loadProcessor`, for parts that are there */
export async function ownProcessor(folder: string): Promise<Partial<ModelProcessor>> {
  const names = new Set(await readdir(folder).catch((): string[] => []));
  const hasImageProcessor = names.has('preprocessor_config.json') || names.has('processor_config.json');
  const [tokenizer, imageProcessor, chatTemplate] = await Promise.all([
    names.has('tokenizer.json') ? MinistralTokenizer.fromFolder(folder) : undefined,
    hasImageProcessor ? loadImageProcessor(folder, true) : undefined,
    ChatTemplate.findInFolder(folder),
  ]);
  return {
    ...(tokenizer && { tokenizer }),
    ...(imageProcessor && { imageProcessor }),
    ...(chatTemplate && { chatTemplate }),
  };
}
