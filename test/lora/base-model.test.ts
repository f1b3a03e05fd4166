import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { baseOf, cachedRepo, isLocalName, otherBaseWarning } from '../../src/lora/base-model.js';
import { chatTemplateFields, chatTemplateText } from '../../src/lora/chat-template-option.js';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const snapshot = `/home/x/.cache/huggingface/hub/models--mistralai--Ministral-3-3B/snapshots/${COMMIT}`;

describe('a snapshot in the Hub’s cache', () => {
  it('is its repository and commit', () => {
    const found = { name: 'mistralai/Ministral-3-3B', revision: COMMIT };
    for (const path of [
      snapshot,
      `${snapshot}/`,
      `${snapshot}//`,
      snapshot.slice('/home/x/.cache/huggingface/hub/'.length),
    ]) {
      expect(cachedRepo(path)).toEqual(found);
    }
    expect(cachedRepo(`C:\\hub\\models--gpt2\\snapshots\\${COMMIT}`)).toEqual({ name: 'gpt2', revision: COMMIT });
    expect(baseOf({ nameOrPath: snapshot, revision: 'main' })).toEqual(found);
  });

  it('is nothing else', () => {
    for (const path of [
      `${snapshot}0`,
      `${snapshot}/below`,
      snapshot.replace('models--', 'datasets--'),
      snapshot.replace('/models--', '/my-models--'),
      snapshot.replace('snapshots', 'blobs'),
      snapshot.replace(COMMIT, COMMIT.toUpperCase()),
      `models--a b/snapshots/${COMMIT}`,
    ]) {
      expect(cachedRepo(path)).toBeUndefined();
    }
    expect(baseOf({ nameOrPath: 'a/b', revision: 'main' })).toEqual({ name: 'a/b', revision: 'main' });
    expect(baseOf({})).toEqual({ name: undefined, revision: undefined });
  });
});

describe('the name of a base model', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'base-model-'));
    await writeFile(join(dir, 'file'), '');
  });
  afterAll(() => rm(dir, { recursive: true }));

  it('is local if it is a path', async () => {
    for (const name of [
      './model',
      '../model',
      '/model',
      '~/model',
      '\\\\host\\model',
      'C:\\model',
      'd:/model',
      'a\\b',
      'a/b/c',
    ]) {
      expect([name, await isLocalName(name)]).toEqual([name, true]);
    }
  });

  it('is not if it is an address, or one of the Hub', async () => {
    for (const name of ['https://host/a/b/c', 's3://bucket/a/b', 'no-such/model', 'no-such-model', 'ab:c']) {
      expect([name, await isLocalName(name)]).toEqual([name, false]);
    }
    // An address inside a path is no address.
    expect(await isLocalName('/data/http://host')).toBe(true);
  });

  it('is local if a folder has it', async () => {
    const here = relative(process.cwd(), dir);
    // As a name of one part or two it may be either: what lies there decides.
    if (!/^\.\./.test(here)) expect(await isLocalName(here)).toBe(true);
    expect(await isLocalName('src')).toBe(true);
    expect(await isLocalName('src/lora')).toBe(true);
    expect(await isLocalName('package.json')).toBe(false);
  });
});

describe('an adapter on another base model', () => {
  const warning = (trainedOn: string | undefined, nameOrPath?: string) => otherBaseWarning(trainedOn, { nameOrPath });

  it('is warned of by both names', () => {
    expect(warning('a/one', 'a/two')).toBe(
      'the adapter was trained on "a/one" and is put onto "a/two": its shapes fit, but unless these are the same weights ' +
        'its answers are not those of its training',
    );
    expect(warning('a/model', 'a/model-instruct')).toContain('"a/model-instruct"');
    expect(warning('a/model-8b', 'a/model-3b')).toContain('"a/model-3b"');
    expect(warning('a/gguf-model', 'a/model')).toContain('"a/gguf-model"');
  });

  it('is not where only owner, folder, case or number format differ', () => {
    for (const [one, two] of [
      ['a/model', 'b/model'],
      ['a/model', '/data/Model/'],
      ['a/model', 'C:\\data\\model\\\\'],
      ['mistralai/Ministral-3-3B', snapshot],
      ...[
        '-bf16',
        '_fp16',
        '.f32',
        '-FP8',
        '-GGUF',
        '-awq',
        '-gptq',
        '-bnb-4bit',
        '-4bit',
        '-8bit',
        '-unsloth-bnb-4bit',
        '-hf',
      ].map((ending) => ['a/model', `b/model${ending}`]),
    ] as const) {
      expect([one, two, warning(one, two)]).toEqual([one, two, undefined]);
      expect(warning(two, one)).toBeUndefined();
    }
  });

  it('is not where one of the two is not known', () => {
    expect(warning(undefined, 'a/b')).toBeUndefined();
    expect(warning('a/b')).toBeUndefined();
  });
});

describe('the chat template beside an adapter', () => {
  const schema = z.object(chatTemplateFields);
  const takes = (value: object) => schema.safeParse(value).success;

  it('is a source with a tag, or something that has one', () => {
    for (const chatTemplate of ['{{ bos_token }}', '{% if a %}', { source: 'any' }])
      expect(takes({ chatTemplate })).toBe(true);
    for (const chatTemplate of ['template.jinja', '{ }', {}, null, 5]) expect(takes({ chatTemplate })).toBe(false);
    for (const processor of [{}, { chatTemplate: undefined }, { chatTemplate: { source: 'any' } }]) {
      expect(takes({ processor })).toBe(true);
    }
    for (const processor of [null, 'a', { chatTemplate: 'any' }, { chatTemplate: null }]) {
      expect(takes({ processor })).toBe(false);
    }
  });

  it('given by itself goes before that of a processor', () => {
    const processor = { chatTemplate: { source: 'of the processor' } };
    expect(chatTemplateText({ chatTemplate: '{{ a }}', processor })).toBe('{{ a }}');
    expect(chatTemplateText({ chatTemplate: { source: 'own' }, processor })).toBe('own');
    expect(chatTemplateText({ processor })).toBe('of the processor');
    expect(chatTemplateText({ processor: {} })).toBeUndefined();
    expect(chatTemplateText({})).toBeUndefined();
  });
});
