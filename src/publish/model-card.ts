/** The page of an adapter or a model on the Hub: metadata for its search, and text for people. */
import { basename } from 'node:path';
import { z } from 'zod';
import { type Mismatch, type NoMismatch, pathOption } from '../config.js';
import { escapeMarkdown, markdownCode, yamlString } from '../messages/markdown.js';

const text = z.string().min(1);
const words = z.array(text).readonly();
/** What the page of an adapter or a model says. No text in it may be empty. */
export interface ModelCard {
  /** Heading, as text. Default: the repository's name. */
  title?: string | undefined;
  /** The base model's name on the Hub. Default: what the adapter was saved with, or merged into. */
  baseModel?: string | undefined;
  /** What the adapter or model does, in Markdown. Default: none. */
  description?: string | undefined;
  /** Shown first, set off: what it must not be used for. Default: none. */
  warning?: string | undefined;
  /** Its licence, in the Hub's spelling, e.g. `apache-2.0`. Default: none. */
  license?: string | undefined;
  /** Language codes, e.g. `en`. Default: none. */
  language?: readonly string[] | undefined;
  /** Tags beyond those that are always there. Default: none. */
  tags?: readonly string[] | undefined;
  /** Data sets on the Hub, by name; others belong into `data`. Default: none. */
  datasets?: readonly string[] | undefined;
  /** What it was trained on, in Markdown: source, size, licence, known flaws. Default: none. */
  data?: string | undefined;
  /** The prompt that it was trained with. Default: none. */
  prompt?: string | undefined;
  /** Settings of the training by name, such as `trainer.config`, shown as they are. Default: none. */
  config?: object | undefined;
  /** Results on data that was not trained on. Default: none. */
  metrics?: readonly ModelCardMetric[] | undefined;
  /** Where `metrics` were measured. Default: none. */
  evaluatedOn?: ModelCardDataset | undefined;
  /** PNG or JPEG files, uploaded below `images/`. Default: none. */
  pictures?: readonly ModelCardImage[] | undefined;
}

/** A result in a {@link ModelCard}. */
export interface ModelCardMetric {
  /** What the Hub calls it, e.g. `accuracy`, `f1`. Required. */
  type: string;
  /** What people call it. Default: `type`. */
  name?: string | undefined;
  /** The score after training; four digits of it in the text, all in the metadata. Required. */
  value: number;
  /** The score before training. Default: none. */
  before?: number | undefined;
}

/** Where the metrics of a {@link ModelCard} were measured. */
export interface ModelCardDataset {
  /** What people call the data set. Required. */
  name: string;
  /** A name on the Hub, or any other. Required. */
  type: string;
  /** Part of the data set, e.g. `test`. Default: none. */
  split?: string | undefined;
  /** How many samples were evaluated. Default: none. */
  samples?: number | undefined;
}

/** An image of a {@link ModelCard}. */
export interface ModelCardImage {
  /** A file on this machine; it keeps its name, which no other image may have. Required. */
  path: string;
  /** Below the image, and in its place where it is not shown; Markdown. Required. */
  caption: string;
}

/** An interface of options has no index signature. */
const settingsSchema = z.record(text, z.unknown()) as unknown as z.ZodType<Record<string, unknown>, object>;
const metricSchema = z.strictObject({
  type: text,
  name: text.optional(),
  value: z.number(),
  before: z.number().optional(),
});
const datasetSchema = z.strictObject({
  name: text,
  type: text,
  split: text.optional(),
  samples: z.int().min(1).optional(),
});
const imageSchema = z.strictObject({ path: pathOption(), caption: text });

/** Checks {@link ModelCard}, the option `modelCard` of `pushToHub`. */
export const modelCardSchema = z.strictObject({
  title: text.optional(),
  baseModel: text.optional(),
  description: text.optional(),
  warning: text.optional(),
  license: text.optional(),
  language: words.default([]),
  tags: words.default([]),
  datasets: words.default([]),
  data: text.optional(),
  prompt: text.optional(),
  config: settingsSchema.default({}),
  metrics: z.array(metricSchema).readonly().default([]),
  evaluatedOn: datasetSchema.optional(),
  pictures: z.array(imageSchema).readonly().default([]),
});

type _Card = NoMismatch<Mismatch<z.input<typeof modelCardSchema>, ModelCard>>;
type _Metric = NoMismatch<Mismatch<z.input<typeof metricSchema>, ModelCardMetric>>;
type _Dataset = NoMismatch<Mismatch<z.input<typeof datasetSchema>, ModelCardDataset>>;
type _Image = NoMismatch<Mismatch<z.input<typeof imageSchema>, ModelCardImage>>;
type ParsedModelCard = z.output<typeof modelCardSchema>;

/** What is published, as far as it decides what the page says. */
export interface CardSubject {
  readonly repoId: string;
  readonly baseModel: string | undefined;
  /** In sentences about it. */
  readonly noun: 'adapter' | 'model';
  /** First sentence. */
  readonly introduction: string;
  /** The Hub's `library_name`. */
  readonly library: 'peft' | 'transformers';
  /** The Hub's `base_model_relation`; undefined where the files say it. */
  readonly relation?: 'finetune';
  readonly tags: readonly string[];
  /** After what the user writes: what it is, and how it is used. */
  readonly sections: readonly string[];
}

/** Path of an image in the repository. */
export function imagePath(path: string): string {
  return `images/${basename(path)}`;
}

export function renderModelCard(card: ParsedModelCard, subject: CardSubject): string {
  const { noun, repoId } = subject;
  const sections = [
    frontMatter(card, subject),
    `# ${escapeMarkdown(card.title ?? repoId.split('/')[1]!)}`,
    card.warning &&
      `> [!WARNING]\n${card.warning
        .split('\n')
        .map((line) => `> ${line}`)
        .join('\n')}`,
    subject.introduction,
    card.description,
    results(card),
    ...card.pictures.map(({ path, caption }) => {
      const alternative = caption.replace(/[[\]\\]/g, '\\$&').replace(/\s+/g, ' ');
      return `![${alternative}](${addressOf(imagePath(path))})\n\n*${caption}*`;
    }),
    card.data && `## Data\n\n${card.data}`,
    card.prompt &&
      `## Prompt\n\nThe ${noun} was trained with this prompt, and works best with it:\n\n${fence(card.prompt, 'text')}`,
    Object.keys(card.config).length > 0 && `## Training\n\n${settings(card.config)}`,
    ...subject.sections,
  ];
  return `${sections.filter(Boolean).join('\n\n')}\n`;
}

function frontMatter(card: ParsedModelCard, subject: CardSubject): string {
  const { baseModel, library, relation, tags, repoId } = subject;
  const types = [...new Set(card.metrics.map(({ type }) => type))];
  const lines = [
    baseModel && `base_model: ${yamlString(baseModel)}`,
    baseModel && relation && `base_model_relation: ${relation}`,
    `library_name: ${library}`,
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

/** @param cells Markdown that a cell may hold */
export function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/** A path as the address of an image: no character of it ends the address. */
function addressOf(path: string): string {
  return encodeURIComponent(path.replace(/\p{Surrogate}/gu, '\ufffd'))
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A code block, with as many backticks as it takes. */
export function fence(code: string, language: string): string {
  const longest = Math.max(2, ...[...code.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const ticks = '`'.repeat(longest + 1);
  return `${ticks}${language}\n${code}\n${ticks}`;
}

function list(key: string, values: readonly string[]): string | undefined {
  return values.length === 0 ? undefined : `${key}:\n${values.map((value) => `  - ${yamlString(value)}`).join('\n')}`;
}

/** How it is loaded, in both languages. */
export function usageSection(typescript: readonly string[], python: readonly string[]): string {
  return [
    '## Use',
    'With ministral-tune (TypeScript):',
    fence(typescript.join('\n'), 'ts'),
    `With transformers${python.some((line) => line.includes('peft')) ? ' and PEFT' : ''} (Python):`,
    fence(python.join('\n'), 'python'),
  ].join('\n\n');
}

/** The base model as a link, or what is known of one without a name. */
export function baseLink(baseModel: string | undefined): string {
  return baseModel ? `[${baseModel}](https://huggingface.co/${baseModel})` : 'a Mistral vision-language model';
}
