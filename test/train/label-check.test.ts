import { describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SampleInspection } from '../../src/data/sample-inspection.js';
import type { SftExample } from '../../src/data/types.js';
import { DataError } from '../../src/errors.js';
import { checkEvaluationSet, checkLabels } from '../../src/train/label-check.js';

const fine: SampleInspection = {
  labels: 2,
  openAnswers: 0,
  endTokens: [{ id: 2, token: '</s>' }],
  spelledTokens: {},
  leftOut: [],
};

/** What is said of samples called a, b, c and so on. */
const check = (inspections: readonly Partial<SampleInspection>[], stopTokenIds?: readonly number[]) => {
  const dataset = IndexedDataset.from(
    inspections.map((_, i): SftExample => ({ messages: [], id: String.fromCharCode(97 + i) })),
  );
  const collator = {
    collate: () => Promise.reject(new Error('not asked')),
    inspect: ({ id }: SftExample) => ({ ...fine, ...inspections[id!.charCodeAt(0) - 97] }),
  };
  return checkLabels(dataset, collator, undefined, stopTokenIds);
};

describe('checkLabels', () => {
  it('says nothing of samples that are fine, or of a collator that cannot tell', async () => {
    expect(await check([fine, fine], [2, 5])).toEqual([]);
    expect(await check([fine])).toEqual([]);
    const dataset = IndexedDataset.from([{ messages: [] }] as SftExample[]);
    expect(await checkLabels(dataset, { collate: () => Promise.reject(new Error()) }, undefined)).toEqual([]);
  });

  it('says once for each reason that an end is not learned', async () => {
    const open = { openAnswers: 2, openReason: 'it writes nothing', endTokens: [] };
    const [line, ...rest] = await check([fine, open, open]);
    expect(rest).toEqual([]);
    expect(line).toMatch(/^the end of the answer is not learned in 2 of 3 samples \(first: b\).*it writes nothing\./);
    expect(line).not.toContain('\n');
  });

  it('compares the learned ends with those that stop generation', async () => {
    const other = { endTokens: [{ id: 7, token: '<|im_end|>' }] };
    expect(await check([fine, other])).toEqual([]);
    const [line, ...rest] = await check([fine, other, other], [2, 3]);
    expect(rest).toEqual([]);
    expect(line).toMatch(/answers end with <\|im_end\|> \(7\) in 2 of 3 samples \(first: b\), .* tokens \(2, 3\)/);
  });

  it('counts what texts spell in one line, and what is left out', async () => {
    const lines = await check([
      { spelledTokens: { '[INST]': 2 } },
      { spelledTokens: { '[INST]': 1, '</s>': 1 }, leftOut: ['the tools'] },
    ]);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain('[INST] 3 times in 2 samples (first: a); </s> once in 1 sample (first: b)');
    expect(lines[1]).toContain('does not show the tools in 1 of 2 samples (first: b)');
  });

  it('names samples without a label before all else', async () => {
    await expect(check([fine, { labels: 0 }])).rejects.toThrow(/nothing to learn in 1 of 2 samples.*: b/);
  });
});

describe('checkEvaluationSet', () => {
  const dataset = IndexedDataset.from(['a', 'b', 'c'].map((id): SftExample => ({ messages: [], id })));
  const check = (inspect?: (example: SftExample) => SampleInspection) =>
    checkEvaluationSet(
      dataset,
      { collate: () => Promise.reject(new Error('not asked')), ...(inspect && { inspect }) },
      undefined,
    );

  it('says nothing of samples that can be measured, or without a collator that can tell', async () => {
    await check(() => fine);
    await check();
  });

  it('names what is malformed and what has no label, and whose it is', async () => {
    const faulty = ({ id }: SftExample): SampleInspection => {
      if (id === 'c') throw new DataError('unknown key `image`', { hint: 'take it out' });
      return fine;
    };
    await expect(check(faulty)).rejects.toThrow('sample c of the evaluation set: unknown key `image`\n  hint: take it');
    const unlabelled = ({ id }: SftExample) => ({ ...fine, labels: id === 'b' ? 0 : 2 });
    await expect(check(unlabelled)).rejects.toThrow('sample b of the evaluation set: there is nothing to measure');
    await expect(check(unlabelled)).rejects.toBeInstanceOf(DataError);
  });
});
