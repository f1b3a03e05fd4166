import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/errors.js';
import { formatKaggleHandle } from '../../../src/kaggle/handle.js';
import { kaggleEndpoint } from '../../../src/kaggle/kaggle-api.js';
import { parseKaggleHandle } from '../../../src/kaggle/pasted-handle.js';

describe('handles', () => {
  it.each([
    ['owner/set', undefined],
    ['owner/set/versions/12', 12],
    ['owner/set/3', 3],
    [' owner/set/ ', undefined],
    ['https://www.kaggle.com/datasets/owner/set', undefined],
    ['https://kaggle.com/datasets/owner/set/versions/2?resource=download', 2],
  ])('%s', (text, version) => {
    expect(parseKaggleHandle(text)).toEqual({ owner: 'owner', dataset: 'set', version });
  });

  it.each([
    '',
    'owner',
    '/set',
    'owner/',
    'owner/set/versions',
    'owner/set/versions/0',
    'owner/set/versions/-1',
    'owner/set/versions/1e3',
    'owner/set/latest',
    'owner/set/versions/1/file.csv',
    '../set',
    'owner/..',
    'owner/a b',
    'owner/a%2fb',
    'owner\\set',
    'https://example.com/datasets/owner/set',
  ])('refuses %j', (text) => {
    expect(() => parseKaggleHandle(text)).toThrow(ConfigError);
  });

  it('are written with their version', () => {
    expect(formatKaggleHandle(parseKaggleHandle('a/b/3'))).toBe('a/b/versions/3');
    expect(formatKaggleHandle(parseKaggleHandle('a/b'))).toBe('a/b');
  });
});

describe('endpoints', () => {
  it.each([
    [undefined, 'https://www.kaggle.com'],
    ['', 'https://www.kaggle.com'],
    ['https://mirror.example/', 'https://mirror.example'],
    ['https://mirror.example/kaggle/api/v1/', 'https://mirror.example/kaggle'],
    ['http://localhost:7777', 'http://localhost:7777'],
    ['http://127.0.0.1:80/api/v1', 'http://127.0.0.1'],
    ['http://[::1]:1234', 'http://[::1]:1234'],
  ])('%s', (value, expected) => {
    expect(kaggleEndpoint(value)).toBe(expected);
  });

  it.each([
    'http://mirror.example',
    'http://localhost.example',
    'ftp://localhost',
    'https://me:secret@mirror.example',
    'https://mirror.example/?token=secret',
    'kaggle.com',
  ])('refuses %s', (value) => {
    const parse = (): string => kaggleEndpoint(value);
    expect(parse).toThrow(ConfigError);
    expect(parse).not.toThrow(/secret/);
  });
});
