/** The page of an adapter on the Hub: metadata for its search, and text for people. */
import { basename } from 'node:path';
import { z } from 'zod';
import type { LoraConfig } from '../lora/lora-config.js';
import { escapeMarkdown, markdownCode, yamlString } from '../messages/markdown.js';

const text = z.string().min(1);
const words = z.array(text);

/** What an adapter's page says, the option `modelCard` of `pushToHub`. No text in it may be empty. */
export const modelCardSchema = z.strictObject({
  /** Heading, as text. Default: the repository's name. */
  title: text.optional(),
  /** The base model's name on the Hub. Default: what the adapter was saved with. */
  baseModel: text.optional(),
  /** What the adapter does, in Markdown. */
  description: text.optional(),
  /** Shown first, set off: what the adapter must not be used for. */
  warning: text.optional(),
  /** Licence of the adapter, in the Hub's spelling, e.g. `apache-2.0`. */
  license: text.optional(),
  /** Language codes, e.g. `en`. */
  language: words.default([]),
  /** Beyond those that are always there. */
  tags: words.default([]),
  /** Data sets on the Hub, by name; others belong into `data`. */
  datasets: words.default([]),
  /** What it was trained on, in Markdown: source, size, licence, known flaws. */
  data: text.optional(),
  /** The prompt that it was trained with. */
  prompt: text.optional(),
  /** Settings of the training, shown as they are. */
  config: z.record(text, z.unknown()).default({}),
  /** Results on data that was not trained on. */
  metrics: z
    .array(
      z.strictObject({
        /** What the Hub calls it, e.g. `accuracy`, `f1`. */
        type: text,
        /** What people call it. Default: `type`. */
        name: text.optional(),
        /** After training; four digits of it in the text, all in the metadata. */
        value: z.number(),
        /** The same before training. */
        before: z.number().optional(),
      }),
    )
    .default([]),
  /** Where `metrics` were measured. */
  evaluatedOn: z
    .strictObject({
      /** What people call the data set. */
      name: text,
      /** A name on the Hub, or any other. */
      type: text,
      /** Part of the data set, e.g. `test`. */
      split: text.optional(),
      /** How many were evaluated. */
      samples: z.int().min(1).optional(),
    })
    .optional(),
  /** PNG or JPEG files, uploaded below `images/`. */
  pictures: z
    .array(
      z.strictObject({
        /** On this machine; the file keeps its name, which no other picture may have. */
        path: text,
        /** Below the picture, and in its place where it is not shown; Markdown. */
        caption: text,
      }),
    )
    .default([]),
});

/** What a user may write. @useDeclaredType */
export type ModelCard = z.input<typeof modelCardSchema>;
export type ParsedModelCard = z.output<typeof modelCardSchema>;

/** What the card says about the adapter itself. */
export interface AdapterFacts {
  readonly repoId: string;
  readonly baseModel: string | undefined;
  readonly config: LoraConfig;
  /** Adapted layers. */
  readonly layers: { readonly language: number; readonly vision: number; readonly projector: number };
  readonly maxRank: number;
  readonly trainedNumbers: number;
}

/** Where a picture lies in the repository. */
export function picturePath(path: string): string {
  return `images/${basename(path)}`;
}

/** The README.md. */
export function renderModelCard(card: ParsedModelCard, facts: AdapterFacts): string {
  const { baseModel, repoId } = facts;
  const sections = [
    frontMatter(card, facts),
    `# ${escapeMarkdown(card.title ?? repoId.split('/')[1]!)}`,
    card.warning &&
      `> [!WARNING]\n${card.warning
        .split('\n')
        .map((line) => `> ${line}`)
        .join('\n')}`,
    `A LoRA adapter for ${baseModel ? `[${baseModel}](https://huggingface.co/${baseModel})` : 'a Ministral 3 model'}, trained with ministral-tune.`,
    card.description,
    results(card),
    ...card.pictures.map(({ path, caption }) => {
      const alternative = caption.replace(/[[\]\\]/g, '\\$&').replace(/\s+/g, ' ');
      return `![${alternative}](${addressOf(picturePath(path))})\n\n*${caption}*`;
    }),
    card.data && `## Data\n\n${card.data}`,
    card.prompt &&
      `## Prompt\n\nThe adapter was trained with this prompt, and works best with it:\n\n${fence(card.prompt, 'text')}`,
    Object.keys(card.config).length > 0 && `## Training\n\n${settings(card.config)}`,
    adapterSection(facts),
    usage(facts),
    serving(facts),
  ];
  return `${sections.filter(Boolean).join('\n\n')}\n`;
}

function frontMatter(card: ParsedModelCard, { baseModel, repoId }: AdapterFacts): string {
  const tags = [
    'lora',
    'peft',
    'ministral-3',
    'ministral-tune',
    ...(baseModel ? [`base_model:adapter:${baseModel}`] : []),
  ];
  const types = [...new Set(card.metrics.map(({ type }) => type))];
  const lines = [
    baseModel && `base_model: ${yamlString(baseModel)}`,
    'library_name: peft',
    'pipeline_tag: image-text-to-text',
    card.license && `license: ${yamlString(card.license)}`,
    list('language', card.language),
    list('tags', [...new Set([...tags, ...card.tags])]),
    list('datasets', card.datasets),
    list('metrics', types),
    card.evaluatedOn && card.metrics.length > 0 && modelIndex(card, repoId),
  ];
  return `---\n${lines.filter(Boolean).join('\n')}\n---`;
}

/** Results in the form in which the Hub compares models. */
function modelIndex({ metrics, evaluatedOn, title }: ParsedModelCard, repoId: string): string {
  const { name, type, split } = evaluatedOn!;
  return [
    'model-index:',
    `  - name: ${yamlString(title ?? repoId.split('/')[1]!)}`,
    '    results:',
    '      - task:',
    '          type: image-text-to-text',
    '        dataset:',
    `          name: ${yamlString(name)}`,
    `          type: ${yamlString(type)}`,
    ...(split ? [`          split: ${yamlString(split)}`] : []),
    '        metrics:',
    ...metrics.flatMap((metric) => [
      `          - type: ${yamlString(metric.type)}`,
      `            name: ${yamlString(metric.name ?? metric.type)}`,
      `            value: ${metric.value}`,
    ]),
  ].join('\n');
}

function results({ metrics, evaluatedOn }: ParsedModelCard): string | undefined {
  if (metrics.length === 0) return undefined;
  const before = metrics.some((metric) => metric.before !== undefined);
  const number = (value: number | undefined): string =>
    value === undefined ? '' : String(Number(value.toPrecision(4)));
  const rows = metrics.map((metric) =>
    row([escapeMarkdown(metric.name ?? metric.type), ...(before ? [number(metric.before)] : []), number(metric.value)]),
  );
  const head = before ? ['', 'before training', 'after'] : ['', 'value'];
  const samples = evaluatedOn?.samples === undefined ? '' : `, ${evaluatedOn.samples} samples`;
  const where =
    evaluatedOn &&
    `On ${escapeMarkdown(evaluatedOn.name)}${evaluatedOn.split ? `, split ${escapeMarkdown(evaluatedOn.split)}` : ''}${samples}.\n\n`;
  return `## Results\n\n${where ?? ''}${row(head)}\n${row(head.map(() => '---'))}\n${rows.join('\n')}`;
}

function settings(config: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(config).map(([name, value]) =>
    row([
      markdownCode(name),
      markdownCode(typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))),
    ]),
  );
  return `| setting | value |\n| --- | --- |\n${rows.join('\n')}`;
}

function adapterSection({ config, layers, maxRank, trainedNumbers }: AdapterFacts): string {
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
    row(['trained numbers', trainedNumbers.toLocaleString('en-US')]),
  ].join('\n');
}

function usage({ repoId, baseModel }: AdapterFacts): string {
  const base = baseModel ?? 'BASE_MODEL';
  const more = baseModel ? '' : ", { baseModel: 'BASE_MODEL' }";
  const typescript = [
    "import { fromPretrained } from 'ministral-tune';",
    '',
    `const { model, processor, adapter } = await fromPretrained('${repoId}'${more});`,
  ].join('\n');
  const python = [
    'from peft import PeftModel',
    'from transformers import AutoModelForImageTextToText, AutoProcessor',
    '',
    `model = AutoModelForImageTextToText.from_pretrained("${base}", dtype="auto", device_map="auto")`,
    `model = PeftModel.from_pretrained(model, "${repoId}")`,
    `processor = AutoProcessor.from_pretrained("${base}")`,
  ].join('\n');
  return [
    '## Use',
    'With ministral-tune (TypeScript):',
    fence(typescript, 'ts'),
    'With transformers and PEFT (Python):',
    fence(python, 'python'),
  ].join('\n\n');
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

/** @param cells Markdown that a cell may hold */
function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/** A path as the address of an image: no character of it ends the address. */
function addressOf(path: string): string {
  return encodeURIComponent(path.replace(/\p{Surrogate}/gu, '\ufffd'))
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A code block, with as many backticks as it takes. */
function fence(code: string, language: string): string {
  const longest = Math.max(2, ...[...code.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const ticks = '`'.repeat(longest + 1);
  return `${ticks}${language}\n${code}\n${ticks}`;
}

function list(key: string, values: readonly string[]): string | undefined {
  return values.length === 0 ? undefined : `${key}:\n${values.map((value) => `  - ${yamlString(value)}`).join('\n')}`;
}
