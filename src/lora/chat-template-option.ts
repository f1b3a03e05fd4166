/** The option that says which chat template goes beside an adapter or a merged model. */
import { z } from 'zod';

/** A `ChatTemplate`, or the Jinja source of one. */
export type ChatTemplateSource = string | { readonly source: string };

/** What has a chat template, or none. */
export interface TemplateHolder {
  readonly chatTemplate?: { readonly source: string } | undefined;
}

const isTemplate = (value: unknown): boolean => typeof (value as { source?: unknown } | null)?.source === 'string';
const isHolder = (value: unknown): boolean => {
  if (typeof value !== 'object' || value === null) return false;
  const { chatTemplate } = value as { chatTemplate?: unknown };
  return chatTemplate === undefined || isTemplate(chatTemplate);
};

export const chatTemplateFields = {
  chatTemplate: z
    .union([z.string().min(1), z.custom<{ readonly source: string }>(isTemplate)], {
      error: 'expected a ChatTemplate or the Jinja source of one (not the path of a file)',
    })
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
