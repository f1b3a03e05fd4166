/** The table of wrong uses as a page of the documents, and as a program whose lines TypeScript refuses. */
import { escapeMarkdown, markdownCode } from '../../src/messages/markdown.js';
import { COMMAND } from './world.js';

export interface WrongUse {
  /** As a user writes it; `./` lies beside `xrays`, a folder of images, and `model`, a checkpoint. */
  readonly code: string;
  /** Whether TypeScript refuses it. */
  readonly seen: boolean;
}

/** By the part of the package. */
export type WrongUses = Readonly<Record<string, readonly WrongUse[]>>;

/** What came of one. */
export interface Refusal {
  readonly summary: string;
  readonly hint: string | undefined;
}

/** docs/wrong-uses.md */
export function wrongUsesPage(uses: WrongUses, refusals: ReadonlyMap<string, Refusal>): string {
  const all = Object.values(uses).flat();
  const code = all.filter((use) => !use.code.startsWith(COMMAND));
  const lines = [
    '# Wrong uses and what they are answered with',
    '',
    `${all.length} things that people write, and the messages that they get: each says what was expected, what came, where, and`,
    `what to do. TypeScript refuses ${code.filter(({ seen }) => seen).length} of the ${code.length} in code before they run; the last column is what a JavaScript user`,
    'sees, or one who casts. `npx vitest run -u --config test/vitest.config.ts test/wrong-use` writes this page from',
    'what is thrown.',
  ];
  for (const [part, cases] of Object.entries(uses)) {
    lines.push('', `## ${part}`, '', '| written | refused by TypeScript | message |', '|---|---|---|');
    for (const use of cases) {
      const { summary, hint } = refusals.get(use.code)!;
      const message = [...summary.split('\n'), ...(hint === undefined ? [] : [`hint: ${hint}`])];
      const cells = message.filter((line) => line.trim() !== '').map((line) => markdownLine(line.trim()));
      const seen = use.code.startsWith(COMMAND) ? '' : use.seen ? 'yes' : 'no';
      lines.push(`| ${markdownCode(use.code)} | ${seen} | ${cells.join('<br>')} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** What stands between backticks is code. */
function markdownLine(line: string): string {
  const parts = line.split('`');
  if (parts.length % 2 === 0) return escapeMarkdown(line);
  return parts.map((part, i) => (i % 2 === 1 ? markdownCode(part) : escapeMarkdown(part))).join('');
}

/** What the names in scope are to the compiler. */
const SCOPE: Readonly<Record<string, string>> = {
  engine: 'api.Engine',
  model: 'api.VisionLanguageModel',
  plainModel: 'api.VisionLanguageModel',
  processor: 'api.ModelProcessor',
  adapter: 'api.LoraAdapter',
  collator: 'api.VlmCollator',
  folder: 'api.ImageFolder',
  samples: 'api.SftExample[]',
  toExample: '(item: api.ImageSample) => api.SftExample',
  evaluator: 'api.Evaluator',
  trainDataset: 'api.IndexedDataset<api.SftExample>',
  tokenizer: "api.ModelProcessor['tokenizer']",
  imageProcessor: "api.ModelProcessor['imageProcessor']",
  chatTemplate: 'api.ChatTemplate',
  disposedEngine: 'api.Engine',
  disposedModel: 'api.VisionLanguageModel',
  disposedAdapter: 'api.LoraAdapter',
  trainer: 'api.SftTrainer',
  batch: 'api.VlmBatch',
  report: 'api.EvaluationReport',
};

/**
 * test/consumer/wrong-uses.ts, which is checked against the built declarations: a line that is expected to fail and does
 * not is an error there, as is one that fails unexpectedly.
 * @param doors names that each door exports, without the types
 */
export function wrongUsesProgram(uses: WrongUses, doors: ReadonlyMap<string, readonly string[]>): string {
  const text = Object.values(uses)
    .flat()
    .map(({ code }) => code);
  const used = (name: string): boolean => text.some((code) => new RegExp(`\\b${name}\\b`).test(code));
  const taken = new Set<string>();
  const imports = [...doors].flatMap(([door, names]) => {
    const wanted = names.filter((name) => used(name) && !taken.has(name) && !(name in SCOPE));
    for (const name of wanted) taken.add(name);
    return wanted.length > 0 ? [`import { ${wanted.sort().join(', ')} } from '${door}';`] : [];
  });
  const lines = [
    '/**',
    ' * Written by test/wrong-use: what is wrong, and whether TypeScript sees it. Never run, and not formatted: a comment is',
    ' * about one line.',
    ' */',
    "import type * as api from 'ministral-tune';",
    ...imports,
    '',
    ...Object.entries(SCOPE).map(([name, type]) => `declare const ${name}: ${type};`),
    '',
    'export async function wrongUses(): Promise<void> {',
  ];
  for (const [part, cases] of Object.entries(uses)) {
    const inCode = cases.filter(({ code }) => !code.startsWith(COMMAND));
    if (inCode.length === 0) continue;
    lines.push(`  // ${part}`);
    for (const { code, seen } of inCode) {
      if (seen) lines.push('  // @ts-expect-error');
      lines.push(`  { ${code}; }`);
    }
  }
  return `${[...lines, '}'].join('\n')}\n`;
}
