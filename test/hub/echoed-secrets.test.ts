import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { pushFiles, pushFilesSchema } from '../../src/hub/push-files.js';
import { downloadKaggleDataset } from '../../src/kaggle/download-dataset.js';
import { KaggleServer } from '../servers/kaggle-server.js';
import { answer, type Handler } from '../servers/scripted-server.js';
import { filesBelow, hubTestBed } from './hub-test-bed.js';

const TOKEN = 'hf_S3cr3t+Token/With=Odd&Chars~0123456789';
const bed = hubTestBed({ 'config.json': '{}', 'model.safetensors': Buffer.alloc(100_000, 'w') });

/** How a server may write back what it was sent. */
const WRITINGS: readonly ((text: string) => string)[] = [
  (text) => text,
  encodeURIComponent,
  (text) => Buffer.from(`user:${text}`).toString('base64'),
  (text) => JSON.stringify(text).replaceAll('/', '\\/'),
  (text) => `${text.slice(0, 9)}\n${text.slice(9)}`,
];

/** An answer with the credentials wherever a text can stand. */
function echo(status: number, write: (text: string) => string, body: (said: string) => [string, string]): Handler {
  return (request, response) => {
    const said = write(credentials(request));
    const header = said.replace(/[^\x20-\x7e]/g, ' ');
    const [type, text] = body(said);
    answer(status, text, {
      'content-type': type,
      'x-error-code': header,
      'x-error-message': `no entry for ${header}`,
      'www-authenticate': `Bearer realm="${header}"`,
      etag: `"${header}"`,
      'last-modified': header,
      'retry-after': header,
      location: `/${header}?token=${header}`,
      link: `<https://${header}/>; rel="next"`,
    })(request, response);
  };
}

const credentials = ({ headers }: IncomingMessage): string =>
  (headers.authorization ?? `Bearer ${TOKEN}`).replace(/^(Bearer|Basic) /, '');

const BODIES: readonly ((said: string) => [string, string])[] = [
  (said) => [
    'application/json',
    JSON.stringify({ error: `bad ${said}`, message: said, code: 403, sha: said, files: [said] }),
  ],
  (said) => ['application/json', JSON.stringify([{ type: 'file', path: `../${said}`, size: 1, oid: said }])],
  (said) => ['application/json', said],
  (said) => ['text/html', `<!doctype html><html><title>${said}</title>${said}</html>`],
  (said) => ['text/plain', `you sent ${said}`],
];

/** All that an error shows to whoever prints or stores it. */
function everything(error: unknown): string {
  let text = '';
  for (let part = error; part instanceof Error; part = part.cause) {
    text += `${part.message}\n${part.stack}\n${inspect(part, { depth: 20, showHidden: true, breakLength: Infinity })}`;
    text += JSON.stringify(part);
  }
  return text;
}

function expectHidden(text: string, secret: string): void {
  const flat = text.replace(/\s|\\n/g, '');
  for (const form of [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]) {
    for (const written of [form, Buffer.from(`user:${form}`).toString('base64').slice(8, -4)]) {
      expect(flat).not.toContain(written);
    }
  }
  // Not even its beginning, as of a text that was cut.
  expect(flat).not.toContain(secret.slice(0, 16));
}

/** Each writing meets some of them, all together all. */
const some = (i: number): number[] => STATUSES.filter((_, k) => k % 3 === i % 3);
const STATUSES = [200, 400, 401, 403, 404, 409, 412, 416, 422, 429, 500, 503];

describe.each(WRITINGS.map((write, i) => [i, write] as const))(
  'a server that echoes the token, writing %i',
  (i, write) => {
    it.each([
      ['revision', /\/revision\//],
      ['list', /\/tree\//],
      ['file', /\/resolve\//],
      ['storage', /\/object\//],
    ])('in the %s', async (_what, route) => {
      for (const status of some(i)) {
        const body = BODIES[status % BODIES.length]!;
        bed.server.fault(route, echo(status, write, body), 0);
        const work = bed.download({ token: TOKEN, maxAttempts: 2, timeoutMs: 5000 });
        const error = await work.then(
          () => undefined,
          (caught: unknown) => caught,
        );
        bed.server.reset();
        bed.server.commit('org/model', { 'config.json': '{}', 'model.safetensors': Buffer.alloc(100_000, 'w') });
        expect([status, error]).toEqual([status, expect.any(Error)]);
        expectHidden(everything(error), TOKEN);
        expectHidden(bed.warnings.join('\n'), TOKEN);
      }
      // What came in the place of a file's own bytes is no note.
      const notes = (await filesBelow(bed.outer)).filter((path) => !path.endsWith('.partial'));
      for (const path of notes) expectHidden(path + (await readFile(path, 'latin1')), TOKEN);
    });

    it.each([
      ['revision', /\/revision\//],
      ['check of the files', /\/preupload\//],
      ['batch', /objects\/batch/],
      ['storage', /\/put\//],
      ['commit', /\/commit\//],
    ])('in an upload, at the %s', async (_what, route) => {
      bed.server.tokens.set(TOKEN, 'org');
      for (const status of some(i)) {
        bed.server.fault(route, echo(status, write, BODIES[status % BODIES.length]!), 0);
        const options = pushFilesSchema.parse({
          token: TOKEN,
          endpoint: bed.server.endpoint,
          maxAttempts: 2,
          retryDelayMs: 1,
          onWarning: (line: string) => bed.warnings.push(line),
        });
        const files = [
          { path: 'a.safetensors', text: `weights ${status}` },
          { path: 'b.txt', text: `${status}` },
        ];
        const error = await pushFiles('org/model', files, options).catch((caught: unknown) => caught);
        bed.server.reset();
        bed.server.commit('org/model', { 'config.json': '{}' });
        expectHidden(everything(error), TOKEN);
        expectHidden(bed.warnings.join('\n'), TOKEN);
      }
    });
  },
);

describe('Kaggle', () => {
  let server: KaggleServer;
  let dir: string;
  beforeEach(async () => {
    server = await KaggleServer.start({ 1: Buffer.from('PK') });
    dir = await mkdtemp(join(tmpdir(), 'kaggle-echo-'));
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await server.close();
    await rm(dir, { recursive: true });
  });

  it.each([
    ['a token', { token: 'KGAT_0123456789abcdefSECRET' }, 'KGAT_0123456789abcdefSECRET'],
    [
      'user and key',
      { username: 'somebody', key: '0123456789abcdef0123456789abcdef' },
      '0123456789abcdef0123456789abcdef',
    ],
  ])('an echo of %s reaches no error, warning or note', async (_what, login, secret) => {
    const warnings: string[] = [];
    const write = (text: string): string => `${text} ${Buffer.from(text, 'base64').toString('latin1')} ${secret}`;
    for (const name of ['owner/set', 'owner/set/versions/1']) {
      for (const status of STATUSES) {
        const body = BODIES[status % BODIES.length]!;
        server.api.script.push(...Array.from({ length: 4 }, () => echo(status, write, body)));
        const error = await downloadKaggleDataset(name, {
          login,
          endpoint: server.endpoint,
          cacheDir: dir,
          maxAttempts: 2,
          retryDelayMs: 1,
          onWarning: (line) => warnings.push(line),
        }).catch((caught: unknown) => caught);
        server.api.script.length = 0;
        expectHidden(everything(error), secret);
      }
    }
    expectHidden(warnings.join('\n'), secret);
    for (const path of await filesBelow(dir)) expectHidden(path + (await readFile(path, 'latin1')), secret);
  });
});
