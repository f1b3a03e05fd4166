/** The option that says which chat template goes beside an adapter or a merged model. */
import { z } from 'zod';

/** A `ChatTemplate`, or the Jinja source of one. */
export type ChatTemplateSource = string | { readonly source: string };

/** What has a chat template and an image processor, or lacks either. */
export interface TemplateHolder {
  /** A `ChatTemplate`; undefined where there is none. */
  readonly chatTemplate?: { readonly source: string } | undefined;
  /** An `ImageProcessor`; what another one does cannot be written down. */
  readonly imageProcessor?: unknown;
}

/** A source has at least one Jinja tag; a string without is the path of a file. */
const isSource = (value: unknown): boolean => (typeof value === 'string' ? /\{[{%]/.test(value) : isTemplate(value));
const isTemplate = (value: unknown): boolean => typeof (value as { source?: unknown } | null)?.source === 'string';
const isHolder = (value: unknown): boolean => {
  if (typeof value !== 'object' || value === null) return false;
  const { chatTemplate } = value as { chatTemplate?: unknown };
  return chatTemplate === undefined || isTemplate(chatTemplate);
};

export const chatTemplateFields = {
  chatTemplate: z
    .custom<ChatTemplateSource>(isSource, 'expected a ChatTemplate or the Jinja source of one (not the path of a file)')
    .optional(),
  processor: z.custom<TemplateHolder>(isHolder, 'expected a processor, as fromPretrained gives it').optional(),
};

/** The source to be written, if one was given. */
export function chatTemplateText(options: {
  readonly chatTemplate?: ChatTemplateSource | undefined;
  readonly processor?: TemplateHolder | undefined;
}): string | undefined {
  const { chatTemplate, processor } = options;
  return typeof chatTemplate === 'string' ? chatTemplate : (chatTemplate ?? processor?.chatTemplate)?.source;
}
