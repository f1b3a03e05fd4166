/** The checkpoint families: another one is a folder with its `ModelFamily`, and a line here. */

import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import type { ConfigFields } from './config-fields.js';
import { ministral3 } from './ministral3/family.js';
import { mistralSmall } from './mistral-small/family.js';
import type { ModelFamily } from './model-family.js';

const FAMILIES: readonly ModelFamily[] = [ministral3, mistralSmall];

/**
 * The family of a config.json, by its `model_type` and that of its `text_config`.
 * @throws ConfigError naming one that is not supported, and those that are
 */
export function familyOf(top: ConfigFields, text: ConfigFields, path: string): ModelFamily {
  // As transformers' Mistral3Config takes a file, and in it a decoder, that does not say what it is.
  const modelType = top.raw('model_type') ?? 'mistral3';
  const textModelType = text.raw('model_type') ?? 'mistral';
  const outer = FAMILIES.filter((family) => family.modelType === modelType);
  const found = outer.find((family) => family.textModelType === textModelType);
  if (found) return found;
  const isTextOnly = FAMILIES.some((family) => family.textModelType === modelType);
  const [field, value] = outer.length > 0 ? ['text_config.model_type', textModelType] : ['model_type', modelType];
  const supported = FAMILIES.map(
    (family) => `${family.name} ("${family.modelType}" around "${family.textModelType}", e.g. ${family.example})`,
  );
  throw new ConfigError(`${path}: ${field} ${showValue(value)} is not supported`, {
    hint:
      `${isTextOnly ? 'That is a model for text alone: take its vision-language checkpoint. ' : ''}` +
      `Supported are ${supported.join(' and ')}.`,
    details: {
      path,
      modelType,
      textModelType,
      supported: FAMILIES.map((family) => [family.modelType, family.textModelType]),
    },
  });
}
