/** What a hostile Hub can do: each case names the requests that it answers, and how. */
import * as hostile from '../servers/hostile-handlers.js';
import { answer, type Handler, silence } from '../servers/scripted-server.js';

export interface HubCase {
  readonly name: string;
  /** Of `METHOD path`. */
  readonly route: RegExp;
  readonly handler: () => Handler;
  /** Upper bound that the options of a run give, in seconds. Default 5. */
  readonly within?: number;
}

const ROUTES: readonly (readonly [string, RegExp])[] = [
  ['commit', /\/revision\//],
  ['list', /\/tree\//],
  ['file', /\/resolve\//],
  ['storage', /\/object\//],
];

const page =
  (size: number) =>
  (n: number): object[] =>
    Array.from({ length: size }, (_, i) => hostile.fileEntry(`folder/a-name-of-common-length-${n}-${i}.safetensors`));

const LISTS: readonly HubCase[] = [
  ['pages for ever, 1,000 new files each', (n: number) => `cursor=${n}`, page(1000)],
  ['pages for ever, 1 new file each', (n: number) => `cursor=${n}`, page(1)],
  [
    'pages for ever, 20,000 folders each',
    (n: number) => `cursor=${n}`,
    (n: number) => Array.from({ length: 20_000 }, (_, i) => ({ type: 'directory', path: `d${n}-${i}` })),
  ],
  ['the same page under new cursors', (n: number) => `cursor=${n}`, () => page(1000)(1)],
  ['the same cursor', () => 'cursor=1', page(1000)],
  ['a circle of 50 cursors', (n: number) => `cursor=${n % 50}`, page(10)],
  ['cursors that grow', (n: number) => `cursor=${'x'.repeat(n * 100)}`, page(10)],
  [
    'names of 1,000 bytes',
    (n: number) => `cursor=${n}`,
    (n: number) =>
      Array.from({ length: 1000 }, (_, i) => hostile.fileEntry(`${`${'x'.repeat(240)}/`.repeat(4)}${n}-${i}`)),
  ],
].map(([name, search, entries]) => ({
  name: `list: ${name as string}`,
  route: /\/tree\//,
  handler: () => hostile.endlessPages(search as (n: number) => string, entries as (n: number) => object[]),
  within: 60,
}));

/** Answers that mean harm wherever they come. */
const ANYWHERE: readonly (readonly [string, () => Handler, number?])[] = [
  ['one byte a second', () => hostile.trickle(1000), 30],
  ['one byte a millisecond', () => hostile.trickle(1), 60],
  ['silence', () => silence, 10],
  ['a body without end', () => hostile.endless(), 30],
  ['a body without end, as JSON', () => hostile.endless({ 'content-type': 'application/json' }), 30],
  ['15 MB of {}', () => hostile.manyObjects(15e6)],
  ['7.5 MB of {}', () => hostile.manyObjects(7.5e6)],
  ['1,000,000 brackets', () => hostile.deepNesting(1e6)],
  ['1 GB of blanks in 1 MB of gzip', () => hostile.compressedBomb(1e9), 15],
  ['a header without end', () => hostile.endlessHeader, 10],
  ['100 (Continue) and no answer', () => hostile.onlyInformation, 10],
  ['redirects in a circle', () => (q, r) => answer(302, '', { location: q.url! })(q, r)],
  ['redirects to ever new addresses', () => (q, r) => answer(302, '', { location: `${q.url}x` })(q, r)],
  ['503 for ever', () => answer(503)],
  ['503, and wait a year', () => answer(503, '', { 'retry-after': '31536000' })],
  ['an error without end', () => (_q, r) => void hostile.endless({})(_q, Object.assign(r, { statusCode: 500 })), 30],
];

/** A value in every field of the answers of the API. */
const FIELDS: readonly unknown[] = [
  '../..',
  '..',
  '/etc/passwd',
  'C:\\x',
  'a\0b',
  '..%2f..',
  'x'.repeat(5000),
  1e308,
  null,
  [],
  {},
];

const fieldCases: HubCase[] = FIELDS.flatMap((value) => {
  const shown = JSON.stringify(value)!.slice(0, 16);
  const full = { type: 'file', path: 'a.json', size: 1, oid: 'a'.repeat(40), lfs: { oid: 'b'.repeat(64), size: 1 } };
  const lists = ['type', 'path', 'size', 'oid', 'lfs', 'xetHash'].map((field) => ({ ...full, [field]: value }));
  const inLfs = ['oid', 'size'].map((field) => ({ ...full, lfs: { ...full.lfs, [field]: value } }));
  const headers = typeof value === 'string' && !value.includes('\0') ? value.slice(0, 1000) : undefined;
  return [
    { name: `${shown} as the commit`, route: /\/revision\//, handler: () => answer(200, { sha: value }) },
    { name: `${shown} in a field of a list`, route: /\/tree\//, handler: () => oneAfterAnother([...lists, ...inLfs]) },
    ...(headers === undefined
      ? []
      : [
          {
            name: `${shown} in every header of a file`,
            route: /\/resolve\//,
            handler: () =>
              answer(200, '{}', {
                etag: headers,
                'x-linked-etag': headers,
                'x-linked-size': headers,
                'x-repo-commit': headers,
                'last-modified': headers,
                'content-range': headers,
                'content-disposition': `attachment; filename="${headers}"`,
              }),
          },
          {
            name: `a redirect to ${shown}`,
            route: /\/resolve\//,
            handler: () => answer(302, '', { location: headers }),
          },
        ]),
  ];
});

/** Each request gets the next of these as the only entry. */
function oneAfterAnother(entries: readonly object[]): Handler {
  let next = 0;
  return (request, response) => answer(200, [entries[next++ % entries.length]!])(request, response);
}

export const HUB_CASES: readonly HubCase[] = [
  ...LISTS,
  ...ROUTES.flatMap(([where, route]) =>
    ANYWHERE.map(([what, handler, within]) => ({
      name: `${where}: ${what}`,
      route,
      handler,
      ...(within === undefined ? {} : { within }),
    })),
  ),
  ...fieldCases,
];
