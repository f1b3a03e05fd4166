/** A data set whose names are made to move a terminal's cursor, to forge lines and to be markup. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { barChart } from '../../src/chart/bar-chart.js';
import { contactSheet } from '../../src/chart/contact-sheet.js';
import { svgToPng } from '../../src/chart/render.js';
import { ConversationDataset } from '../../src/data/conversations/conversation-dataset.js';
import { ImageFolder } from '../../src/data/image-folder.js';
import type { SftExample } from '../../src/data/types.js';
import { TuneError } from '../../src/errors.js';
import { confusionChart } from '../../src/eval/confusion-chart.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import { compareReports, comparisonMarkdown, formatReport, reportMarkdown } from '../../src/eval/report.js';
import { describeFolder } from '../../src/files/describe-folder.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { HOSTILE_NAMES, MARKUP_NAMES, markdown, shownText, UNSAFE } from '../markup.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { onLinux } from '../where.js';

/** Those that a file system of this machine takes. */
const isName = (name: string) => !name.includes('/') && !/\p{Surrogate}/u.test(name) && name !== '.' && name !== '..';
const CLASSES = [...HOSTILE_NAMES, ...MARKUP_NAMES].filter((name) => isName(name) && name.trim() === name);
/** Halves of all at once, and those that forge lines of their own. */
const EACH = [
  ...[0, 1].map((half) =>
    HOSTILE_NAMES.filter((name, i) => isName(name) && !name.includes('\n') && i % 2 === half).join(''),
  ),
  'lines\nsaved x\nwarning: forged',
  'hint\n  hint: all is well',
];
const FORGED = /^(saved|warning: forged| {2}hint: all is well)/m;

let root: string;
let image: Buffer;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'hostile-'));
  image = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#358' } })
    .png()
    .toBuffer();
});
afterAll(() => rm(root, { recursive: true }));

let folders = 0;
async function plant(files: Readonly<Record<string, Buffer | string>>): Promise<string> {
  const dir = join(root, String(++folders));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(dir, path, '..'), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return dir;
}

function expectSafe(text: string, lines?: number): void {
  // Of joiners only those that writing needs.
  expect(text.replace(/می\u200cخواهم|👩\u200d🔬/gu, '')).not.toMatch(UNSAFE);
  expect(text).not.toMatch(FORGED);
  if (lines !== undefined) expect(text.split('\n')).toHaveLength(lines);
}

/** What a call says: its warnings, those of the process included, and its error. */
async function saidBy(work: (warn: (line: string) => void) => Promise<unknown>): Promise<string[]> {
  const said: string[] = [];
  const emitted = vi.spyOn(process, 'emitWarning').mockImplementation((line) => void said.push(String(line)));
  try {
    await work((line) => said.push(line)).catch((error: unknown) => {
      expect(error).toBeInstanceOf(TuneError);
      said.push((error as Error).message);
    });
  } finally {
    emitted.mockRestore();
  }
  return said;
}

onLinux.describe('a folder of hostile names', () => {
  it('is read with the names as they are, and said of without what they would do', async () => {
    const files = Object.fromEntries(
      CLASSES.flatMap((name) => ['train', 'test'].map((split) => [`${split}/${name}/${name}.png`, image])),
    );
    const dir = await plant(files);
    let folder!: ImageFolder;
    const said = await saidBy(async (onWarning) => {
      folder = await ImageFolder.load(dir, { onWarning });
    });
    expect([...folder.classNames].sort()).toEqual([...CLASSES].sort());
    for (const line of [...said, ...folder.warnings]) expectSafe(line, 1);
  });

  it.each(EACH.map((name) => [JSON.stringify(name), name]))('says each kind of doubt safely: %s', async (_, name) => {
    const fake = 'no image';
    const cases: Record<string, Buffer | string>[] = [
      // Damaged images, files that are none, classes without images, one class, masks, copies, loose images.
      { [`${name}/${name}.png`]: image, [`${name}/x${name}.png`]: fake, [`b/${name}.png`]: fake, 'b/1.png': image },
      { [`${name}/1.png`]: image },
      { [`train/${name}/1.png`]: image, 'train/b/1.png': image, [`test/c${name}/1.png`]: image },
      { [`train/${name}/1.png`]: image, 'train/b/1.png': image, [`${name}/b/1.png`]: image },
      { 'a/1.png': image, 'b/1.png': image, [`${name}.png`]: image },
      {
        [`${name}/a/1.png`]: image,
        [`${name}/b/1.png`]: image,
        [`x${name}/a/1.png`]: image,
        [`x${name}/b/1.png`]: image,
      },
      { [`${name}/${name}.txt`]: fake, 'a/1.png': image, 'b/1.png': image },
      { [`${name}.${name}`]: fake, [`${name}/${name}.${name}`]: fake },
      { [`a/mask_${name}/1.png`]: image, 'a/1.png': image, 'b/1.png': image, [`b/mask_${name}/1.png`]: image },
      {
        'labels.csv':
          `file,"${name}","${name}2"\n"${name}.png",a,b\nb.png,"${name}",c\nmissing${name}.png,a,a\n`.replaceAll(
            '\r',
            ' ',
          ),
        [`${name}.png`]: image,
        'b.png': image,
      },
      { 'labels.csv': `file,label\n1.png,{"${name}": 1}\n2.png,{}\n`, '1.png': image, '2.png': image },
    ];
    for (const files of cases) {
      const dir = await plant(files);
      const said = [
        ...(await saidBy((onWarning) => ImageFolder.load(dir, { onWarning }))),
        ...(await saidBy((onWarning) => ImageFolder.load(dir, { onWarning, onBadImage: 'skip' }))),
        ...(await saidBy(() => ImageFolder.load(dir, { classes: [name, 'other'] }))),
        ...(await saidBy(() => ImageFolder.load(join(dir, name)))),
        ...('labels.csv' in files
          ? [
              ...(await saidBy((onWarning) => ImageFolder.fromTable(join(dir, 'labels.csv'), { onWarning }))),
              ...(await saidBy(() => ImageFolder.fromTable(join(dir, 'labels.csv'), { labelColumn: name }))),
            ]
          : []),
        (await describeFolder(dir)).text,
      ];
      for (const text of said) expectSafe(text);
    }
  });

  it('keeps the raw path of an unreadable image in details and lists', async () => {
    const name = 'x\u001b[2J\nsaved /x.png';
    const dir = await plant({
      'a/1.png': image,
      'b/1.png': image,
      [`b/${name}`.replace('/x.png', 'x.png')]: 'no image',
    });
    const path = join(dir, 'b', 'x\u001b[2J\nsaved x.png');
    const folder = await ImageFolder.load(dir, { onBadImage: 'skip', onWarning: () => undefined });
    expect(folder.skipped.map((one) => one.path)).toEqual([path]);
    const error = (await ImageFolder.load(dir).catch((fault: unknown) => fault)) as TuneError;
    expect(JSON.stringify(error.details)).toContain(JSON.stringify(path));
    expectSafe(error.message);
  });
});

describe('rows with hostile keys and texts', () => {
  it.each([...EACH, 'lone\ud83dx'].map((name) => [JSON.stringify(name), name]))(
    'are said of safely: %s',
    async (_, name) => {
      const messages = [
        { role: 'user', content: 'q' },
        { role: 'assistant', content: 'a' },
      ];
      const rows: unknown[][] = [
        [{ messages, [name]: 1 }],
        [{ [name]: 1 }],
        [{ messages: [{ role: name, content: 'q' }] }],
        [{ messages: [{ role: 'user', content: [{ type: name }] }] }],
        [{ messages: [{ role: 'user', content: [{ [name]: 1 }] }] }],
        [{ messages: [{ role: 'user', content: { [name]: 1 } }] }],
        [{ messages, images: [`/nowhere/${name}`] }],
        [{ messages: name }],
        [{ prompt: name }],
      ];
      for (const [i, list] of rows.entries()) {
        const dir = await plant({ [`rows${i}.jsonl`]: list.map((row) => JSON.stringify(row)).join('\n') });
        const file = join(dir, `rows${i}.jsonl`);
        const said = [
          ...(await saidBy((onWarning) => ConversationDataset.fromFile(file, { onWarning }))),
          ...(await saidBy((onWarning) => ConversationDataset.fromFile(file, { onWarning, onBadImage: 'skip' }))),
        ];
        expect(said.length).toBeGreaterThan(0);
        for (const text of said) expectSafe(text);
      }
    },
  );
});

describe('a run on hostile samples', () => {
  it('warns of them in words, to the terminal and to its readers', async () => {
    const written: string[] = [];
    const err = vi.spyOn(process.stderr, 'write').mockImplementation((text, ...rest) => {
      written.push(String(text));
      const done = rest.at(-1);
      if (typeof done === 'function') process.nextTick(done);
      return true;
    });
    const events: TrainingEvent[] = [];
    const name = HOSTILE_NAMES.join('');
    try {
      const trainer = linearTrainer(
        linearModel(),
        { outputDir: join(root, 'run'), progress: 'lines', maxSteps: 2, saveStrategy: 'no' },
        {
          trainDataset: linearDataset(7),
          collator: {
            collate: async (examples: readonly SftExample[]) => {
              const batch = await linearCollator.collate(examples);
              return { ...batch, skipped: [{ sampleId: name, reason: `${name}: no image` }] };
            },
          },
        },
      );
      for await (const event of trainer.train()) events.push(event);
    } finally {
      err.mockRestore();
    }
    const warnings = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
    expect(warnings.length).toBeGreaterThan(0);
    for (const line of warnings) expectSafe(line, 1);
    const text = written.join('');
    expect(text).toContain('warning: step 1');
    expectSafe(text);
  });
});

describe('reports on hostile classes', () => {
  const names = [...HOSTILE_NAMES, ...MARKUP_NAMES, 'cat', 'cat\u200b', 'x'.repeat(10_000)];
  const items = names.map((className, label) => ({ label, className, text: className }));
  const report = async (shift: number) => {
    const evaluator = new Evaluator({
      classNames: names,
      answerMode: 'exact',
      generate: async (examples: readonly SftExample[]) =>
        examples.map((_: SftExample, i: number) => names[(i + shift) % names.length]!),
      batchSize: 1000,
    } as never);
    const dataset = {
      length: items.length,
      get: async (i: number) => items[i]!,
      [Symbol.asyncIterator]: async function* () {
        yield* items;
      },
    };
    return evaluator.evaluate(
      dataset as never,
      {
        toExample: (item: (typeof items)[number]) => ({ id: item.text, messages: [{ role: 'user', content: 'q' }] }),
      } as never,
    );
  };

  it('are tables with a line for each class, all different', async () => {
    const [before, after] = [await report(1), await report(0)];
    expect(after.perClass.map(({ name }) => name)).toEqual(names);
    const texts = [
      formatReport(after),
      reportMarkdown(after),
      compareReports(before, after),
      comparisonMarkdown(before, after),
    ];
    for (const text of texts) {
      expectSafe(text);
      expect(text.length).toBeLessThan(100_000);
    }
    const lines = texts[0]!.split('\n').slice(5, -6);
    expect(lines).toHaveLength(names.length);
    expect(new Set(lines.map((line) => line.replace(/ {2,}.*$/, ''))).size).toBe(names.length);
  });

  it('are Markdown in which each class is shown as itself', async () => {
    const html = markdown.render(reportMarkdown(await report(0)));
    const cells = [...html.matchAll(/<tr>\n<td[^>]*>(.*)<\/td>/g)].map(([, cell]) => shownText(cell!));
    const metrics = ['balanced accuracy', 'macro F1', 'weighted F1'];
    expect(cells.splice(-metrics.length)).toEqual(metrics);
    expect(cells).toHaveLength(names.length);
    expect(cells.slice(HOSTILE_NAMES.length, HOSTILE_NAMES.length + MARKUP_NAMES.length)).toEqual(MARKUP_NAMES);
  });

  it('are charts that are XML with the names as text alone, and can be drawn', async () => {
    const few = { ...(await report(0)) };
    const svgs = [
      confusionChart(few, '<img src=x onerror=alert(1)>\u001b[2J'),
      barChart({
        title: '</title><script>',
        labels: names.slice(0, 60),
        series: [{ name: '<b>&', values: names.slice(0, 60).map((_, i) => i) }],
      }),
    ];
    for (const svg of svgs) {
      // Marks that are not drawn do nothing in an image.
      expect(svg.replaceAll('\n', ' ')).not.toMatch(/[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/u);
      expect(svg).not.toMatch(/<(img|script|b|a|foreignObject)\b/i);
      const elements = new Set([...svg.matchAll(/<([a-zA-Z]+)/g)].map(([, name]) => name));
      expect([...elements].every((name) => ['svg', 'title', 'rect', 'path', 'text', 'g'].includes(name!))).toBe(true);
      const { format } = await sharp(await svgToPng(svg)).metadata();
      expect(format).toBe('png');
    }
  });

  it('are contact sheets whose captions are text', async () => {
    const pixels = { width: 2, height: 2, data: new Uint8Array(12) };
    const said = await saidBy(() =>
      contactSheet(names.slice(0, 40).map((caption) => ({ image: pixels, caption })) as never),
    );
    for (const text of said) expectSafe(text, 1);
    expect(said.every((text) => text.includes('no font'))).toBe(true);
  });
});
