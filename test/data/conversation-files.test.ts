import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConversationDataset } from '../../src/data/conversations/conversation-dataset.js';
import { answer, ask, FILES } from './conversation-cases.js';
import { dir, learned, shownSample, useConversations } from './conversation-harness.js';

useConversations();

describe('conversation files', () => {
  it('are two at least of each form', () => {
    expect(FILES.length).toBeGreaterThanOrEqual(14);
  });

  it.each(FILES)('$name: its messages, and its images in their places', async (file) => {
    const rows = file.rows();
    const path = join(dir, file.name);
    const lines = rows.map((row) => JSON.stringify(row));
    await writeFile(path, file.asList ? JSON.stringify(rows, null, 2) : `${lines.join('\n')}\n`);
    const read = await ConversationDataset.fromFile(path, { ...file.options, onWarning: () => {} });
    expect(read.form).toBe(file.form);
    expect(read.length).toBe(rows.length);
    expect(read.description).toContain(`${path}: ${rows.length} ${rows.length === 1 ? 'sample' : 'samples'}, `);
    const samples = await Promise.all(rows.map((_, i) => read.get(i)));
    expect(await Promise.all(samples.map(shownSample))).toEqual(file.gives);
    expect(await Promise.all(samples.map(learned))).toEqual(file.learned);
    const notes = file.notes ?? [];
    for (const note of notes) expect(read.notes.join('\n')).toMatch(note);
    // The same rows in memory.
    const given = await ConversationDataset.fromRows(rows as object[], {
      ...file.options,
      imageRoot: dir,
      onWarning: () => {},
    });
    const again = await Promise.all(rows.map((_, i) => given.get(i)));
    expect(await Promise.all(again.map(shownSample))).toEqual(file.gives);
  });

  it('name their samples by id, or by file and line', async () => {
    const path = join(dir, 'named.jsonl');
    const row = { messages: [ask('a'), answer('b')] };
    await writeFile(path, [{ ...row, id: 'x' }, row, { ...row, id: 5 }].map((one) => JSON.stringify(one)).join('\n\n'));
    const read = await ConversationDataset.fromFile(path);
    const ids = await Promise.all([0, 1, 2].map(async (i) => (await read.get(i)).id));
    expect(ids).toEqual(['x', 'named.jsonl:3', '5']);
    expect((await read.shuffle(1)).length).toBe(3);
  });

  it('may mix forms that are learned alike, and say how many there are of each', async () => {
    const read = await ConversationDataset.fromRows([
      { instruction: 'a', output: 'b' },
      { messages: [ask('a'), answer('b')] },
      { messages: [ask('a'), answer('b')] },
    ]);
    expect([...read.forms]).toEqual([
      ['messages', 2],
      ['alpaca', 1],
    ]);
    expect(read.description).toBe('rows: 3 samples, messages of role and text (2), alpaca instructions (1)');
    const texts = [{ text: 'a' }, { messages: [ask('a'), answer('b')] }];
    await expect(ConversationDataset.fromRows(texts)).rejects.toThrow(
      /1 rows of plain text.*among 1 of the form messages/,
    );
  });
});
