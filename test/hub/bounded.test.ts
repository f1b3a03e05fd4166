import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hubFetch } from '../../src/hub/hub-fetch.js';
import { connectHub, hubConnectionSchema } from '../../src/hub/hub-options.js';
import { pushFiles, pushFilesSchema } from '../../src/hub/push-files.js';
import { listTree } from '../../src/hub/repo-tree.js';
import * as hostile from '../servers/hostile-handlers.js';
import { sha256 } from '../servers/hub-server.js';
import { answer, type Handler } from '../servers/scripted-server.js';
import { failure, filesBelow, hubTestBed, ID } from './hub-test-bed.js';

const weights = Buffer.alloc(300_000, 'weights ');
const bed = hubTestBed({ 'config.json': '{}', 'model.safetensors': weights });
/** Limits that end within the patience of a test. */
const FEW = { maxAttempts: 2 };
const SHORT_REQUESTS = { timeoutMs: 60, maxAttempts: 2 };
const SHORT = { ...SHORT_REQUESTS, minBytesPerSecond: 10_000, speedWindowMs: 100 };

describe('a list of files', () => {
  const page = (n: number): object[] => Array.from({ length: 10 }, (_, i) => hostile.fileEntry(`${n}-${i}`));

  it.each<[string, (n: number) => string, (n: number) => object[], RegExp]>([
    ['names itself as the next page', () => 'recursive=true&expand=false', page, /leads back to a page/],
    ['goes in a circle', (n) => `cursor=${n % 3}`, page, /leads back to a page/],
    [
      'brings the same page under ever new cursors',
      (n) => `cursor=${n}`,
      () => page(1),
      /the same page twice|comes twice/,
    ],
    ['brings empty pages', (n) => `cursor=${n}`, () => [], /goes on after an empty page/],
    [
      'brings folders only',
      (n) => `cursor=${n}`,
      () => [{ type: 'directory', path: 'a', size: 0, oid: '' }],
      /the same page twice/,
    ],
    ['has cursors that grow', (n) => `cursor=${'x'.repeat(2 ** n)}`, page, /next page is too long/],
  ])('that %s ends', async (_what, search, entries, message) => {
    bed.server.fault(/\/tree\//, hostile.endlessPages(search, entries), 0);
    const error = await failure(bed.download(FEW));
    expect(error.message).toMatch(message);
    expect(await filesBelow(bed.outer)).toEqual([]);
  });

  it('that always brings something new ends at its limits: pages, entries, names', async () => {
    const settings = hubConnectionSchema().parse({ endpoint: bed.server.endpoint, token: false });
    const connection = await connectHub(settings);
    const list = (limits: object): Promise<unknown> =>
      listTree(connection, { repoId: ID, revision: 'main', action: 'read' }, 'a'.repeat(40), limits);
    bed.server.fault(
      /\/tree\//,
      hostile.endlessPages((n) => `cursor=${n}`, page),
      0,
    );
    await expect(list({ maxPages: 20 })).rejects.toThrow('org/model: the list of its files has more than 20 pages');
    await expect(list({ maxEntries: 55 })).rejects.toThrow('more than 55 entries');
    await expect(list({ maxPathBytes: 99 })).rejects.toThrow('more than 99 bytes of names');
  });

  it('whose pages come one by one for ever ends in time', async () => {
    const endless = hostile.endlessPages((n) => `cursor=${n}`, page);
    bed.server.fault(/\/tree\//, (request, response) => void setTimeout(() => endless(request, response), 4), 0);
    const error = await failure(bed.download({ ...SHORT, timeoutMs: 20 }));
    expect(error.message).toMatch(/the list of its files was not complete after 0\.4 s/);
  });

  it('is followed at the server that was asked, whoever its next page names', async () => {
    bed.server.pageSize = 1;
    bed.server.commit(ID, { 'a.txt': 'a', 'b.txt': 'b' });
    const commit = bed.server.head(ID).oid;
    // A mirror that hands on the Hub's own links.
    bed.server.fault(
      /tree\/.*expand=false$/,
      answer(200, [{ ...hostile.fileEntry('first.txt'), oid: '7'.repeat(40) }], {
        link: `<https://huggingface.co/api/models/org/model/tree/${commit}?recursive=true&cursor=1>; rel="next"`,
      }),
    );
    const tree = await listTree(
      await connectHub(hubConnectionSchema().parse({ endpoint: bed.server.endpoint, token: 'hf_reader' })),
      { repoId: ID, revision: 'main', action: 'read' },
      commit,
    );
    expect([...tree.keys()]).toEqual(['first.txt', 'model.safetensors', 'a.txt', 'b.txt']);
    bed.server.fault(/tree/, answer(200, [], { link: '<https://evil.example/x?cursor=1>; rel="next"' }));
    await expect(bed.download()).rejects.toThrow(/goes on at another address/);
    bed.server.fault(/tree/, answer(200, [hostile.fileEntry('a')], { link: '</%zz?a=b>; rel="next"' }));
    await expect(bed.download()).rejects.toThrow(/goes on at another address/);
  });

  it('that is no list is refused', async () => {
    for (const value of [{}, { length: 3 }, 'x', 5, null, [null], ['x'], [[]]]) {
      bed.server.fault(/tree/, answer(200, JSON.stringify(value), { 'content-type': 'application/json' }));
      await expect(bed.download()).rejects.toThrow(/is no list|makes no sense/);
    }
  });
});

describe.each([['revision'], ['tree']])('the answer about the %s', (route) => {
  it.each<[string, object, Handler, RegExp]>([
    [
      'a byte now and then, for ever',
      SHORT,
      hostile.trickle(10),
      /the answer was not complete after 0\.18 s; gave up after 2/,
    ],
    ['a body without end', FEW, hostile.endless(), /an answer of more than 8388608 bytes/],
    ['15 MB of {}', FEW, hostile.manyObjects(15e6), /an answer of more than 8388608 bytes/],
    ['3 MB of {}', FEW, hostile.manyObjects(3e6), /it has more than 250000 lists and objects/],
    ['nesting', FEW, hostile.deepNesting(100_000), /it nests more than 100 deep/],
    ['200 MB in a few bytes', FEW, hostile.compressedBomb(200e6), /an answer of more than 8388608 bytes/],
    ['a header without end', FEW, hostile.endlessHeader, /the header of the answer is too long|the connection failed/],
    [
      'information, and no answer',
      SHORT,
      hostile.onlyInformation,
      /no answer within 0\.06 s; gave up after 2 attempts/,
    ],
    ['a redirect to itself', FEW, (q, r) => answer(302, '', { location: q.url! })(q, r), /more than 10 redirects/],
    ['503 for ever', FEW, answer(503), /503 Service Unavailable \(503\); gave up after 2 attempts/],
    ['wait a year', FEW, answer(503, '', { 'retry-after': '31536000' }), /the server asks to wait 31536000 s/],
  ])('%s', async (_what, options, handler, message) => {
    bed.server.fault(new RegExp(`/${route}/`), handler, 0);
    const error = await failure(bed.download(options));
    expect(error.message).toMatch(message);
    expect(error.code).toBe('HUB');
  });
});

describe('a file', () => {
  it.each<[string, object, Handler, RegExp]>([
    [
      'a byte now and then',
      SHORT,
      hostile.trickle(5, { 'content-type': 'text/plain' }),
      /less than 10000 bytes a second arrived for 0\.1 s/,
    ],
    ['a body without end', FEW, hostile.endless(), /more than the 300000 bytes announced; gave up after 2 attempts/],
    [
      'too short',
      FEW,
      answer(200, 'short', { 'content-type': 'text/plain' }),
      /broke off after 5 of 300000 bytes; gave up after 2 attempts/,
    ],
    ['an error without end', SHORT, (_q, r) => void r.writeHead(500).write('x'), /500 Internal Server Error/],
  ])('%s', async (_what, options, handler, message) => {
    bed.server.fault(/\/object\//, handler, 0);
    const error = await failure(bed.download({ ...options, allowPatterns: 'model.safetensors' }));
    expect(error.message).toMatch(message);
  });

  it('that comes slowly, but faster than the limit, arrives', async () => {
    const [start, pieces] = [{ 'content-length': '300000', etag: `"${sha256(weights)}"` }, 30];
    bed.server.fault(/\/object\//, (_request, response) => {
      response.writeHead(200, start);
      let sent = 0;
      const timer = setInterval(() => {
        response.write(weights.subarray(sent, sent + weights.length / pieces));
        sent += weights.length / pieces;
        if (sent < weights.length) return;
        clearInterval(timer);
        response.end();
      }, 10);
    });
    const folder = await bed.download({ ...SHORT, maxAttempts: 1, allowPatterns: 'model.safetensors' });
    expect(await filesBelow(folder)).toEqual([join(folder, 'model.safetensors')]);
    expect(bed.warnings).toEqual([]);
  });
});

describe('an upload', () => {
  it.each([
    ['revision', /\/revision\//],
    ['repository', /\/repos\/create/],
    ['check of the files', /\/preupload\//],
    ['batch', /objects\/batch/],
    ['storage', /\/put\//],
    ['commit', /\/commit\//],
  ])('ends when the %s trickles, has no end, or is 15 MB of {}', async (what, route) => {
    const handlers = [hostile.trickle(10), hostile.endless(), hostile.manyObjects(15e6), hostile.deepNesting(1000)];
    for (const [i, handler] of handlers.entries()) {
      const id = `user/upload-${i}`;
      if (what !== 'repository') bed.server.commit(id, {});
      bed.server.fault(route, handler, 0);
      const options = pushFilesSchema.parse({
        token: 'hf_writer',
        endpoint: bed.server.endpoint,
        retryDelayMs: 1,
        ...(i === 0 ? SHORT_REQUESTS : FEW),
        onWarning: () => undefined,
      });
      const result = await pushFiles(id, [{ path: 'a.safetensors', text: `${i}` }], options).then(
        // What a storage says beside its status is of no interest.
        () => (what === 'storage' && i > 0 ? 'done' : 'not refused'),
        (error: { code?: string }) => (error.code === 'HUB' ? 'done' : error),
      );
      bed.server.reset();
      expect([what, i, result]).toEqual([what, i, 'done']);
    }
  });

  it('is not led to this machine by a Hub elsewhere', async () => {
    const settings = hubConnectionSchema().parse({ endpoint: 'https://hub.example', token: 'hf_writer' });
    const send = hubFetch(await connectHub(settings), { repoId: ID, revision: 'main', action: 'write' });
    for (const url of ['http://127.0.0.1:1/x', 'https://localhost/x', 'https://[::ffff:127.0.0.1]/x']) {
      await expect(send(url, { method: 'PUT', body: new Blob(['x']) })).rejects.toThrow(
        /wants an upload to go to this machine/,
      );
    }
  });
});
