/** Samples of class folders as conversations: the question that lists the classes, the image, and its class as the answer. */
import type { ImageSample } from './image-folder-options.js';
import type { SftExample } from './types.js';

/** The plain question before each image, where no other was given. */
export function classPrompt(classNames: readonly string[]): string {
  return `Name the class of this image. Answer with one of: ${classNames.join(', ')}`;
}

/** @param system a system message before the question */
export function classExample({ image, path, className }: ImageSample, prompt: string, system?: string): SftExample {
  return {
    id: path,
    messages: [
      ...(system === undefined ? [] : [{ role: 'system', content: [{ type: 'text', text: system }] } as const]),
      {
        role: 'user',
        content: [
          { type: 'text', text: prompt },
          { type: 'image', image },
        ],
      },
      { role: 'assistant', content: [{ type: 'text', text: className }] },
    ],
  };
}
