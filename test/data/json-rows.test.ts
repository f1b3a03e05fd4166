import { describe, expect, it } from 'vitest';
import { findJsonFault } from '../../src/data/conversations/json-fault.js';
import { scanLines, scanValues } from '../../src/data/conversations/json-scan.js';

describe('the scanners of JSON rows', () => {
  const scan = async (text: string, size: number, isList: boolean | 'lines', maxBytes = 1e6) => {
    const bytes = Buffer.from(text);
    const chunks = async function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    };
    const found: unknown[] = [];
    const scanner = isList === 'lines' ? scanLines : scanValues;
    for await (const row of scanner(chunks(), { start: 0, maxBytes, isList: isList === true })) {
      if ('fault' in row) found.push([row.fault, row.line, row.column]);
      else {
        expect(bytes.subarray(row.extent.start, row.extent.end).equals(row.bytes)).toBe(true);
        found.push([row.bytes.toString(), row.extent.line]);
      }
    }
    return found;
  };

  it('find the same rows, however the bytes come', async () => {
    const list = '[ {"a": "]\\"}"}, 5 ,\n[1,[2]],"x,]" , null]';
    for (let size = 1; size < 12; size++) {
      expect(await scan(list, size, true)).toEqual([
        ['{"a": "]\\"}"}', 1],
        ['5', 1],
        ['[1,[2]]', 2],
        ['"x,]"', 2],
        ['null', 2],
      ]);
      expect(await scan('{"é": 1}\n\n{\n"b": {}}\n 7 ', size, false)).toEqual([
        ['{"é": 1}', 1],
        ['{\n"b": {}}', 3],
        ['7', 5],
      ]);
      expect(await scan('{"é": 1}\n\n\r\n{"b"', size, 'lines')).toEqual([
        ['{"é": 1}', 1],
        ['{"b"', 4],
      ]);
    }
  });

  it('hold no more than the longest row that is let in', async () => {
    expect(await scan('x'.repeat(100), 7, 'lines', 20)).toEqual([['size', 1, 0]]);
    expect(await scan(`[1,\n"${'x'.repeat(100)}"]`, 7, true, 20)).toEqual([
      ['1', 1],
      ['size', 2, 0],
    ]);
  });

  it('place faults of every kind', () => {
    for (const [text, at] of [
      ['{"a":1', 6],
      ['{"a":"x', 7],
      ['[1,2,]', 5],
      ['{"a":01}', 6],
      ['{"a":"\\x"}', 7],
      ['{"a":"\\u12g4"}', 7],
      ['{"a":"\n"}', 6],
      ['tru', 0],
      ['1 2', 2],
      ['', 0],
    ] as const) {
      expect(() => JSON.parse(text)).toThrow();
      expect([text, findJsonFault(text).at]).toEqual([text, at]);
    }
  });
});
