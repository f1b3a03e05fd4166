import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { optionTypes, schemaDefaults } from '../scripts/option-types.js';
import { optionsPage } from '../scripts/options-page.js';
import { parseGenerationConfig } from '../src/model/sampling.js';
import { DEFAULT_SPEED } from '../src/transfer/peer-watch.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src');
const types = optionTypes();
const options = types.flatMap((type) => type.options.map((option) => ({ ...option, type: type.name })));

const texts = new Map(
  readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.startsWith('generated'))
    .map((path) => [path, readFileSync(join(source, path), 'utf8')]),
);

/** By interface, those of every schema that is tied to one. */
const defaults = new Map(
  [...texts].flatMap(([path, text]) => (text.includes('NoMismatch<') ? [...schemaDefaults(path)] : [])),
);

/** What a comment says of a default that is written so. */
const SAID: Readonly<Record<string, string>> = {
  '[]': 'none',
  '{}': 'none',
  '1 / 255': '1/255',
  '[...LAYER_PROJECTIONS]': 'the seven projections of a layer',
  DEFAULT_TOP_K: String(parseGenerationConfig().topK),
  'DEFAULT_SPEED.minBytesPerSecond': String(DEFAULT_SPEED.minBytesPerSecond),
  'DEFAULT_SPEED.windowMs': String(DEFAULT_SPEED.windowMs),
};

function said(value: ts.Expression): string {
  const text = value.getText();
  if (SAID[text] !== undefined) return SAID[text];
  if (ts.isArrayLiteralExpression(value)) return `CLIP's, ${value.elements.map((one) => one.getText()).join(', ')}`;
  return ts.isStringLiteral(value) ? value.text : text.replaceAll('_', '');
}

/** Whether a comment begins with this value: `30,000`, and `none, so that …`. */
function says(comment: string | undefined, value: string): boolean {
  const plain = (comment ?? '').replace(/`/g, '').replace(/(\d),(?=\d{3}\b)/g, '$1');
  return plain === value || plain.startsWith(`${value},`) || plain.startsWith(`${value} `);
}

/** What code of a file takes where an option is not given: `name = 5` in a pattern, `options.name ?? 5`. */
function valuesIn(path: string, name: string): string[] {
  const text = texts.get(path)!;
  const pattern = new RegExp(
    `\\b${name}(?:: \\w+)?(?: =|\\)? \\?\\?) ('[\\w-]+'|true|false|-?[\\d.]+(?:e-?\\d+)?)[,;)} ]`,
    'g',
  );
  return text.includes(name) ? [...text.matchAll(pattern)].map(([, value]) => value!.replaceAll("'", '')) : [];
}

describe('the comment of each option', () => {
  it('says what it means, and its default or that it is required', () => {
    expect(options.length).toBeGreaterThan(400);
    const wrong = options.filter(
      ({ meaning, isRequired, saysRequired, default: given }) =>
        meaning.length < 15 || isRequired !== saysRequired || isRequired === (given !== undefined),
    );
    expect(wrong.map(({ type, name }) => `${type}.${name}`)).toEqual([]);
  });

  it('names the default of the schema', () => {
    const checked = options.flatMap((option) => {
      const value = defaults.get(option.type)?.get(option.name);
      return value ? [{ ...option, value: said(value) }] : [];
    });
    expect(checked.length).toBeGreaterThan(120);
    const wrong = checked.filter(({ default: given, value }) => !says(given, value));
    expect(wrong.map(({ type, name, default: given, value }) => `${type}.${name}: ${given}, not ${value}`)).toEqual([]);
  });

  it('names the default that the code fills in where no schema does', () => {
    let checked = 0;
    const wrong = types.flatMap(({ name: type, options }) => {
      // Settings of schedules have the same names with other defaults.
      if (type.endsWith('Kwargs')) return [];
      const users = [...texts].filter(([, text]) => text.includes(type)).map(([path]) => path);
      return options.flatMap(({ name, file, isRequired, default: given }) => {
        if (isRequired || defaults.get(type)?.has(name)) return [];
        const values = [...new Set([file.slice('src/'.length), ...users])].flatMap((path) => valuesIn(path, name));
        if (values.length === 0) return [];
        checked++;
        return values.some((value) => says(given, value))
          ? []
          : [`${type}.${name}: ${given}, not ${values.join(' or ')}`];
      });
    });
    expect(checked).toBeGreaterThan(20);
    expect(wrong).toEqual([]);
  });

  it('is in docs/options.md as it is here: `npm run options` writes it', () => {
    expect(readFileSync(join(root, 'docs', 'options.md'), 'utf8')).toBe(optionsPage(types));
  });
});
