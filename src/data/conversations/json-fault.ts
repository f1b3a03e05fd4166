/** Where a text stops being JSON: the messages of JSON.parse name a place in some cases only. */

/**
 * The position of the first unexpected character, and what was expected there. Call it on text
 * that JSON.parse refuses and that nests no deeper than the caller allows: it goes down recursively.
 */
export function findJsonFault(text: string): { at: number; expected: string } {
  let at = 0;
  class Found extends Error {}
  let expected = 'a value';
  const stop = (what: string): never => {
    expected = what;
    throw new Found();
  };
  const space = () => {
    while (at < text.length && ' \t\n\r'.includes(text[at]!)) at++;
  };
  const value = (): void => {
    space();
    const start = text[at];
    if (start === '{') list('}', '"name": value', member);
    else if (start === '[') list(']', 'a value', value);
    else if (start === '"') string();
    else scalarValue();
  };
  const member = (): void => {
    if (text[at] !== '"') stop('a name in double quotes');
    string();
    space();
    if (text[at] !== ':') stop('":"');
    at++;
    value();
  };
  const scalarValue = (): void => {
    const scalar = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/y;
    scalar.lastIndex = at;
    const found = scalar.exec(text);
    if (!found) stop(text[at] === undefined ? 'more: the text ends here' : 'a value');
    else at += found[0].length;
  };
  const list = (end: string, what: string, item: () => void): void => {
    at++;
    space();
    if (text[at] === end) {
      at++;
      return;
    }
    for (;;) {
      space();
      if (text[at] === undefined) stop('more: the text ends here');
      if (text[at] === end) stop(`${what} after the comma`);
      item();
      space();
      if (text[at] === end) {
        at++;
        return;
      }
      if (text[at] !== ',') stop(text[at] === undefined ? 'more: the text ends here' : `"," or "${end}"`);
      at++;
    }
  };
  const string = (): void => {
    for (at++; ; at++) {
      const character = text[at];
      if (character === undefined) stop('the closing quote of a text');
      if (character === '"') break;
      if (character! < ' ') stop('a text on one line: line ends and tabs in it are written \\n and \\t');
      if (character !== '\\') continue;
      at++;
      if (text[at] === 'u' && /^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5))) at += 4;
      else if (!'"\\/bfnrt'.includes(text[at] ?? ' ')) stop('a known escape: a backslash is written \\\\');
    }
    at++;
  };
  try {
    value();
    space();
    return { at, expected: at < text.length ? 'nothing more: one value a row' : 'another text' };
  } catch (error) {
    if (error instanceof Found) return { at, expected };
    throw error;
  }
}
