import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseOptions } from '../../src/config.js';
import { ConfigError } from '../../src/errors.js';
import { hubCacheFolder, hubEndpoint, offlineReason } from '../../src/hub/environment.js';
import { selectPaths } from '../../src/hub/file-patterns.js';
import { localFolder, parseRepoId, plainRepoName } from '../../src/hub/repo-id.js';
import { snapshotDownloadSchema } from '../../src/hub/snapshot-download.js';
import { endpointLogin, findHubToken } from '../../src/hub/token.js';

describe('the settings of Python’s tools', () => {
  it('say where the cache is', () => {
    expect(hubCacheFolder(undefined, {})).toBe(join(homedir(), '.cache/huggingface/hub'));
    expect(hubCacheFolder(undefined, { XDG_CACHE_HOME: '/x' })).toBe('/x/huggingface/hub');
    expect(hubCacheFolder(undefined, { XDG_CACHE_HOME: '/x', HF_HOME: '~/hf' })).toBe(join(homedir(), 'hf/hub'));
    expect(hubCacheFolder(undefined, { HF_HOME: '/hf', HUGGINGFACE_HUB_CACHE: '/old' })).toBe('/old');
    const scratch = { SCRATCH: '/scratch', HF_HOME: '$SCRATCH/$USER-$NOT_SET' };
    expect(hubCacheFolder(undefined, { ...scratch, USER: 'me' })).toBe('/scratch/me-$NOT_SET/hub');
    expect(hubCacheFolder(undefined, { ...scratch, HF_HUB_CACHE: `$\{SCRATCH}/models` })).toBe('/scratch/models');
    expect(hubCacheFolder('/a/$SCRATCH', scratch)).toBe('/a/$SCRATCH');
    expect(hubCacheFolder(undefined, { HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/new' })).toBe('/new');
    expect(hubCacheFolder('/mine', { HF_HUB_CACHE: '/new' })).toBe('/mine');
  });

  it('say where the Hub is, and whether to ask it', () => {
    expect(hubEndpoint(undefined, {})).toBe('https://huggingface.co');
    expect(hubEndpoint(undefined, { HF_ENDPOINT: 'https://mirror.example/hf/' })).toBe('https://mirror.example/hf');
    expect(() => hubEndpoint(undefined, { HF_ENDPOINT: 'mirror' })).toThrow(/HF_ENDPOINT: no address of a Hub/);
    expect(() => hubEndpoint('ftp://x', {})).toThrow(ConfigError);
    for (const given of ['ftp://me:secret@x', 'https://me:%zz@x/', 'https://x/?token=secret', 'https://x/#secret']) {
      expect(() => hubEndpoint(undefined, { HF_ENDPOINT: given })).toThrow(
        /^HF_ENDPOINT: no address of a Hub: \w+:\/\/x\n/,
      );
    }
    const login = { HF_ENDPOINT: 'https://me:pa%20ss@mirror.example/hf//' };
    expect(hubEndpoint(undefined, login)).toBe('https://mirror.example/hf');
    expect(endpointLogin(undefined, login)).toEqual({
      value: Buffer.from('me:pa ss').toString('base64'),
      source: 'HF_ENDPOINT',
      scheme: 'Basic',
    });
    expect(endpointLogin(undefined, { HF_ENDPOINT: 'https://mirror.example' })).toBeUndefined();
    for (const yes of ['1', 'on', 'True', 'YES']) expect(offlineReason(false, { HF_HUB_OFFLINE: yes })).toBeDefined();
    expect(offlineReason(false, { TRANSFORMERS_OFFLINE: '1' })).toBe('TRANSFORMERS_OFFLINE is set');
    expect(offlineReason(false, { HF_HUB_OFFLINE: '0' })).toBeUndefined();
    expect(offlineReason(true, {})).toBe('localFilesOnly is set');
  });
});

describe('what is looked up on the disk', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'hub-names-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('the token, in Python’s order', async () => {
    const path = join(dir, 'elsewhere');
    await writeFile(join(dir, 'token'), 'hf_home\n');
    await writeFile(path, 'hf_path');
    const env = { HF_HOME: dir, HF_TOKEN_PATH: path, HF_TOKEN: ' hf_env ' };
    expect(await findHubToken('hf_given', env)).toEqual({ value: 'hf_given', source: 'the option `token`' });
    expect(await findHubToken(undefined, env)).toEqual({ value: 'hf_env', source: 'HF_TOKEN' });
    expect(await findHubToken(undefined, { ...env, HF_TOKEN: '' })).toEqual({ value: 'hf_path', source: path });
    expect((await findHubToken(undefined, { HF_HOME: dir }))?.value).toBe('hf_home');
    expect(await findHubToken(undefined, { HF_HOME: join(dir, 'nothing') })).toBeUndefined();
    expect(await findHubToken(undefined, { ...env, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).toBeUndefined();
    expect(await findHubToken(false, env)).toBeUndefined();
    const error = await findHubToken(undefined, { HF_TOKEN: 'hf_a\nhf_b' }).catch((caught: Error) => caught);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as Error).message).not.toContain('hf_a');
  });

  it('a folder wins over a repository, and a path to nothing is no repository', async () => {
    const folder = join(dir, 'org', 'model');
    await mkdir(folder, { recursive: true });
    expect(await localFolder(folder)).toBe(folder);
    expect(await localFolder('org/model')).toBeUndefined();
    for (const path of ['./org/model', '/nothing-7f3a/here', '../no-such-folder-7f3a', 'C:\\models\\x', 'a/b/c']) {
      await expect(localFolder(path)).rejects.toThrow(/there is no such folder/);
    }
    // As everywhere: only shells know it.
    await expect(localFolder('~/model')).rejects.toThrow(/"~\/model", where ~ is of shells[\s\S]*hint: Write .*model"/);
    await expect(localFolder('https://huggingface.co/org/model/tree/main')).rejects.toThrow(/Give "org\/model"/);
  });
});

it('names that other tools wrote as a URL or with a slash at the end are those of repositories', () => {
  const urls = ['https://huggingface.co/org/model', 'https://hf.co/org/model/', 'hf://org/model'];
  for (const text of ['org/model', 'org/model/', ...urls, 'https://huggingface.co/org/model/tree/main']) {
    expect(plainRepoName(text)).toBe('org/model');
  }
  for (const text of [
    './model/',
    '../model',
    '~/model',
    '/a/b/',
    'C:\\a\\b',
    'a/b/c',
    's3://a/b',
    'https://other.org/a/b',
  ]) {
    expect(plainRepoName(text)).toBe(text);
  }
});

it('names of repositories are checked', () => {
  for (const id of ['gpt2', 'org/model', 'a-b/c.d_e-F', 'mistralai/Ministral-3-14B-Instruct-2512-BF16']) {
    expect(parseRepoId(id)).toBe(id);
  }
  for (const id of [
    '',
    'a/b/c',
    '/x',
    'x/',
    'a b/c',
    'a/b..c',
    'a/b--c',
    'a/b.git',
    '-a/b',
    'a/.b',
    `a/${'b'.repeat(97)}`,
  ]) {
    expect(() => parseRepoId(id)).toThrow(/is not the name of a repository/);
  }
});

it('patterns are those of fnmatch', () => {
  const paths = ['model.safetensors', 'model-1.safetensors', 'consolidated.safetensors', 'a/b.json', 'c[1].txt'];
  const pick = (allow?: string | string[], ignore?: string | string[]): string[] => selectPaths(paths, allow, ignore);
  expect(pick()).toEqual(paths);
  expect(pick(['model*.safetensors'])).toEqual(['model.safetensors', 'model-1.safetensors']);
  expect(pick(['*.json', 'model-?.safetensors'])).toEqual(['model-1.safetensors', 'a/b.json']);
  expect(pick(['a/'])).toEqual(['a/b.json']);
  expect(pick(['c[[]1].txt'])).toEqual(['c[1].txt']);
  expect(pick(['model[!.]*'])).toEqual(['model-1.safetensors']);
  expect(pick(undefined, ['*.safetensors'])).toEqual(['a/b.json', 'c[1].txt']);
  expect(pick('*.json')).toEqual(['a/b.json']);
  expect(pick('*', '*.safetensors')).toEqual(['a/b.json', 'c[1].txt']);
  for (const folder of ['a\\b.json', 'a\\', './a/', '.\\a\\*.json', 'a\\*']) {
    expect([folder, pick(folder)]).toEqual([folder, ['a/b.json']]);
  }
});

it('patterns may be a string or a list, and nothing else', () => {
  for (const allowPatterns of ['*.json', ['*.json', 'a/*'], []]) {
    expect(snapshotDownloadSchema().parse({ allowPatterns }).allowPatterns).toEqual(allowPatterns);
  }
  for (const allowPatterns of ['', [''], 5, /json/]) {
    expect(() => parseOptions(snapshotDownloadSchema, { allowPatterns }, 'snapshotDownload')).toThrow(
      /`allowPatterns(\.0)?`: /,
    );
  }
});

describe('what is pasted for a model says what to write', () => {
  it.each([
    ['https://huggingface.co/org/model', 'Give "org/model".'],
    ['https://huggingface.co/org/model/tree/main?x=1#usage', 'Give "org/model".'],
    ['https://huggingface.co/org/model/tree/v1.0', `Give "org/model", with the option revision: 'v1.0'.`],
    ['https://huggingface.co/org/model/tree/refs%2Fpr%2F3', `Give "org/model", with the option revision: 'refs/pr/3'.`],
    ['https://huggingface.co/org/model/tree/refs/pr/3', `Give "org/model", with the option revision: 'refs/pr/3'.`],
    ['https://huggingface.co/org/model/blob/v2/config.json', `Give "org/model", with the option revision: 'v2'.`],
    ['https://huggingface.co/org/model/resolve/main/a/b.json', 'Give "org/model".'],
    ['https://huggingface.co/org/model.git', 'Give "org/model".'],
    ['https://huggingface.co/gpt2/tree/main', 'Give "gpt2".'],
    ['https://me:pw1234@huggingface.co/org/model', 'Give "org/model".'],
    ['https://mirror.example/org/model', `Give "org/model", with the option endpoint: 'https://mirror.example'.`],
    ['www.huggingface.co/org/model', 'Give "org/model".'],
    ['hf.co/org/model', 'Give "org/model".'],
    ['hf://org/model@v1', `Give "org/model", with the option revision: 'v1'.`],
    ['hf://models/org/model', 'Give "org/model".'],
    ['git@hf.co:org/model', 'Give "org/model".'],
    ['org/model@v1', `Give "org/model", with the option revision: 'v1'.`],
    ['org/model/', 'Give "org/model".'],
    ['"org/model"', 'Give "org/model".'],
  ])('%s', async (text, hint) => {
    const error = (await localFolder(text).catch((caught: unknown) => caught)) as ConfigError;
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.hint).toBe(hint);
    expect(JSON.stringify(error)).not.toContain('pw1234');
  });
});
