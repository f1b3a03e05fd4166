import { describe, expect, it } from 'vitest';
import { ConfigError, DataError } from '../../src/errors.js';
import { classificationExample } from '../../src/index.js';

const image = { width: 1, height: 1, data: new Uint8Array(3) };

describe('classificationExample', () => {
  it('asks the question before the image, and answers with the class', () => {
    const toExample = classificationExample('Which is it?');
    expect(toExample({ image, className: 'cat', path: '/a.png' })).toEqual({
      id: '/a.png',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Which is it?' },
            { type: 'image', image },
          ],
        },
        { role: 'assistant', content: [{ type: 'text', text: 'cat' }] },
      ],
    });
    expect(toExample({ image: 'b.png', className: 'dog' })).not.toHaveProperty('id');
  });

  it('puts a system message first', () => {
    const { messages } = classificationExample('Which?', { system: 'Be brief.' })({ image, className: 'cat' });
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant']);
    expect(messages[0]!.content).toEqual([{ type: 'text', text: 'Be brief.' }]);
  });

  it('refuses other questions, options and samples', () => {
    expect(() => classificationExample(undefined as never)).toThrow(ConfigError);
    expect(() => classificationExample('x', { sytem: 'y' } as never)).toThrow(/did you mean `system`/);
    expect(() => classificationExample('x', { system: 3 as never })).toThrow(/`system`: expected/);
    const toExample = classificationExample('x');
    for (const sample of [undefined, {}, { image }, { className: 'cat' }, { image, className: 3 }]) {
      expect(() => toExample(sample as never)).toThrow(DataError);
    }
    expect(() => toExample({ messages: [] } as never)).toThrow(/expected \{ image, className \}, got a sample/);
  });
});
