/** Texts of others in Markdown and in YAML, where they stand for themselves: no markup, no link, no second line. */
import { requireText } from '../require-given.js';
import { printable } from './one-line.js';

/**
 * A text as Markdown that shows exactly it: names of classes and files in a model card's `description`, `data` or
 * captions, say. Line ends, control characters and invisible ones are written as `\n`, `\u202e`.
 */
export function escapeMarkdown(text: string): string {
  requireText(text, 'escapeMarkdown: `text`');
  return (
    onOneLine(text)
      .replace(/[\\`*[\]~|$]/g, '\\$&')
      // Between letters and digits it is no emphasis, and names are full of it.
      .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '\\_')
      .replace(/&(?=#?\w+;)/g, '&amp;')
      .replace(/</g, '&lt;')
      .replace(/>/g, '&gt;')
      // GitHub makes links of what looks like an address.
      .replace(/:(?=\/\/)/g, '&#58;')
      .replace(/\/\//g, '/&#47;')
      .replace(/\b(www)\./gi, '$1&#46;')
      // Headings, lists and rules begin a line.
      .replace(/(^| )#/g, '$1\\#')
      .replace(/^( *\d+)([.)])(?= |$)/, '$1\\$2')
      .replace(/^( *)([-+])(?= |$|\2)/, '$1\\$2')
      .replace(/^( *)=(?==* *$)/, '$1\\=')
  );
}

/** A text as code within a line or a cell of a table. */
export function markdownCode(text: string): string {
  const line = onOneLine(text);
  // A backslash before a bar would let it end the cell; not every reader leaves tags in code alone.
  if (line.trim() === '' || /[`<]|\\\|/.test(line)) return `<code>${escapeMarkdown(line)}</code>`;
  return `\`${line.replaceAll('|', '\\|')}\``;
}

/** A text as a YAML string. JSON's is one, but for characters that YAML does not allow, or takes for the end of a line. */
export function yamlString(text: string): string {
  return JSON.stringify(text.replace(/\p{Surrogate}/gu, '\ufffd')).replace(
    /[^\x20-\x7e\p{L}\p{M}\p{N}\p{P}\p{S}]/gu,
    (character) => {
      const code = character.codePointAt(0)!.toString(16);
      return code.length > 4 ? `\\U${code.padStart(8, '0')}` : `\\u${code.padStart(4, '0')}`;
    },
  );
}

function onOneLine(text: string): string {
  return printable(text.replaceAll('\t', '\\t')).replaceAll('\n', '\\n');
}
