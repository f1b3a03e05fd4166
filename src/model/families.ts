/** The checkpoint families: another one is a folder with its `ModelFamily`, and a line here. */

import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import type { ConfigFields } from './config-fields.js';
import { ministral3 } from './ministral3/family.js';
import { mistralSmall } from './mistral-small/family.js';
import type { ModelFamily } from './model-family.js';

const FAMILIES: readonly ModelFamily[] = [ministral3, mistralSmall];

/** `model_type` of config.json in all of them. */
const MODEL_TYPE = 'mistral3';

/**
 * The family of a config.json, by its `model_type` and that of its `text_config`.
 * @throws ConfigError naming one that is not supported, and those that are
 */
export function familyOf(top: ConfigFields, text: ConfigFields, path: string): ModelFamily {
  const modelType = top.raw('model_type') ?? MODEL_TYPE;
  // transformers takes a decoder that does not say what it is for a `mistral`.
  const textModelType = text.raw('model_type') ?? 'mistral';
  const found = FAMILIES.find((family) => family.textModelType === textModelType);
  if (modelType === MODEL_TYPE && found) return found;
  const isTextOnly = FAMILIES.some((family) => family.textModelType === modelType);
  const [field, value] =
    modelType === MODEL_TYPE ? ['text_config.model_type', textModelType] : ['model_type', modelType];
  const supported = FAMILIES.map(
    ({ name, textModelType: type, example }) => `${name} ("${MODEL_TYPE}" around "${type}", e.g. ${example})`,
  );
  throw new ConfigError(`${path}: ${field} ${showValue(value)} is not supported`, {
    hint:
      `${isTextOnly ? 'That is a model for text alone: take its vision-language checkpoint. ' : ''}` +
      `Supported are ${supported.join(' and ')}.`,
    details: { path, modelType, textModelType, supported: FAMILIES.map(({ textModelType: type }) => type) },
  });
}
