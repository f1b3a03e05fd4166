import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseOptions, pathFault, pathOption } from '../src/config.js';
import { ConfigError } from '../src/errors.js';
import { LoraConfig, type LoraConfigOptions } from '../src/lora/lora-config.js';
import { nearestName } from '../src/messages/nearest-name.js';
import { parseSftConfig } from '../src/train/sft-config.js';

const schema = z.strictObject({
  whole: z.int().min(1).max(10).default(1),
  above: z.number().positive().optional(),
  below: z.number().lt(1).optional(),
  word: z.enum(['adamw', 'sgd', 'cosine_with_min_lr']).optional(),
  only: z.literal('none').default('none'),
  layers: z.union([z.int().min(0), z.array(z.int().min(0)).max(3)]).optional(),
  start: z.union([z.literal(true), z.literal('gaussian')]).default(true),
  ranks: z.record(z.string().max(4), z.int()).default({}),
  inner: z.strictObject({ name: z.string().min(1) }).optional(),
  flag: z.boolean().optional(),
  call: z.custom<() => void>((value) => typeof value === 'function', 'expected a function').optional(),
  names: z.array(z.string()).min(1).optional(),
});

const messageOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error('nothing was wrong');
};

describe('a fault of an option', () => {
  it.each<[unknown, string]>([
    [{ whole: '16' }, '`whole`: expected a whole number, got the string "16"'],
    [{ whole: 2.5 }, '`whole`: expected a whole number, got 2.5'],
    [{ whole: null }, '`whole`: expected a whole number, got null'],
    [{ whole: 0 }, '`whole`: expected at least 1, got 0'],
    [{ whole: 99 }, '`whole`: expected at most 10, got 99'],
    [{ whole: Number.NaN }, '`whole`: expected a finite number without fraction, got NaN'],
    [{ above: 0 }, '`above`: expected more than 0, got 0'],
    [{ above: Number.POSITIVE_INFINITY }, '`above`: expected a finite number, got Infinity'],
    [{ above: 3n }, '`above`: expected a number, got 3'],
    [{ below: 1 }, '`below`: expected less than 1, got 1'],
    [
      { word: 'adam' },
      '`word`: expected one of "adamw", "sgd", "cosine_with_min_lr", got the string "adam"; did you mean "adamw"?',
    ],
    [{ word: 'cosineWithMinLr' }, 'did you mean "cosine_with_min_lr"?'],
    [{ word: 3 }, '`word`: expected one of "adamw", "sgd", "cosine_with_min_lr", got 3'],
    [{ only: 'all' }, '`only`: expected "none", got the string "all"'],
    [{ layers: 'x' }, '`layers`: expected a whole number or a list, got the string "x"'],
    [{ layers: [0, -1] }, '`layers.1`: expected at least 0, got -1'],
    [{ layers: [1, 2, 3, 4] }, '`layers`: expected at most 3 entries, got [1,2,3,4]'],
    [{ start: 'gausian' }, '`start`: expected true or "gaussian", got the string "gausian"; did you mean "gaussian"?'],
    [{ start: false }, '`start`: expected true or "gaussian", got false'],
    [{ ranks: { a: 'x' } }, '`ranks.a`: expected a whole number, got the string "x"'],
    [{ ranks: { abcdef: 1 } }, '`ranks.abcdef`: expected a name of at most 4 characters'],
    [{ ranks: [] }, '`ranks`: expected an object of names and values, got []'],
    [{ inner: {} }, '`inner.name`: is missing: expected a string'],
    [{ inner: { name: '' } }, '`inner.name`: expected at least 1 character, got the string ""'],
    [{ inner: { name: 'x', nam: 1 } }, 'unknown option `inner.nam`; did you mean `name`?'],
    [{ inner: 'x' }, '`inner`: expected an object, got the string "x"'],
    [{ flag: 'true' }, '`flag`: expected true or false, got the string "true"'],
    [{ call: 3 }, '`call`: expected a function, got 3'],
    [{ names: [] }, '`names`: expected at least 1 entry, got []'],
    [{ names: 'a' }, '`names`: expected a list, got the string "a"'],
    [null, 'Thing: expected an object, got null'],
    [5, 'Thing: expected an object, got 5'],
  ])('%o tells what was expected and what came', (input, message) => {
    expect(messageOf(() => parseOptions(schema, input, 'Thing'))).toContain(message);
  });

  it('is told under the name that it came by', () => {
    const wrong = { whole: 'x', word: 'x', odd: 1 };
    const message = messageOf(() => parseOptions(schema, wrong, 'file.json', {}, { whole: 'the_whole' }));
    expect(message).toContain('file.json: 3 faults');
    expect(message).toContain('`the_whole`: expected a whole number');
    expect(message).toContain('`word`: expected one of');
  });

  it('quotes what came in few words', () => {
    const message = messageOf(() =>
      parseOptions(schema, { whole: 'x'.repeat(1e6), names: { a: [[[[[]]]]] } }, 'Thing'),
    );
    expect(message.length).toBeLessThan(500);
  });

  it('of the packages own options reads the same', () => {
    const lora = (options: object): string => messageOf(() => new LoraConfig(options as LoraConfigOptions));
    expect(lora({ r: '16' })).toBe('LoraConfig: `r`: expected a whole number, got the string "16"');
    expect(lora({ initLoraWeights: 'gausian' })).toMatch(/expected true or "gaussian", .*; did you mean "gaussian"\?/);
    expect(lora({ taskType: 'CAUSAL_LLM' })).toMatch(
      /"CAUSAL_LM", "FEATURE_EXTRACTION", .*; did you mean "CAUSAL_LM"\?/,
    );
    expect(lora({ bias: 'all' })).toMatch(/`bias`: expected "none", got the string "all"/);
    expect(lora({ towers: 'text' })).toMatch(
      /`towers`: expected one of "both", "language", "vision", got the string "text"/,
    );
    expect(lora({ targetModules: 5 })).toMatch(/`targetModules`: expected a list of module names.*, got 5/);
    expect(lora({ alpha: 1e308 })).toMatch(/`alpha`: 1e\+308 with r 8 makes the scale alpha \/ r = 1.25e\+307/);
    const sft = (options: object): string => messageOf(() => parseSftConfig({ outputDir: 'x', ...options } as never));
    expect(sft({ optim: 'adam' })).toMatch(/`optim`: there is no "adam"; "adamw" with `weightDecay: 0` is the same/);
    expect(sft({ optim: 'adamw_4bit' })).toMatch(
      /`optim`: expected one of .*, got the string "adamw_4bit"; did you mean "adamw_8bit"/,
    );
    expect(sft({ learningRate: '2e-4' })).toMatch(/`learningRate`: expected a number, got the string "2e-4"/);
  });
});

describe('nearestName', () => {
  it('takes spelling in snake, kebab and camel case for the same', () => {
    expect(nearestName('max_grad_norm', ['maxGradNorm', 'maxSteps'])).toBe('maxGradNorm');
    expect(nearestName('warmupStableDecay', ['warmup_stable_decay', 'linear'])).toBe('warmup_stable_decay');
    expect(nearestName('all linear', ['all-linear'])).toBe('all-linear');
    expect(nearestName('x', ['something'])).toBeUndefined();
  });
});

describe('pathFault', () => {
  it('names what is no path here, and leaves odd names alone', () => {
    for (const path of ['~', '~/runs', '~\\runs', 'file:///runs', 'FILE:runs', 'C:\\runs', 'd:/runs']) {
      expect(pathFault(path, 'linux')).toBeDefined();
    }
    for (const path of ['~runs', './~', 'a~/b', 'files:', 'C:', '/C:/runs', 'runs/file:']) {
      expect(pathFault(path, 'linux')).toBeUndefined();
    }
    expect(pathFault('C:\\runs', 'win32')).toBeUndefined();
  });

  it('shows what ~ is here', () => {
    expect(pathFault('~/runs/a')?.hint).toContain(JSON.stringify(join(homedir(), 'runs/a')));
    expect(pathFault('~')?.hint).toContain(JSON.stringify(homedir()));
  });

  it('is asked of options that are paths', () => {
    const schema = z.strictObject({ folder: pathOption() });
    expect(() => parseOptions(schema, { folder: '~/runs' }, 'f')).toThrow(
      'f: `folder`: expected a path, got "~/runs", where ~ is of shells: Write the home folder out',
    );
    expect(() => parseOptions(schema, { folder: '' }, 'f')).toThrow('at least 1 character');
    expect(parseOptions(schema, { folder: 'runs' }, 'f')).toEqual({ folder: 'runs' });
  });
});
