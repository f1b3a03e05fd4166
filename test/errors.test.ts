import { expect, it } from 'vitest';
import {
  CheckpointError,
  HubError,
  KaggleError,
  OutOfMemoryError,
  reasonOf,
  TransferError,
  TuneError,
} from '../src/errors.js';
import { keepSecret } from '../src/messages/secrets.js';

const gone = new HubError('owner/name: no such repository', {
  hint: 'Is the name right?',
  url: 'https://user:word@hub.example/api?signature=x',
  status: 404,
  errorCode: 'RepoNotFound',
  details: { repoId: 'owner/name' },
});

it('keeps what is wrong apart from what to do about it', () => {
  expect(gone.summary).toBe('owner/name: no such repository');
  expect(gone.hint).toBe('Is the name right?');
  expect(gone.message).toBe(`owner/name: no such repository\n  hint: Is the name right?\n  see ${gone.helpUrl}`);
  expect(new HubError('x').message).toBe('x');
});

it('says the same with other words, and stays of its class with its fields', () => {
  const again = gone.with({ summary: `${gone.summary}; it may be the proxy`, isTransient: true });
  expect(again).toBeInstanceOf(HubError);
  expect(again.message).toBe(`${again.summary}\n  hint: Is the name right?\n  see ${gone.helpUrl}`);
  expect(again.summary).toBe('owner/name: no such repository; it may be the proxy');
  expect(again).toMatchObject({ code: 'HUB', status: 404, errorCode: 'RepoNotFound', isTransient: true });
  expect(again.details).toEqual({ repoId: 'owner/name' });
  expect(again.cause).toBe(gone);
  expect(gone.with({ hint: undefined }).message).toBe(gone.summary);
  const full = new OutOfMemoryError('full', { neededBytes: 10, freeBytes: 7, limitBytes: 12, status: 2 });
  expect(full.with({ hint: 'Take less.' })).toMatchObject({ neededBytes: 10, freeBytes: 7, limitBytes: 12, status: 2 });
});

it('tells by class and code whose errors they are', () => {
  const kaggle = new KaggleError('x', { isTransient: true, retryAfterMs: 1000 });
  expect(kaggle).toBeInstanceOf(TransferError);
  expect(kaggle).not.toBeInstanceOf(HubError);
  expect(kaggle).toMatchObject({ name: 'KaggleError', code: 'KAGGLE', retryAfterMs: 1000, isTransient: true });
  expect(new TransferError('x')).toMatchObject({ code: 'TRANSFER', isTransient: false, status: undefined });
});

it('is whole as JSON, without secrets in any field', () => {
  keepSecret('hf_veryprivatetoken');
  const error = gone.with({ errorCode: 'No-hf_veryprivatetoken', url: 'https://hub.example/hf_veryprivatetoken' });
  const text = JSON.stringify(error);
  expect(JSON.parse(text)).toMatchObject({
    name: 'HubError',
    code: 'HUB',
    message: error.message,
    hint: 'Is the name right?',
    helpUrl: gone.helpUrl,
    url: 'https://hub.example/***',
    errorCode: 'No-***',
    status: 404,
    isTransient: false,
    startOver: false,
    details: { repoId: 'owner/name' },
  });
  expect(text).not.toContain('veryprivate');
  expect(gone.url).toBe('https://***@hub.example/api?***');
});

it('is quoted in one line', () => {
  const listed = new CheckpointError('it differs:\n  - a\n  - b', { hint: 'Look at it.' });
  expect(reasonOf(listed)).toBe('it differs:');
  expect(listed.summary).toBe('it differs:\n  - a\n  - b');
  expect(reasonOf(new Error('Cannot find module\nRequire stack:\n- here'))).toBe('Cannot find module');
  expect(reasonOf('thrown text')).toBe('thrown text');
  expect(listed).toBeInstanceOf(TuneError);
});
