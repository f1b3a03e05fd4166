import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BoundedTemplate, type TrackedRendering } from '../../src/data/bounded-jinja.js';
import { JinjaError } from '../../src/data/jinja/error.js';
import { formatTime } from '../../src/data/jinja/strftime.js';

/** What jinja2 gives: a text, a text with the ranges of its generation blocks, or null where it raises. */
type Expected = string | [string, [number, number][]] | null;

/** Made by make.py there, with jinja2. */
const folder = new URL('../fixtures/jinja/', import.meta.url);
const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as T;

const small = read<{ values: Record<string, unknown>; cases: [string, Expected][] }>('small.json');
const { conversations, inputs, chats } = read<{
  conversations: string[];
  inputs: Record<string, unknown>[];
  chats: Record<string, Expected[]>;
}>('chats.json');

/** Refused by name: what has an address in its text, and what no template needs. */
const REFUSED = new Set(['{{ s.upper }}', '{{ n.real }}', '{{ d.items, n }}', '{{ "".__class__.__mro__ }}']);

function render(source: string, values: Record<string, unknown>): Expected {
  let rendering: TrackedRendering;
  try {
    rendering = new BoundedTemplate(source).renderTracked(values);
  } catch (error) {
    if (error instanceof JinjaError) return null;
    throw error;
  }
  const { text, generation } = rendering;
  return generation.length ? [text, generation.map(([start, end]): [number, number] => [start, end])] : text;
}

describe('templates and jinja2', () => {
  it.each(small.cases)('agree about %j', (source, expected) => {
    if (REFUSED.has(source)) {
      expect(() => render(source, small.values)).toThrow(/^the chat template uses .*, which is not supported/);
    } else expect(render(source, small.values)).toEqual(expected);
  });

  it.each(Object.entries(chats))('agree about all conversations: %s', (name, expected) => {
    const source = readFileSync(new URL(`chat/${name}.jinja`, folder), 'utf8');
    const given = Object.fromEntries(inputs.map((input, i) => [conversations[i]!, render(source, input)]));
    expect(given).toEqual(Object.fromEntries(expected.map((text, i) => [conversations[i]!, text])));
  });

  it('have every chat template of the folder', () => {
    const names = readdirSync(new URL('chat/', folder)).map((file) => file.replace('.jinja', ''));
    expect(names.sort()).toEqual(Object.keys(chats).sort());
  });

  it.each(read<[string, string, string][]>('times.json'))('write the time %s by %j', (time, format, expected) => {
    expect(formatTime(new Date(time), format)).toBe(expected);
  });

  it.each(['%f', '%s', '%Ey', '%10d', '%^a'])('refuse the directive %s of strftime_now', (format) => {
    expect(() => formatTime(new Date(), format)).toThrow(/the directive .* of strftime_now/);
  });
});
