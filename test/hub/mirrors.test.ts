import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { MODEL_FILES } from '../../src/hub/snapshot-download.js';
import { answer, type Handler } from '../servers/scripted-server.js';
import { failure, hubTestBed } from './hub-test-bed.js';

const FILES = {
  'config.json': '{}',
  'tokenizer.json': '{"a":1}',
  'tokenizer_config.json': '{}',
  'chat_template.jinja': 'hi',
  'model-00001-of-00002.safetensors': Buffer.alloc(5000, 'a'),
  'model-00002-of-00002.safetensors': Buffer.alloc(5000, 'b'),
  'model.safetensors.index.json': JSON.stringify({
    weight_map: { x: 'model-00001-of-00002.safetensors', y: 'model-00002-of-00002.safetensors' },
  }),
  'consolidated.safetensors': Buffer.alloc(5000, 'c'),
};
const bed = hubTestBed(FILES);
const noRoute = answer(404, 'Cannot GET', { 'content-type': 'text/plain' });

/** A host of a test, at which the local Hub answers. */
function at(origin: string): { tokens: (string | null)[] } {
  const seen = { tokens: [] as (string | null)[] };
  const real = fetch;
  vi.stubGlobal('fetch', (input: URL, init: RequestInit) => {
    seen.tokens.push(new Headers(init.headers).get('authorization'));
    const url = new URL(input);
    if (url.origin !== origin) return real(input, init);
    return real(`${bed.server.endpoint}${url.pathname.replace(/^\/hf\//, '/')}${url.search}`, init);
  });
  return seen;
}

describe('a mirror over plain http', () => {
  const endpoint = 'http://mirror.corp.example/hf/';

  it('is asked only if that is allowed, and says how', async () => {
    vi.stubEnv('HF_ENDPOINT', endpoint);
    const error = await failure(bed.download({ endpoint: undefined }));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toContain('HF_ENDPOINT: mirror.corp.example would be asked over plain http');
    expect(error.hint).toContain('allowInsecureHttp: true');
    expect(bed.server.asked()).toEqual([]);
  });

  it('gets no token, unless that is allowed too', async () => {
    const seen = at('http://mirror.corp.example');
    try {
      const options = { endpoint, token: 'hf_reader', allowPatterns: '*.json' };
      await bed.download({ ...options, allowInsecureHttp: true });
      expect(seen.tokens.length).toBeGreaterThan(3);
      expect(new Set(seen.tokens)).toEqual(new Set([null]));
      expect(bed.warnings).toEqual([expect.stringContaining('without the token from the option `token`')]);
      seen.tokens.length = 0;
      await bed.download({ ...options, allowInsecureHttp: 'withToken', cacheDir: join(bed.outer, 'other') });
      expect(new Set(seen.tokens)).toEqual(new Set(['Bearer hf_reader']));
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('may lead to its own storage, but https never leads to http', async () => {
    const seen = at('http://mirror.corp.example');
    try {
      bed.server.fault(
        /resolve.*config\.json/,
        answer(302, '', { location: 'http://mirror.corp.example/hf/elsewhere' }),
      );
      bed.server.fault(/elsewhere/, answer(200, '{}', { 'content-type': 'application/json' }));
      const options = { endpoint, token: 'hf_reader', allowPatterns: 'config.json' };
      await bed.download({ ...options, allowInsecureHttp: 'withToken' });
      expect(seen.tokens.every((token) => token === 'Bearer hf_reader')).toBe(true);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('this machine is asked as always', async () => {
    await bed.download({ allowPatterns: 'config.json', token: 'hf_reader' });
    expect(bed.server.api.requests.every(({ headers }) => headers.authorization === 'Bearer hf_reader')).toBe(true);
  });
});

describe('a mirror below a path, with a user and password in its address', () => {
  it('is sent these, and not the token; no error shows them', async () => {
    const seen = at('https://mirror.corp.example');
    try {
      vi.stubEnv('HF_TOKEN', 'hf_not_for_the_mirror');
      const endpoint = 'https://me:pass%20word7@mirror.corp.example/hf//';
      await bed.download({ endpoint, allowPatterns: 'config.json' });
      const basic = Buffer.from('me:pass word7').toString('base64');
      expect(new Set(seen.tokens)).toEqual(new Set([`Basic ${basic}`]));
      bed.server.fault(/revision/, answer(401, { error: `who is me:pass word7, ${basic}?` }));
      const error = await failure(bed.download({ endpoint }));
      expect(error.message).toContain('does not accept the token from `endpoint`');
      for (const secret of ['pass word7', 'pass%20word7', basic]) {
        expect(JSON.stringify(error)).not.toContain(secret);
      }
      await expect(bed.download({ endpoint, token: 'hf_x' })).rejects.toThrow(/two credentials/);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe('a mirror without routes of the API', () => {
  const only = (...routes: RegExp[]): void => {
    for (const route of routes) bed.server.fault(route, noRoute, 0);
  };
  const options = { allowPatterns: [...MODEL_FILES] };

  it('gives the files of a model all the same', async () => {
    only(/\/api\//);
    const folder = await bed.download(options);
    expect(folder).toContain(bed.server.head('org/model').oid);
    for (const [name, content] of Object.entries(FILES)) {
      if (name === 'consolidated.safetensors') continue;
      expect((await readFile(join(folder, name))).equals(Buffer.from(content as Buffer))).toBe(true);
    }
    expect(bed.warnings).toEqual([
      expect.stringMatching(/org\/model: 127\.0\.0\.1:\d+ does not list files; .* it has 7/),
    ]);
    // What was not asked for is not thought to be absent.
    bed.server.api.requests.length = 0;
    const again = await bed.download({ allowPatterns: ['consolidated.safetensors'] });
    expect((await readFile(join(again, 'consolidated.safetensors'))).toString()).toBe('c'.repeat(5000));
  });

  it('or of an adapter, and whatever is named in full', async () => {
    bed.server.commit('org/adapter', { 'adapter_config.json': '{}', 'extra/notes.txt': 'n' });
    only(/\/api\//);
    const names = ['adapter_config.json', 'extra/notes.txt', 'absent.json'];
    const folder = await bed.download({ allowPatterns: names }, 'org/adapter');
    expect(await readFile(join(folder, 'extra/notes.txt'), 'utf8')).toBe('n');
  });

  it('which is only the list, or only the commit', async () => {
    only(/\/tree\//);
    await bed.download(options);
    bed.server.reset();
    bed.server.commit('org/model', FILES);
    only(/\/revision\//);
    await bed.download({ ...options, cacheDir: join(bed.outer, 'other') });
  });

  it('is named where files cannot be known', async () => {
    only(/\/api\//);
    const all = await failure(bed.download());
    expect(all.message).toContain('the server has no route /api/models/org/model/tree/, so that which files exist');
    expect(all.hint).toContain('allowPatterns');
    await expect(bed.download({ allowPatterns: '*.parquet' })).rejects.toThrow(/what "\*\.parquet" stands for/);
    await expect(bed.download({ ...options, revision: 'v9' })).rejects.toThrow(/revision|404/);
    await expect(bed.download(options, 'org/nothing')).rejects.toThrow(/\(404\)|\(401\)/);
  });

  it('nor the commit', async () => {
    only(/\/api\//);
    bed.server.fault(/^HEAD/, answer(200, '', { 'content-length': '2' }), 0);
    const error = await failure(bed.download(options));
    expect(error.message).toMatch(/neither has the route \/api\/models\/org\/model\/revision\/ nor names the commit/);
    bed.server.fault(/^HEAD/, answer(200, '', { 'x-repo-commit': '../..' }), 0);
    await expect(bed.download(options)).rejects.toThrow(/nor names the commit/);
  });

  it('names of parts in an index lead nowhere', async () => {
    for (const part of ['../../evil', '/etc/x', 'C:/x', 5, 'a\0b']) {
      const index = JSON.stringify({ weight_map: { x: part } });
      only(/\/api\//);
      bed.server.fault(/GET.*index\.json/, answer(200, index, { 'content-type': 'application/json' }));
      await expect(bed.download(options)).rejects.toThrow(
        /expected the names of files in model.safetensors.index.json, found/,
      );
      bed.server.reset();
      bed.server.commit('org/model', FILES);
    }
  });
});

describe('a page for people where data was expected', () => {
  const login = (title: string): Handler =>
    answer(200, `<!DOCTYPE html><html><head><title>${title}</title></head><input type="password"></html>`, {
      'content-type': 'text/html',
    });

  it('is named, with its title, and where a redirect has led', async () => {
    bed.server.fault(/revision/, login('Sign in to Example Corp'));
    const error = await failure(bed.download());
    expect(error.message).toMatch(/a web page came where JSON was expected: for signing in, "Sign in to Example Corp"/);
    expect(error.hint).toMatch(/captive portal, the single sign-on/);
    bed.server.fault(/revision/, answer(302, '', { location: `${bed.server.storage.url}/login` }));
    bed.server.storage.script.push(login('SSO'));
    await expect(bed.download()).rejects.toThrow(/, after a redirect to 127\.0\.0\.1:\d+/);
    bed.server.fault(
      /revision/,
      answer(403, '<html><title>Blocked by policy</title></html>', { 'content-type': 'text/html' }),
    );
    await expect(bed.download()).rejects.toThrow(/It says: a web page, "Blocked by policy"/);
    bed.server.fault(/config\.json/, login('Hotel'));
    await expect(bed.download({ allowPatterns: 'config.json' })).rejects.toThrow(
      /text\/html came where a file was expected/,
    );
  });
});
