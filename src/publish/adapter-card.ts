/** What the page says of an adapter. */
import type { LoraConfig } from '../lora/lora-config.js';
import { baseLink, type CardSubject, fence, row, usageSection } from './model-card.js';

export interface AdapterFacts {
  readonly repoId: string;
  readonly baseModel: string | undefined;
  readonly config: LoraConfig;
  /** Adapted layers. */
  readonly layers: { readonly language: number; readonly vision: number; readonly projector: number };
  readonly maxRank: number;
  readonly trainedParameters: number;
}

export function adapterSubject(facts: AdapterFacts): CardSubject {
  const { repoId, baseModel } = facts;
  return {
    repoId,
    baseModel,
    noun: 'adapter',
    introduction: `A LoRA adapter for ${baseLink(baseModel)}, trained with ministral-tune.`,
    library: 'peft',
    tags: [
      'lora',
      'peft',
      familyTag(baseModel),
      'ministral-tune',
      ...(baseModel ? [`base_model:adapter:${baseModel}`] : []),
    ],
    sections: [adapterSection(facts), usage(facts), serving(facts)],
  };
}

/** As the Hub's models of the family are tagged. */
function familyTag(baseModel: string | undefined): string {
  return /mistral-small/i.test(baseModel ?? '') ? 'mistral-small' : 'ministral-3';
}

function adapterSection({ config, layers, maxRank, trainedParameters }: AdapterFacts): string {
  const parts = Object.entries(layers).filter(([, count]) => count > 0);
  const scale = config.useRslora ? 'alpha / √r (rsLoRA)' : 'alpha / r';
  return [
    '## Adapter',
    '',
    '| | |',
    '| --- | --- |',
    row(['rank', config.r === maxRank ? String(config.r) : `${config.r}, in single layers up to ${maxRank}`]),
    row(['alpha', String(config.alpha)]),
    row(['scale', scale]),
    row(['dropout in training', String(config.dropout)]),
    row(['adapted layers', parts.map(([part, count]) => `${count} ${part}`).join(', ')]),
    row(['trained parameters', trainedParameters.toLocaleString('en-US')]),
  ].join('\n');
}

function usage({ repoId, baseModel }: AdapterFacts): string {
  const base = baseModel ?? 'BASE_MODEL';
  const more = baseModel ? '' : ", { baseModel: 'BASE_MODEL' }";
  const typescript = [
    "import { fromPretrained } from 'ministral-tune';",
    '',
    `const { model, processor, adapter } = await fromPretrained('${repoId}'${more});`,
  ];
  const python = [
    'from peft import PeftModel',
    'from transformers import AutoModelForImageTextToText, AutoProcessor',
    '',
    `model = AutoModelForImageTextToText.from_pretrained("${base}", dtype="auto", device_map="auto")`,
    `model = PeftModel.from_pretrained(model, "${repoId}")`,
    `processor = AutoProcessor.from_pretrained("${base}")`,
  ];
  return usageSection(typescript, python);
}

/** Ranks that vLLM can be told. */
const VLLM_RANKS = [8, 16, 32, 64, 128, 256, 320, 512];

function serving({ repoId, baseModel, layers, maxRank }: AdapterFacts): string {
  const rank = VLLM_RANKS.find((known) => known >= maxRank);
  const vision = layers.vision + layers.projector;
  const flags = [
    `vllm serve ${baseModel ?? 'BASE_MODEL'}`,
    '--config-format hf --load-format safetensors --tokenizer-mode hf',
    `--enable-lora --max-lora-rank ${rank ?? maxRank}`,
    ...(vision > 0 ? ['--enable-tower-connector-lora'] : []),
    `--lora-modules ${repoId.split('/')[1]}=${repoId}`,
  ];
  const note =
    vision === 0
      ? 'Only the language model is adapted, which vLLM serves without further switches. Its names are those of the ' +
        'Hugging Face files: that is what the format flags are for.'
      : `${vision} of the adapted layers belong to the vision tower or the projector. vLLM needs ` +
        '`--enable-tower-connector-lora` for them, an experimental switch that not every version has for this model. ' +
        'Where it is refused, merge the adapter into its base model (`mergeAdapter`) and serve the result.';
  const tooHigh =
    rank === undefined ? `\n\nvLLM takes ranks up to ${VLLM_RANKS.at(-1)}: this adapter has to be merged first.` : '';
  return `### vLLM\n\n${fence(flags.join(' \\\n  '), 'sh')}\n\n${note}${tooHigh}`;
}
