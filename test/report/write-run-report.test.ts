import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { ownCommand, type WriteRunReportOptions, writeRunReport } from '../../src/report/write-run-report.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { parseSftConfig } from '../../src/train/sft-config.js';
import { FRACTURES, runParts, trainingCourse } from './run-parts.js';

const parts = runParts({ classNames: FRACTURES, samples: 40, id: String });
const { before, after } = parts;
const image = { width: 8, height: 6, data: new Uint8Array(8 * 6 * 3) };
const test = new IndexedDataset(40, (i) => ({ image, label: i % 10 }));
const wrong = after!.samples.filter(({ expected, predicted }) => expected !== predicted);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'run-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));
const write = (name: string, lines: readonly object[]): Promise<void> =>
  writeFile(join(folder, name), `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`);
const page = (): Promise<string> => readFile(join(folder, 'report.html'), 'utf8');

async function log(): Promise<void> {
  const { logs, evaluations } = trainingCourse(30);
  const entries = [
    ...logs.map((entry) => ({ type: 'log', ...entry })),
    ...evaluations.map((entry) => ({ type: 'evaluate', ...entry })),
  ];
  await write('train-log.jsonl', [{ type: 'start', step: 0, totalSteps: 30, time: '' }, ...entries]);
}

/** What a chart is drawn from. */
function chartOf(html: string, title: string): { x: number[]; series: { name: string; values: number[] }[] } {
  const figure = html.split('<figure class="chart">').find((text) => text.includes(`<figcaption>${title}<`))!;
  return JSON.parse(/<script type="application\/json">(.*?)<\/script>/s.exec(figure)![1]!);
}

describe('writeRunReport', () => {
  it('makes the report from the folder of a run', async () => {
    await log();
    const state = {
      config: { ...parseSftConfig(), learningRate: 0.125 },
      globalStep: 33,
      totalSteps: 34,
      dataset: { length: 77, digests: [] },
    };
    await writeFile(join(folder, 'trainer-state.json'), JSON.stringify(state));
    await writeFile(join(folder, 'training-state.safetensors'), '');
    const base = { base_model_name_or_path: 'mistralai/Ministral', revision: 'f00', r: 16 };
    await writeFile(join(folder, 'adapter_config.json'), JSON.stringify(base));
    const written = await writeRunReport(folder, { before, after, images: test, engine: 'cuda: a card' });
    expect(written).toMatchObject({ path: join(folder, 'report.html'), imagesLeftOut: 0, warnings: [] });
    const html = await page();
    expect(Buffer.byteLength(html)).toBe(written.bytes);
    for (const text of [
      'mistralai/Ministral',
      'f00',
      'cuda: a card',
      '77 samples',
      '0.125',
      'Became right',
      '33 of 34',
    ])
      expect(html).toContain(text);
    expect(chartOf(html, 'Loss').series.map(({ name }) => name)).toEqual(['training', 'evaluation']);
    expect(chartOf(html, 'Loss').x).toHaveLength(30);
    const shown = html.match(/<img src="data:image\/webp;base64,/g)!.length;
    expect(shown).toBe(written.images);
    expect(shown).toBeGreaterThanOrEqual(wrong.length);
  });

  it('draws every step of the events, those of a resumed run in place of what it repeats', async () => {
    await log();
    const step = (n: number, loss: number): object => ({
      type: 'step',
      step: n,
      epoch: 0,
      loss,
      gradNorm: 1,
      learningRate: 1e-4,
      tokens: 9,
    });
    const start = (n: number): object => ({
      type: 'start',
      step: n,
      config: parseSftConfig(),
      samples: 5,
      totalSteps: 4,
      trainableParameters: 3,
    });
    const warning = { type: 'warning', step: 2, message: 'an image <b>is</b> gone' };
    await write('events.jsonl', [
      start(0),
      step(1, 9),
      step(2, 8),
      step(3, 99),
      start(2),
      warning,
      step(3, 7),
      step(4, 6),
    ]);
    await writeRunReport(folder);
    const html = await page();
    expect(chartOf(html, 'Loss').series[0]!.values.slice(0, 4)).toEqual([9, 8, 7, 6]);
    expect(html).toContain('an image &lt;b&gt;is&lt;/b&gt; gone');
    const given = [start(0), step(1, 5)] as TrainingEvent[];
    await writeRunReport(folder, { events: given, file: join(folder, 'other.html') });
    expect(chartOf(await readFile(join(folder, 'other.html'), 'utf8'), 'Loss').series[0]!.values[0]).toBe(5);
  });

  it('embeds as many images as it may, mistakes first', async () => {
    await log();
    const asked: string[] = [];
    const images = (sample: { id: string }): typeof image => {
      asked.push(sample.id);
      return image;
    };
    const few = await writeRunReport(folder, { before, after, images, maxImages: 2 });
    expect(few).toMatchObject({ images: 2 });
    expect(few.imagesLeftOut).toBeGreaterThan(5);
    const ids = wrong.map(({ id }) => id);
    expect(asked.every((id) => ids.includes(id))).toBe(true);
    expect(await writeRunReport(folder, { after, images, maxImageBytes: 120 })).toMatchObject({ images: 1 });
    expect(await writeRunReport(folder, { after, images, maxImages: 0 })).toMatchObject({ images: 0 });
    expect((await page()).match(/<img/g)).toBeNull();
  });

  it('is written although images or files of the run cannot be read', async () => {
    await log();
    await writeFile(join(folder, 'events.jsonl'), 'no events\n');
    await writeFile(join(folder, 'adapter_config.json'), '{');
    const images = (): string => join(folder, 'gone.png');
    const { warnings, images: count, imagesLeftOut } = await writeRunReport(folder, { after, images });
    expect([count, imagesLeftOut]).toEqual([0, 0]);
    expect(warnings.map((line) => /events\.jsonl|adapter_config\.json|gone\.png/.exec(line)?.[0])).toEqual([
      'events.jsonl',
      'adapter_config.json',
      ...wrong.slice(0, 10).map(() => 'gone.png'),
      ...(wrong.length > 10 ? [undefined] : []),
    ]);
    expect(await page()).toContain('id="training"');
  });

  it('takes from damaged files what is sound', async () => {
    const entry = {
      type: 'log',
      step: 2,
      loss: 'x',
      seconds: 'y',
      epoch: null,
      tokensPerSecond: {},
      peakMemoryBytes: [],
    };
    await write('train-log.jsonl', [{ ...entry, step: 9 }, entry, { ...entry, step: 5, loss: 4 }]);
    const start = { type: 'start', step: 0, config: 'none', totalSteps: {}, samples: 'many', trainableParameters: [] };
    await write('events.jsonl', [{ type: 'step' }, start, { type: 'warning', step: 1, message: {} }]);
    const state = { config: 3, parameters: [{ shape: ['a'] }, 4], dataset: 'x', settings: [], logHistory: {} };
    await writeFile(join(folder, 'trainer-state.json'), JSON.stringify(state));
    await writeFile(join(folder, 'training-state.safetensors'), '');
    const { warnings } = await writeRunReport(folder, { before, after });
    const html = await page();
    expect(warnings).toEqual([]);
    expect(chartOf(html, 'Loss')).toMatchObject({ x: [2, 5, 9], series: [{ values: [null, 4, null] }] });
    expect(html.replace(/<(script|style)\b.*?<\/\1>/gs, '')).not.toMatch(/NaN|undefined|>\s*null|Infinity/);
  });

  it('reads evaluations from files', async () => {
    await log();
    await writeFile(join(folder, 'after.json'), JSON.stringify(after));
    await writeRunReport(folder, { after: join(folder, 'after.json') });
    expect(await page()).toContain('id="confusion"');
    await writeFile(join(folder, 'after.json'), '{"confusion": 1}');
    await expect(writeRunReport(folder, { after: join(folder, 'after.json') })).rejects.toThrow(ConfigError);
    await expect(writeRunReport(folder, { after: join(folder, 'none.json') })).rejects.toThrow(
      /`after`: .*none\.json cannot be read/,
    );
  });

  it.each<[string, unknown, RegExp]>([
    ['unknown names', { dataset: test }, /unknown option `dataset`; did you mean `images`/],
    ['images that are none', { images: 'folder' }, /`images`: expected a function/],
    ['limits that are none', { maxImages: -1 }, /`maxImages`: expected a whole number/],
    ['edges that are none', { imageEdge: 1 }, /`imageEdge`: expected a whole number from 16/],
    ['reports that are none', { after: { accuracy: 1 } }, /`after`: expected an evaluation report/],
  ])('refuses %s', async (_, options, message) => {
    await log();
    await expect(writeRunReport(folder, options as WriteRunReportOptions)).rejects.toThrow(message);
  });

  it('says where the run is, if it is not here', async () => {
    await expect(writeRunReport(join(folder, 'none'))).rejects.toThrow(/does not exist/);
    await expect(writeRunReport(folder)).rejects.toThrow(DataError);
    const above = folder;
    folder = join(above, 'checkpoints');
    await mkdir(folder);
    await log();
    await expect(writeRunReport(above)).rejects.toThrow(/There is one in .*checkpoints\./);
    await expect(writeRunReport(join(folder, 'train-log.jsonl'))).rejects.toThrow(/is a file/);
    folder = above;
  });

  it('stops at a signal, and writes nothing', async () => {
    await log();
    const reason = new Error('enough');
    await expect(writeRunReport(folder, { after, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const images = (): undefined => controller.abort(reason) as undefined;
    await expect(writeRunReport(folder, { before, after, images, signal: controller.signal })).rejects.toBe(reason);
    await expect(page()).rejects.toThrow('ENOENT');
  });

  it('hides secrets of the command', async () => {
    const argv = [
      '/usr/bin/node',
      'train.js',
      '--hub-token',
      'abc',
      '--api-key=xyz',
      '--name',
      'a b',
      'hf_0123456789abcdef',
    ];
    expect(ownCommand(argv)).toBe('node train.js --hub-token *** --api-key=*** --name "a b" ***');
    await log();
    await writeRunReport(folder, { command: null });
    expect(await page()).not.toContain('>Command<');
  });
});
