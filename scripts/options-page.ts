/** Writes docs/options.md: every option of every options type, from the comments of the interfaces. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Option, type OptionsType, optionTypes } from './option-types.js';

/** Options types in the order of the work; those that are not named come last. */
const GROUPS: readonly (readonly [title: string, names: string])[] = [
  [
    'Data sets',
    'ImageFolder ImageTable KaggleDownload KaggleLogin HubImageFolder Conversation ClassificationExample Split',
  ],
  ['Models', 'FromPretrained Quantization Load'],
  ['Engines', 'CreateEngine CudaEngine Offload WebgpuEngine TfjsEngine'],
  ['LoRA', 'LoraConfig ApplyLora LoadAdapter SaveAdapter MergeAdapter'],
  [
    'Training',
    'SftTrainer SftConfigInput SftConfig CosineKwargs CosineWithMinLrKwargs CosineWarmupWithMinLrKwargs ' +
      'CosineWithRestartsKwargs InverseSqrtKwargs PolynomialKwargs WarmupStableDecayKwargs Train AbortOnSignals',
  ],
  ['Batches', 'VlmCollator CollatorSettings Collate DataLoader DataLoaderSettings MaskView FormatMask'],
  ['Images', 'ImageProcessor FromConfig ImagePool ImageDecode PixelSettings'],
  ['Tokens', 'ChatTemplate TemplateRender Encode TokenDecode'],
  ['Generation', 'Generate Generation ScoreLabels'],
  ['Watching a run', 'LivePage ShowProgress TensorBoard JsonLines'],
  ['Evaluation', 'Evaluator Evaluate EvaluatorMetrics Bootstrap'],
  ['Audit', 'Audit Deduplicate LeakFree FormatAudit AuditThumbnail AuditPage AuditSection'],
  ['Plans', 'TrainingPlan'],
  ['Reports and charts', 'WriteRunReport RunReportParts ConfusionChart LineChart BarChart ContactSheet Render'],
  [
    'Hub',
    'HubConnection HubDownload SnapshotDownload Push PushToHub ModelCard ModelCardMetric ModelCardDataset ModelCardImage',
  ],
  ['Demonstration', 'Demonstration DrawRadiographs TinyCheckpoint'],
  ['Several processes', 'ProcessGroup'],
  ['Models and loops of your own', 'Tape Region Pass Row Accumulate EvaluateLoss'],
];

/** Where the interface says what is not given: a schedule without a name. */
const SHOWN_TYPES: Readonly<Record<string, string>> = {
  lrSchedulerType: 'LrSchedulerType',
  lrSchedulerKwargs: 'LrSchedulerKwargs[LrSchedulerType]',
};

/** The whole page. */
export function optionsPage(types: readonly OptionsType[] = optionTypes()): string {
  const left = new Map(types.map((type) => [type.name, type]));
  const groups = GROUPS.map(([title, names]) => {
    const found = names.split(' ').flatMap((name) => left.get(name) ?? left.get(`${name}Options`) ?? []);
    // `SftConfig` alone is no options type, so that the name means `SftConfigOptions`.
    for (const { name } of found) left.delete(name);
    return [title, found] as const;
  });
  const all = [...groups, ['Others', [...left.values()]] as const].filter(([, found]) => found.length > 0);
  const known = new Set(types.map(({ name }) => name));
  const count = types.reduce((sum, { options }) => sum + options.length, 0);
  return [
    '# Options',
    '<!-- Made by `npm run options` from the comments of the interfaces in src. -->',
    `The ${count} options of ${types.length} types, as editors show them where they are typed. What is not required may be left\n` +
      'out. A wrong value, or a name that does not exist, is an error that lists every fault, with the nearest name.',
    all
      .map(
        ([title, found]) =>
          `- **${title}**: ${found.map(({ name }) => `[${name}](#${name.toLowerCase()})`).join(' · ')}`,
      )
      .join('\n'),
    ...all.flatMap(([title, found]) => [`## ${title}`, ...found.map((type) => section(type, known))]),
    '',
  ]
    .join('\n\n')
    .replace(/\n+$/, '\n');
}

function section({ name, door, summary, options, bases }: OptionsType, known: ReadonlySet<string>): string {
  const also = bases.map((base) => {
    const link = `[${base.name}](#${base.name.toLowerCase()})`;
    if (base.only) return `${base.only.map((one) => `\`${one}\``).join(', ')} of ${link}`;
    return base.without.length > 0 ? `${link} but ${base.without.map((one) => `\`${one}\``).join(', ')}` : link;
  });
  const rows = options.map(
    (option) =>
      `| \`${option.name}\` | ${shownType(option)} | ${shownDefault(option, known)} | ${shownMeaning(option, known)} |`,
  );
  return [
    `### ${name}`,
    `${linked(summary, known)} From \`${door}\`.${also.length > 0 ? ` Also has the options of ${also.join(', ')}.` : ''}`,
    ...(rows.length > 0 ? [['| option | type | default | meaning |', '|---|---|---|---|', ...rows].join('\n')] : []),
  ].join('\n\n');
}

function shownType({ name, type }: Option): string {
  const shown = (SHOWN_TYPES[name] ?? type).replaceAll('(string & {})', 'string');
  return `\`${shown.replaceAll('|', '\\|')}\``;
}

function shownDefault({ isRequired, default: given }: Option, known: ReadonlySet<string>): string {
  return isRequired ? '**required**' : cell(given ?? '', known);
}

function shownMeaning({ meaning, deprecated }: Option, known: ReadonlySet<string>): string {
  return cell(meaning, known) + (deprecated === undefined ? '' : ` **Deprecated**, ${cell(deprecated, known)}`);
}

const cell = (text: string, known: ReadonlySet<string>): string => linked(text, known).replaceAll('|', '\\|');

function linked(text: string, known: ReadonlySet<string>): string {
  return text.replace(/\{@link (\w+)\}/g, (_, name: string) =>
    known.has(name) ? `[${name}](#${name.toLowerCase()})` : `\`${name}\``,
  );
}

const path = fileURLToPath(new URL('../docs/options.md', import.meta.url));
if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(path, optionsPage());
