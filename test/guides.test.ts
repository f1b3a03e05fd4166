import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { vlmCollatorOptionsSchema } from '../src/data/collator-options.js';
import {
  CheckpointError,
  ConfigError,
  DataError,
  DiskError,
  DistributedError,
  EngineError,
  HubError,
  ImageError,
  KaggleError,
  OutOfMemoryError,
  TextError,
  TrainingError,
  TransferError,
  type TuneErrorCode,
} from '../src/errors.js';
import { HOMEPAGE } from '../src/generated/version.js';
import * as api from '../src/index.js';
import { LoraConfig } from '../src/lora/lora-config.js';
import { PEFT_FIELDS } from '../src/lora/peft-fields.js';
import { parseSftConfig, sftConfigSchema } from '../src/train/sft-config.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = [
  'docs/troubleshooting.md',
  ...readdirSync(join(root, 'docs/guides')).map((name) => `docs/guides/${name}`),
];
const textOf = (page: string): string => readFileSync(join(root, page), 'utf8');

/** Anchors of a page's headings, as GitHub and the site make them. */
function anchorsOf(page: string): string[] {
  const text = textOf(page).replace(/^```[\s\S]*?^```$/gm, '');
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/ /g, '-'),
  );
}

/** Cells of all rows of a page's tables, their first lines included. */
function rowsOf(page: string): string[][] {
  return [...textOf(page).matchAll(/^\|(.*)\|$/gm)].map(([, row]) => row!.split('|').map((cell) => cell.trim()));
}

const namesIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);

describe('an error', () => {
  const CLASSES = {
    CONFIG: ConfigError,
    DATA: DataError,
    IMAGE: ImageError,
    TEXT: TextError,
    CHECKPOINT: CheckpointError,
    ENGINE: EngineError,
    TRAINING: TrainingError,
    DISTRIBUTED: DistributedError,
    DISK: DiskError,
    TRANSFER: TransferError,
    HUB: HubError,
    KAGGLE: KaggleError,
  } satisfies Record<TuneErrorCode, unknown>;

  it.each([...Object.entries(CLASSES), ['Out of memory', OutOfMemoryError] as const])(
    'of code %s leads to its section, after the hint',
    (heading, Class) => {
      const error = new Class('wrong', { hint: 'mend it' });
      const [page, anchor] = error.helpUrl.split('#');
      expect(page).toBe(`${HOMEPAGE}troubleshooting.html`);
      expect(anchorsOf('docs/troubleshooting.md')).toContain(anchor);
      expect(textOf('docs/troubleshooting.md')).toContain(`\n## ${heading}\n`);
      expect(error.message).toBe(`wrong\n  hint: mend it\n  see ${error.helpUrl}`);
      expect(new Class('wrong').message).toBe('wrong');
      expect(JSON.parse(JSON.stringify(error))).toMatchObject({ helpUrl: error.helpUrl });
    },
  );
});

describe('troubleshooting', () => {
  it('quotes messages that the sources have', () => {
    const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.startsWith('generated'))
      .map((name) => readFileSync(join(root, 'src', name), 'utf8'))
      .join('\n')
      // Texts that go on in the next line.
      .replace(/['"`] \+\s*['"`]/g, '');
    const quoted = rowsOf('docs/troubleshooting.md')
      .flatMap(([message]) => namesIn(message!))
      .flatMap((message) => message.split('…'))
      .map((part) => part.trim().replace(/^["'(]|["',]$/g, ''))
      .filter((part) => part.length > 5);
    expect(quoted.length).toBeGreaterThan(100);
    expect(quoted.filter((part) => !sources.includes(part))).toEqual([]);
  });
});

describe('tables of options', () => {
  const collator = vlmCollatorOptionsSchema().shape;
  /** Options that belong to functions and classes whose schema is not one of the three. */
  const OTHERS = [
    'chatTemplate',
    'imagePool',
    'offload',
    'quantization',
    'token',
    'longestEdge',
    'memoryBudget',
    'maxMemory',
  ];
  const TRAINER = ['model', 'config', 'trainDataset', 'evalDataset', 'collator', 'computeMetrics', 'callbacks', 'seed'];
  const known = new Set([
    ...Object.keys(sftConfigSchema().shape),
    ...Object.keys(new LoraConfig()),
    ...['excludeModules', 'layersToTransform', 'layersPattern'],
    ...Object.keys(collator),
    ...Object.keys(api),
    ...OTHERS,
    ...TRAINER,
  ]);
  /** Cells that say `option` or `option` of something; calls and values are no names. */
  const optionsIn = (cell: string): string[] => namesIn(cell).filter((name) => /^[a-z][A-Za-z]*$/.test(name));

  it.each([
    ['docs/guides/from-trl.md', 1],
    ['docs/guides/from-unsloth.md', undefined],
  ])('in %s name what exists', (page, column) => {
    const words = new Set(['none', 'train', 'there', 'here']);
    const unknown: string[] = [];
    let headers: string[] = [];
    for (const row of rowsOf(page)) {
      if (row[0] === 'there') headers = row;
      const at = column ?? headers.indexOf('here');
      for (const name of optionsIn(row[at] ?? '')) if (!known.has(name) && !words.has(name)) unknown.push(name);
    }
    expect(unknown).toEqual([]);
  });

  it('give the defaults that hold', () => {
    const defaults: Record<string, unknown> = { ...new LoraConfig(), ...parseSftConfig() };
    for (const [name, schema] of Object.entries(collator)) defaults[name] = schema.parse(undefined);
    let compared = 0;
    for (const page of ['docs/guides/from-trl.md', 'docs/guides/from-unsloth.md']) {
      let headers: string[] = [];
      for (const row of rowsOf(page)) {
        if (row[0] === 'there') headers = row;
        const [said, option] = [row[headers.indexOf('default here')], optionsIn(row[headers.indexOf('here')] ?? '')[0]];
        if (said === undefined || said === 'default here' || option === undefined || !(option in defaults)) continue;
        if (['', '–', 'the seven projections'].includes(said)) continue;
        const value = defaults[option];
        const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
        const shown = said.replaceAll('`', '');
        if (shown !== text && Number(shown) !== value) expect.fail(`${page}: ${option} is ${text}, it says ${said}`);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(50);
  });

  it('leave no option of the run, the adapter and the collator out', () => {
    const text = textOf('docs/guides/from-trl.md');
    const own = [...Object.keys(sftConfigSchema().shape), ...Object.keys(new LoraConfig()), ...Object.keys(collator)];
    expect(own.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });

  it('name the settings of PEFT that it refuses, and no others', () => {
    const refused = Object.entries(PEFT_FIELDS).filter(([, { use }]) => typeof use === 'object');
    const text = textOf('docs/guides/from-trl.md');
    const cells = rowsOf('docs/guides/from-trl.md').filter(([, here]) => here === 'not here');
    const named = new Set(cells.flatMap(([there]) => namesIn(there!)));
    const read = Object.entries(PEFT_FIELDS).filter(([, { use }]) => use === 'read');
    expect(read.map(([name]) => name).filter((name) => named.has(name))).toEqual([]);
    const unmentioned = refused.map(([name]) => name).filter((name) => !text.includes(`\`${name}\``));
    expect(unmentioned).toEqual([
      'arrow_config',
      'kasa_config',
      'megatron_config',
      'monteclora_config',
      'velora_config',
    ]);
  });
});

it('links of the guides lead to pages and headings', () => {
  const broken: string[] = [];
  let count = 0;
  for (const page of pages) {
    for (const [, target] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      count++;
      const [path, anchor] = target!.split('#');
      const to = path === '' ? page : relative(root, join(root, dirname(page), path!));
      const isFound = existsSync(join(root, to)) && (anchor === undefined || anchorsOf(to).includes(anchor));
      if (!isFound) broken.push(`${page}: ${target}`);
    }
  }
  expect(broken).toEqual([]);
  expect(count).toBeGreaterThan(60);
});

it('every guide is in the list of guides', () => {
  const listed = new Set([...textOf('docs/guides/README.md').matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, name]) => name));
  const own = readdirSync(join(root, 'docs/guides')).filter((name) => name !== 'README.md');
  expect(own.filter((name) => !listed.has(name))).toEqual([]);
});
