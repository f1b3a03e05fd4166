import { beforeAll, describe, expect, it } from 'vitest';
import { auditDataset } from '../../src/audit/audit-dataset.js';
import { renderAuditPage } from '../../src/audit/audit-page.js';
import type { AuditReport } from '../../src/audit/audit-report.js';
import { auditSection } from '../../src/audit/audit-section.js';
import { auditThumbnails } from '../../src/audit/audit-thumbnails.js';
import { formatAudit } from '../../src/audit/format-audit.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { displayWidth } from '../../src/messages/display-width.js';
import { changed, drawn } from './drawn-images.js';

const EVIL = '<b onload="x">\u001b[31m';
const CHINESE = '肺炎和肺结核以及其他许多种疾病的胸部影像学表现';

let data: { train: IndexedDataset<object>; test: IndexedDataset<object> };
let report: AuditReport;
beforeAll(async () => {
  const images = await Promise.all(Array.from({ length: 5 }, (_, i) => drawn(i)));
  const small = await changed(await drawn(9), (image) => image.resize(30, 20));
  const sample = (image: Uint8Array, className: string) => ({
    image,
    className,
    id: `${EVIL}/${'long-'.repeat(30)}.png`,
  });
  const names = [EVIL, CHINESE];
  data = {
    train: IndexedDataset.from([...images.map((image, i) => sample(image, names[i % 2]!)), sample(small, EVIL)]),
    test: IndexedDataset.from(images.slice(0, 3).map((image) => sample(image, CHINESE))),
  };
  report = await auditDataset(data);
});

describe('an audit as text', () => {
  it('fits 80 columns, whatever the names are', () => {
    const text = formatAudit(report);
    expect(text.split('\n').filter((line) => displayWidth(line) > 80)).toEqual([]);
    expect(text).not.toContain('\u001b');
    expect(text).toContain('Data audit: 9 samples (train 6, test 3), 9 images');
    expect(text).toContain('3 of 3 samples of test (100.0 %) have a copy in train');
    expect(text).toContain('3 groups of copies, of 6 images: 3 exact; 3 across splits; 2 with different');
    expect(text).toContain('Tiny: 1 image');
  });

  it('counts what it leaves out', () => {
    const text = formatAudit(report, { maxGroups: 1, maxClasses: 1, maxIssues: 0 });
    expect(text).toContain('and 2 more groups of copies');
    expect(text).toContain('and 1 more class\n');
    expect(text.match(/^1\. /gm)).toHaveLength(1);
    expect(text).not.toContain('2. ');
    expect(() => formatAudit(report, { maxGroup: 1 } as object)).toThrow(/did you mean `maxGroups`/);
    expect(() => formatAudit(undefined as never)).toThrow(ConfigError);
  });

  it('says which samples of a conversation are answered in two ways', async () => {
    const image = await drawn(1);
    const ask = (answer: string) => ({
      messages: [
        { role: 'user', content: [{ type: 'image', image }] },
        { role: 'assistant', content: answer },
      ],
    });
    const audited = await auditDataset(IndexedDataset.from([ask('yes'), ask('no'), ask('yes')]));
    const line = '1 group of samples with the same images and the same question: 1 with different';
    expect(formatAudit({ ...audited, duplicates: [] })).toContain(line);
    expect(auditSection({ ...audited, duplicates: [] }).markup).toContain(line);
    expect(formatAudit(audited)).not.toContain(line);
  });

  it('says that there is nothing', async () => {
    const text = formatAudit(await auditDataset(IndexedDataset.from<string>([])));
    expect(text).toContain('Data audit: 0 samples (train 0), 0 images');
    expect(text).toContain('No copies among the images');
  });
});

describe('an audit as a page', () => {
  it('shows copies side by side, as images within the page', async () => {
    const thumbnails = await auditThumbnails(data, report);
    expect(Object.keys(thumbnails)).toHaveLength(7);
    const page = renderAuditPage(report, { thumbnails, title: `<i>${CHINESE}` });
    // The small one is tiny, and odd beside the others.
    expect(page.match(/<img src="data:image\/webp;base64,/g)).toHaveLength(8);
    expect(page).not.toMatch(/(?:src|href)="(?!#|data:image\/webp)/);
    expect(page).toContain(`<title>&lt;i&gt;${CHINESE}</title>`);
    expect(page).not.toContain('<b onload');
    expect(page).not.toContain('\u001b');
    expect(page).toContain('3 of 3 samples of test (100.0 %) have a copy in train');
    expect(page).toContain('different labels; across train and test; exact copies');
  });

  it('shows of a large group what it is reported for', async () => {
    const copy = await drawn(3);
    const many = (count: number, className: string) =>
      IndexedDataset.from(
        Array.from({ length: count }, (_, i) => ({ image: copy, className, id: `${className} ${i}.png` })),
      );
    const { markup } = auditSection(await auditDataset({ train: many(9, 'cat'), test: many(2, 'dog') }));
    expect(
      [...markup.matchAll(/<strong>(train|test): (\w+)<\/strong>/g)].map(([, split, label]) => `${split} ${label}`),
    ).toEqual([...['train cat', 'train cat', 'train cat', 'train cat', 'train cat', 'test dog']]);
    expect(markup).toContain('5 more images not shown');
  });

  it('loads its images at once: printed and linked pages need them before anybody scrolls', async () => {
    expect(renderAuditPage(report, { thumbnails: await auditThumbnails(data, report) })).not.toContain('loading=');
  });

  it('says how much is not shown, and makes thumbnails of the rest alone', async () => {
    const limits = { maxGroups: 1, maxIssues: 0 };
    const thumbnails = await auditThumbnails(data, report, { ...limits, longestEdge: 20 });
    expect(Object.keys(thumbnails)).toEqual(['train/0/0', 'test/0/0']);
    const { markup } = auditSection(report, { ...limits, thumbnails });
    expect(markup).toContain('2 more groups not shown');
    expect(markup).toContain('1 more image not shown');
    expect(markup.match(/<img /g)).toHaveLength(2);
  });

  it('has no thumbnail of what cannot be read', async () => {
    const image = { path: 'x', decode: () => Promise.reject(new Error('gone')) };
    const lost = IndexedDataset.from([{ image }]);
    const audited = await auditDataset(lost);
    expect(audited.issues).toMatchObject([{ kind: 'damaged', reason: 'gone', image: { name: 'x' } }]);
    expect(await auditThumbnails(lost, audited)).toEqual({});
  });

  it('needs no thumbnails, and takes nothing else for one', () => {
    expect(auditSection(report).markup).not.toContain('<img');
    const thumbnails = { 'train/0/0': 'https://example.com/x.png', 'test/0/0': 'data:text/html;base64,AAAA' };
    expect(auditSection(report, { thumbnails }).markup).not.toContain('<img');
    expect(() => auditSection(report, { thumbnail: {} } as object)).toThrow(/did you mean `thumbnails`/);
  });

  it('is of the data that was audited', async () => {
    await expect(auditThumbnails({ train: data.test, test: data.test }, report)).rejects.toThrow(DataError);
  });
});
