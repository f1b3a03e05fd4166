/** CSV as RFC 4180 has it, without guesses: commas, quotes that are doubled inside, lines that end with CRLF or LF. */
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';

interface CsvRecord {
  /** Where it begins, from 1. */
  readonly line: number;
  readonly fields: readonly string[];
}

/** @throws DataError for a quote that is not closed, or text behind a closed one */
export function parseCsv(text: string, path: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let line = 1;
  for (let at = 0; at < text.length; ) {
    const begin = line;
    const fail = (message: string): never => {
      throw new DataError(`${oneLine(path)}, line ${begin}: ${message}`, {
        hint: 'Fields with quotes are written as "a ""quoted"" word".',
        details: { path, line: begin },
      });
    };
    const fields: string[] = [];
    for (let isLast = false; !isLast; ) {
      let field = '';
      if (text[at] === '"') {
        let end = text.indexOf('"', at + 1);
        while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
        if (end < 0) fail('a quote is not closed');
        field = text.slice(at + 1, end).replaceAll('""', '"');
        at = end + 1;
      } else {
        const start = at;
        while (at < text.length && text[at] !== ',' && text[at] !== '\n') at++;
        field = text.slice(start, at);
        if (text[at] !== ',' && field.endsWith('\r')) field = field.slice(0, -1);
      }
      for (let next = field.indexOf('\n'); next >= 0; next = field.indexOf('\n', next + 1)) line++;
      fields.push(field);
      if (text[at] === '\r' && text[at + 1] === '\n') at++;
      isLast = at >= text.length || text[at] === '\n';
      if (!isLast && text[at] !== ',') fail('there is text behind a closed quote');
      at++;
    }
    line++;
    if (fields.length > 1 || fields[0] !== '') records.push({ line: begin, fields });
  }
  return records;
}
