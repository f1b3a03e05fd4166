/** What the page says of a merged model. */
import { formatBytes } from '../messages/format-bytes.js';
import { baseLink, type CardSubject, fence, row, usageSection } from './model-card.js';

interface MergedFacts {
  readonly repoId: string;
  readonly baseModel: string | undefined;
  readonly parameters: number;
  /** Number formats of the weights, by their names in the files. */
  readonly dtypes: readonly string[];
  /** Of all weights. */
  readonly bytes: number;
}

export function mergedSubject({ repoId, baseModel, parameters, dtypes, bytes }: MergedFacts): CardSubject {
  const model = [
    '## Model',
    '',
    '| | |',
    '| --- | --- |',
    row(['parameters', parameters.toLocaleString('en-US')]),
    row(['stored as', dtypes.join(', ')]),
    row(['size of the weights', formatBytes(bytes)]),
  ].join('\n');
  const typescript = [
    "import { fromPretrained } from 'ministral-tune';",
    '',
    `const { model, processor } = await fromPretrained('${repoId}');`,
  ];
  const python = [
    'from transformers import AutoModelForImageTextToText, AutoProcessor',
    '',
    `model = AutoModelForImageTextToText.from_pretrained("${repoId}", dtype="auto", device_map="auto")`,
    `processor = AutoProcessor.from_pretrained("${repoId}")`,
  ];
  const serve = `vllm serve ${repoId} \\\n  --config-format hf --load-format safetensors --tokenizer-mode hf`;
  return {
    repoId,
    baseModel,
    noun: 'model',
    introduction: `${baseModel ? baseLink(baseModel) : 'A model'} with a LoRA adapter merged into its weights by ministral-tune.`,
    library: 'transformers',
    // The Hub's `merge` is several models made one.
    relation: 'finetune',
    tags: ['lora', 'ministral-tune'],
    sections: [model, usageSection(typescript, python), `### vLLM\n\n${fence(serve, 'sh')}`],
  };
}
